# %% [markdown]
# # Asynchronous inference, step by step
#
# This goes the way of AWS's own notebooks: a model and its endpoint, one
# invocation, twenty-five at once, payloads that travel with the request, what is
# refused, and tidying up. Where the services are it learns from the `AWS_…`
# variables, and from nothing else.

# %%
import csv
import io
import json
import tarfile
import time
from urllib.parse import urlparse

import boto3
from botocore.exceptions import ClientError

s3 = boto3.client("s3")
sm = boto3.client("sagemaker")
runtime = boto3.client("sagemaker-runtime")

account = boto3.client("sts").get_caller_identity()["Account"]
region = sm.meta.region_name
bucket = f"sagemaker-{region}-{account}"
prefix = time.strftime("async-walkthrough-%Y%m%d-%H%M%S")
role = f"arn:aws:iam::{account}:role/walkthrough"
image = f"{account}.dkr.ecr.{region}.amazonaws.com/nearest-centroid:1"
print(f"account {account}, results go to s3://{bucket}/{prefix}/")

# %% [markdown]
# ## Model data
#
# 400 scanned digits of 8 by 8 pixels. Of the first 300 we keep what each digit
# looks like on average; the other 100 are left for the endpoint to read.

# %%
with open("../digits/dataset/heldout.csv", newline="") as file:
    rows = [(row[0], [int(pixel) for pixel in row[1:]]) for row in csv.reader(file)]
known, unseen = rows[:300], rows[300:]

centroids = {}
for label in sorted({label for label, _ in known}):
    columns = zip(*(pixels for known_label, pixels in known if known_label == label))
    centroids[label] = [sum(column) / len(column) for column in columns]

archive = io.BytesIO()
with tarfile.open(fileobj=archive, mode="w:gz") as tar:
    data = json.dumps(centroids).encode()
    member = tarfile.TarInfo("centroids.json")
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))
archive.seek(0)

try:
    s3.head_bucket(Bucket=bucket)
except ClientError:
    s3.create_bucket(Bucket=bucket)
s3.upload_fileobj(archive, bucket, f"{prefix}/model/model.tar.gz")

# %% [markdown]
# ## Model, configuration, endpoint

# %%
sm.create_model(
    ModelName=prefix,
    ExecutionRoleArn=role,
    PrimaryContainer={"Image": image, "ModelDataUrl": f"s3://{bucket}/{prefix}/model/model.tar.gz"},
)
sm.create_endpoint_config(
    EndpointConfigName=prefix,
    ProductionVariants=[
        {
            "VariantName": "variant1",
            "ModelName": prefix,
            "InstanceType": "ml.m5.xlarge",
            "InitialInstanceCount": 1,
        }
    ],
    AsyncInferenceConfig={
        "OutputConfig": {"S3OutputPath": f"s3://{bucket}/{prefix}/output"},
        "ClientConfig": {"MaxConcurrentInvocationsPerInstance": 4},
    },
)
sm.create_endpoint(EndpointName=prefix, EndpointConfigName=prefix)
sm.get_waiter("endpoint_in_service").wait(EndpointName=prefix, WaiterConfig={"Delay": 2, "MaxAttempts": 300})

description = sm.describe_endpoint(EndpointName=prefix)
print(description["EndpointStatus"], description["EndpointArn"])
print("asynchronous:", description["AsyncInferenceConfig"]["ClientConfig"])

# %% [markdown]
# ## One invocation
#
# The input goes to S3 with its content type, which is the one that the model will
# see. The answer to the invocation says where the result is going to be.


# %%
def libsvm(rows):
    lines = (
        label + "".join(f" {i}:{pixel}" for i, pixel in enumerate(pixels, 1) if pixel) for label, pixels in rows
    )
    return "\n".join(lines).encode()


def upload_input(name, rows):
    key = f"{prefix}/input/{name}.libsvm"
    s3.upload_fileobj(io.BytesIO(libsvm(rows)), bucket, key, ExtraArgs={"ContentType": "text/libsvm"})
    return f"s3://{bucket}/{key}"


def read_s3_file(location, patience=60):
    """Returns an object's text as soon as there is one."""
    where = urlparse(location)
    deadline = time.monotonic() + patience
    while True:
        try:
            return s3.get_object(Bucket=where.netloc, Key=where.path.lstrip("/"))["Body"].read().decode()
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchKey" or time.monotonic() > deadline:
                raise
            time.sleep(0.2)


first = upload_input("first", unseen[:4])
response = runtime.invoke_endpoint_async(EndpointName=prefix, InputLocation=first)
print("accepted with status", response["ResponseMetadata"]["HTTPStatusCode"], "as", response["InferenceId"])
print("result in", response["OutputLocation"])
print("predicted", read_s3_file(response["OutputLocation"]).split(), "truly", [label for label, _ in unseen[:4]])

# %% [markdown]
# ## Twenty-five at once
#
# Four digits to each input. All are accepted before any result is waited for.

# %%
parts = [unseen[i : i + 4] for i in range(0, len(unseen), 4)]
inputs = [upload_input(f"part-{n}", part) for n, part in enumerate(parts)]
locations = [
    runtime.invoke_endpoint_async(EndpointName=prefix, InputLocation=location)["OutputLocation"]
    for location in inputs
]
predictions = [label for location in locations for label in read_s3_file(location).split()]
right = sum(predicted == label for predicted, (label, _) in zip(predictions, unseen))
print(f"{len(locations)} results, {right} of {len(unseen)} digits are right")
assert len(locations) == 25 and len(predictions) == len(unseen) and right > 80

# %% [markdown]
# ## Payloads that travel with the request
#
# Up to 128,000 bytes need no upload. The client has to be new enough to know.

# %%
members = runtime.meta.service_model.operation_model("InvokeEndpointAsync").input_shape.members
assert "Body" in members, f"boto3 {boto3.__version__} does not know inline bodies: pip install --upgrade boto3"

response = runtime.invoke_endpoint_async(EndpointName=prefix, ContentType="text/libsvm", Body=libsvm(unseen[:4]))
inline = read_s3_file(response["OutputLocation"])
print("inline:", inline.split(), "failures go to", response.get("FailureLocation", "nowhere, as configured"))

# %% [markdown]
# An upload without a content type is given one by the invocation; the result is
# the same.

# %%
s3.put_object(Bucket=bucket, Key=f"{prefix}/input/untyped", Body=libsvm(unseen[:4]))
response = runtime.invoke_endpoint_async(
    EndpointName=prefix, InputLocation=f"s3://{bucket}/{prefix}/input/untyped", ContentType="text/libsvm"
)
uploaded = read_s3_file(response["OutputLocation"])
assert uploaded == inline, (uploaded, inline)
print("uploaded:", uploaded.split())

# %% [markdown]
# ## What is refused
#
# Two inputs, an inline one that is too large, and none at all.

# %%
for what, arguments in {
    "both": {"Body": libsvm(unseen[:1]), "InputLocation": first},
    "too large": {"Body": b"0 1:1\n" * 22_000},
    "neither": {},
}.items():
    try:
        runtime.invoke_endpoint_async(EndpointName=prefix, ContentType="text/libsvm", **arguments)
    except ClientError as error:
        print(f"{what}: {error.response['Error']['Code']}: {error.response['Error']['Message']}")
    else:
        raise AssertionError(f"{what} was accepted")

# %% [markdown]
# ## Tidy up

# %%
sm.delete_endpoint(EndpointName=prefix)
sm.get_waiter("endpoint_deleted").wait(EndpointName=prefix, WaiterConfig={"Delay": 2, "MaxAttempts": 60})
sm.delete_endpoint_config(EndpointConfigName=prefix)
sm.delete_model(ModelName=prefix)

deleted = 0
for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/"):
    objects = [{"Key": found["Key"]} for found in page.get("Contents", [])]
    if objects:
        s3.delete_objects(Bucket=bucket, Delete={"Objects": objects})
        deleted += len(objects)
print(f"gone: the endpoint, its configuration, its model, and {deleted} objects")
