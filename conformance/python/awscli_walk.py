"""Walks through SageMaker Asynchronous Inference with the AWS CLI, as scripts do.

DEFERD_AWSCLI names the program. Needs nothing but Python's standard library.
"""

import functools
import hashlib
import json
import os
import pathlib
import random
import subprocess
import tempfile
import urllib.error
import urllib.request

import steps
from steps import ACCOUNT, IMAGE, NAME, ROLE, Absent, expect, expect_in

AWS = os.environ["DEFERD_AWSCLI"]
BUCKET = NAME
URL = os.environ["AWS_ENDPOINT_URL"]
VERSION = subprocess.run([AWS, "--version"], capture_output=True, text=True, check=True).stdout.split()[0].split("/")[1]
NUMBERS = tuple(int(n) for n in VERSION.split("."))
# Whether the CLI reads AWS_ENDPOINT_URL by itself.
KNOWS_ENDPOINT_URL = NUMBERS >= ((2, 13) if NUMBERS[0] == 2 else (1, 29))

folder = tempfile.TemporaryDirectory()
files = pathlib.Path(folder.name)
large_output = None  # where the answer to the large input will be


class Refused(Exception):
    """A command that ended with an error. Its text is what the command said."""


def aws(*args, env=None):
    """Runs a command and returns what it printed, read if it is JSON."""
    command = [AWS, *args, "--output", "json"]
    if not KNOWS_ENDPOINT_URL:
        command += ["--endpoint-url", URL]
    done = subprocess.run(command, check=False, capture_output=True, env={**os.environ, "AWS_PAGER": "", **(env or {})})
    if done.returncode != 0:
        raise Refused(done.stderr.decode().strip() or f"exit status {done.returncode}")
    try:
        return json.loads(done.stdout)
    except ValueError:
        return done.stdout


def refused(code, text, *args, env=None):
    try:
        answer = aws(*args, env=env)
    except Refused as e:
        expect_in(f"({code})", str(e))
        expect_in(text, str(e))
        return
    raise AssertionError(f"{' '.join(args)} was answered with {answer}")


def file(name, data):
    path = files / name
    path.write_bytes(data)
    return str(path)


def upload(key, data, *options):
    aws("s3api", "put-object", "--bucket", BUCKET, "--key", key, "--body", file("body", data), *options)
    return f"s3://{BUCKET}/{key}"


def split(location):
    bucket, _, key = location.removeprefix("s3://").partition("/")
    return ["--bucket", bucket, "--key", key]


def wait_for(location):
    """Polls for an object and returns it, with its type."""
    got = str(files / "got")

    def ask():
        try:
            answer = aws("s3api", "get-object", *split(location), got)
        except Refused as e:
            if "(NoSuchKey)" in str(e):
                return None
            raise
        return pathlib.Path(got).read_bytes(), answer["ContentType"]

    return steps.until(location, ask)


def check_missing(location):
    expect(is_missing(location), True)
    refused("404", "", "s3api", "head-object", *split(location))


@functools.cache
def knows(service, operation, member):
    skeleton = aws(service, operation, "--generate-cli-skeleton", "input")
    return f'"{member}"' in json.dumps(skeleton)


def invoke(*options, endpoint=NAME):
    return aws("sagemaker-runtime", "invoke-endpoint-async", "--endpoint-name", endpoint, *options)


def knows_body():
    return knows("sagemaker-runtime", "invoke-endpoint-async", "Body")


# The steps.


def identity():
    expect(aws("sts", "get-caller-identity")["Account"], ACCOUNT)
    wrong = {"AWS_SECRET_ACCESS_KEY": "wrong"}
    refused("InvalidSignatureException", "signature", "sagemaker", "list-models", env=wrong)
    refused("SignatureDoesNotMatch", "", "s3", "ls", env=wrong)
    wrong["AWS_ACCESS_KEY_ID"] = "AKIAUNKNOWN000000000"
    refused("UnrecognizedClientException", "security token", "sagemaker", "list-models", env=wrong)


def create():
    aws("s3", "mb", f"s3://{BUCKET}")
    aws("s3api", "wait", "bucket-exists", "--bucket", BUCKET)
    made = create_model(NAME)
    expect(made["ModelArn"].endswith(f":{ACCOUNT}:model/{NAME}"), True)
    create_config(NAME, "out")
    aws("sagemaker", "create-endpoint", "--endpoint-name", NAME, "--endpoint-config-name", NAME,
        "--tags", "Key=made,Value=by the CLI")  # fmt: skip


def create_model(name):
    return aws("sagemaker", "create-model", "--model-name", name, "--primary-container", f"Image={IMAGE}",
               "--execution-role-arn", ROLE)  # fmt: skip


def create_config(name, output):
    variants = [{"VariantName": "AllTraffic", "ModelName": NAME, "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}]
    outputs = {"S3OutputPath": f"s3://{BUCKET}/{output}/"}
    if knows("sagemaker", "create-endpoint-config", "S3FailurePath"):
        outputs["S3FailurePath"] = f"s3://{BUCKET}/failed/"
    config = {"ClientConfig": {"MaxConcurrentInvocationsPerInstance": 4}, "OutputConfig": outputs}
    aws("sagemaker", "create-endpoint-config", "--endpoint-config-name", name,
        "--production-variants", json.dumps(variants), "--async-inference-config", json.dumps(config))  # fmt: skip


def wait():
    described = wait_in_service()
    expect(described["ProductionVariants"][0]["CurrentInstanceCount"], 1)
    expect(described["AsyncInferenceConfig"]["OutputConfig"]["S3OutputPath"], f"s3://{BUCKET}/out/")


def wait_in_service():
    aws("sagemaker", "wait", "endpoint-in-service", "--endpoint-name", NAME)
    return aws("sagemaker", "describe-endpoint", "--endpoint-name", NAME)


def large():
    return random.Random(2).randbytes(40 << 20)


def upload_large():
    aws("s3", "cp", file("large", large()), f"s3://{BUCKET}/in/large", "--content-type", "image/x-raw")
    head = aws("s3api", "head-object", "--bucket", BUCKET, "--key", "in/large")
    expect((head["ContentLength"], head["ContentType"]), (40 << 20, "image/x-raw"))


def invoke_s3():
    global large_output
    large_output = invoke("--input-location", f"s3://{BUCKET}/in/large")["OutputLocation"]
    plain = upload("in/plain.json", b'{"a": 1}')
    typed = upload("in/typed.csv", b"1,2,3", "--content-type", "text/csv")
    answer = invoke("--input-location", plain, "--content-type", "application/json")
    expect(wait_for(answer["OutputLocation"]), (b'{"a": 1}', "application/json"))
    answer = invoke("--input-location", typed)
    expect(wait_for(answer["OutputLocation"]), (b"1,2,3", "text/csv"))
    answer = invoke("--input-location", typed, "--inference-id", "chosen by the caller", "--request-ttl-seconds", "60")
    expect(answer["InferenceId"], "chosen by the caller")
    expect(wait_for(answer["OutputLocation"]), (b"1,2,3", "text/csv"))


def invoke_inline():
    if not knows_body():
        raise Absent("this version does not know Body")
    answer = invoke("--body", "fileb://" + file("inline", b"inline"), "--content-type", "text/plain")
    expect(wait_for(answer["OutputLocation"]), (b"inline", "text/plain"))
    largest = random.Random(1).randbytes(128_000)
    answer = invoke("--body", "fileb://" + file("largest", largest), "--content-type", "application/octet-stream")
    expect(wait_for(answer["OutputLocation"]), (largest, "application/octet-stream"))


def invoke_named():
    if not knows("sagemaker-runtime", "invoke-endpoint-async", "Filename"):
        raise Absent("this version does not know Filename")
    plain = upload("in/named.txt", b"named")
    options = [
        "--input-location", plain, "--content-type", "text/plain", "--accept", "text/plain",
        "--custom-attributes", "delay=10ms&attributes=from the model", "--s3-output-path-extension", "team/a",
        "--request-ttl-seconds", "60", "--invocation-timeout-seconds", "30",
    ]  # fmt: skip
    answer = invoke(*options, "--filename", "result.txt")
    expect(answer["OutputLocation"], f"s3://{BUCKET}/out/team/a/result.txt")
    expect(wait_for(answer["OutputLocation"]), (b"named", "text/plain"))
    metadata = aws("s3api", "head-object", *split(answer["OutputLocation"]))["Metadata"]
    expect(metadata.get("custom-attributes"), "from the model")
    answer = invoke(*options)
    expect_in(f"s3://{BUCKET}/out/team/a/", answer["OutputLocation"])
    expect(wait_for(answer["OutputLocation"]), (b"named", "text/plain"))


def poll():
    later = upload("in/later.txt", b"later")
    for delay in (2, 8, 32):  # the CLI of a busy machine may ask too late
        answer = invoke("--input-location", later, "--content-type", "text/plain", "--custom-attributes", f"delay={delay}s")
        if is_missing(answer["OutputLocation"]):
            break
    else:
        raise AssertionError("there is an output at once")
    expect(wait_for(answer["OutputLocation"]), (b"later", "text/plain"))
    answer = invoke("--input-location", later, "--custom-attributes", "delay=1s")
    aws("s3api", "wait", "object-exists", *split(answer["OutputLocation"]))


def is_missing(location):
    try:
        aws("s3api", "get-object", *split(location), str(files / "got"))
        return False
    except Refused as e:
        expect_in("(NoSuchKey)", str(e))
        return True


def failure():
    if not knows("sagemaker", "create-endpoint-config", "S3FailurePath"):
        raise Absent("this version does not know S3FailurePath")
    why = upload("in/why.json", b'{"why": 1}')
    for status in (400, 500):
        answer = invoke("--input-location", why, "--content-type", "application/json", "--custom-attributes", f"status={status}")
        expect(wait_for(answer["FailureLocation"]), (b'{"why": 1}', "application/json"))
        check_missing(answer["OutputLocation"])
    answer = invoke("--input-location", f"s3://{BUCKET}/in/nothing")
    text, _ = wait_for(answer["FailureLocation"])
    expect_in(b"NoSuchKey", text)


def refusals():
    command = ["sagemaker-runtime", "invoke-endpoint-async", "--endpoint-name"]
    plain = ["--input-location", f"s3://{BUCKET}/in/plain.json"]
    refused("ValidationError", f"Endpoint nobody of account {ACCOUNT} not found.", *command, "nobody", *plain)
    refused("ValidationError", "inferenceId", *command, NAME, *plain, "--inference-id", "i" * 65)
    refused("ValidationError", "inputLocation", *command, NAME, "--input-location", "ftp://host/file")
    real_time = ["sagemaker-runtime", "invoke-endpoint", "--endpoint-name", NAME, "--body"]
    refused("ValidationError", "does not support this inference type", *real_time, "fileb://" + file("x", b"x"), str(files / "y"))
    refused("ValidationException", "Could not find endpoint", "sagemaker", "describe-endpoint", "--endpoint-name", "nobody")
    if not knows_body():
        return "without those of Body and Filename, which this version does not know"
    body, long = "fileb://" + file("x", b"x"), "fileb://" + file("long", bytes(128_001))
    refused("ValidationError", "", *command, NAME, *plain, "--body", body)
    refused("ValidationError", "", *command, NAME)
    refused("ValidationError", "", *command, NAME, "--body", long)
    refused("ValidationError", "filename", *command, NAME, *plain, "--filename", "a.b.c")
    refused("ValidationError", "1 validation error detected", *command, NAME, *plain, "--invocation-timeout-seconds", "3601")


def presign():
    """A signed URL works for a program that knows nothing of AWS."""
    upload("in/by url", b"by URL")
    url = aws("s3", "presign", f"s3://{BUCKET}/in/by url", "--expires-in", "60").decode().strip()
    with urllib.request.urlopen(url) as answer:
        expect(answer.read(), b"by URL")
    try:
        urllib.request.urlopen(url.replace("by%20url", "plain.json"))
        raise AssertionError("a URL that was tampered with was answered")
    except urllib.error.HTTPError as e:
        expect((e.code, b"SignatureDoesNotMatch" in e.read()), (403, True))


ODD_KEYS = ["odd/a b", "odd/a//b", "odd/ä+%2F", "odd/../up"]


def lists():
    named = ["--name-contains", NAME]
    expect([e["EndpointName"] for e in aws("sagemaker", "list-endpoints", *named)["Endpoints"]], [NAME])
    expect([c["EndpointConfigName"] for c in aws("sagemaker", "list-endpoint-configs", *named)["EndpointConfigs"]], [NAME])
    pages = [f"{NAME}-page-{i}" for i in range(2)]
    for name in pages:
        create_model(name)
    found = aws("sagemaker", "list-models", *named, "--sort-by", "Name", "--sort-order", "Ascending", "--page-size", "1")
    expect([m["ModelName"] for m in found["Models"]], [NAME, *pages])
    for key in ODD_KEYS:
        upload(key, key.encode(), "--metadata", "key=yes")
    for operation in ("list-objects-v2", "list-objects"):
        found = aws("s3api", operation, "--bucket", BUCKET, "--prefix", "odd/", "--page-size", "3")
        expect(sorted(o["Key"] for o in found["Contents"]), sorted(ODD_KEYS))
    expect_in("PRE odd/", aws("s3", "ls", f"s3://{BUCKET}/").decode())
    expect(len(aws("s3", "ls", "--recursive", f"s3://{BUCKET}/odd/").decode().splitlines()), len(ODD_KEYS))
    got = str(files / "got")
    answer = aws("s3api", "get-object", "--bucket", BUCKET, "--key", ODD_KEYS[2], "--range", "bytes=0-2", got)
    expect((pathlib.Path(got).read_bytes(), answer["Metadata"]), (b"odd", {"key": "yes"}))
    refused("NoSuchBucket", "", "s3", "ls", "s3://no-such-bucket")


def tags():
    arn = ["--resource-arn", aws("sagemaker", "describe-endpoint", "--endpoint-name", NAME)["EndpointArn"]]

    def present():
        return {t["Key"]: t["Value"] for t in aws("sagemaker", "list-tags", *arn)["Tags"]}

    expect(present(), {"made": "by the CLI"})
    aws("sagemaker", "add-tags", *arn, "--tags", "Key=team,Value=a", "Key=made,Value=again")
    expect(present(), {"made": "again", "team": "a"})
    aws("sagemaker", "delete-tags", *arn, "--tag-keys", "made")
    expect(present(), {"team": "a"})


def update():
    create_config(f"{NAME}-second", "second")
    aws("sagemaker", "update-endpoint", "--endpoint-name", NAME, "--endpoint-config-name", f"{NAME}-second")
    expect(wait_in_service()["EndpointConfigName"], f"{NAME}-second")
    answer = invoke("--input-location", f"s3://{BUCKET}/in/typed.csv")
    expect_in(f"s3://{BUCKET}/second/", answer["OutputLocation"])
    expect(wait_for(answer["OutputLocation"]), (b"1,2,3", "text/csv"))
    aws("sagemaker", "update-endpoint-weights-and-capacities", "--endpoint-name", NAME,
        "--desired-weights-and-capacities", "VariantName=AllTraffic,DesiredInstanceCount=2")  # fmt: skip
    expect(wait_in_service()["ProductionVariants"][0]["CurrentInstanceCount"], 2)


def download():
    wait_for(large_output)
    check_large(large_output)
    # A folder there and back.
    for i in range(3):
        file(f"sync-{i}", b"%d" % i)
    aws("s3", "sync", str(files), f"s3://{BUCKET}/sync", "--exclude", "*", "--include", "sync-*")
    back = files / "back"
    aws("s3", "sync", f"s3://{BUCKET}/sync", str(back))
    expect({p.name: p.read_bytes() for p in back.iterdir()}, {f"sync-{i}": b"%d" % i for i in range(3)})


def check_large(location):
    found = files / "found"
    aws("s3", "cp", location, str(found))
    expect(hashlib.sha256(found.read_bytes()).hexdigest(), hashlib.sha256(large()).hexdigest())


def copy():
    aws("s3", "cp", f"s3://{BUCKET}/odd/ä+%2F", f"s3://{BUCKET}/copy/a b")
    answer = aws("s3api", "head-object", "--bucket", BUCKET, "--key", "copy/a b")
    expect((answer["ContentLength"], answer["Metadata"]), (len("odd/ä+%2F".encode()), {"key": "yes"}))
    aws("s3", "cp", f"s3://{BUCKET}/in/large", f"s3://{BUCKET}/copy/large")  # in parts
    check_large(f"s3://{BUCKET}/copy/large")
    aws("s3", "mv", f"s3://{BUCKET}/copy/a b", f"s3://{BUCKET}/copy/moved")
    expect(wait_for(f"s3://{BUCKET}/copy/moved")[0], "odd/ä+%2F".encode())
    check_missing(f"s3://{BUCKET}/copy/a b")


def delete_objects():
    gone = {"Objects": [{"Key": k} for k in [*ODD_KEYS, "never/was"]]}
    answer = aws("s3api", "delete-objects", "--bucket", BUCKET, "--delete", json.dumps(gone))
    expect(sorted(d["Key"] for d in answer["Deleted"]), sorted(o["Key"] for o in gone["Objects"]))
    refused("BucketNotEmpty", "", "s3api", "delete-bucket", "--bucket", BUCKET)
    aws("s3", "rm", "--recursive", f"s3://{BUCKET}/copy")
    expect(aws("s3", "ls", f"s3://{BUCKET}").decode().count("copy/"), 0)
    aws("s3", "rb", "--force", f"s3://{BUCKET}")


def delete():
    aws("sagemaker", "delete-endpoint", "--endpoint-name", NAME)
    aws("sagemaker", "wait", "endpoint-deleted", "--endpoint-name", NAME)
    for config in aws("sagemaker", "list-endpoint-configs", "--name-contains", NAME)["EndpointConfigs"]:
        aws("sagemaker", "delete-endpoint-config", "--endpoint-config-name", config["EndpointConfigName"])
    for model in aws("sagemaker", "list-models", "--name-contains", NAME)["Models"]:
        aws("sagemaker", "delete-model", "--model-name", model["ModelName"])
    expect(aws("sagemaker", "list-models", "--name-contains", NAME)["Models"], [])


if __name__ == "__main__":
    steps.run(
        "awscli",
        VERSION,
        {
            "identity": identity,
            "create": create,
            "wait": wait,
            "upload": upload_large,
            "invoke-s3": invoke_s3,
            "invoke-inline": invoke_inline,
            "invoke-named": invoke_named,
            "poll": poll,
            "failure": failure,
            "refusals": refusals,
            "presign": presign,
            "list": lists,
            "tags": tags,
            "update": update,
            "download": download,
            "copy": copy,
            "delete-objects": delete_objects,
            "delete": delete,
        },
    )
