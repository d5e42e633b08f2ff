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
sagemaker = boto3.client("sagemaker")


def instances():
    return sagemaker.describe_endpoint(EndpointName=ENDPOINT)["ProductionVariants"][0]["DesiredInstanceCount"]


def until(what, done):
    deadline = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < deadline, f"waited for {what}"
        time.sleep(0.05)


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
put = client.put_scaling_policy(
    **TARGET, PolicyName="HasBacklogWithoutCapacity-ScalingPolicy", PolicyType="StepScaling", StepScalingPolicyConfiguration=stepping
)
assert put["Alarms"] == [], put

policies = [p for page in client.get_paginator("describe_scaling_policies").paginate(ServiceNamespace="sagemaker", PaginationConfig={"PageSize": 1}) for p in page["ScalingPolicies"]]
assert [p["PolicyName"] for p in policies] == ["HasBacklogWithoutCapacity-ScalingPolicy", "Invocations-ScalingPolicy"], policies
assert policies[0]["StepScalingPolicyConfiguration"] == stepping, policies
assert policies[1]["TargetTrackingScalingPolicyConfiguration"] == tracking, policies

targets = client.describe_scalable_targets(ServiceNamespace="sagemaker", ResourceIds=[RESOURCE])["ScalableTargets"]
assert [(t["MinCapacity"], t["MaxCapacity"], t["ScalableTargetARN"]) for t in targets] == [(0, 5, arn)], targets

# More than one is asked for, and then none: the bounds hold at once.
client.register_scalable_target(**TARGET, MinCapacity=2)
until("two instances", lambda: instances() == 2)
sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=ENDPOINT, WaiterConfig={"Delay": 1, "MaxAttempts": PATIENCE})
client.register_scalable_target(**TARGET, MinCapacity=0, MaxCapacity=0)
until("no instance", lambda: instances() == 0)
until("the end of the activities", lambda: all(
    a["StatusCode"] == "Successful" for a in client.describe_scaling_activities(ServiceNamespace="sagemaker", ResourceId=RESOURCE)["ScalingActivities"]
))
activities = client.describe_scaling_activities(ServiceNamespace="sagemaker", ResourceId=RESOURCE)["ScalingActivities"]
assert [a["Description"] for a in activities] == ["Setting desired instance count to 0.", "Setting desired instance count to 2."], activities
assert activities[0]["StatusMessage"] == "Successfully set desired instance count to 0. Change successfully fulfilled by sagemaker.", activities

client.delete_scaling_policy(**TARGET, PolicyName="Invocations-ScalingPolicy")
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
