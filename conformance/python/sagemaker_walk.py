"""Walks through SageMaker Asynchronous Inference with the SageMaker Python SDK.

It is what the notebooks use: a Model that is deployed, a Predictor that puts
inputs into S3 and fetches outputs from there.
"""

import hashlib
import logging
import pathlib
import random
import tempfile

import boto3
import sagemaker
from sagemaker.async_inference import AsyncInferenceConfig, WaiterConfig
from sagemaker.deserializers import BytesDeserializer
from sagemaker.exceptions import AsyncInferenceModelError, PollingTimeoutError
from sagemaker.model import Model
from sagemaker.predictor import Predictor
from sagemaker.predictor_async import AsyncPredictor
from sagemaker.s3 import S3Downloader
from sagemaker.serializers import IdentitySerializer

import steps
from steps import ACCOUNT, IMAGE, NAME, ROLE, Absent, expect, expect_in

BUCKET = NAME
TAGS = [{"Key": "made", "Value": "by the SDK"}]
WAITER = WaiterConfig(max_attempts=600, delay=0.1)

folder = tempfile.TemporaryDirectory()
files = pathlib.Path(folder.name)
session = None
predictor = None
large_response = None


def identity():
    global session
    boto3.client("s3").create_bucket(Bucket=BUCKET)
    session = sagemaker.Session(default_bucket=BUCKET)
    expect(session.default_bucket(), BUCKET)
    expect(sagemaker.Session().default_bucket().endswith(ACCOUNT), True)  # from the file that "deferd env" names
    expect(boto3.client("sts").get_caller_identity()["Account"], ACCOUNT)
    return "with boto3: the SDK's account_id asks AWS, whatever the endpoint URL"


def create():
    global predictor
    model = Model(image_uri=IMAGE, role=ROLE, name=NAME, predictor_cls=Predictor, sagemaker_session=session)
    predictor = model.deploy(
        initial_instance_count=1,
        instance_type="ml.m5.large",
        endpoint_name=NAME,
        async_inference_config=AsyncInferenceConfig(
            output_path=f"s3://{BUCKET}/out", failure_path=f"s3://{BUCKET}/failed", max_concurrent_invocations_per_instance=4
        ),
        serializer=IdentitySerializer("text/plain"),
        deserializer=BytesDeserializer(),
        tags=TAGS,
        wait=False,
    )


def wait():
    described = session.wait_for_endpoint(NAME, poll=1)
    expect(described["ProductionVariants"][0]["CurrentInstanceCount"], 1)


def upload():
    (files / "large").write_bytes(large())
    expect(session.upload_data(str(files / "large"), bucket=BUCKET, key_prefix="in"), f"s3://{BUCKET}/in/large")


def large():
    return random.Random(2).randbytes(40 << 20)


def invoke_s3():
    global large_response
    large_response = predictor.predict_async(input_path=f"s3://{BUCKET}/in/large", inference_id="chosen by the caller")
    session.upload_string_as_file_body("1,2,3", bucket=BUCKET, key="in/small")
    response = predictor.predict_async(input_path=f"s3://{BUCKET}/in/small")
    expect(response.get_result(WAITER), b"1,2,3")


def invoke_inline():
    """The SDK puts what is inline into S3 itself."""
    expect(predictor.predict_async(data=b"inline").get_result(WAITER), b"inline")
    expect(predictor.predict(data=b"inline", waiter_config=WAITER), b"inline")
    return "by way of S3, as the SDK does it"


def absent():
    raise Absent("the SDK leaves that to boto3")


def poll():
    response = predictor.predict_async(data=b"later", initial_args={"CustomAttributes": "delay=2s"})
    try:
        response.get_result(WaiterConfig(max_attempts=1, delay=0))
        raise AssertionError("there is an output at once")
    except PollingTimeoutError:
        pass
    expect(response.get_result(WAITER), b"later")


def failure():
    for status in (400, 500):
        response = predictor.predict_async(data=b"why", initial_args={"CustomAttributes": f"status={status}"})
        try:
            response.get_result(WAITER)
            raise AssertionError(f"status {status} has an output")
        except AsyncInferenceModelError as e:
            expect_in("why", str(e))


def refusals():
    real_time = Predictor(NAME, sagemaker_session=session, serializer=IdentitySerializer("text/plain"))
    stranger = AsyncPredictor(Predictor("nobody", sagemaker_session=session))
    for text, call in (
        ("does not support this inference type", lambda: real_time.predict(b"x")),
        (
            f"Endpoint nobody of account {ACCOUNT} not found.",
            lambda: stranger.predict_async(input_path=f"s3://{BUCKET}/in/small"),
        ),
    ):
        try:
            call()
        except session.sagemaker_runtime_client.exceptions.ValidationError as e:
            expect_in(text, str(e))
            continue
        raise AssertionError(f"there is no error of {text!r}")


def lists():
    folder = f"s3://{BUCKET}/odd"
    keys = ["a b", "ä+%2F"]
    for key in keys:
        session.upload_string_as_file_body(key, bucket=BUCKET, key=f"odd/{key}")
    expect(sorted(S3Downloader.list(folder, sagemaker_session=session)), sorted(f"{folder}/{k}" for k in keys))
    return "objects only: the rest it leaves to boto3"


def tags():
    expect(session.list_tags(session.describe_endpoint(NAME)["EndpointArn"]), TAGS)
    return "reads them; to change them it leaves to boto3"


def update():
    predictor.update_endpoint(initial_instance_count=2, instance_type="ml.m5.large", model_name=NAME, wait=False)
    described = session.wait_for_endpoint(NAME, poll=1)
    expect(described["ProductionVariants"][0]["CurrentInstanceCount"], 2)
    expect(predictor.predict_async(data=b"updated").get_result(WAITER), b"updated")


def download():
    output = large_response.output_path
    large_response.get_result(WAITER)
    (found,) = S3Downloader.download(output, str(files / "found"), sagemaker_session=session)
    expect(hashlib.sha256(pathlib.Path(found).read_bytes()).hexdigest(), hashlib.sha256(large()).hexdigest())


def delete():
    predictor.delete_model()
    predictor.delete_endpoint(delete_endpoint_config=True)
    steps.until("end of the endpoint", gone)


def gone():
    try:
        session.describe_endpoint(NAME)
    except session.sagemaker_client.exceptions.ClientError as e:
        expect_in("Could not find endpoint", str(e))
        return True


if __name__ == "__main__":
    logging.getLogger("sagemaker").setLevel(logging.WARNING)
    steps.run(
        "sagemaker",
        sagemaker.__version__,
        {
            "identity": identity,
            "create": create,
            "wait": wait,
            "upload": upload,
            "invoke-s3": invoke_s3,
            "invoke-inline": invoke_inline,
            "invoke-named": absent,
            "poll": poll,
            "failure": failure,
            "refusals": refusals,
            "presign": absent,
            "list": lists,
            "tags": tags,
            "update": update,
            "download": download,
            "copy": absent,
            "delete-objects": absent,
            "delete": delete,
        },
    )
