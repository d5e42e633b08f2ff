// Walks through the life of a topic with the AWS SDK for JavaScript, and
// validates its messages with AWS's own validator. The host that certificates
// come from is all that it has to be told.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { get } from "node:https";

import { NotFoundException, SNS } from "@aws-sdk/client-sns";
import MessageValidator from "sns-validator";

const received = [];
const arrived = [];
const receiver = createServer(async (request, response) => {
  let body = "";
  for await (const chunk of request) body += chunk;
  response.end();
  const waiting = arrived.shift();
  if (waiting) waiting(body);
  else received.push(body);
});
receiver.listen(0, "127.0.0.1");
await once(receiver, "listening");
const endpoint = `http://127.0.0.1:${receiver.address().port}/`;

const { host } = new URL(process.env.AWS_ENDPOINT_URL);
const validator = new MessageValidator(new RegExp(`^${host.replaceAll(".", "\\.")}$`));

function validate(body) {
  return new Promise((resolve, reject) => {
    validator.validate(body, (error, message) => (error ? reject(error) : resolve(message)));
  });
}

async function next() {
  const body = received.shift() ?? (await new Promise((resolve) => arrived.push(resolve)));
  return validate(body);
}

async function status(url) {
  const [response] = await once(get(url), "response");
  response.resume();
  return response.statusCode;
}

const sns = new SNS();
const { TopicArn } = await sns.createTopic({ Name: "js", Tags: [{ Key: "k", Value: "v" }] });
assert.equal((await sns.listTopics()).Topics[0].TopicArn, TopicArn);
assert.deepEqual((await sns.listTagsForResource({ ResourceArn: TopicArn })).Tags, [{ Key: "k", Value: "v" }]);

const { SubscriptionArn } = await sns.subscribe({ TopicArn, Protocol: "http", Endpoint: endpoint, ReturnSubscriptionArn: true });
const asked = await next();
assert.equal(asked.Type, "SubscriptionConfirmation");
assert.equal(await status(asked.SubscribeURL), 200);
const { Attributes } = await sns.getSubscriptionAttributes({ SubscriptionArn });
assert.equal(Attributes.PendingConfirmation, "false");

for (const version of ["1", "2"]) {
  await sns.setTopicAttributes({ TopicArn, AttributeName: "SignatureVersion", AttributeValue: version });
  for (const Subject of [undefined, "A subject"]) {
    const { MessageId } = await sns.publish({
      TopicArn,
      Subject,
      Message: '{"größer": "<1>"}',
      MessageAttributes: { kind: { DataType: "String", StringValue: "a" }, bytes: { DataType: "Binary", BinaryValue: new Uint8Array([1, 2]) } },
    });
    const message = await next();
    assert.equal(message.SignatureVersion, version);
    assert.equal(message.MessageId, MessageId);
    assert.equal(message.Subject, Subject);
    assert.equal(message.Message, '{"größer": "<1>"}');
    assert.deepEqual(message.MessageAttributes, { kind: { Type: "String", Value: "a" }, bytes: { Type: "Binary", Value: "AQI=" } });
    await assert.rejects(validate(JSON.stringify({ ...message, Message: "another" })), /signature/i);
  }
}

await sns.unsubscribe({ SubscriptionArn });
assert.equal((await sns.listSubscriptionsByTopic({ TopicArn })).Subscriptions?.length ?? 0, 0);
await sns.deleteTopic({ TopicArn });
await assert.rejects(sns.getTopicAttributes({ TopicArn }), NotFoundException);
receiver.close();
receiver.closeAllConnections();
