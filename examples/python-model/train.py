"""Counts the trigrams of each text in texts/, and packs them as model.tar.gz."""

import collections
import io
import json
import pathlib
import tarfile

from model import trigrams

here = pathlib.Path(__file__).parent
counts = {
    path.stem: collections.Counter(trigrams(path.read_text(encoding="utf-8")))
    for path in sorted(here.glob("texts/*.txt"))
}
data = json.dumps(counts).encode()
with tarfile.open(here / "model.tar.gz", "w:gz") as archive:
    member = tarfile.TarInfo("trigrams.json")
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))
print("model.tar.gz knows", ", ".join(counts))
