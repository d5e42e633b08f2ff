"""Brings AWS CLI v2 into a directory, and prints the program's path.

AWS publishes its own build of it for Linux on PyPI, in a package for AWS CDK;
the package called awscli is v1. Run it with a Python that has pip.
"""

import pathlib
import subprocess
import sys
import tarfile
import zipfile


def main(directory):
    directory = pathlib.Path(directory)
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--dest", str(directory), "aws-cdk-asset-awscli-v2"], check=True)
    wheel = only(directory.glob("*.whl"))
    zipfile.ZipFile(wheel).extractall(directory / "wheel")
    with tarfile.open(only(directory.glob("wheel/**/*.tgz"))) as package:
        package.extract("package/lib/layer.zip", directory)
    zipfile.ZipFile(directory / "package/lib/layer.zip").extractall(directory / "layer")
    program = only(directory.glob("layer/awscli/v2/*/dist/aws"))
    program.chmod(0o755)
    print(program)


def only(found):
    (one,) = found
    return one


if __name__ == "__main__":
    main(sys.argv[1])
