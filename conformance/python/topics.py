"""Topics of SNS, and what comes to a subscriber of them here."""

import collections
import http.server
import json
import queue
import threading
import urllib.request

import boto3

from steps import PATIENCE

sns = boto3.client("sns")
arns = []
received = collections.defaultdict(queue.Queue)  # by the name of the topic


class Subscriber(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
        received[message["TopicArn"].rpartition(":")[2]].put(message)

    def log_request(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Subscriber)
threading.Thread(target=server.serve_forever, daemon=True).start()


def create(name):
    """Makes a topic that tells us everything, and returns its ARN."""
    arns.append(sns.create_topic(Name=name)["TopicArn"])
    sns.subscribe(TopicArn=arns[-1], Protocol="http", Endpoint=f"http://127.0.0.1:{server.server_port}/")
    with urllib.request.urlopen(received[name].get(timeout=PATIENCE)["SubscribeURL"], timeout=PATIENCE) as answer:
        answer.read()
    return arns[-1]


def next_result(name):
    """Waits for the next result that a topic tells of."""
    while True:
        event = json.loads(received[name].get(timeout=PATIENCE)["Message"])
        if event["eventName"] == "InferenceResult":
            return event


def delete():
    for arn in arns:
        sns.delete_topic(TopicArn=arn)
