"""Sends asynchronous invocations with any version of boto3.

Members that it does not know are sent by an event hook, as their users could.
"""

import os

import boto3
from botocore.exceptions import ClientError

from steps import NAME, expect

# Whether boto3 reads AWS_ENDPOINT_URL by itself.
KNOWS_ENDPOINT_URL = tuple(int(n) for n in boto3.__version__.split(".")[:2]) >= (1, 28)


def client(service, **more):
    if not KNOWS_ENDPOINT_URL:
        more["endpoint_url"] = os.environ["AWS_ENDPOINT_URL"]
    return boto3.client(service, **more)


def code(call):
    """Returns the code and HTTP status of the error that the call ends with."""
    try:
        answer = call()
    except ClientError as e:
        return e.response["Error"]["Code"], e.response["ResponseMetadata"]["HTTPStatusCode"]
    raise AssertionError(f"got {answer}, want an error")


# The headers of what an old boto3 does not know.
HEADERS = {
    "Filename": "X-Amzn-SageMaker-Filename",
    "S3OutputPathExtension": "X-Amzn-SageMaker-S3OutputPathExtension",
    "InvocationTimeoutSeconds": "X-Amzn-SageMaker-InvocationTimeoutSeconds",
    "RequestTTLSeconds": "X-Amzn-SageMaker-RequestTTLSeconds",
}


def send(runtime=None, **members):
    """Sends an asynchronous invocation, whatever this boto3 knows of it."""
    runtime = runtime or client("sagemaker-runtime")
    members.setdefault("EndpointName", NAME)
    unknown = {m: members.pop(m) for m in unknown_members(members)}
    location = members.get("InputLocation")
    if unknown and location is None:
        members["InputLocation"] = "s3://required/of/old"

    def inject(params, **_):
        for member, value in unknown.items():
            if member == "Body":
                params["body"] = value
            else:
                params["headers"][HEADERS[member]] = str(value)
        if location is None:
            del params["headers"]["X-Amzn-SageMaker-InputLocation"]

    if unknown:
        runtime.meta.events.register_last("before-call.sagemaker-runtime.InvokeEndpointAsync", inject, unique_id="inject")
    try:
        return runtime.invoke_endpoint_async(**members)
    finally:
        runtime.meta.events.unregister("before-call.sagemaker-runtime.InvokeEndpointAsync", unique_id="inject")


def unknown_members(members):
    operation = client("sagemaker-runtime").meta.service_model.operation_model("InvokeEndpointAsync")
    return [m for m in members if m not in operation.input_shape.members]


def failure_location(answer):
    """Returns it as the server says it: old versions of boto3 do not look for it."""
    operation = client("sagemaker-runtime").meta.service_model.operation_model("InvokeEndpointAsync")
    if "FailureLocation" in operation.output_shape.members:
        return answer["FailureLocation"]
    return answer["ResponseMetadata"]["HTTPHeaders"]["x-amzn-sagemaker-failurelocation"]


def invoke(runtime=None, **members):
    answer = send(runtime, **members)
    expect(answer["ResponseMetadata"]["HTTPStatusCode"], 202)
    if not answer["InferenceId"]:
        raise AssertionError(answer)
    return answer


def remark(*members):
    unknown = unknown_members(members)
    return f"{', '.join(unknown)} by an event hook" if unknown else ""
