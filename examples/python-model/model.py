"""Tells the language of a text: naive Bayes over trigrams of characters.

Started as "python3 model.py serve" it is a model with SageMaker's container
contract, made of Python's standard library alone.
"""

import http.server
import json
import math
import os
import pathlib
import signal
import threading

LONGEST = 1 << 20  # bytes of a request


def trigrams(text):
    text = f" {' '.join(text.lower().split())} "
    return [text[i : i + 3] for i in range(len(text) - 2)]


class Languages:
    def __init__(self, directory):
        self.counts = json.loads((directory / "trigrams.json").read_text(encoding="utf-8"))
        known = len(set().union(*self.counts.values()))
        # Each trigram counts once more than it was seen, so that none is impossible.
        self.totals = {language: sum(c.values()) + known for language, c in self.counts.items()}

    def predict(self, text):
        seen = trigrams(text)
        scores = {
            language: sum(math.log((c.get(t, 0) + 1) / self.totals[language]) for t in seen)
            for language, c in self.counts.items()
        }
        best = max(scores, key=scores.get)
        probability = 1 / sum(math.exp(score - scores[best]) for score in scores.values())
        return {"language": best, "probability": round(probability, 4)}


class Refused(Exception):
    """An answer that is no prediction: its status, and its message."""


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/ping":
            self.answer(200, {})
        else:
            self.answer(404, {"message": "not found"})

    def do_POST(self):
        try:
            body = self.body()
            if self.path != "/invocations":
                raise Refused(404, "not found")
            self.answer(200, self.server.model.predict(self.text(body)))
        except Refused as refused:
            status, message = refused.args
            self.answer(status, {"message": message})

    def body(self):
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            raise Refused(411, "a Content-Length is needed")
        left = int(length) - LONGEST
        if left <= 0:
            return self.rfile.read(int(length))
        self.rfile.read(LONGEST)
        while left > 0 and (skipped := self.rfile.read(min(left, LONGEST))):
            left -= len(skipped)  # who has not sent everything may not hear the answer
        raise Refused(413, f"a request has at most {LONGEST} bytes")

    def text(self, body):
        kind = self.headers.get_content_type()
        try:
            if kind == "text/plain":
                text = body.decode(self.headers.get_content_charset("utf-8"))
            elif kind == "application/json":
                text = json.loads(body)["text"]
            else:
                raise Refused(415, f"the input is {kind}, want text/plain or application/json")
            if text.strip():
                return text
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            pass
        raise Refused(400, 'want some text, or {"text": "some text"}')

    def answer(self, status, value):
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_request(self, *_):
        pass  # errors are worth a line, pings are not


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = False  # so that server_close waits for those that still answer


def main():
    model = Languages(pathlib.Path(os.environ.get("SM_MODEL_DIR", "/opt/ml/model")))
    server = Server(("127.0.0.1", int(os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080"))), Handler)
    server.model = model
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever()
    server.server_close()


if __name__ == "__main__":
    main()
