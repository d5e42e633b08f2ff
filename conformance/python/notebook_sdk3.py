"""Goes the way of the v2 notebooks with the SageMaker Python SDK v3: a ModelBuilder, resources, an update, tidying up.

Nothing of the SDK is patched. Where the server is, it knows from its environment.
"""

import io
import json
import tarfile

import boto3
from sagemaker.core.helper.session_helper import Session
from sagemaker.core.inference_config import AsyncInferenceConfig as DeployedAsync
from sagemaker.core.resources import Endpoint, EndpointConfig, Model
from sagemaker.core.shapes import AsyncInferenceClientConfig, AsyncInferenceConfig, AsyncInferenceOutputConfig, ContainerDefinition, ProductionVariant, Tag
from sagemaker.serve import ModelBuilder

from notebook_boto3 import read
from steps import ACCOUNT, IMAGE, NAME, PATIENCE, ROLE, expect, expect_in

session = Session()
bucket = session.default_bucket()


def variant(model, instances):
    return ProductionVariant(
        variant_name="AllTraffic", model_name=model, instance_type="ml.g5.xlarge", initial_instance_count=instances, initial_variant_weight=1
    )


def configure(name, instances):
    return EndpointConfig.create(
        endpoint_config_name=name,
        production_variants=[variant(name, instances)],
        async_inference_config=AsyncInferenceConfig(
            client_config=AsyncInferenceClientConfig(max_concurrent_invocations_per_instance=4),
            output_config=AsyncInferenceOutputConfig(
                s3_output_path=f"s3://{bucket}/{NAME}/output", s3_failure_path=f"s3://{bucket}/{NAME}/failures"
            ),
        ),
    )


def package():
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("weights"))
    boto3.client("s3").put_object(Bucket=bucket, Key=f"{NAME}/model.tar.gz", Body=data.getvalue())
    return f"s3://{bucket}/{NAME}/model.tar.gz"


def deploy(data):
    """Builds and deploys, as v3 wants it, with the SDK's own paths."""
    builder = ModelBuilder(
        image_uri=IMAGE, s3_model_data_url=data, role_arn=ROLE, sagemaker_session=session, instance_type="ml.g5.xlarge", env_vars={"SOME": ""}
    )
    builder.build(model_name=NAME)
    endpoint = builder.deploy(
        endpoint_name=NAME,
        inference_config=DeployedAsync(max_concurrent_invocations_per_instance=4),
        instance_type="ml.g5.xlarge",
        initial_instance_count=1,
        wait=False,
    )
    endpoint.wait_for_status("InService", poll=1, timeout=PATIENCE)
    expect((endpoint.endpoint_name, endpoint.production_variants[0].current_instance_count), (NAME, 1))
    expect([e.endpoint_name for e in Endpoint.get_all()], [NAME])
    output = endpoint.async_inference_config.output_config
    expect_in(f"s3://{bucket}/async-endpoint-outputs/", output.s3_output_path)
    return endpoint, output.s3_failure_path


def invoke(endpoint, failures):
    location = f"s3://{bucket}/{NAME}/in.json"
    boto3.client("s3").put_object(Bucket=bucket, Key=f"{NAME}/in.json", Body=json.dumps({"inputs": "a question"}))
    answer = endpoint.invoke_async(location, content_type="application/json", inference_id="of the notebook", request_ttl_seconds=60)
    expect(json.loads(read(answer.output_location)), {"inputs": "a question"})
    expect(answer.inference_id, "of the notebook")
    expect_in(failures, answer.failure_location)
    failed = endpoint.invoke_async(location, custom_attributes="status=500")
    expect(json.loads(read(failed.failure_location)), {"inputs": "a question"})


def update(endpoint):
    """Makes another model and configuration, resource by resource, and has the endpoint use them."""
    model = Model.create(
        model_name=f"{NAME}-2", primary_container=ContainerDefinition(image=IMAGE), execution_role_arn=ROLE, tags=[Tag(key="made", value="by the SDK")]
    )
    config = configure(model.model_name, 2)
    endpoint.endpoint_config_name = config.endpoint_config_name
    endpoint.update()
    endpoint.wait_for_status("InService", poll=1, timeout=PATIENCE)
    expect((endpoint.endpoint_config_name, endpoint.production_variants[0].current_instance_count), (f"{NAME}-2", 2))
    return model, config


def delete(*resources):
    for r in resources:
        r.delete()
    resources[-1].wait_for_delete(poll=1, timeout=PATIENCE)
    expect([list(kind.get_all()) for kind in (Model, EndpointConfig, Endpoint)], [[], [], []])


if __name__ == "__main__":
    expect_in(ACCOUNT, bucket)
    endpoint, failures = deploy(package())
    invoke(endpoint, failures)
    made = update(endpoint)
    invoke(endpoint, f"s3://{bucket}/{NAME}/failures")
    delete(Model.get(NAME), EndpointConfig.get(NAME), *made, endpoint)
