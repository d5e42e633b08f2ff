"""Looks at metrics, alarms and logs of an endpoint as boto3's users do.

What is found is printed as JSON.
"""

import datetime
import json
import os
import sys

import boto3
from botocore.exceptions import ClientError

NAME, FAILED = sys.argv[1:]
URL = os.environ["AWS_ENDPOINT_URL"]  # which an old boto3 does not read by itself
cloudwatch, logs = boto3.client("cloudwatch", endpoint_url=URL), boto3.client("logs", endpoint_url=URL)
found = {}

now = datetime.datetime.now(datetime.timezone.utc)
metrics = [
    m
    for page in cloudwatch.get_paginator("list_metrics").paginate(
        Namespace="AWS/SageMaker", Dimensions=[{"Name": "EndpointName", "Value": NAME}]
    )
    for m in page["Metrics"]
]
for m in metrics:
    answer = cloudwatch.get_metric_statistics(
        Namespace=m["Namespace"],
        MetricName=m["MetricName"],
        Dimensions=m["Dimensions"],
        StartTime=now - datetime.timedelta(minutes=15),
        EndTime=now + datetime.timedelta(minutes=1),
        Period=3600,
        Statistics=["Sum", "SampleCount"],
    )
    found[m["MetricName"]] = {
        "sum": sum(p["Sum"] for p in answer["Datapoints"]),
        "count": sum(p["SampleCount"] for p in answer["Datapoints"]),
        "units": sorted({p["Unit"] for p in answer["Datapoints"]}),
    }

# Measurements of one's own; botocore compresses a request as large as this.
cloudwatch.put_metric_data(
    Namespace="Mine",
    MetricData=[
        {"MetricName": "M", "Dimensions": [{"Name": "N", "Value": str(i)}], "Value": i, "Unit": "Count"} for i in range(500)
    ],
)
data = cloudwatch.get_metric_data(
    StartTime=now - datetime.timedelta(minutes=5),
    EndTime=now + datetime.timedelta(minutes=5),
    MetricDataQueries=[
        {
            "Id": f"q{i}",
            "MetricStat": {
                "Metric": {"Namespace": "Mine", "MetricName": "M", "Dimensions": [{"Name": "N", "Value": str(i)}]},
                "Period": 60,
                "Stat": "Maximum",
            },
        }
        for i in (7, 499)
    ],
)
found["own"] = [[float(v) for v in r["Values"]] for r in data["MetricDataResults"]]

cloudwatch.put_metric_alarm(
    AlarmName="from boto3",
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
    AlarmActions=[],
)
alarm = cloudwatch.describe_alarms(AlarmNames=["from boto3"])["MetricAlarms"][0]
found["alarm"] = [alarm["StateValue"], float(alarm["Threshold"]), alarm["Dimensions"], alarm["StateUpdatedTimestamp"].tzinfo is not None]
cloudwatch.delete_alarms(AlarmNames=["from boto3"])
try:
    cloudwatch.delete_alarms(AlarmNames=["from boto3"])
except ClientError as e:
    found["error"] = e.response["Error"]["Code"]

group = "/aws/sagemaker/Endpoints/" + NAME
found["groups"] = [g["logGroupName"] for g in logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]]
found["failures"] = [
    e["message"]
    for page in logs.get_paginator("filter_log_events").paginate(
        logGroupName=group, filterPattern=f'"Received server error" "{FAILED}"'
    )
    for e in page["events"]
]
streams = [
    s["logStreamName"]
    for page in logs.get_paginator("describe_log_streams").paginate(logGroupName=group)
    for s in page["logStreams"]
]
found["streams"] = len(streams)
events = logs.get_log_events(logGroupName=group, logStreamName=[s for s in streams if s.endswith("/data-log")][0], startFromHead=True)
found["events"] = len(events["events"])
print(json.dumps(found))
