"""Sends each argument to the model, and prints the answers."""

import sys
import time
from urllib.parse import urlparse

import boto3

s3 = boto3.client("s3")
runtime = boto3.client("sagemaker-runtime")


def result(answer):
    while True:
        for location in urlparse(answer["OutputLocation"]), urlparse(answer["FailureLocation"]):
            try:
                return s3.get_object(Bucket=location.netloc, Key=location.path[1:])["Body"].read().decode()
            except s3.exceptions.NoSuchKey:
                time.sleep(0.1)


texts = sys.argv[1:]
answers = [runtime.invoke_endpoint_async(EndpointName="languages", ContentType="text/plain", Body=t) for t in texts]
for text, answer in zip(texts, answers):
    print(text, "→", result(answer))
