"""Goes the way of AWS's walk-through with boto3: scaling, an alarm, topics, twenty-six invocations, and tidying up."""

import io
from urllib.parse import urlparse

import boto3
from botocore.exceptions import ClientError

import topics
from steps import ACCOUNT, IMAGE, NAME, PATIENCE, expect, expect_in, until

VARIANT = "variant1"
TARGET = {
    "ServiceNamespace": "sagemaker",
    "ResourceId": f"endpoint/{NAME}/variant/{VARIANT}",
    "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
}
EACH_SECOND = {"Delay": 1, "MaxAttempts": PATIENCE}

s3 = boto3.client("s3")
sagemaker = boto3.client("sagemaker")
runtime = boto3.client("sagemaker-runtime")
scaling = boto3.client("application-autoscaling")
cloudwatch = boto3.client("cloudwatch")


def upload(key, data, content_type):
    s3.upload_fileobj(io.BytesIO(data), NAME, key, ExtraArgs={"ContentType": content_type})
    return f"s3://{NAME}/{key}"


def read(location):
    """Asks for the object until it is there, as all of AWS's examples do."""
    where = urlparse(location)

    def ask():
        try:
            return s3.get_object(Bucket=where.netloc, Key=where.path[1:])["Body"].read()
        except ClientError as e:
            if e.response["Error"]["Code"] != "NoSuchKey":
                raise

    return until(location, ask)


def create(role):
    sagemaker.create_model(ModelName=NAME, ExecutionRoleArn=role, PrimaryContainer={"Image": IMAGE, "Environment": {"SOME": ""}})
    sagemaker.create_endpoint_config(
        EndpointConfigName=NAME,
        ProductionVariants=[{"VariantName": VARIANT, "ModelName": NAME, "InstanceType": "ml.m5.xlarge", "InitialInstanceCount": 1}],
        AsyncInferenceConfig={
            "OutputConfig": {
                "S3OutputPath": f"s3://{NAME}/output",
                "NotificationConfig": {"SuccessTopic": topics.create(f"{NAME}-done"), "ErrorTopic": topics.create(f"{NAME}-failed")},
            },
            "ClientConfig": {"MaxConcurrentInvocationsPerInstance": 4},
        },
    )
    sagemaker.create_endpoint(EndpointName=NAME, EndpointConfigName=NAME)
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=NAME, WaiterConfig=EACH_SECOND)
    described = sagemaker.describe_endpoint(EndpointName=NAME)
    expect(described["AsyncInferenceConfig"]["ClientConfig"], {"MaxConcurrentInvocationsPerInstance": 4})


def scale(target, most, backlog, scale_in, scale_out):
    """Lets the endpoint have so many instances, one for so much of a backlog, and none when there is nothing to do."""
    scaling.register_scalable_target(**target, MinCapacity=0, MaxCapacity=most)
    tracking = scaling.put_scaling_policy(
        **target,
        PolicyName="backlog",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": backlog,
            "CustomizedMetricSpecification": {
                "MetricName": "ApproximateBacklogSizePerInstance",
                "Namespace": "AWS/SageMaker",
                "Dimensions": [{"Name": "EndpointName", "Value": NAME}],
                "Statistic": "Average",
            },
            "ScaleInCooldown": scale_in,
            "ScaleOutCooldown": scale_out,
        },
    )
    expect(len(tracking["Alarms"]), 2)
    step = scaling.put_scaling_policy(
        **target,
        PolicyName="first-request",
        PolicyType="StepScaling",
        StepScalingPolicyConfiguration={
            "AdjustmentType": "ChangeInCapacity",
            "MetricAggregationType": "Average",
            "Cooldown": scale_out,
            "StepAdjustments": [{"MetricIntervalLowerBound": 0, "ScalingAdjustment": 1}],
        },
    )
    expect(step["Alarms"], [])
    cloudwatch.put_metric_alarm(
        AlarmName=NAME,
        MetricName="HasBacklogWithoutCapacity",
        Namespace="AWS/SageMaker",
        Statistic="Average",
        EvaluationPeriods=2,
        DatapointsToAlarm=2,
        Threshold=1,
        ComparisonOperator="GreaterThanOrEqualToThreshold",
        TreatMissingData="missing",
        Dimensions=[{"Name": "EndpointName", "Value": NAME}],
        Period=60,
        AlarmActions=[step["PolicyARN"]],
    )
    shown = {a["AlarmName"] for a in cloudwatch.describe_alarms()["MetricAlarms"]}
    expect(shown, {NAME} | {a["AlarmName"] for a in tracking["Alarms"]})


def invoke():
    location = upload("input/one", b"0 1:2 3:4", "text/libsvm")
    answer = runtime.invoke_endpoint_async(EndpointName=NAME, InputLocation=location)
    expect(answer["ResponseMetadata"]["HTTPStatusCode"], 202)
    expect(answer.get("FailureLocation"), None)
    expect(read(answer["OutputLocation"]), b"0 1:2 3:4")
    notice = topics.next_result(f"{NAME}-done")
    expect((notice["invocationStatus"], notice["inferenceId"]), ("Completed", answer["InferenceId"]))
    expect(notice["responseParameters"], {"contentType": "text/libsvm", "outputLocation": answer["OutputLocation"]})

    # Twenty-five are more than one instance is to have before it: others come to help.
    answers = [
        runtime.invoke_endpoint_async(EndpointName=NAME, InputLocation=upload(f"input/{i}", b"%d" % i, "text/libsvm"), CustomAttributes="delay=2s")
        for i in range(25)
    ]
    until("another instance", lambda: desired() > 1 or None)
    for i, answer in enumerate(answers):
        expect(read(answer["OutputLocation"]), b"%d" % i)
    expect({topics.next_result(f"{NAME}-done")["inferenceId"] for _ in answers}, {a["InferenceId"] for a in answers})
    causes = [a["Cause"] for a in scaling.describe_scaling_activities(ServiceNamespace="sagemaker", ResourceId=TARGET["ResourceId"])["ScalingActivities"]]
    expect_in("AlarmHigh", causes[-1])

    answer = runtime.invoke_endpoint_async(EndpointName=NAME, InputLocation=location, CustomAttributes="status=500")
    notice = topics.next_result(f"{NAME}-failed")
    expect((notice["invocationStatus"], notice["inferenceId"]), ("Failed", answer["InferenceId"]))
    expect("responseParameters" in notice, False)  # there is no path for failures


def desired():
    return sagemaker.describe_endpoint(EndpointName=NAME)["ProductionVariants"][0]["DesiredInstanceCount"]


def stop_scaling(target):
    scaling.deregister_scalable_target(**target)
    cloudwatch.delete_alarms(AlarmNames=[NAME])
    expect(cloudwatch.describe_alarms()["MetricAlarms"], [])


def delete():
    stop_scaling(TARGET)
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=NAME, WaiterConfig=EACH_SECOND)
    sagemaker.delete_endpoint(EndpointName=NAME)
    sagemaker.get_waiter("endpoint_deleted").wait(EndpointName=NAME, WaiterConfig=EACH_SECOND)
    sagemaker.delete_endpoint_config(EndpointConfigName=NAME)
    sagemaker.delete_model(ModelName=NAME)
    topics.delete()
    bucket = boto3.resource("s3").Bucket(NAME)
    bucket.objects.all().delete()
    bucket.delete()


if __name__ == "__main__":
    expect(boto3.client("sts").get_caller_identity()["Account"], ACCOUNT)
    s3.create_bucket(Bucket=NAME)
    create(boto3.client("iam").get_role(RoleName="sagemaker-execution")["Role"]["Arn"])
    scale(TARGET, most=5, backlog=5.0, scale_in=600, scale_out=300)
    invoke()
    delete()
