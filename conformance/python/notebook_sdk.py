"""Goes the way of AWS's notebooks that use the SageMaker Python SDK (v2): deploy, predict, scale, update, tidy up.

Nothing of the SDK is patched. Where the server is, it knows from its environment.
"""

import base64
import io
import json
import logging
import pathlib
import tarfile
import tempfile

import boto3
import sagemaker
from sagemaker.async_inference import AsyncInferenceConfig, WaiterConfig
from sagemaker.deserializers import JSONDeserializer
from sagemaker.exceptions import AsyncInferenceModelError, ObjectNotExistedError
from sagemaker.model import Model
from sagemaker.predictor import Predictor
from sagemaker.predictor_async import AsyncPredictor
from sagemaker.serializers import JSONSerializer

import topics
from notebook_boto3 import TARGET, scale, stop_scaling
from steps import ACCOUNT, IMAGE, NAME, expect, expect_in, until

WAITER = WaiterConfig(max_attempts=200, delay=0.1)  # for so long a thread looks for a failure, too
RESOURCE = {**TARGET, "ResourceId": f"endpoint/{NAME}/variant/AllTraffic"}

session = sagemaker.Session()


def package():
    """Uploads model data, as training leaves it behind."""
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "model.tar.gz"
        with tarfile.open(file, "w:gz") as archive:
            member = tarfile.TarInfo("weights.json")
            member.size = 2
            archive.addfile(member, io.BytesIO(b"{}"))
        return session.upload_data(str(file), key_prefix=f"{NAME}/model")


def deploy(data, role):
    predictor = Model(image_uri=IMAGE, model_data=data, role=role, name=NAME, predictor_cls=Predictor, sagemaker_session=session).deploy(
        initial_instance_count=1,
        instance_type="ml.g4dn.xlarge",
        endpoint_name=NAME,
        serializer=JSONSerializer(),
        deserializer=JSONDeserializer(),
        async_inference_config=AsyncInferenceConfig(
            max_concurrent_invocations_per_instance=2,
            notification_config={
                "SuccessTopic": topics.create(f"{NAME}-done"),
                "ErrorTopic": topics.create(f"{NAME}-failed"),
                "IncludeInferenceResponseIn": ["SUCCESS_NOTIFICATION_TOPIC"],
            },
        ),
        wait=False,  # or it asks every 30 seconds
    )
    session.wait_for_endpoint(NAME, poll=1)
    expect(type(predictor), AsyncPredictor)
    # The paths are the SDK's own, in its default bucket.
    output = session.describe_endpoint(NAME)["AsyncInferenceConfig"]["OutputConfig"]
    expect_in(f"s3://{session.default_bucket()}/async-endpoint-outputs/", output["S3OutputPath"])
    expect_in(f"s3://{session.default_bucket()}/async-endpoint-failures/", output["S3FailurePath"])
    return predictor


def predict(predictor):
    question = {"inputs": "What is the answer?"}
    expect(predictor.predict(question, waiter_config=WAITER), question)
    expect(topics.next_result(f"{NAME}-done")["invocationStatus"], "Completed")

    # With the location of an input, and without one of its type: the object has it.
    location = session.upload_string_as_file_body(json.dumps(question), session.default_bucket(), f"{NAME}/in.json")
    client = boto3.client("s3")
    client.put_object(Bucket=session.default_bucket(), Key=f"{NAME}/in.json", Body=json.dumps(question), ContentType="application/json")
    response = predictor.predict_async(input_path=location, inference_id="of the notebook", initial_args={"CustomAttributes": "delay=1s"})
    try:
        response.get_result()
        raise AssertionError("there is a result at once")
    except ObjectNotExistedError:
        pass
    expect(response.get_result(WAITER), question)
    notice = topics.next_result(f"{NAME}-done")
    expect((notice["inferenceId"], notice["responseParameters"]["outputLocation"]), ("of the notebook", response.output_path))
    expect(json.loads(base64.b64decode(notice["responseBody"]["content"])), question)
    expect(predictor.predict_async(input_path=location).get_result(WAITER), question)

    response = predictor.predict_async(question, initial_args={"ContentType": "application/json", "CustomAttributes": "status=500"})
    for waiter in (WAITER, None):
        try:
            response.get_result(waiter)
            raise AssertionError("a failure has a result")
        except AsyncInferenceModelError as e:
            expect_in("What is the answer?", str(e))
    expect(topics.next_result(f"{NAME}-failed")["responseParameters"], {"failureLocation": response.failure_path})


def rest():
    """Has the endpoint come to zero instances by itself."""
    scale(RESOURCE, most=2, backlog=2.0, scale_in=1, scale_out=1)
    until("an endpoint at rest", lambda: instances() == 0 or None)


def instances():
    return session.describe_endpoint(NAME)["ProductionVariants"][0]["CurrentInstanceCount"]


def wake(predictor):
    expect(predictor.predict("good morning", waiter_config=WAITER), "good morning")
    stop_scaling(RESOURCE)
    session.wait_for_endpoint(NAME, poll=1)


def update(predictor):
    before = session.describe_endpoint(NAME)["EndpointConfigName"]
    predictor.update_endpoint(initial_instance_count=2, instance_type="ml.g5.xlarge", wait=False)
    session.wait_for_endpoint(NAME, poll=1)
    described = session.describe_endpoint(NAME)
    expect(described["ProductionVariants"][0]["CurrentInstanceCount"], 2)
    expect(described["EndpointConfigName"] == before, False)
    expect(described["AsyncInferenceConfig"]["ClientConfig"], {"MaxConcurrentInvocationsPerInstance": 2})
    expect(predictor.predict("updated", waiter_config=WAITER), "updated")
    return before


def delete(predictor, config):
    predictor.delete_model()
    predictor.delete_endpoint()
    session.delete_endpoint_config(config)
    client = session.sagemaker_client
    client.get_waiter("endpoint_deleted").wait(EndpointName=NAME, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    for kind, found in (("models", "Models"), ("endpoint_configs", "EndpointConfigs"), ("endpoints", "Endpoints")):
        expect(getattr(client, f"list_{kind}")()[found], [])
    topics.delete()
    boto3.resource("s3").Bucket(session.default_bucket()).objects.all().delete()


if __name__ == "__main__":
    logging.getLogger("sagemaker").setLevel(logging.WARNING)
    expect_in(ACCOUNT, session.default_bucket())
    # Off SageMaker, notebooks look their role up.
    predictor = deploy(package(), boto3.client("iam").get_role(RoleName="sagemaker-execution")["Role"]["Arn"])
    predict(predictor)
    rest()
    wake(predictor)
    delete(predictor, update(predictor))
