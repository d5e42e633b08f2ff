"""Walks through the life of a topic with boto3, and receives its messages."""

import http.server
import json
import queue
import threading
import urllib.request

import boto3
from botocore.exceptions import ClientError

received = queue.Queue()


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.send_response(200)
        self.end_headers()
        received.put((dict(self.headers.items()), body))

    def log_message(self, *_):
        pass


def get(url):
    return urllib.request.urlopen(url, timeout=10).read().decode()


def equal(got, want):
    assert got == want, f"got {got!r}, want {want!r}"


def refused(code, call, **parameters):
    try:
        call(**parameters)
    except ClientError as e:
        equal(e.response["Error"]["Code"], code)
        return
    raise AssertionError(f"{parameters} are taken, want {code}")


def message():
    headers, body = received.get(timeout=30)
    return headers, json.loads(body)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
threading.Thread(target=server.serve_forever, daemon=True).start()
endpoint = f"http://127.0.0.1:{server.server_port}/hook?key=a%20b"

sns = boto3.client("sns")
topic = sns.create_topic(Name="boto", Attributes={"DisplayName": "Boto"}, Tags=[{"Key": "k", "Value": "ä"}])["TopicArn"]
equal(sns.create_topic(Name="boto")["TopicArn"], topic)
equal([t["TopicArn"] for t in sns.list_topics()["Topics"]], [topic])
equal(sns.list_tags_for_resource(ResourceArn=topic)["Tags"], [{"Key": "k", "Value": "ä"}])
sns.tag_resource(ResourceArn=topic, Tags=[{"Key": "l", "Value": "1"}])
sns.untag_resource(ResourceArn=topic, TagKeys=["k"])
equal(sns.list_tags_for_resource(ResourceArn=topic)["Tags"], [{"Key": "l", "Value": "1"}])
sns.set_topic_attributes(TopicArn=topic, AttributeName="SignatureVersion", AttributeValue="2")
attributes = sns.get_topic_attributes(TopicArn=topic)["Attributes"]
equal((attributes["DisplayName"], attributes["SignatureVersion"]), ("Boto", "2"))
json.loads(attributes["Policy"])

refused("InvalidParameter", sns.subscribe, TopicArn=topic, Protocol="email", Endpoint="a@example.org")
refused("NotFound", sns.subscribe, TopicArn=topic + "x", Protocol="email", Endpoint="a@example.org")
equal(sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=endpoint)["SubscriptionArn"], "pending confirmation")
headers, asked = message()
equal(headers["X-Amz-Sns-Message-Type"], "SubscriptionConfirmation")
subscription = sns.confirm_subscription(TopicArn=topic, Token=asked["Token"])["SubscriptionArn"]
assert subscription in get(asked["SubscribeURL"])
listed = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
equal(listed, sns.list_subscriptions()["Subscriptions"])
equal((listed[0]["SubscriptionArn"], listed[0]["Endpoint"]), (subscription, endpoint))

published = sns.publish(
    TopicArn=topic, Message="größer", Subject="Subject",
    MessageAttributes={"n": {"DataType": "Number", "StringValue": "1"}},
)["MessageId"]
headers, m = message()
equal((m["Message"], m["Subject"], m["MessageId"]), ("größer", "Subject", published))
equal(m["MessageAttributes"], {"n": {"Type": "Number", "Value": "1"}})
assert "BEGIN CERTIFICATE" in get(m["SigningCertURL"])

sns.set_subscription_attributes(SubscriptionArn=subscription, AttributeName="RawMessageDelivery", AttributeValue="true")
equal(sns.get_subscription_attributes(SubscriptionArn=subscription)["Attributes"]["RawMessageDelivery"], "true")
batch = sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=[{"Id": "a", "Message": '{"raw": 1}'}])
equal([s["Id"] for s in batch["Successful"]], ["a"])
headers, m = message()
equal((m, headers["X-Amz-Sns-Rawdelivery"]), ({"raw": 1}, "true"))

get(f'{sns.meta.endpoint_url}/?Action=Unsubscribe&SubscriptionArn={subscription}')
equal(sns.list_subscriptions()["Subscriptions"], [])
sns.unsubscribe(SubscriptionArn=subscription)
sns.delete_topic(TopicArn=topic)
refused("NotFound", sns.publish, TopicArn=topic, Message="x")
refused("ResourceNotFound", sns.list_tags_for_resource, ResourceArn=topic)
equal(sns.list_topics()["Topics"], [])
