"""Goes the way of AWS's notebook on inline payloads, with boto3, from the first object to the last."""

from botocore.exceptions import ClientError

from notebook_boto3 import EACH_SECOND, read, runtime, s3, sagemaker
from steps import IMAGE, NAME, ROLE, expect, expect_in, until


def create():
    sagemaker.create_model(ModelName=NAME, PrimaryContainer={"Image": IMAGE}, ExecutionRoleArn=ROLE)
    sagemaker.create_endpoint_config(
        EndpointConfigName=NAME,
        ProductionVariants=[{"VariantName": "AllTraffic", "ModelName": NAME, "InstanceType": "ml.g4dn.xlarge", "InitialInstanceCount": 1}],
        AsyncInferenceConfig={"OutputConfig": {"S3OutputPath": f"s3://{NAME}/async-output/"}},
    )
    sagemaker.create_endpoint(EndpointName=NAME, EndpointConfigName=NAME)
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=NAME, WaiterConfig=EACH_SECOND)


def invoke():
    members = runtime.meta.service_model.operation_model("InvokeEndpointAsync").input_shape.members
    expect_in("Body", list(members))
    inline = runtime.invoke_endpoint_async(EndpointName=NAME, ContentType="application/json", Body=b'{"inputs": "a question"}')
    expect(inline.get("FailureLocation"), None)
    expect_in(f"s3://{NAME}/async-output/", inline["OutputLocation"])
    expect(read(inline["OutputLocation"]), b'{"inputs": "a question"}')

    s3.put_object(Bucket=NAME, Key="async-input/a.json", Body=b'{"inputs": "another"}')
    location = f"s3://{NAME}/async-input/a.json"
    uploaded = runtime.invoke_endpoint_async(EndpointName=NAME, ContentType="application/json", InputLocation=location)
    expect(read(uploaded["OutputLocation"]), b'{"inputs": "another"}')

    # The longest there may be.
    longest = runtime.invoke_endpoint_async(EndpointName=NAME, ContentType="application/json", Body=b"1" * 128_000)
    expect(read(longest["OutputLocation"]), b"1" * 128_000)

    for text, arguments in (
        ("InputLocation", {"Body": b"{}", "InputLocation": location}),
        ("Body", {"Body": b"1" * 130_000}),
        ("InputLocation", {}),
    ):
        try:
            runtime.invoke_endpoint_async(EndpointName=NAME, ContentType="application/json", **arguments)
        except ClientError as e:
            expect(e.response["Error"]["Code"], "ValidationError")
            expect_in(text.lower(), str(e).lower())
            continue
        raise AssertionError(f"{list(arguments)} are taken")


def delete():
    """All at once, without waiting for the endpoint's end."""
    sagemaker.delete_endpoint(EndpointName=NAME)
    sagemaker.delete_endpoint_config(EndpointConfigName=NAME)
    sagemaker.delete_model(ModelName=NAME)
    listed = s3.list_objects_v2(Bucket=NAME)
    expect(len(listed["Contents"]), 4)
    deleted = s3.delete_objects(Bucket=NAME, Delete={"Objects": [{"Key": o["Key"]} for o in listed["Contents"]]})
    expect((len(deleted["Deleted"]), deleted.get("Errors")), (4, None))
    s3.delete_bucket(Bucket=NAME)
    until("end of the endpoint", gone)


def gone():
    try:
        sagemaker.describe_endpoint(EndpointName=NAME)
    except ClientError as e:
        expect(e.response["Error"]["Code"], "ValidationException")
        expect_in("Could not find endpoint", str(e))
        return True


if __name__ == "__main__":
    s3.create_bucket(Bucket=NAME)
    create()
    invoke()
    delete()
