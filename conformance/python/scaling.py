"""Drives each operation of Application Auto Scaling that AWS's guides use, with boto3.

Its argument is the resource ID of a variant that has one instance. Its
environment says where the server is.
"""

import sys
import time

import boto3

PATIENCE = 60  # seconds
RESOURCE = sys.argv[1]
ENDPOINT = RESOURCE.split("/")[1]
TARGET = {"ServiceNamespace": "sagemaker", "ResourceId": RESOURCE, "ScalableDimension": "sagemaker:variant:DesiredInstanceCount"}

client = boto3.client("application-autoscaling")
cloudwatch = boto3.client("cloudwatch")
sagemaker = boto3.client("sagemaker")


def instances():
    return sagemaker.describe_endpoint(EndpointName=ENDPOINT)["ProductionVariants"][0]["DesiredInstanceCount"]


def until(what, done):
    deadline = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < deadline, f"waited for {what}"
        time.sleep(0.05)


def activities():
    return client.describe_scaling_activities(ServiceNamespace="sagemaker", ResourceId=RESOURCE)["ScalingActivities"]


def fulfilled():
    return all(a["StatusCode"] == "Successful" for a in activities())


arn = client.register_scalable_target(**TARGET, MinCapacity=0, MaxCapacity=5, Tags={"a": "1"})["ScalableTargetARN"]
client.tag_resource(ResourceARN=arn, Tags={"b": "2"})
client.untag_resource(ResourceARN=arn, TagKeys=["a"])
assert client.list_tags_for_resource(ResourceARN=arn)["Tags"] == {"b": "2"}

tracking = {
    "TargetValue": 5.0,
    "CustomizedMetricSpecification": {
        "MetricName": "ApproximateBacklogSizePerInstance",
        "Namespace": "AWS/SageMaker",
        "Dimensions": [{"Name": "EndpointName", "Value": ENDPOINT}],
        "Statistic": "Average",
    },
    "ScaleInCooldown": 600,
    "ScaleOutCooldown": 300,
}
put = client.put_scaling_policy(
    **TARGET, PolicyName="Invocations-ScalingPolicy", PolicyType="TargetTrackingScaling", TargetTrackingScalingPolicyConfiguration=tracking
)
assert put["PolicyARN"].endswith(f":resource/sagemaker/{RESOURCE}:policyName/Invocations-ScalingPolicy"), put
assert len(put["Alarms"]) == 2, put

stepping = {
    "AdjustmentType": "ChangeInCapacity",
    "MetricAggregationType": "Average",
    "Cooldown": 300,
    "StepAdjustments": [{"MetricIntervalLowerBound": 0, "ScalingAdjustment": 1}],
}
step = client.put_scaling_policy(
    **TARGET, PolicyName="HasBacklogWithoutCapacity-ScalingPolicy", PolicyType="StepScaling", StepScalingPolicyConfiguration=stepping
)
assert step["Alarms"] == [], step

policies = [p for page in client.get_paginator("describe_scaling_policies").paginate(ServiceNamespace="sagemaker", PaginationConfig={"PageSize": 1}) for p in page["ScalingPolicies"]]
assert [p["PolicyName"] for p in policies] == ["HasBacklogWithoutCapacity-ScalingPolicy", "Invocations-ScalingPolicy"], policies
assert policies[0]["StepScalingPolicyConfiguration"] == stepping, policies
assert policies[1]["TargetTrackingScalingPolicyConfiguration"] == tracking, policies

targets = client.describe_scalable_targets(ServiceNamespace="sagemaker", ResourceIds=[RESOURCE])["ScalableTargets"]
assert [(t["MinCapacity"], t["MaxCapacity"], t["ScalableTargetARN"]) for t in targets] == [(0, 5, arn)], targets

# CloudWatch shows what the tracking policy waits for.
alarms = cloudwatch.describe_alarms(AlarmNamePrefix=f"TargetTracking-{RESOURCE}-")["MetricAlarms"]
assert sorted((a["AlarmName"], a["AlarmArn"]) for a in alarms) == sorted((a["AlarmName"], a["AlarmARN"]) for a in put["Alarms"]), alarms
assert sorted((a["MetricName"], a["ComparisonOperator"], a["Threshold"], a["EvaluationPeriods"]) for a in alarms) == [
    ("ApproximateBacklogSizePerInstance", "GreaterThanThreshold", 5.0, 3),
    ("ApproximateBacklogSizePerInstance", "LessThanThreshold", 4.5, 15),
], alarms

# An alarm that rings has the step policy act.
cloudwatch.put_metric_alarm(
    AlarmName="backlog", MetricName="HasBacklogWithoutCapacity", Namespace="AWS/SageMaker", Statistic="Average", EvaluationPeriods=2,
    DatapointsToAlarm=2, Threshold=1, ComparisonOperator="GreaterThanOrEqualToThreshold", TreatMissingData="missing",
    Dimensions=[{"Name": "EndpointName", "Value": ENDPOINT}], Period=60, AlarmActions=[step["PolicyARN"]],
)
cloudwatch.set_alarm_state(AlarmName="backlog", StateValue="ALARM", StateReason="by hand")
until("another instance", lambda: instances() == 2 and fulfilled())
cloudwatch.delete_alarms(AlarmNames=["backlog"])

# More than one is asked for, and then none: the bounds hold at once.
client.register_scalable_target(**TARGET, MinCapacity=3)
until("three instances", lambda: instances() == 3 and fulfilled())
sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=ENDPOINT, WaiterConfig={"Delay": 1, "MaxAttempts": PATIENCE})
client.register_scalable_target(**TARGET, MinCapacity=0, MaxCapacity=0)
until("no instance", lambda: instances() == 0 and fulfilled())
done = activities()
assert [a["Description"] for a in done] == [f"Setting desired instance count to {n}." for n in (0, 3, 2)], done
assert done[0]["StatusMessage"] == "Successfully set desired instance count to 0. Change successfully fulfilled by sagemaker.", done
assert done[2]["Cause"] == "monitor alarm backlog in state ALARM triggered policy HasBacklogWithoutCapacity-ScalingPolicy", done

client.delete_scaling_policy(**TARGET, PolicyName="Invocations-ScalingPolicy")
assert cloudwatch.describe_alarms(AlarmNamePrefix="TargetTracking-")["MetricAlarms"] == []
client.deregister_scalable_target(**TARGET)
try:
    client.deregister_scalable_target(**TARGET)
    sys.exit("deregistered twice")
except client.exceptions.ObjectNotFoundException:
    pass
assert client.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"] == []
try:
    client.put_scaling_policy(**TARGET, PolicyName="p", PolicyType="StepScaling", StepScalingPolicyConfiguration=stepping)
    sys.exit("a policy of no target was taken")
except client.exceptions.ObjectNotFoundException as e:
    assert f"No scalable target registered for service namespace: sagemaker, resource ID: {RESOURCE}" in str(e), e
print("all of it works")
