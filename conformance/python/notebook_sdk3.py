"""Goes the way of the v2 notebooks with the SageMaker Python SDK v3: resources, predictors, an update, tidying up.

Nothing of the SDK is patched. Where the server is, it knows from its environment.
"""

import json

import boto3
from sagemaker.core.helper.session_helper import Session
from sagemaker.core.resources import Endpoint, EndpointConfig, Model
from sagemaker.core.shapes import AsyncInferenceClientConfig, AsyncInferenceConfig, AsyncInferenceOutputConfig, ContainerDefinition, ProductionVariant, Tag

from notebook_boto3 import read
from steps import ACCOUNT, IMAGE, NAME, PATIENCE, ROLE, expect, expect_in

session = Session()
bucket = session.default_bucket()


def variant(instances):
    return ProductionVariant(
        variant_name="AllTraffic", model_name=NAME, instance_type="ml.g5.xlarge", initial_instance_count=instances, initial_variant_weight=1
    )


def configure(name, instances):
    return EndpointConfig.create(
        endpoint_config_name=name,
        production_variants=[variant(instances)],
        async_inference_config=AsyncInferenceConfig(
            client_config=AsyncInferenceClientConfig(max_concurrent_invocations_per_instance=4),
            output_config=AsyncInferenceOutputConfig(
                s3_output_path=f"s3://{bucket}/{NAME}/output", s3_failure_path=f"s3://{bucket}/{NAME}/failures"
            ),
        ),
    )


def create():
    model = Model.create(
        model_name=NAME, primary_container=ContainerDefinition(image=IMAGE, environment={"SOME": ""}), execution_role_arn=ROLE,
        tags=[Tag(key="made", value="by the SDK")],
    )
    config = configure(NAME, 1)
    endpoint = Endpoint.create(endpoint_name=NAME, endpoint_config_name=config)
    endpoint.wait_for_status("InService", poll=1, timeout=PATIENCE)
    expect((endpoint.endpoint_name, endpoint.production_variants[0].current_instance_count), (NAME, 1))
    expect([e.endpoint_name for e in Endpoint.get_all()], [NAME])
    return model, config, endpoint


def invoke(endpoint):
    location = f"s3://{bucket}/{NAME}/in.json"
    boto3.client("s3").put_object(Bucket=bucket, Key=f"{NAME}/in.json", Body=json.dumps({"inputs": "a question"}))
    answer = endpoint.invoke_async(location, content_type="application/json", inference_id="of the notebook", request_ttl_seconds=60)
    expect(json.loads(read(answer.output_location)), {"inputs": "a question"})
    expect(answer.inference_id, "of the notebook")
    expect_in(f"s3://{bucket}/{NAME}/failures/", answer.failure_location)
    failed = endpoint.invoke_async(location, custom_attributes="status=500")
    expect(json.loads(read(failed.failure_location)), {"inputs": "a question"})


def update(endpoint):
    config = configure(f"{NAME}-2", 2)
    endpoint.endpoint_config_name = config.endpoint_config_name
    endpoint.update()
    endpoint.wait_for_status("InService", poll=1, timeout=PATIENCE)
    expect(endpoint.endpoint_config_name, f"{NAME}-2")
    expect(endpoint.production_variants[0].current_instance_count, 2)
    invoke(endpoint)
    return config


def delete(*resources):
    for r in resources:
        r.delete()
    resources[-1].wait_for_delete(poll=1, timeout=PATIENCE)
    expect([list(kind.get_all()) for kind in (Model, EndpointConfig, Endpoint)], [[], [], []])


if __name__ == "__main__":
    expect_in(ACCOUNT, bucket)
    model, config, endpoint = create()
    invoke(endpoint)
    delete(model, config, update(endpoint), endpoint)
