"""Walks through SageMaker Asynchronous Inference with boto3, as its users do.

All that it knows of the server is what its environment says. It runs with old
versions of boto3 too: what they do not know is sent by an event hook, and the
step's remark says so.
"""

import hashlib
import io
import json
import os
import random
import urllib.error
import urllib.parse
import urllib.request

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, ParamValidationError

import steps
from boto3_client import client, code, failure_location, invoke, remark, send, unknown_members
from steps import ACCOUNT, IMAGE, NAME, PATIENCE, ROLE, expect, expect_in

BUCKET = NAME
LARGE = random.Random(2).randbytes(40 << 20)
WAITER = {"Delay": 1, "MaxAttempts": PATIENCE}

large_output = None  # where the answer to LARGE will be


def split(location):
    url = urllib.parse.urlparse(location)
    return url.netloc, url.path[1:]


def upload(key, data, **more):
    client("s3").put_object(Bucket=BUCKET, Key=key, Body=data, **more)
    return f"s3://{BUCKET}/{key}"


def wait_for(location):
    """Polls for an object as the notebooks of SageMaker do."""
    s3 = client("s3")
    where, key = split(location)

    def ask():
        try:
            found = s3.get_object(Bucket=where, Key=key)
        except s3.exceptions.NoSuchKey:
            return None
        return found["Body"].read(), found["ContentType"]

    return steps.until(location, ask)


def check_missing(location):
    where, key = split(location)
    expect(code(lambda: client("s3").get_object(Bucket=where, Key=key)), ("NoSuchKey", 404))
    expect(code(lambda: client("s3").head_object(Bucket=where, Key=key)), ("404", 404))


def identity():
    expect(client("sts").get_caller_identity()["Account"], ACCOUNT)
    check_wrong_secret()


def check_wrong_secret():
    wrong = {"aws_secret_access_key": "wrong", "aws_access_key_id": os.environ["AWS_ACCESS_KEY_ID"]}
    once = Config(retries={"total_max_attempts": 1})
    s = f"s3://{BUCKET}/in/x"
    runtime = client("sagemaker-runtime", config=once, **wrong)
    expect(code(lambda: send(runtime, InputLocation=s)), ("InvalidSignatureException", 403))
    expect(code(lambda: client("sagemaker", config=once, **wrong).list_models())[0], "InvalidSignatureException")
    expect(code(lambda: client("s3", config=once, **wrong).list_buckets()), ("SignatureDoesNotMatch", 403))
    wrong["aws_access_key_id"] = "AKIAUNKNOWN000000000"
    runtime = client("sagemaker-runtime", config=once, **wrong)
    expect(code(lambda: send(runtime, InputLocation=s)), ("UnrecognizedClientException", 403))
    expect(code(lambda: client("s3", config=once, **wrong).list_buckets()), ("InvalidAccessKeyId", 403))


def create():
    s3 = client("s3")
    s3.create_bucket(Bucket=BUCKET)
    s3.get_waiter("bucket_exists").wait(Bucket=BUCKET)
    sm = client("sagemaker")
    made = sm.create_model(ModelName=NAME, PrimaryContainer={"Image": IMAGE}, ExecutionRoleArn=ROLE)
    expect(made["ModelArn"].endswith(f":{ACCOUNT}:model/{NAME}"), True)
    create_config(NAME, "out")
    sm.create_endpoint(EndpointName=NAME, EndpointConfigName=NAME, Tags=[{"Key": "made", "Value": "by boto3"}])
    return "" if knows_failure_path(sm) else "S3FailurePath by an event hook"


def knows_failure_path(sm):
    operation = sm.meta.service_model.operation_model("CreateEndpointConfig")
    return "S3FailurePath" in operation.input_shape.members["AsyncInferenceConfig"].members["OutputConfig"].members


def create_config(name, output):
    sm = client("sagemaker")
    failure_path = {"S3FailurePath": f"s3://{BUCKET}/failed/"}

    def inject(params, **_):
        request = json.loads(params["body"])
        request["AsyncInferenceConfig"]["OutputConfig"].update(failure_path)
        params["body"] = json.dumps(request).encode()

    known = failure_path
    if not knows_failure_path(sm):
        known = {}
        sm.meta.events.register_last("before-call.sagemaker.CreateEndpointConfig", inject)
    sm.create_endpoint_config(
        EndpointConfigName=name,
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
            "OutputConfig": {"S3OutputPath": f"s3://{BUCKET}/{output}/", **known},
        },
    )


def wait():
    sm = client("sagemaker")
    expect_in(sm.describe_endpoint(EndpointName=NAME)["EndpointStatus"], ("Creating", "InService"))
    described = wait_in_service()
    expect(described["ProductionVariants"][0]["CurrentInstanceCount"], 1)
    expect(described["AsyncInferenceConfig"]["OutputConfig"]["S3OutputPath"], f"s3://{BUCKET}/out/")


def wait_in_service():
    sm = client("sagemaker")
    sm.get_waiter("endpoint_in_service").wait(EndpointName=NAME, WaiterConfig=WAITER)
    return sm.describe_endpoint(EndpointName=NAME)


def upload_large():
    client("s3").upload_fileobj(io.BytesIO(LARGE), BUCKET, "in/large", ExtraArgs={"ContentType": "image/x-raw"})
    head = client("s3").head_object(Bucket=BUCKET, Key="in/large")
    expect((head["ContentLength"], head["ContentType"]), (len(LARGE), "image/x-raw"))


def invoke_s3():
    global large_output
    plain = upload("in/plain.json", b'{"a": 1}')
    typed = upload("in/typed.csv", b"1,2,3", ContentType="text/csv")
    answer = invoke(InputLocation=plain, ContentType="application/json")
    expect(wait_for(answer["OutputLocation"]), (b'{"a": 1}', "application/json"))
    answer = invoke(InputLocation=typed)
    expect(wait_for(answer["OutputLocation"]), (b"1,2,3", "text/csv"))
    answer = invoke(InputLocation=typed, InferenceId="chosen by the caller", RequestTTLSeconds=60)
    expect(answer["InferenceId"], "chosen by the caller")
    expect(wait_for(answer["OutputLocation"]), (b"1,2,3", "text/csv"))
    large_output = invoke(InputLocation=f"s3://{BUCKET}/in/large")["OutputLocation"]


def invoke_inline():
    if unknown_members(["Body"]):
        try:
            client("sagemaker-runtime").invoke_endpoint_async(EndpointName=NAME, InputLocation="s3://a/b", Body=b"x")
            raise AssertionError("this boto3 takes Body, which it does not know")
        except ParamValidationError:
            pass
    answer = invoke(Body=b"inline", ContentType="text/plain", InferenceId="chosen by the caller")
    expect(answer["InferenceId"], "chosen by the caller")
    expect(wait_for(answer["OutputLocation"]), (b"inline", "text/plain"))
    largest = random.Random(1).randbytes(128_000)
    answer = invoke(Body=largest, ContentType="application/octet-stream")
    expect(wait_for(answer["OutputLocation"]), (largest, "application/octet-stream"))
    return remark("Body")


def invoke_named():
    plain = upload("in/named.txt", b"named")
    members = {
        "ContentType": "text/plain",
        "Accept": "text/plain",
        "CustomAttributes": "delay=10ms&attributes=from the model",
        "S3OutputPathExtension": "team/a",
        "Filename": "result.txt",
        "RequestTTLSeconds": 60,
        "InvocationTimeoutSeconds": 30,
    }
    answer = invoke(InputLocation=plain, **members)
    expect(answer["OutputLocation"], f"s3://{BUCKET}/out/team/a/result.txt")
    expect(wait_for(answer["OutputLocation"]), (b"named", "text/plain"))
    where, key = split(answer["OutputLocation"])
    metadata = client("s3").head_object(Bucket=where, Key=key)["Metadata"]
    expect(metadata.get("custom-attributes"), "from the model")
    del members["Filename"]
    answer = invoke(InputLocation=plain, **members)
    expect_in(f"s3://{BUCKET}/out/team/a/", answer["OutputLocation"])
    expect(wait_for(answer["OutputLocation"]), (b"named", "text/plain"))
    return remark("S3OutputPathExtension", "Filename", "InvocationTimeoutSeconds")


def poll():
    """A result is not there before it is there, and then it is there whole."""
    later = upload("in/later.txt", b"later")
    answer = invoke(InputLocation=later, ContentType="text/plain", CustomAttributes="delay=1s")
    check_missing(answer["OutputLocation"])
    expect(wait_for(answer["OutputLocation"]), (b"later", "text/plain"))
    answer = invoke(InputLocation=later, CustomAttributes="delay=1s")
    where, key = split(answer["OutputLocation"])
    client("s3").get_waiter("object_exists").wait(Bucket=where, Key=key, WaiterConfig=WAITER)


def failure():
    why = upload("in/why.json", b'{"why": 1}')
    for status in (400, 500):
        answer = invoke(InputLocation=why, ContentType="application/json", CustomAttributes=f"status={status}")
        expect(wait_for(failure_location(answer)), (b'{"why": 1}', "application/json"))
        check_missing(answer["OutputLocation"])
    answer = invoke(InputLocation=f"s3://{BUCKET}/in/nothing")
    text, _ = wait_for(failure_location(answer))
    expect_in(b"NoSuchKey", text)


def refusals():
    def refused(text, **members):
        try:
            send(**members)
        except ClientError as e:
            expect(e.response["Error"]["Code"], "ValidationError")
            expect_in(text, e.response["Error"]["Message"])
            expect(bool(e.response["ResponseMetadata"]["RequestId"]), True)
            return
        raise AssertionError(f"{list(members)} was accepted")

    plain = f"s3://{BUCKET}/in/plain.json"
    refused("", Body=b"x", InputLocation=plain)
    refused("", Body=bytes(128_001))
    if not unknown_members(["Body"]):
        refused("")
    refused(f"Endpoint nobody of account {ACCOUNT} not found.", EndpointName="nobody", InputLocation=plain)
    refused("inferenceId", InputLocation=plain, InferenceId="i" * 65)
    refused("filename", InputLocation=plain, Filename="a.b.c")
    refused("inputLocation", InputLocation="ftp://host/file")
    refused("1 validation error detected", InputLocation=plain, InvocationTimeoutSeconds=3601)
    refused("2 validation errors detected", InputLocation=plain, InvocationTimeoutSeconds=3601, InferenceId="i" * 65)
    check_real_time()
    sm = client("sagemaker")
    for call in (
        lambda: sm.describe_endpoint(EndpointName="nobody"),
        lambda: sm.describe_endpoint_config(EndpointConfigName="nobody"),
        lambda: sm.describe_model(ModelName="nobody"),
        lambda: sm.create_model(ModelName=NAME, PrimaryContainer={"Image": IMAGE}, ExecutionRoleArn=ROLE),
    ):
        expect(code(call)[0], "ValidationException")
    return remark("Body", "Filename", "InvocationTimeoutSeconds")


def check_real_time():
    runtime = client("sagemaker-runtime")
    for name in ("invoke_endpoint", "invoke_endpoint_with_response_stream"):
        if not hasattr(runtime, name):
            continue
        try:
            getattr(runtime, name)(EndpointName=NAME, Body=b"x")
            raise AssertionError(f"{name} was answered")
        except runtime.exceptions.ValidationError as e:
            expect_in("does not support this inference type", str(e))


def presign():
    """Signed URLs work for a program that knows nothing of AWS.

    Unless it is told otherwise, boto3 signs them the way before Signature V4.
    """
    for config, parameter in (Config(), "Signature="), (Config(signature_version="s3v4"), "X-Amz-Signature="):
        use_urls(client("s3", config=config), parameter)


def use_urls(s3, parameter):
    put = s3.generate_presigned_url("put_object", Params={"Bucket": BUCKET, "Key": "in/by url", "ContentType": "a/b"})
    request = urllib.request.Request(put, data=b"by URL", method="PUT", headers={"Content-Type": "a/b"})
    with urllib.request.urlopen(request) as answer:
        expect(answer.status, 200)
    get = s3.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "in/by url"}, ExpiresIn=60)
    expect_in(parameter, get)
    with urllib.request.urlopen(get) as answer:
        expect(answer.read(), b"by URL")
    try:
        urllib.request.urlopen(get.replace("by%20url", "plain.json"))
        raise AssertionError("a URL that was tampered with was answered")
    except urllib.error.HTTPError as e:
        expect((e.code, b"SignatureDoesNotMatch" in e.read()), (403, True))


ODD_KEYS = ["odd/a b", "odd/a//b", "odd/ä+%2F", "odd/../up"]


def lists():
    sm = client("sagemaker")
    expect([e["EndpointName"] for e in sm.list_endpoints(NameContains=NAME)["Endpoints"]], [NAME])
    configs = sm.list_endpoint_configs(NameContains=NAME)["EndpointConfigs"]
    expect([c["EndpointConfigName"] for c in configs], [NAME])
    pages = [f"{NAME}-page-{i}" for i in range(3)]
    for name in pages:
        sm.create_model(ModelName=name, PrimaryContainer={"Image": IMAGE}, ExecutionRoleArn=ROLE)
    found = sm.get_paginator("list_models").paginate(
        NameContains=NAME, SortBy="Name", SortOrder="Ascending", PaginationConfig={"PageSize": 1}
    )
    expect([m["ModelName"] for page in found for m in page["Models"]], [NAME, *pages])
    list_objects()


def list_objects():
    s3 = client("s3")
    for k in ODD_KEYS:
        s3.put_object(Bucket=BUCKET, Key=k, Body=k.encode(), Metadata={"key": "yes"})
    for operation in ("list_objects_v2", "list_objects"):
        pages = s3.get_paginator(operation).paginate(Bucket=BUCKET, Prefix="odd/", PaginationConfig={"PageSize": 3})
        expect(sorted(o["Key"] for page in pages for o in page["Contents"]), sorted(ODD_KEYS))
    for k in ODD_KEYS:
        found = s3.get_object(Bucket=BUCKET, Key=k, Range="bytes=0-2")
        expect((found["Body"].read(), found["Metadata"]), (k.encode()[:3], {"key": "yes"}))
    expect(code(lambda: s3.get_object(Bucket="no-such-bucket", Key="k")), ("NoSuchBucket", 404))


def tags():
    sm = client("sagemaker")
    arn = sm.describe_endpoint(EndpointName=NAME)["EndpointArn"]

    def present():
        pages = sm.get_paginator("list_tags").paginate(ResourceArn=arn)
        return {t["Key"]: t["Value"] for page in pages for t in page["Tags"]}

    expect(present(), {"made": "by boto3"})
    sm.add_tags(ResourceArn=arn, Tags=[{"Key": "team", "Value": "a"}, {"Key": "made", "Value": "again"}])
    expect(present(), {"made": "again", "team": "a"})
    sm.delete_tags(ResourceArn=arn, TagKeys=["made"])
    expect(present(), {"team": "a"})


def update():
    sm = client("sagemaker")
    create_config(f"{NAME}-second", "second")
    sm.update_endpoint(EndpointName=NAME, EndpointConfigName=f"{NAME}-second")
    described = wait_in_service()
    expect(described["EndpointConfigName"], f"{NAME}-second")
    answer = invoke(InputLocation=f"s3://{BUCKET}/in/typed.csv")
    expect_in(f"s3://{BUCKET}/second/", answer["OutputLocation"])
    expect(wait_for(answer["OutputLocation"]), (b"1,2,3", "text/csv"))
    sm.update_endpoint_weights_and_capacities(
        EndpointName=NAME, DesiredWeightsAndCapacities=[{"VariantName": "AllTraffic", "DesiredInstanceCount": 2}]
    )
    expect(wait_in_service()["ProductionVariants"][0]["CurrentInstanceCount"], 2)


def download():
    wait_for(large_output)
    where, key = split(large_output)
    found = io.BytesIO()
    client("s3").download_fileobj(where, key, found)
    expect(hashlib.sha256(found.getvalue()).hexdigest(), hashlib.sha256(LARGE).hexdigest())


def copy():
    s3 = client("s3")
    s3.copy_object(Bucket=BUCKET, Key="copy/a b", CopySource={"Bucket": BUCKET, "Key": "odd/ä+%2F"})
    found = s3.get_object(Bucket=BUCKET, Key="copy/a b")
    expect((found["Body"].read(), found["Metadata"]), ("odd/ä+%2F".encode(), {"key": "yes"}))
    s3.copy({"Bucket": BUCKET, "Key": "in/large"}, BUCKET, "copy/large")  # in parts
    found = s3.get_object(Bucket=BUCKET, Key="copy/large")["Body"].read()
    expect(hashlib.sha256(found).hexdigest(), hashlib.sha256(LARGE).hexdigest())


def delete_objects():
    s3 = client("s3")
    gone = ODD_KEYS + ["copy/a b", "copy/large", "never/was"]
    answer = s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": k} for k in gone]})
    expect(sorted(d["Key"] for d in answer["Deleted"]), sorted(gone))
    expect("Errors" in answer, False)
    expect(s3.list_objects_v2(Bucket=BUCKET, Prefix="odd/")["KeyCount"], 0)
    expect(code(lambda: s3.delete_bucket(Bucket=BUCKET)), ("BucketNotEmpty", 409))
    bucket = boto3.resource("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"]).Bucket(BUCKET)
    bucket.objects.all().delete()
    s3.delete_bucket(Bucket=BUCKET)


def delete():
    sm = client("sagemaker")
    sm.delete_endpoint(EndpointName=NAME)
    sm.get_waiter("endpoint_deleted").wait(EndpointName=NAME, WaiterConfig=WAITER)
    for config in sm.list_endpoint_configs(NameContains=NAME)["EndpointConfigs"]:
        sm.delete_endpoint_config(EndpointConfigName=config["EndpointConfigName"])
    for model in sm.list_models(NameContains=NAME)["Models"]:
        sm.delete_model(ModelName=model["ModelName"])
    expect(sm.list_models(NameContains=NAME)["Models"], [])
    try:
        sm.describe_endpoint(EndpointName=NAME)
        raise AssertionError("the endpoint is still there")
    except ClientError as e:
        expect_in("Could not find endpoint", str(e))


if __name__ == "__main__":
    steps.run(
        "boto3",
        boto3.__version__,
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
