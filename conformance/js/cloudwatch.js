// Looks at the metrics of an endpoint that has worked, keeps some of its own,
// and watches both with alarms, all with the AWS SDK for JavaScript.
//
// Its argument names the endpoint, which has failed 3 of 10 invocations. Its
// environment says where the server is.

import assert from "node:assert/strict";

import {
  CloudWatch,
  InvalidFormatFault,
  InvalidNextToken,
  InvalidParameterCombinationException,
  InvalidParameterValueException,
  MissingRequiredParameterException,
  paginateDescribeAlarms,
  paginateGetMetricData,
  paginateListMetrics,
  ResourceNotFound,
  ResourceNotFoundException,
  ValidationException,
  waitUntilAlarmExists,
} from "@aws-sdk/client-cloudwatch";

import { all, refused, until } from "./expect.js";

const ENDPOINT = process.argv[2];
const MINUTE = 60_000;
const SAGEMAKER = "AWS/SageMaker";
const OFFERED = ["SampleCount", "Average", "Sum", "Minimum", "Maximum"];

const client = new CloudWatch();
const name = { Name: "EndpointName", Value: ENDPOINT };
const variant = [name, { Name: "VariantName", Value: "AllTraffic" }];
const now = Math.floor(Date.now() / MINUTE) * MINUTE;

function ago(minutes) {
  return new Date(now - minutes * MINUTE);
}

// total adds up a metric of the endpoint's.
async function total(MetricName) {
  const { Label, Datapoints } = await client.getMetricStatistics({
    Namespace: SAGEMAKER,
    MetricName,
    Dimensions: variant,
    StartTime: ago(15),
    EndTime: new Date(Date.now() + MINUTE),
    Period: 60,
    Statistics: ["Sum", "SampleCount"],
  });
  assert.equal(Label, MetricName);
  const sum = (member) => Datapoints.reduce((n, point) => n + point[member], 0);
  return [sum("Sum"), sum("SampleCount"), ...new Set(Datapoints.map((point) => point.Unit))];
}

async function measured() {
  await until("10 invocations to be counted", async () => (await total("InvocationsProcesssed"))[0] === 10);
  const want = {
    InvocationsProcessed: [10, 10, "Count"],
    InvocationFailures: [3, 3, "Count"],
    Invocation5XXErrors: [3, 10, "None"],
    Invocation4XXErrors: [0, 10, "None"],
  };
  for (const [metric, numbers] of Object.entries(want)) {
    assert.deepEqual(await total(metric), numbers, metric);
  }
  const [latency, count, unit] = await total("ModelLatency");
  assert.deepEqual([count, unit], [10, "Microseconds"]);
  assert.ok(latency >= 7 * 20_000, `10 invocations, 7 of them of 20 ms, took ${latency} µs`);

  const queries = Object.keys(want).map((MetricName, i) => ({
    Id: `q${i}`,
    MetricStat: { Metric: { Namespace: SAGEMAKER, MetricName, Dimensions: variant }, Period: 3600, Stat: "Sum" },
  }));
  const span = { StartTime: ago(15), EndTime: new Date(Date.now() + MINUTE) };
  const { MetricDataResults } = await client.getMetricData({ ...span, MetricDataQueries: queries });
  const sums = MetricDataResults.map((r) => [r.Label, r.Values.reduce((a, b) => a + b, 0)]);
  assert.deepEqual(sums, Object.entries(want).map(([metric, [sum]]) => [metric, sum]));

  const pages = await all(paginateListMetrics({ client }, { Namespace: SAGEMAKER, Dimensions: variant }), (page) => page.Metrics);
  const listed = pages.flat();
  for (const metric of Object.keys(want)) {
    assert.equal(listed.filter((m) => m.MetricName === metric).length, 1, metric);
  }
  assert.deepEqual(listed[0].Dimensions, variant);
}

// kept puts values of two minutes in each of the ways that there are.
async function kept() {
  const Dimensions = [{ Name: "Größe", Value: "<1>" }];
  const datum = { MetricName: "Seen", Dimensions, Unit: "Seconds" };
  const StatisticValues = { Sum: 10.5, Minimum: 4, Maximum: 6.5, SampleCount: 2 };
  await client.putMetricData({
    Namespace: "Own",
    MetricData: [
      { ...datum, Timestamp: ago(5), Values: [1, 2, 3], Counts: [1, 1, 2] },
      { ...datum, Timestamp: ago(3), StatisticValues },
      { ...datum, Timestamp: ago(3), Value: -1 },
    ],
  });
  const span = { StartTime: ago(5), EndTime: ago(0) };
  const metric = { Namespace: "Own", MetricName: "Seen", Dimensions };
  const first = { Timestamp: ago(5), SampleCount: 4, Average: 2.25, Sum: 9, Minimum: 1, Maximum: 3, Unit: "Seconds" };
  const second = { Timestamp: ago(3), SampleCount: 3, Average: 9.5 / 3, Sum: 9.5, Minimum: -1, Maximum: 6.5, Unit: "Seconds" };
  const byMinute = await client.getMetricStatistics({ ...metric, ...span, Period: 60, Statistics: OFFERED });
  assert.deepEqual(byMinute.Datapoints, [first, second]);
  const both = await client.getMetricStatistics({ ...metric, ...span, Period: 300, Statistics: ["Sum", "SampleCount"] });
  assert.deepEqual(both.Datapoints, [{ Timestamp: ago(5), SampleCount: 7, Sum: 18.5, Unit: "Seconds" }]);

  const query = (Id, Stat, Label) => ({ Id, Label, MetricStat: { Metric: metric, Period: 60, Stat } });
  const asked = { ...span, MetricDataQueries: [query("a", "Sum"), query("b", "Maximum", "the most")] };
  const { MetricDataResults } = await client.getMetricData(asked);
  assert.deepEqual(MetricDataResults, [
    { Id: "a", Label: "Seen", Timestamps: [ago(3), ago(5)], Values: [9.5, 9], StatusCode: "Complete" },
    { Id: "b", Label: "the most", Timestamps: [ago(3), ago(5)], Values: [6.5, 3], StatusCode: "Complete" },
  ]);
  const pages = paginateGetMetricData({ client, pageSize: 1 }, { ...asked, ScanBy: "TimestampAscending" });
  const results = (await all(pages, (page) => page.MetricDataResults)).flat();
  assert.deepEqual(
    results.map((r) => [r.Id, r.Values, r.StatusCode]),
    [["a", [9], "PartialData"], ["a", [9.5], "Complete"], ["b", [3], "PartialData"], ["b", [6.5], "Complete"]],
  );
}

// many puts so much at once that the SDK compresses it, and lists it.
async function many() {
  const MetricData = Array.from({ length: 600 }, (_, Value) => ({
    MetricName: "Number",
    Dimensions: [{ Name: "N", Value: String(Value).padStart(3, "0") }],
    Value,
  }));
  await client.putMetricData({ Namespace: "Many", MetricData });
  const pages = await all(paginateListMetrics({ client }, { Namespace: "Many" }), (page) => page.Metrics);
  assert.deepEqual(pages.map((metrics) => metrics.length), [500, 100]);
  const metric = pages[1][99];
  assert.deepEqual(metric.Dimensions, [{ Name: "N", Value: "599" }]);
  const { Datapoints } = await client.getMetricStatistics({
    ...metric,
    StartTime: ago(1),
    EndTime: new Date(Date.now() + MINUTE),
    Period: 60,
    Statistics: ["Maximum"],
  });
  assert.deepEqual(Datapoints.map((point) => [point.Maximum, point.Unit]), [[599, "None"]]);
}

const alarm = {
  AlarmName: "failures",
  AlarmDescription: "größer als 2",
  Namespace: SAGEMAKER,
  MetricName: "InvocationFailures",
  Dimensions: variant,
  Statistic: "Sum",
  Period: 60,
  EvaluationPeriods: 10,
  DatapointsToAlarm: 1,
  Threshold: 0.5,
  ComparisonOperator: "GreaterThanThreshold",
  TreatMissingData: "notBreaching",
};

async function described(AlarmName) {
  const { MetricAlarms } = await client.describeAlarms({ AlarmNames: [AlarmName] });
  assert.equal(MetricAlarms.length, 1);
  return MetricAlarms[0];
}

async function watched() {
  await client.putMetricAlarm({ ...alarm, Tags: [{ Key: "team", Value: "a" }] });
  await waitUntilAlarmExists({ client, maxWaitTime: 60 }, { AlarmNames: [alarm.AlarmName] });
  const found = await described(alarm.AlarmName);
  for (const [member, value] of Object.entries(alarm)) {
    assert.deepEqual(found[member], value, member);
  }
  assert.equal(found.ActionsEnabled, true);
  assert.ok(found.AlarmArn.endsWith(":alarm:failures"), found.AlarmArn);
  assert.ok(found.AlarmConfigurationUpdatedTimestamp >= ago(1), found.AlarmConfigurationUpdatedTimestamp);
  const { Tags } = await client.listTagsForResource({ ResourceARN: found.AlarmArn });
  assert.deepEqual(Tags, [{ Key: "team", Value: "a" }]);

  // The server judges it itself.
  await until("the alarm to go off", async () => (await described(alarm.AlarmName)).StateValue === "ALARM");
  assert.match((await described(alarm.AlarmName)).StateReason, /^Threshold Crossed/);

  for (const AlarmName of ["by hand 1", "by hand 2"]) {
    await client.putMetricAlarm({ ...alarm, AlarmName, Namespace: "Own", MetricName: "Never", Dimensions: [] });
  }
  const state = { AlarmName: "by hand 2", StateValue: "ALARM", StateReason: "by hand", StateReasonData: '{"by":"hand"}' };
  await client.setAlarmState(state);
  const ringing = await client.describeAlarms({ AlarmNamePrefix: "by hand", StateValue: "ALARM" });
  assert.deepEqual(ringing.MetricAlarms.map((a) => a.AlarmName), ["by hand 2"]);
  assert.deepEqual([ringing.MetricAlarms[0].StateReason, ringing.MetricAlarms[0].StateReasonData], ["by hand", '{"by":"hand"}']);
  const pages = await all(paginateDescribeAlarms({ client, pageSize: 2 }, {}), (page) => page.MetricAlarms.map((a) => a.AlarmName));
  assert.deepEqual(pages, [["by hand 1", "by hand 2"], ["failures"]]);

  // All that are named are deleted, or none.
  const gone = await refused(client.deleteAlarms({ AlarmNames: ["by hand 1", "nobody"] }), ResourceNotFound);
  assert.deepEqual([gone.name, gone.$metadata.httpStatusCode], ["ResourceNotFound", 404]);
  await described("by hand 1");
  await client.deleteAlarms({ AlarmNames: ["by hand 1", "by hand 2", "failures"] });
  assert.deepEqual((await client.describeAlarms()).MetricAlarms, []);
  await refused(client.listTagsForResource({ ResourceARN: found.AlarmArn }), ResourceNotFoundException);
}

async function refusals() {
  const statistics = {
    Namespace: "Own", MetricName: "Seen", StartTime: ago(5), EndTime: ago(0), Period: 60, Statistics: ["Sum"],
  };
  const data = { StartTime: ago(5), EndTime: ago(0) };
  const stat = { Metric: { Namespace: "Own", MetricName: "Seen" }, Period: 60 };
  const datum = { MetricName: "Seen", Value: 1 };
  const put = (members) => client.putMetricAlarm({ ...alarm, ...members });
  const measure = (members) => client.putMetricData({ Namespace: "Own", MetricData: [{ ...datum, ...members }] });
  const query = (...MetricDataQueries) => client.getMetricData({ ...data, MetricDataQueries });
  const cases = [
    [put({ Period: 30 }), InvalidParameterValueException],
    [put({ ExtendedStatistic: "p99", Statistic: undefined }), InvalidParameterValueException],
    [put({ Threshold: undefined }), MissingRequiredParameterException],
    [put({ DatapointsToAlarm: 11 }), ValidationException],
    [put({ AlarmActions: ["nobody"] }), ValidationException],
    [put({ Statistic: "Median" }), ValidationException],
    [client.setAlarmState({ AlarmName: "nobody", StateValue: "OK", StateReason: "" }), ResourceNotFound],
    [client.setAlarmState({ AlarmName: "nobody", StateValue: "OK", StateReason: "", StateReasonData: "{" }), InvalidFormatFault],
    [client.describeAlarms({ AlarmNames: ["a"], AlarmNamePrefix: "a" }), InvalidParameterCombinationException],
    [client.getMetricStatistics({ ...statistics, EndTime: ago(6) }), InvalidParameterValueException],
    [client.getMetricStatistics({ ...statistics, StartTime: ago(1500) }), InvalidParameterCombinationException],
    [client.getMetricStatistics({ ...statistics, Statistics: undefined }), MissingRequiredParameterException],
    [query({ Id: "a", Expression: "1 + 1" }), InvalidParameterValueException],
    [query({ Id: "a", MetricStat: { ...stat, Stat: "p99" } }), InvalidParameterValueException],
    [client.getMetricData({ ...data, MetricDataQueries: [], NextToken: "nothing" }), InvalidNextToken],
    [client.listMetrics({ NextToken: "!" }), InvalidNextToken],
    [client.putMetricData({ Namespace: SAGEMAKER, MetricData: [datum] }), InvalidParameterValueException],
    [measure({ Timestamp: ago(15 * 24 * 60) }), InvalidParameterValueException],
    [measure({ Values: [1] }), InvalidParameterCombinationException],
    [measure({ Value: undefined }), MissingRequiredParameterException],
  ];
  for (const result of await Promise.allSettled(cases.map(([call, type]) => refused(call, type)))) {
    assert.equal(result.status, "fulfilled", result.reason);
    const { $metadata, message } = result.value;
    assert.ok($metadata.requestId && message, String(result.value));
    assert.ok([400, 404].includes($metadata.httpStatusCode), String($metadata.httpStatusCode));
  }
}

await measured();
await kept();
await many();
await refusals();
await watched();
