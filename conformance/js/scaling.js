// Drives each operation of Application Auto Scaling with the AWS SDK for
// JavaScript.
//
// Its argument is the resource ID of a variant that has one instance. Its
// environment says where the server is.

import assert from "node:assert/strict";

import {
  ApplicationAutoScaling,
  InvalidNextTokenException,
  LimitExceededException,
  ObjectNotFoundException,
  paginateDescribeScalingActivities,
  paginateDescribeScalingPolicies,
  ResourceNotFoundException,
  TooManyTagsException,
  ValidationException,
} from "@aws-sdk/client-application-auto-scaling";
import { CloudWatch } from "@aws-sdk/client-cloudwatch";
import { SageMaker } from "@aws-sdk/client-sagemaker";

import { all, refused, until } from "./expect.js";

const ResourceId = process.argv[2];
const ENDPOINT = ResourceId.split("/")[1];
const ServiceNamespace = "sagemaker";
const TARGET = { ServiceNamespace, ResourceId, ScalableDimension: "sagemaker:variant:DesiredInstanceCount" };
const OF_TARGET = `for service namespace: sagemaker, resource ID: ${ResourceId}, scalable dimension: ${TARGET.ScalableDimension}`;

const scaling = new ApplicationAutoScaling();
const cloudwatch = new CloudWatch();
const sagemaker = new SageMaker();

const tracking = {
  PolicyName: "Invocations-ScalingPolicy",
  PolicyType: "TargetTrackingScaling",
  TargetTrackingScalingPolicyConfiguration: {
    TargetValue: 5,
    CustomizedMetricSpecification: {
      MetricName: "ApproximateBacklogSizePerInstance",
      Namespace: "AWS/SageMaker",
      Dimensions: [{ Name: "EndpointName", Value: ENDPOINT }],
      Statistic: "Average",
    },
    ScaleInCooldown: 600,
    ScaleOutCooldown: 300,
  },
};
const stepping = {
  PolicyName: "HasBacklogWithoutCapacity-ScalingPolicy",
  PolicyType: "StepScaling",
  StepScalingPolicyConfiguration: {
    AdjustmentType: "ChangeInCapacity",
    MetricAggregationType: "Average",
    Cooldown: 300,
    StepAdjustments: [{ MetricIntervalLowerBound: 0, ScalingAdjustment: 1 }],
  },
};

function put(policy) {
  return scaling.putScalingPolicy({ ...TARGET, ...policy });
}

// activities are the target's, the latest first.
async function activities() {
  const pages = paginateDescribeScalingActivities({ client: scaling, pageSize: 1 }, { ServiceNamespace, ResourceId });
  return (await all(pages, (page) => page.ScalingActivities)).flat();
}

// fulfilled waits until there are to be so many instances, and they are there.
function fulfilled(instances) {
  return until(`${instances} instances`, async () => {
    const [variant] = (await sagemaker.describeEndpoint({ EndpointName: ENDPOINT })).ProductionVariants;
    return variant.DesiredInstanceCount === instances && (await activities()).every((a) => a.StatusCode === "Successful");
  });
}

async function register() {
  await refused(scaling.registerScalableTarget({ ...TARGET, MaxCapacity: 5 }), ValidationException, "Both MinCapacity and MaxCapacity");
  const { ScalableTargetARN } = await scaling.registerScalableTarget({ ...TARGET, MinCapacity: 0, MaxCapacity: 5, Tags: { a: "1" } });
  const { ScalableTargets } = await scaling.describeScalableTargets({ ServiceNamespace, ResourceIds: [ResourceId] });
  assert.equal(ScalableTargets.length, 1);
  const { CreationTime, RoleARN, ...target } = ScalableTargets[0];
  assert.deepEqual(target, {
    ...TARGET,
    MinCapacity: 0,
    MaxCapacity: 5,
    ScalableTargetARN,
    SuspendedState: { DynamicScalingInSuspended: false, DynamicScalingOutSuspended: false, ScheduledScalingSuspended: false },
  });
  assert.ok(Math.abs(Date.now() - CreationTime) < 600_000, String(CreationTime));
  assert.match(RoleARN, /AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint$/);
  const others = await scaling.describeScalableTargets({ ServiceNamespace, ResourceIds: [`${ResourceId}-not`] });
  assert.deepEqual(others.ScalableTargets, []);
  return ScalableTargetARN;
}

async function tags(ResourceARN) {
  await scaling.tagResource({ ResourceARN, Tags: { b: "2" } });
  await scaling.untagResource({ ResourceARN, TagKeys: ["a", "no-such-tag"] });
  assert.deepEqual((await scaling.listTagsForResource({ ResourceARN })).Tags, { b: "2" });
  const many = Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`key ${i}`, ""]));
  await refused(scaling.tagResource({ ResourceARN, Tags: many }), TooManyTagsException);
  await refused(scaling.tagResource({ ResourceARN: `${ResourceARN}-not`, Tags: { a: "1" } }), ResourceNotFoundException);
  await refused(scaling.untagResource({ ResourceARN: `${ResourceARN}-not`, TagKeys: ["a"] }), ResourceNotFoundException);
}

async function policies() {
  const tracked = await put(tracking);
  assert.ok(tracked.PolicyARN.endsWith(`:resource/sagemaker/${ResourceId}:policyName/${tracking.PolicyName}`), tracked.PolicyARN);
  const { MetricAlarms } = await cloudwatch.describeAlarms({ AlarmNamePrefix: `TargetTracking-${ResourceId}-` });
  assert.deepEqual(
    MetricAlarms.map((a) => [a.AlarmName, a.AlarmArn, a.ComparisonOperator, a.Threshold, a.EvaluationPeriods]),
    tracked.Alarms.map((a, i) => [a.AlarmName, a.AlarmARN, ...[["GreaterThanThreshold", 5, 3], ["LessThanThreshold", 4.5, 15]][i]]),
  );
  const stepped = await put(stepping);
  assert.deepEqual(stepped.Alarms, []);
  const pages = paginateDescribeScalingPolicies({ client: scaling, pageSize: 1 }, { ServiceNamespace });
  const found = (await all(pages, (page) => page.ScalingPolicies)).flat();
  assert.deepEqual(
    found.map(({ CreationTime, ...policy }) => policy),
    [{ ...TARGET, ...stepping, ...answer(stepped) }, { ...TARGET, ...tracking, ...answer(tracked) }],
  );
  const named = await scaling.describeScalingPolicies({ ServiceNamespace, PolicyNames: [tracking.PolicyName] });
  assert.deepEqual(named.ScalingPolicies.map((p) => p.PolicyARN), [tracked.PolicyARN]);
  return stepped.PolicyARN;
}

function answer({ PolicyARN, Alarms }) {
  return { PolicyARN, Alarms };
}

// schedule makes an action, changes it, and deletes it.
async function schedule() {
  const ScheduledActionName = "nightly";
  const StartTime = new Date(Math.floor(Date.now() / 1000) * 1000 + 86_400_000);
  const action = { ...TARGET, ScheduledActionName, Schedule: "cron(0 3 * * ? *)", Timezone: "Europe/Berlin", StartTime };
  await scaling.putScheduledAction({ ...action, ScalableTargetAction: { MinCapacity: 1 } });
  await scaling.putScheduledAction({ ...TARGET, ScheduledActionName, ScalableTargetAction: { MinCapacity: 2, MaxCapacity: 4 } });
  const { ScheduledActions } = await scaling.describeScheduledActions({ ServiceNamespace, ResourceId });
  const [{ CreationTime, ScheduledActionARN, ...found }] = ScheduledActions;
  assert.deepEqual(found, { ...action, ScalableTargetAction: { MinCapacity: 2, MaxCapacity: 4 } });
  assert.ok(ScheduledActionARN.endsWith(`:resource/sagemaker/${ResourceId}:scheduledActionName/nightly`), ScheduledActionARN);
  await scaling.deleteScheduledAction({ ...TARGET, ScheduledActionName });
  const again = scaling.deleteScheduledAction({ ...TARGET, ScheduledActionName });
  await refused(again, ObjectNotFoundException, `No scheduled action found ${OF_TARGET}: nightly`);
}

// scale has an alarm that rings add an instance; then the bounds move what is
// outside them, at once.
async function scale(policy) {
  await cloudwatch.putMetricAlarm({
    AlarmName: "backlog",
    Namespace: "AWS/SageMaker",
    MetricName: "HasBacklogWithoutCapacity",
    Dimensions: [{ Name: "EndpointName", Value: ENDPOINT }],
    Statistic: "Average",
    Period: 60,
    EvaluationPeriods: 2,
    DatapointsToAlarm: 2,
    Threshold: 1,
    ComparisonOperator: "GreaterThanOrEqualToThreshold",
    TreatMissingData: "missing",
    AlarmActions: [policy],
  });
  await cloudwatch.setAlarmState({ AlarmName: "backlog", StateValue: "ALARM", StateReason: "by hand" });
  await fulfilled(2);
  await cloudwatch.deleteAlarms({ AlarmNames: ["backlog"] });
  await scaling.registerScalableTarget({ ...TARGET, MinCapacity: 3 });
  await fulfilled(3);
  await scaling.registerScalableTarget({ ...TARGET, MinCapacity: 0, MaxCapacity: 0 });
  await fulfilled(0);

  const done = await activities();
  assert.deepEqual(done.map((a) => a.Description), [0, 3, 2].map((n) => `Setting desired instance count to ${n}.`));
  assert.equal(done[0].StatusMessage, "Successfully set desired instance count to 0. Change successfully fulfilled by sagemaker.");
  assert.equal(done[2].Cause, `monitor alarm backlog in state ALARM triggered policy ${stepping.PolicyName}`);
  for (const { StartTime, EndTime, ...activity } of done) {
    assert.ok(EndTime >= StartTime, `from ${StartTime} to ${EndTime}`);
    assert.equal(activity.ResourceId, ResourceId);
  }
}

async function refusals() {
  const register = (members) => scaling.registerScalableTarget({ ...TARGET, MinCapacity: 0, MaxCapacity: 5, ...members });
  const track = (members) => {
    const TargetTrackingScalingPolicyConfiguration = { ...tracking.TargetTrackingScalingPolicyConfiguration, ...members };
    return put({ ...tracking, TargetTrackingScalingPolicyConfiguration });
  };
  const step = (members) => {
    const StepScalingPolicyConfiguration = { ...stepping.StepScalingPolicyConfiguration, ...members };
    return put({ ...stepping, StepScalingPolicyConfiguration });
  };
  const steps = (n) => Array.from({ length: n }, (_, i) => ({
    MetricIntervalLowerBound: i, MetricIntervalUpperBound: i + 1 < n ? i + 1 : undefined, ScalingAdjustment: 1,
  }));
  const list = (members) => scaling.describeScalingPolicies({ ServiceNamespace, ...members });
  const cases = [
    [register({ MinCapacity: 6 }), ValidationException, "Maximum capacity cannot be less than minimum capacity."],
    [register({ MinCapacity: -1 }), ValidationException],
    [register({ ServiceNamespace: "ecs" }), ValidationException],
    [register({ ServiceNamespace: "pigeons" }), ValidationException],
    [register({ ResourceId: "endpoint/nobody/variant/AllTraffic" }), ValidationException],
    [register({ ResourceId: undefined }), ValidationException],
    [track({ TargetValue: 0 }), ValidationException],
    [track({ CustomizedMetricSpecification: undefined }), ValidationException],
    [put({ ...tracking, PolicyName: stepping.PolicyName }), ValidationException, "policy type"],
    [step({ StepAdjustments: [] }), ValidationException],
    [step({ StepAdjustments: steps(21) }), LimitExceededException],
    [list({ MaxResults: 51 }), ValidationException],
    [list({ ScalableDimension: TARGET.ScalableDimension }), ValidationException, "you must also specify a resource ID"],
    [list({ NextToken: "!" }), InvalidNextTokenException],
    [scaling.deleteScalingPolicy({ ...TARGET, PolicyName: "nobody" }), ObjectNotFoundException, `No scaling policy found ${OF_TARGET}: nobody`],
  ];
  for (const result of await Promise.allSettled(cases.map(([call, type, text]) => refused(call, type, text)))) {
    assert.equal(result.status, "fulfilled", result.reason);
    const { $metadata, message } = result.value;
    assert.ok($metadata.requestId && message, String(result.value));
    assert.equal($metadata.httpStatusCode, 400);
  }
}

async function deregister(ResourceARN) {
  await scaling.deleteScalingPolicy({ ...TARGET, PolicyName: tracking.PolicyName });
  assert.deepEqual((await cloudwatch.describeAlarms({ AlarmNamePrefix: "TargetTracking-" })).MetricAlarms, []);
  await scaling.deregisterScalableTarget(TARGET);
  await refused(scaling.deregisterScalableTarget(TARGET), ObjectNotFoundException, `No scalable target found ${OF_TARGET}`);
  await refused(put(stepping), ObjectNotFoundException, `No scalable target registered ${OF_TARGET}`);
  await refused(scaling.listTagsForResource({ ResourceARN }), ResourceNotFoundException);
  assert.deepEqual((await scaling.describeScalableTargets({ ServiceNamespace })).ScalableTargets, []);
  assert.deepEqual((await scaling.describeScalingPolicies({ ServiceNamespace })).ScalingPolicies, []);
  assert.equal((await activities()).length, 3);
}

const arn = await register();
await tags(arn);
const policy = await policies();
await schedule();
await refusals();
await scale(policy);
await deregister(arn);
