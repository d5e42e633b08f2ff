"""Deploys the model with boto3, as on SageMaker."""

import pathlib

import boto3

s3 = boto3.client("s3")
s3.create_bucket(Bucket="languages")
s3.upload_file(str(pathlib.Path(__file__).with_name("model.tar.gz")), "languages", "model.tar.gz")

sm = boto3.client("sagemaker")
sm.create_model(
    ModelName="languages",
    PrimaryContainer={"Image": "local/languages:1", "ModelDataUrl": "s3://languages/model.tar.gz"},
    ExecutionRoleArn="arn:aws:iam::000000000000:role/any",
)
variant = {"VariantName": "AllTraffic", "ModelName": "languages", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
output = {"S3OutputPath": "s3://languages/out", "S3FailurePath": "s3://languages/failed"}
sm.create_endpoint_config(
    EndpointConfigName="languages", ProductionVariants=[variant], AsyncInferenceConfig={"OutputConfig": output}
)
sm.create_endpoint(EndpointName="languages", EndpointConfigName="languages")
sm.get_waiter("endpoint_in_service").wait(EndpointName="languages", WaiterConfig={"Delay": 1})
print(sm.describe_endpoint(EndpointName="languages")["EndpointStatus"])
