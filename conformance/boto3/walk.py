"""Walks through SageMaker Asynchronous Inference with boto3, as its users do.

All that it knows of the server is what the AWS_ variables of its environment
say. Each step prints its name; the first thing that is not as on SageMaker ends
the program with a traceback.
"""

import hashlib
import io
import random
import sys
import time
import urllib.parse

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import ClientError, ParamValidationError

IMAGE = "local/model:1"
NAME = "walk"
BUCKET = "walk"
ACCOUNT = "000000000000"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/walk"
PATIENCE = 60  # seconds
WAITER = {"Delay": 1, "MaxAttempts": PATIENCE}


def main():
    print("boto3", boto3.__version__)
    for step in [
        identity,
        bucket,
        deploy,
        invoke_s3,
        invoke_inline,
        invoke_named,
        invoke_old_client,
        multipart,
        failure,
        poll_missing,
        refusals,
        wrong_secret,
        lists,
        objects,
        delete,
    ]:
        started = time.monotonic()
        step()
        print(f"ok {step.__name__} ({time.monotonic() - started:.1f} s)", flush=True)


def client(service, **more):
    return boto3.client(service, **more)


def identity():
    assert client("sts").get_caller_identity()["Account"] == ACCOUNT


def bucket():
    s3 = client("s3")
    s3.create_bucket(Bucket=BUCKET)
    s3.get_waiter("bucket_exists").wait(Bucket=BUCKET)


def deploy():
    sm = client("sagemaker")
    made = sm.create_model(ModelName=NAME, PrimaryContainer={"Image": IMAGE}, ExecutionRoleArn=ROLE)
    assert made["ModelArn"].endswith(f":{ACCOUNT}:model/{NAME}"), made
    sm.create_endpoint_config(
        EndpointConfigName=NAME,
        ProductionVariants=[
            {
                "VariantName": "AllTraffic",
                "ModelName": NAME,
                "InitialInstanceCount": 1,
                "InstanceType": "ml.m5.large",
            }
        ],
        AsyncInferenceConfig={
            "ClientConfig": {"MaxConcurrentInvocationsPerInstance": 4},
            "OutputConfig": {
                "S3OutputPath": f"s3://{BUCKET}/out/",
                "S3FailurePath": f"s3://{BUCKET}/failed/",
            },
        },
    )
    sm.create_endpoint(EndpointName=NAME, EndpointConfigName=NAME)
    assert sm.describe_endpoint(EndpointName=NAME)["EndpointStatus"] in ("Creating", "InService")
    sm.get_waiter("endpoint_in_service").wait(EndpointName=NAME, WaiterConfig=WAITER)
    described = sm.describe_endpoint(EndpointName=NAME)
    assert described["ProductionVariants"][0]["CurrentInstanceCount"] == 1, described
    assert described["AsyncInferenceConfig"]["OutputConfig"]["S3OutputPath"] == f"s3://{BUCKET}/out/"


def invoke(runtime=None, **members):
    runtime = runtime or client("sagemaker-runtime")
    answer = runtime.invoke_endpoint_async(EndpointName=NAME, **members)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 202, answer
    assert answer["InferenceId"]
    return answer


def split(location):
    url = urllib.parse.urlparse(location)
    return url.netloc, url.path[1:]


def wait_for(location):
    """Polls for an object as the notebooks of SageMaker do."""
    s3 = client("s3")
    where, key = split(location)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            found = s3.get_object(Bucket=where, Key=key)
        except ClientError as e:
            if e.response["Error"]["Code"] != "NoSuchKey":
                raise
            time.sleep(0.05)
            continue
        return found["Body"].read(), found["ContentType"]
    raise AssertionError(f"there is no {location} after {PATIENCE} s")


def upload(key, data, **more):
    client("s3").put_object(Bucket=BUCKET, Key=key, Body=data, **more)
    return f"s3://{BUCKET}/{key}"


def expect(got, want):
    assert got == want, f"got {got!r}, want {want!r}"


def invoke_s3():
    plain = upload("in/plain.json", b'{"a": 1}')
    typed = upload("in/typed.csv", b"1,2,3", ContentType="text/csv")
    answer = invoke(InputLocation=plain, ContentType="application/json")
    expect(wait_for(answer["OutputLocation"]), (b'{"a": 1}', "application/json"))
    answer = invoke(InputLocation=typed)
    expect(wait_for(answer["OutputLocation"]), (b"1,2,3", "text/csv"))


def invoke_inline():
    answer = invoke(Body=b"inline", ContentType="text/plain", InferenceId="chosen by the caller")
    expect(answer["InferenceId"], "chosen by the caller")
    expect(wait_for(answer["OutputLocation"]), (b"inline", "text/plain"))
    largest = random.Random(1).randbytes(128_000)
    answer = invoke(Body=largest, ContentType="application/octet-stream")
    expect(wait_for(answer["OutputLocation"]), (largest, "application/octet-stream"))


def invoke_named():
    answer = invoke(
        Body=b"named",
        ContentType="text/plain",
        Accept="text/plain",
        CustomAttributes="delay=10ms&attributes=from the model",
        S3OutputPathExtension="team/a",
        Filename="result.txt",
        RequestTTLSeconds=60,
        InvocationTimeoutSeconds=30,
    )
    expect(answer["OutputLocation"], f"s3://{BUCKET}/out/team/a/result.txt")
    expect(wait_for(answer["OutputLocation"]), (b"named", "text/plain"))
    where, key = split(answer["OutputLocation"])
    metadata = client("s3").head_object(Bucket=where, Key=key)["Metadata"]
    expect(metadata.get("custom-attributes"), "from the model")


def invoke_old_client():
    """Uses a service model from before inline bodies and named outputs."""
    session = botocore.session.get_session()
    loader = session.get_component("data_loader")
    load = loader.load_service_model

    def load_old(service_name, type_name, *args, **kwargs):
        model = load(service_name, type_name, *args, **kwargs)
        if service_name == "sagemaker-runtime" and type_name == "service-2":
            shape = model["shapes"]["InvokeEndpointAsyncInput"]
            for member in ("Body", "Filename", "S3OutputPathExtension"):
                shape["members"].pop(member, None)
            shape.pop("payload", None)
            shape["required"] = ["EndpointName", "InputLocation"]
        return model

    loader.load_service_model = load_old
    old = boto3.Session(botocore_session=session).client("sagemaker-runtime")
    location = upload("in/old.json", b"[]")
    try:
        old.invoke_endpoint_async(EndpointName=NAME, InputLocation=location, Body=b"x")
        raise AssertionError("the old client knows Body")
    except ParamValidationError:
        pass
    answer = invoke(old, InputLocation=location, ContentType="application/json")
    expect(wait_for(answer["OutputLocation"]), (b"[]", "application/json"))


def multipart():
    data = random.Random(2).randbytes(40 << 20)
    client("s3").upload_fileobj(io.BytesIO(data), BUCKET, "in/large", ExtraArgs={"ContentType": "image/x-raw"})
    answer = invoke(InputLocation=f"s3://{BUCKET}/in/large")
    wait_for(answer["OutputLocation"])
    where, key = split(answer["OutputLocation"])
    found = io.BytesIO()
    client("s3").download_fileobj(where, key, found)
    expect(hashlib.sha256(found.getvalue()).hexdigest(), hashlib.sha256(data).hexdigest())


def failure():
    for status in (400, 500):
        answer = invoke(Body=b'{"why": 1}', ContentType="application/json", CustomAttributes=f"status={status}")
        expect(wait_for(answer["FailureLocation"]), (b'{"why": 1}', "application/json"))
        check_missing(answer["OutputLocation"])
    answer = invoke(InputLocation=f"s3://{BUCKET}/in/nothing")
    text, _ = wait_for(answer["FailureLocation"])
    assert b"NoSuchKey" in text, text


def check_missing(location):
    where, key = split(location)
    expect(code(lambda: client("s3").get_object(Bucket=where, Key=key)), ("NoSuchKey", 404))
    expect(code(lambda: client("s3").head_object(Bucket=where, Key=key)), ("404", 404))


def code(call):
    """Returns the code and HTTP status of the error that the call ends with."""
    try:
        answer = call()
    except ClientError as e:
        return e.response["Error"]["Code"], e.response["ResponseMetadata"]["HTTPStatusCode"]
    raise AssertionError(f"got {answer}, want an error")


def poll_missing():
    """A result is not there before it is there, and then it is there whole."""
    answer = invoke(Body=b"later", ContentType="text/plain", CustomAttributes="delay=1s")
    check_missing(answer["OutputLocation"])
    expect(wait_for(answer["OutputLocation"]), (b"later", "text/plain"))
    where, key = split(answer["OutputLocation"])
    client("s3").get_waiter("object_exists").wait(Bucket=where, Key=key)


def refusals():
    runtime = client("sagemaker-runtime")

    def refused(text, **members):
        members.setdefault("EndpointName", NAME)
        try:
            runtime.invoke_endpoint_async(**members)
        except ClientError as e:
            expect(e.response["Error"]["Code"], "ValidationError")
            assert text in e.response["Error"]["Message"], e
            assert e.response["ResponseMetadata"]["RequestId"], e.response
            return
        raise AssertionError(f"{list(members)} was accepted")

    refused("", Body=b"x", InputLocation=f"s3://{BUCKET}/in/plain.json")
    refused("")
    refused("", Body=bytes(128_001))
    refused(f"Endpoint nobody of account {ACCOUNT} not found.", EndpointName="nobody", Body=b"x")
    refused("inferenceId", Body=b"x", InferenceId="i" * 65)
    refused("filename", Body=b"x", Filename="a.b.c")
    refused("inputLocation", InputLocation="ftp://host/file")
    refused("1 validation error detected", Body=b"x", InvocationTimeoutSeconds=3601)
    refused("2 validation errors detected", Body=b"x", InvocationTimeoutSeconds=3601, InferenceId="i" * 65)

    try:
        runtime.invoke_endpoint(EndpointName=NAME, Body=b"x")
        raise AssertionError("a real-time call was answered")
    except runtime.exceptions.ValidationError as e:
        assert "does not support this inference type" in str(e), e

    sm = client("sagemaker")
    for call in (
        lambda: sm.describe_endpoint(EndpointName="nobody"),
        lambda: sm.describe_endpoint_config(EndpointConfigName="nobody"),
        lambda: sm.describe_model(ModelName="nobody"),
        lambda: sm.create_model(ModelName=NAME, PrimaryContainer={"Image": IMAGE}, ExecutionRoleArn=ROLE),
    ):
        expect(code(call)[0], "ValidationException")


def wrong_secret():
    wrong = {"aws_secret_access_key": "wrong", "aws_access_key_id": boto3.Session().get_credentials().access_key}
    once = Config(retries={"total_max_attempts": 1})
    runtime = client("sagemaker-runtime", config=once, **wrong)
    expect(code(lambda: runtime.invoke_endpoint_async(EndpointName=NAME, Body=b"x")), ("InvalidSignatureException", 403))
    expect(code(lambda: client("sagemaker", config=once, **wrong).list_models())[0], "InvalidSignatureException")
    expect(code(lambda: client("s3", config=once, **wrong).list_buckets()), ("SignatureDoesNotMatch", 403))
    wrong["aws_access_key_id"] = "AKIAUNKNOWN000000000"
    runtime = client("sagemaker-runtime", config=once, **wrong)
    expect(code(lambda: runtime.invoke_endpoint_async(EndpointName=NAME, Body=b"x")), ("UnrecognizedClientException", 403))


def lists():
    sm = client("sagemaker")
    expect([e["EndpointName"] for e in sm.list_endpoints(NameContains=NAME)["Endpoints"]], [NAME])
    expect([m["ModelName"] for m in sm.list_models(NameContains=NAME)["Models"]], [NAME])
    configs = sm.list_endpoint_configs(NameContains=NAME)["EndpointConfigs"]
    expect([c["EndpointConfigName"] for c in configs], [NAME])
    for i in range(3):
        sm.create_model(ModelName=f"page-{i}", PrimaryContainer={"Image": IMAGE}, ExecutionRoleArn=ROLE)
    pages = sm.get_paginator("list_models").paginate(SortBy="Name", SortOrder="Ascending", PaginationConfig={"PageSize": 1})
    expect([m["ModelName"] for page in pages for m in page["Models"]], ["page-0", "page-1", "page-2", NAME])


def objects():
    s3 = client("s3")
    keys = ["odd/a b", "odd/a//b", "odd/ä+%2F", "odd/../up"]
    for k in keys:
        s3.put_object(Bucket=BUCKET, Key=k, Body=k.encode(), Metadata={"key": "yes"})
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix="odd/", PaginationConfig={"PageSize": 3})
    expect(sorted(o["Key"] for page in pages for o in page["Contents"]), sorted(keys))
    for k in keys:
        found = s3.get_object(Bucket=BUCKET, Key=k, Range="bytes=0-2")
        expect((found["Body"].read(), found["Metadata"]), (k.encode()[:3], {"key": "yes"}))
        s3.delete_object(Bucket=BUCKET, Key=k)
    expect(s3.list_objects_v2(Bucket=BUCKET, Prefix="odd/")["KeyCount"], 0)
    expect(code(lambda: s3.get_object(Bucket="no-such-bucket", Key="k")), ("NoSuchBucket", 404))


def delete():
    sm = client("sagemaker")
    sm.delete_endpoint(EndpointName=NAME)
    sm.get_waiter("endpoint_deleted").wait(EndpointName=NAME, WaiterConfig=WAITER)
    sm.delete_endpoint_config(EndpointConfigName=NAME)
    sm.delete_model(ModelName=NAME)
    try:
        sm.describe_endpoint(EndpointName=NAME)
        raise AssertionError("the endpoint is still there")
    except ClientError as e:
        assert "Could not find endpoint" in str(e), e


if __name__ == "__main__":
    sys.exit(main())
