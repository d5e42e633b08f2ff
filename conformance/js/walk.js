// Walks through the life of an asynchronous endpoint with the AWS SDK for
// JavaScript, as its users do.
//
// All that it knows of the server is what the AWS_ variables of its environment
// say; DEFERD_WALK_NAME and DEFERD_WALK_IMAGE say what to call things and what
// to run. The first step that is not as on SageMaker ends the program.

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { createRequire } from "node:module";
import { Readable } from "node:stream";

import {
  GetObjectCommand,
  NoSuchKey,
  NotFound,
  paginateListObjectsV2,
  PutObjectCommand,
  S3,
  waitUntilBucketExists,
  waitUntilBucketNotExists,
  waitUntilObjectExists,
} from "@aws-sdk/client-s3";
import {
  paginateListEndpoints,
  paginateListTags,
  SageMaker,
  waitUntilEndpointDeleted,
  waitUntilEndpointInService,
} from "@aws-sdk/client-sagemaker";
import { SageMakerRuntime, ValidationError } from "@aws-sdk/client-sagemaker-runtime";
import { STS } from "@aws-sdk/client-sts";
import { Upload } from "@aws-sdk/lib-storage";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";

import { refused } from "./expect.js";

const NAME = environment("DEFERD_WALK_NAME");
const IMAGE = environment("DEFERD_WALK_IMAGE");
const BUCKET = NAME;
const NEXT = `${NAME}-next`; // the configuration that the endpoint is updated to
const SECOND = `${NAME}-second`; // the endpoint that makes a list of two
const MIB = 1 << 20;
const PATIENCE = 60; // seconds
const PART = 8 * MIB;

const s3 = new S3();
const sagemaker = new SageMaker();
const runtime = new SageMakerRuntime();

let account; // known from identity on
const large = randomBytes(40 * MIB);
let largeOutput; // what the model made of large

// What a step returns is a remark on how the client did it.
const steps = {
  identity,
  create,
  wait,
  upload,
  "invoke-s3": invokeS3,
  "invoke-inline": invokeInline,
  "invoke-named": invokeNamed,
  poll,
  failure,
  refusals,
  presign,
  list,
  tags,
  update,
  download,
  copy,
  "delete-objects": deleteObjects,
  delete: deleteAll,
};

function environment(name) {
  const value = process.env[name];
  if (!value) {
    console.error(`${name} is not set`);
    process.exit(2);
  }
  return value;
}

async function identity() {
  const caller = await new STS().getCallerIdentity();
  assert.match(caller.Account, /^\d{12}$/);
  assert.ok(caller.Arn.startsWith(`arn:aws:iam::${caller.Account}:`), caller.Arn);
  account = caller.Account;
}

async function create() {
  await s3.createBucket({ Bucket: BUCKET });
  await waitUntilBucketExists(waiter(s3), { Bucket: BUCKET });
  const model = await sagemaker.createModel({
      ModelName: NAME,
      PrimaryContainer: { Image: IMAGE },
      ExecutionRoleArn: `arn:aws:iam::${account}:role/walk`,
    });
  assert.ok(model.ModelArn.endsWith(`:${account}:model/${NAME}`), model.ModelArn);
  await createConfig(NAME, "out");
  await createEndpoint(NAME);
}

async function createConfig(name, output) {
  await sagemaker.createEndpointConfig({
      EndpointConfigName: name,
      ProductionVariants: [
        { VariantName: "AllTraffic", ModelName: NAME, InitialInstanceCount: 1, InstanceType: "ml.m5.large" },
      ],
      AsyncInferenceConfig: {
        ClientConfig: { MaxConcurrentInvocationsPerInstance: 4 },
        OutputConfig: { S3OutputPath: `s3://${BUCKET}/${output}/`, S3FailurePath: `s3://${BUCKET}/failed/` },
      },
    });
}

async function createEndpoint(name) {
  await sagemaker.createEndpoint({
      EndpointName: name,
      EndpointConfigName: NAME,
      Tags: [{ Key: "made-by", Value: "walk" }],
    });
}

// waiter returns what the SDK's waiters want, with less patience than theirs.
function waiter(client) {
  return { client, minDelay: 0.2, maxDelay: 0.5, maxWaitTime: PATIENCE };
}

async function wait() {
  await waitUntilEndpointInService(waiter(sagemaker), { EndpointName: NAME });
  const found = await describe(NAME);
  assert.equal(found.EndpointStatus, "InService");
  assert.equal(found.EndpointConfigName, NAME);
  assert.equal(found.ProductionVariants[0].CurrentInstanceCount, 1);
  assert.equal(found.AsyncInferenceConfig.OutputConfig.S3OutputPath, `s3://${BUCKET}/out/`);
  assert.ok(Math.abs(found.CreationTime - Date.now()) < 1000 * PATIENCE, String(found.CreationTime));
}

function describe(name) {
  return sagemaker.describeEndpoint({ EndpointName: name });
}

// upload sends a stream in parts, whose length the SDK does not know beforehand.
async function upload() {
  let parts = 0;
  const sending = new Upload({
    client: s3,
    params: { Bucket: BUCKET, Key: "in/large", Body: Readable.from(pieces(large)), ContentType: "image/x-raw" },
    partSize: PART,
    queueSize: 4,
  });
  sending.on("httpUploadProgress", (progress) => (parts = Math.max(parts, progress.part)));
  const sent = await sending.done();
  assert.equal(parts, 5);
  assert.match(sent.ETag, /^"[0-9a-f]{32}-5"$/);
  const found = await s3.headObject({ Bucket: BUCKET, Key: "in/large" });
  assert.deepEqual([found.ContentLength, found.ContentType, found.ETag], [large.length, "image/x-raw", sent.ETag]);

  // A stream that is sent at once has its checksum behind it.
  const some = large.subarray(0, 3 * MIB);
  const at = { Bucket: BUCKET, Key: "in/stream" };
  await s3.putObject({ ...at, Body: Readable.from(pieces(some)), ContentLength: some.length });
  const back = await s3.getObject(at);
  assert.ok(some.equals(await back.Body.transformToByteArray()));
  assert.ok(back.ChecksumCRC32);
}

function* pieces(data) {
  for (let i = 0; i < data.length; i += MIB) {
    yield data.subarray(i, i + MIB);
  }
}

async function invoke(members) {
  const answer = await runtime.invokeEndpointAsync({ EndpointName: NAME, ...members });
  assert.equal(answer.$metadata.httpStatusCode, 202);
  assert.ok(answer.$metadata.requestId);
  assert.ok(answer.InferenceId);
  assert.ok(answer.OutputLocation.startsWith(`s3://${BUCKET}/`), answer.OutputLocation);
  assert.ok(answer.FailureLocation.startsWith(`s3://${BUCKET}/failed/`), answer.FailureLocation);
  return answer;
}

async function invokeS3() {
  await put("in/small.json", '{"a": 1}');
  await put("in/typed.csv", "1,2,3", "text/csv");
  const small = await invoke({ InputLocation: `s3://${BUCKET}/in/small.json`, ContentType: "application/json" });
  const typed = await invoke({ InputLocation: `s3://${BUCKET}/in/typed.csv` });
  const big = await invoke({ InputLocation: `s3://${BUCKET}/in/large` });
  assert.deepEqual(await awaitObject(small.OutputLocation), ['{"a": 1}', "application/json"]);
  assert.deepEqual(await awaitObject(typed.OutputLocation), ["1,2,3", "text/csv"]);
  await waitUntilObjectExists(waiter(s3), place(big.OutputLocation));
  largeOutput = big.OutputLocation;
}

function put(key, body, type) {
  return s3.putObject({ Bucket: BUCKET, Key: key, Body: body, ContentType: type });
}

function place(location) {
  const url = new URL(location);
  return { Bucket: url.host, Key: url.pathname.slice(1) };
}

// awaitObject returns the text of the object and its type once it is there.
async function awaitObject(location) {
  await waitUntilObjectExists(waiter(s3), place(location));
  const found = await s3.getObject(place(location));
  return [await found.Body.transformToString(), found.ContentType];
}

async function invokeInline() {
  const text = await invoke({ Body: "some text", ContentType: "text/plain" });
  const most = await invoke({ Body: large.subarray(0, 128_000), ContentType: "image/x-raw" });
  assert.deepEqual(await awaitObject(text.OutputLocation), ["some text", "text/plain"]);
  await waitUntilObjectExists(waiter(s3), place(most.OutputLocation));
  const found = await s3.getObject(place(most.OutputLocation));
  assert.ok(large.subarray(0, 128_000).equals(await found.Body.transformToByteArray()));
}

// invokeNamed says all that can be said of an invocation. The model answers
// with what came to it.
async function invokeNamed() {
  const answer = await invoke({
    Body: "{}",
    ContentType: "application/json",
    Accept: "application/xml",
    CustomAttributes: "report=1",
    InferenceId: "my own id",
    Filename: "result.json",
    S3OutputPathExtension: "team/a",
    RequestTTLSeconds: 600,
    InvocationTimeoutSeconds: 30,
  });
  assert.equal(answer.InferenceId, "my own id");
  assert.equal(answer.OutputLocation, `s3://${BUCKET}/out/team/a/result.json`);
  const [report, type] = await awaitObject(answer.OutputLocation);
  assert.equal(type, "application/json");
  const header = JSON.parse(report).header;
  assert.deepEqual(header["Content-Type"], ["application/json"]);
  assert.deepEqual(header["Accept"], ["application/xml"]);
  assert.deepEqual(header["X-Amzn-Sagemaker-Custom-Attributes"], ["report=1"]);
  assert.deepEqual(header["X-Amzn-Sagemaker-Inference-Id"], ["my own id"]);
}

// poll looks for a result that is not there before it is there.
async function poll() {
  const answer = await invoke({ Body: "later", ContentType: "text/plain", CustomAttributes: "delay=1s" });
  await checkMissing(answer.OutputLocation);
  assert.deepEqual(await awaitObject(answer.OutputLocation), ["later", "text/plain"]);
  await checkMissing(answer.FailureLocation);
}

async function checkMissing(location) {
  const get = await refused(s3.getObject(place(location)), NoSuchKey, "does not exist");
  assert.equal(get.$metadata.httpStatusCode, 404);
  const head = await refused(s3.headObject(place(location)), NotFound);
  assert.equal(head.$metadata.httpStatusCode, 404);
}

async function failure() {
  for (const status of [400, 500]) {
    const answer = await invoke({
      Body: '{"why": 1}',
      ContentType: "application/json",
      CustomAttributes: `status=${status}`,
    });
    assert.deepEqual(await awaitObject(answer.FailureLocation), ['{"why": 1}', "application/json"]);
    await checkMissing(answer.OutputLocation);
  }
  const answer = await invoke({ InputLocation: `s3://${BUCKET}/in/nothing` });
  const [text] = await awaitObject(answer.FailureLocation);
  assert.match(text, /NoSuchKey/);
}

async function refusals() {
  const location = `s3://${BUCKET}/in/small.json`;
  const notAsync = "does not support this inference type";
  const cases = [
    [{ EndpointName: "nobody", Body: "x" }, `Endpoint nobody of account ${account} not found.`],
    [{ Body: "x", InputLocation: location }, ""],
    [{}, ""],
    [{ Body: new Uint8Array(128_001) }, ""],
    [{ Body: "x", InferenceId: "i".repeat(65) }, "'inferenceId' failed to satisfy constraint"],
    [{ Body: "x", Filename: "a.b.c" }, "'filename' failed to satisfy constraint"],
    [{ InputLocation: "ftp://host/file" }, "'inputLocation' failed to satisfy constraint"],
    [{ Body: "x", InvocationTimeoutSeconds: 3601 }, "1 validation error detected"],
  ];
  for (const [members, text] of cases) {
    const e = await refused(invoke(members), ValidationError, text);
    assert.deepEqual([e.name, e.$metadata.httpStatusCode], ["ValidationError", 400]);
    assert.ok(e.$metadata.requestId);
  }
  const call = { EndpointName: NAME, Body: "x" };
  await refused(runtime.invokeEndpoint(call), ValidationError, notAsync);
  await refused(runtime.invokeEndpointWithResponseStream(call), ValidationError, notAsync);
}

async function presign() {
  const where = { Bucket: BUCKET, Key: "presigned/a b+ä.txt" };
  const putURL = await getSignedUrl(s3, new PutObjectCommand({ ...where, Metadata: { by: "url" } }), { expiresIn: 60 });
  const sent = await fetch(putURL, { method: "PUT", body: "over plain HTTP", headers: { "Content-Type": "text/plain" } });
  assert.equal(sent.status, 200, await sent.text());
  const getURL = await getSignedUrl(s3, new GetObjectCommand(where), { expiresIn: 60 });
  const found = await fetch(getURL);
  assert.deepEqual([found.status, await found.text()], [200, "over plain HTTP"]);
  assert.deepEqual([found.headers.get("Content-Type"), found.headers.get("x-amz-meta-by")], ["text/plain", "url"]);
  const other = await fetch(getURL.replace("presigned", "preshared"));
  assert.equal(other.status, 403);
  assert.match(await other.text(), /<Code>SignatureDoesNotMatch<\/Code>/);
}

async function list() {
  await createEndpoint(SECOND);
  const pages = paginateListEndpoints(
    { client: sagemaker, pageSize: 1 },
    { NameContains: NAME, SortBy: "Name", SortOrder: "Ascending" },
  );
  const endpoints = await collect(pages, (page) => page.Endpoints.map((e) => e.EndpointName));
  assert.deepEqual(endpoints, [[NAME], [SECOND]]);
  await waitUntilEndpointInService(waiter(sagemaker), { EndpointName: SECOND });
  await sagemaker.deleteEndpoint({ EndpointName: SECOND });

  const keys = ["list/a b", "list/a+b%2F", "list/c/d", "list/ä&<>"];
  await Promise.all(keys.map((key) => put(key, key)));
  const objects = paginateListObjectsV2({ client: s3, pageSize: 3 }, { Bucket: BUCKET, Prefix: "list/" });
  assert.deepEqual(await collect(objects, (page) => page.Contents.map((o) => o.Key)), [keys.slice(0, 3), keys.slice(3)]);
  const folders = await s3.listObjectsV2({ Bucket: BUCKET, Prefix: "list/", Delimiter: "/" });
  assert.deepEqual([folders.KeyCount, folders.CommonPrefixes], [4, [{ Prefix: "list/c/" }]]);
}

async function collect(pages, of) {
  const found = [];
  for await (const page of pages) {
    // A page may be the last one and only find that out by being empty.
    if (of(page).length > 0) {
      found.push(of(page));
    }
  }
  return found;
}

async function tags() {
  const ResourceArn = (await describe(NAME)).EndpointArn;
  const added = [
    { Key: "team", Value: "a" },
    { Key: "made-by", Value: "somebody else" },
  ];
  await sagemaker.addTags({ ResourceArn, Tags: added });
  const pages = await collect(paginateListTags({ client: sagemaker }, { ResourceArn }), (page) => page.Tags);
  const byKey = (a, b) => (a.Key < b.Key ? -1 : 1);
  assert.deepEqual(pages.flat().sort(byKey), added.toSorted(byKey));
  await sagemaker.deleteTags({ ResourceArn, TagKeys: ["made-by", "no-such-tag"] });
  const left = await sagemaker.listTags({ ResourceArn });
  assert.deepEqual(left.Tags, [{ Key: "team", Value: "a" }]);
}

// update changes the configuration while an invocation runs, and then the
// number of instances.
async function update() {
  const before = await invoke({ Body: "old", ContentType: "text/plain", CustomAttributes: "delay=1s" });
  await createConfig(NEXT, "next");
  await sagemaker.updateEndpoint({ EndpointName: NAME, EndpointConfigName: NEXT });
  await waitUntilEndpointInService(waiter(sagemaker), { EndpointName: NAME });
  assert.equal((await describe(NAME)).EndpointConfigName, NEXT);
  const after = await invoke({ Body: "new", ContentType: "text/plain" });
  assert.ok(before.OutputLocation.startsWith(`s3://${BUCKET}/out/`), before.OutputLocation);
  assert.ok(after.OutputLocation.startsWith(`s3://${BUCKET}/next/`), after.OutputLocation);
  assert.deepEqual(await awaitObject(before.OutputLocation), ["old", "text/plain"]);
  assert.deepEqual(await awaitObject(after.OutputLocation), ["new", "text/plain"]);

  await sagemaker.updateEndpointWeightsAndCapacities({
      EndpointName: NAME,
      DesiredWeightsAndCapacities: [{ VariantName: "AllTraffic", DesiredWeight: 1, DesiredInstanceCount: 2 }],
    });
  await waitUntilEndpointInService(waiter(sagemaker), { EndpointName: NAME });
  const [variant] = (await describe(NAME)).ProductionVariants;
  assert.deepEqual([variant.DesiredInstanceCount, variant.CurrentInstanceCount, variant.CurrentWeight], [2, 2, 1]);
}

async function download() {
  const want = sha256(large);
  const whole = await s3.getObject(place(largeOutput));
  const hash = createHash("sha256");
  for await (const piece of whole.Body) {
    hash.update(piece);
  }
  assert.equal(hash.digest("hex"), want);
  const ranges = [];
  for (let i = 0; i < large.length; i += PART) {
    ranges.push(`bytes=${i}-${i + PART - 1}`);
  }
  const parts = await Promise.all(
    ranges.map(async (Range) => {
      const part = await s3.getObject({ ...place(largeOutput), Range });
      assert.equal(part.$metadata.httpStatusCode, 206);
      return part.Body.transformToByteArray();
    }),
  );
  assert.equal(sha256(Buffer.concat(parts)), want);
  return "as a stream, and in ranges: the SDK has no manager for downloads";
}

function sha256(data) {
  return createHash("sha256").update(data).digest("hex");
}

async function copy() {
  const CopySource = encodeURI(`${BUCKET}/list/a b`);
  await s3.copyObject({ Bucket: BUCKET, Key: "copy/small", CopySource });
  assert.equal((await awaitObject(`s3://${BUCKET}/copy/small`))[0], "list/a b");

  const to = { Bucket: BUCKET, Key: "copy/large" };
  const { UploadId } = await s3.createMultipartUpload(to);
  const Parts = [];
  for (let i = 0; i < large.length; i += PART) {
    const part = {
      ...to,
      UploadId,
      PartNumber: Parts.length + 1,
      CopySource: `${BUCKET}/in/large`,
      CopySourceRange: `bytes=${i}-${i + PART - 1}`,
    };
    const { CopyPartResult } = await s3.uploadPartCopy(part);
    Parts.push({ PartNumber: part.PartNumber, ETag: CopyPartResult.ETag });
  }
  await s3.completeMultipartUpload({ ...to, UploadId, MultipartUpload: { Parts } });
  const found = await s3.getObject(to);
  assert.equal(sha256(await found.Body.transformToByteArray()), sha256(large));
  return "in parts by single calls: the SDK has no manager for copies";
}

async function deleteObjects() {
  const pages = paginateListObjectsV2({ client: s3, pageSize: 5 }, { Bucket: BUCKET });
  const keys = (await collect(pages, (page) => page.Contents ?? [])).flat().map((o) => o.Key);
  assert.ok(keys.includes("copy/large") && keys.includes("presigned/a b+ä.txt"), String(keys));
  keys.push("never/was"); // which counts as deleted
  const gone = await s3.deleteObjects({ Bucket: BUCKET, Delete: { Objects: keys.map((Key) => ({ Key })) } });
  assert.equal(gone.Errors, undefined);
  assert.deepEqual(gone.Deleted.map((d) => d.Key).sort(), keys.sort());
  const left = await s3.listObjectsV2({ Bucket: BUCKET });
  assert.equal(left.KeyCount, 0);
  await s3.deleteBucket({ Bucket: BUCKET });
  await waitUntilBucketNotExists(waiter(s3), { Bucket: BUCKET });
}

async function deleteAll() {
  await sagemaker.deleteEndpoint({ EndpointName: NAME });
  for (const EndpointName of [NAME, SECOND]) {
    await waitUntilEndpointDeleted(waiter(sagemaker), { EndpointName });
  }
  for (const EndpointConfigName of [NAME, NEXT]) {
    await sagemaker.deleteEndpointConfig({ EndpointConfigName });
  }
  await sagemaker.deleteModel({ ModelName: NAME });
  const e = await refused(describe(NAME), Error, "Could not find endpoint");
  assert.equal(e.name, "ValidationException");
}

const { version } = createRequire(import.meta.url)("@aws-sdk/client-sagemaker-runtime/package.json");
console.log(`client aws-sdk-js-v3 ${version}`);
for (const [name, step] of Object.entries(steps)) {
  const started = performance.now();
  let remark;
  try {
    remark = await step();
  } catch (e) {
    console.error(e);
    console.log(`step ${name} failed ${String(e).replaceAll(/\s+/g, " ")}`);
    process.exit(1);
  }
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(["step", name, "ok", seconds, remark].filter(Boolean).join(" "));
}
