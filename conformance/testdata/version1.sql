-- A store of schema version 1, as deferd wrote it when it was killed: two
-- invocations have ended, four ran, and four were queued. Access keys are left
-- out, and nothing expires before 2100.
PRAGMA application_id = 1684435556;
PRAGMA user_version = 1;
CREATE TABLE meta (
	key   TEXT PRIMARY KEY,
	value TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE model (
	row     INTEGER PRIMARY KEY AUTOINCREMENT,
	id      TEXT NOT NULL UNIQUE,
	account TEXT NOT NULL,
	name    TEXT NOT NULL,
	created INTEGER NOT NULL,
	doc     TEXT NOT NULL,
	removed INTEGER NOT NULL DEFAULT 0
);
INSERT INTO model VALUES(1,'382e5dd2-3776-4d99-8ca1-5fcd8c3ace1f','000000000000','echo',1795531967403108,'{"ID":"382e5dd2-3776-4d99-8ca1-5fcd8c3ace1f","Account":"000000000000","Name":"echo","Created":"2026-11-24T14:52:47.403108Z","Image":"local/model:1","Data":{"Location":{"Bucket":"","Key":""},"Prefix":false,"Gzip":false},"Env":null,"RoleARN":"arn:aws:iam::000000000000:role/conformance","Request":{"ExecutionRoleArn":"arn:aws:iam::000000000000:role/conformance","ModelName":"echo","PrimaryContainer":{"Image":"local/model:1"},"Tags":[{"Key":"team","Value":"vision"}]}}',0);
CREATE TABLE config (
	row     INTEGER PRIMARY KEY AUTOINCREMENT,
	id      TEXT NOT NULL UNIQUE,
	account TEXT NOT NULL,
	name    TEXT NOT NULL,
	created INTEGER NOT NULL,
	doc     TEXT NOT NULL,
	removed INTEGER NOT NULL DEFAULT 0
);
INSERT INTO config VALUES(1,'30da56bd-a3ab-4ddc-866c-ea21ea7994d7','000000000000','echo',1795531967780176,'{"ID":"30da56bd-a3ab-4ddc-866c-ea21ea7994d7","Account":"000000000000","Name":"echo","Created":"2026-11-24T14:52:47.780176Z","Variants":[{"Name":"AllTraffic","ModelID":"382e5dd2-3776-4d99-8ca1-5fcd8c3ace1f","ModelName":"echo","InstanceType":"ml.m5.large","InitialCount":1,"InitialWeight":1,"StartupTimeout":0,"DownloadTimeout":0}],"Async":{"Concurrency":4,"OutputPath":{"Bucket":"work","Key":"out"},"FailurePath":{"Bucket":"work","Key":"failed"},"SuccessTopic":"","ErrorTopic":"","IncludeSuccessResponse":false,"IncludeErrorResponse":false},"Request":{"AsyncInferenceConfig":{"ClientConfig":{"MaxConcurrentInvocationsPerInstance":4},"OutputConfig":{"S3FailurePath":"s3://work/failed","S3OutputPath":"s3://work/out"}},"EndpointConfigName":"echo","ProductionVariants":[{"InitialInstanceCount":1,"InstanceType":"ml.m5.large","ModelName":"echo","VariantName":"AllTraffic"}],"Tags":[{"Key":"team","Value":"speech"}]}}',0);
CREATE TABLE config_model (
	config INTEGER NOT NULL,
	model  TEXT NOT NULL,
	PRIMARY KEY (config, model)
) WITHOUT ROWID;
INSERT INTO config_model VALUES(1,'382e5dd2-3776-4d99-8ca1-5fcd8c3ace1f');
CREATE TABLE endpoint_config (
	endpoint INTEGER NOT NULL,
	config   INTEGER NOT NULL,
	PRIMARY KEY (endpoint, config)
) WITHOUT ROWID;
INSERT INTO endpoint_config VALUES(1,1);
CREATE TABLE endpoint (
	row      INTEGER PRIMARY KEY AUTOINCREMENT,
	id       TEXT NOT NULL UNIQUE,
	account  TEXT NOT NULL,
	name     TEXT NOT NULL,
	status   TEXT NOT NULL,
	created  INTEGER NOT NULL,
	modified INTEGER NOT NULL,
	doc      TEXT NOT NULL,
	removed  INTEGER NOT NULL DEFAULT 0
);
INSERT INTO endpoint VALUES(1,'ed413ea4-f4cd-4217-980b-9e60be86b3c1','000000000000','echo','InService',1795531968493534,1795531968534550,'{"ID":"ed413ea4-f4cd-4217-980b-9e60be86b3c1","Account":"000000000000","Name":"echo","ConfigID":"30da56bd-a3ab-4ddc-866c-ea21ea7994d7","Created":"2026-11-24T14:52:48.493534Z","Modified":"2026-11-24T14:52:48.53455Z","Status":"InService","FailureReason":"","Variants":[{"Name":"AllTraffic","Desired":1,"Weight":1}],"Request":{"EndpointConfigName":"echo","EndpointName":"echo","Tags":[{"Key":"team","Value":"text"},{"Key":"stage","Value":"test"}]}}',0);
CREATE TABLE access_key (
	id      TEXT PRIMARY KEY,
	account TEXT NOT NULL,
	arn     TEXT NOT NULL,
	sealed  BLOB NOT NULL,
	token   TEXT NOT NULL,
	service TEXT NOT NULL,
	created INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE invocation (
	seq          INTEGER PRIMARY KEY AUTOINCREMENT,
	id           BLOB NOT NULL,
	endpoint     INTEGER NOT NULL,
	config       INTEGER NOT NULL,
	inference_id TEXT,             -- NULL where it equals id
	access_key   TEXT NOT NULL,
	priority     INTEGER NOT NULL,
	redrive_of   BLOB,
	input        TEXT,             -- NULL for an inline body
	inline_size  INTEGER NOT NULL,
	content_type TEXT NOT NULL,
	accept       TEXT NOT NULL,
	attributes   TEXT NOT NULL,
	output       TEXT NOT NULL,
	failure      TEXT NOT NULL,
	ttl          INTEGER NOT NULL,
	timeout      INTEGER NOT NULL,
	token        BLOB,
	accepted     INTEGER NOT NULL,
	expires      INTEGER NOT NULL, -- accepted + ttl

	state        INTEGER NOT NULL,
	due          INTEGER,          -- while queued: not ready before; NULL for ready
	suspect      INTEGER NOT NULL, -- has lost an attempt together with its instance
	lease        BLOB,             -- of the current attempt, or the one that settled
	session      BLOB,             -- while running
	claim        INTEGER NOT NULL, -- number of the claim that handed it out
	variant      TEXT NOT NULL,
	instance     TEXT NOT NULL,
	attempts     INTEGER NOT NULL,
	deaths       INTEGER NOT NULL,
	losses       INTEGER NOT NULL,
	claimed      INTEGER,
	verdict      INTEGER NOT NULL,
	decision     INTEGER NOT NULL,
	given_up     INTEGER NOT NULL,
	reason       TEXT NOT NULL,
	message      TEXT NOT NULL,
	model_status INTEGER NOT NULL,
	outcome_type TEXT NOT NULL,
	outcome_size INTEGER NOT NULL,
	settled      INTEGER,
	finished     INTEGER
);
INSERT INTO invocation VALUES(1,X'01a20e0b91a770c488fde030aeb71205',1,1,'old-0','AKIAEXAMPLE',0,NULL,NULL,7,'','','delay=1ms','s3://work/out/01a20e0b-91a7-70c4-88fd-e030aeb71205.out','s3://work/failed/01a20e0b-91a7-70c4-88fd-e030aeb71205-error.out',21600000,900000,NULL,1795531968935109,1795553568935109,3,NULL,0,X'0000000000000001f3b87d78eeb85daf08b88ce0e2a58a91',NULL,1,'AllTraffic','i-28d8121f8ded5980',1,0,0,1795531968935749,3,1,0,'ok','',200,'',7,1795531968940385,1795531968943812);
INSERT INTO invocation VALUES(2,X'01a20e0b91af737b98a7035e0c61e235',1,1,'old-1','AKIAEXAMPLE',0,NULL,NULL,7,'','','delay=1ms','s3://work/out/01a20e0b-91af-737b-98a7-035e0c61e235.out','s3://work/failed/01a20e0b-91af-737b-98a7-035e0c61e235-error.out',21600000,900000,NULL,1795531968943242,1795553568943242,3,NULL,0,X'0000000000000002f99643d8101b5961969c17cac46fd64a',NULL,2,'AllTraffic','i-28d8121f8ded5980',1,0,0,1795531968943812,3,1,0,'ok','',200,'',7,1795531968946530,1795531968948721);
INSERT INTO invocation VALUES(3,X'01a20e0b91b77aa7b97fb37434048cd6',1,1,'old-2','AKIAEXAMPLE',0,NULL,NULL,7,'','','delay=1ms','s3://work/out/01a20e0b-91b7-7aa7-b97f-b37434048cd6.out','s3://work/failed/01a20e0b-91b7-7aa7-b97f-b37434048cd6-error.out',21600000,900000,NULL,1795531968951724,4102444800000000,1,NULL,0,X'0000000000000003fa0c380c4c514423b4ffccbd168f3277',X'341801fbda7afc88939a4aec5612f258',3,'AllTraffic','i-28d8121f8ded5980',0,0,0,1795531968952184,0,0,0,'','',0,'',0,NULL,NULL);
INSERT INTO invocation VALUES(4,X'01a20e0b91be7444a0aed69fe0775c43',1,1,'old-3','AKIAEXAMPLE',0,NULL,NULL,7,'','','delay=1ms','s3://work/out/01a20e0b-91be-7444-a0ae-d69fe0775c43.out','s3://work/failed/01a20e0b-91be-7444-a0ae-d69fe0775c43-error.out',21600000,900000,NULL,1795531968958297,4102444800000000,1,NULL,0,X'00000000000000041fa2daaafe59624145cb5dac60ab8466',X'341801fbda7afc88939a4aec5612f258',4,'AllTraffic','i-28d8121f8ded5980',0,0,0,1795531968958791,0,0,0,'','',0,'',0,NULL,NULL);
INSERT INTO invocation VALUES(5,X'01a20e0b91c47912bb6ba7786e37349f',1,1,'old-4','AKIAEXAMPLE',0,NULL,NULL,7,'','','delay=1ms','s3://work/out/01a20e0b-91c4-7912-bb6b-a7786e37349f.out','s3://work/failed/01a20e0b-91c4-7912-bb6b-a7786e37349f-error.out',21600000,900000,NULL,1795531968964612,4102444800000000,1,NULL,0,X'00000000000000052167b5c3ab07f0f80a11032054928fc7',X'341801fbda7afc88939a4aec5612f258',5,'AllTraffic','i-28d8121f8ded5980',0,0,0,1795531968965040,0,0,0,'','',0,'',0,NULL,NULL);
INSERT INTO invocation VALUES(6,X'01a20e0b91ca7c08944787a577a2be9f',1,1,'old-5','AKIAEXAMPLE',0,NULL,NULL,7,'','','delay=1ms','s3://work/out/01a20e0b-91ca-7c08-9447-87a577a2be9f.out','s3://work/failed/01a20e0b-91ca-7c08-9447-87a577a2be9f-error.out',21600000,900000,NULL,1795531968970805,4102444800000000,1,NULL,0,X'000000000000000604bda97e61e351997617948ebfe98561',X'341801fbda7afc88939a4aec5612f258',6,'AllTraffic','i-28d8121f8ded5980',0,0,0,1795531968971222,0,0,0,'','',0,'',0,NULL,NULL);
INSERT INTO invocation VALUES(7,X'01a20e0b91d079d8bb4ffe8a82c9a1c8',1,1,'old-6','AKIAEXAMPLE',0,NULL,NULL,7,'','','delay=1ms','s3://work/out/01a20e0b-91d0-79d8-bb4f-fe8a82c9a1c8.out','s3://work/failed/01a20e0b-91d0-79d8-bb4f-fe8a82c9a1c8-error.out',21600000,900000,NULL,1795531968976664,4102444800000000,0,NULL,0,NULL,NULL,0,'','',0,0,0,NULL,0,0,0,'','',0,'',0,NULL,NULL);
INSERT INTO invocation VALUES(8,X'01a20e0b91d67cab97a9d621189baba4',1,1,'old-7','AKIAEXAMPLE',0,NULL,NULL,7,'','','delay=1ms','s3://work/out/01a20e0b-91d6-7cab-97a9-d621189baba4.out','s3://work/failed/01a20e0b-91d6-7cab-97a9-d621189baba4-error.out',21600000,900000,NULL,1795531968982839,4102444800000000,0,NULL,0,NULL,NULL,0,'','',0,0,0,NULL,0,0,0,'','',0,'',0,NULL,NULL);
INSERT INTO invocation VALUES(9,X'01a20e0b91dc7a76969c2172abaf7b27',1,1,'old-8','AKIAEXAMPLE',0,NULL,NULL,7,'','','delay=1ms','s3://work/out/01a20e0b-91dc-7a76-969c-2172abaf7b27.out','s3://work/failed/01a20e0b-91dc-7a76-969c-2172abaf7b27-error.out',21600000,900000,NULL,1795531968988694,4102444800000000,0,NULL,0,NULL,NULL,0,'','',0,0,0,NULL,0,0,0,'','',0,'',0,NULL,NULL);
INSERT INTO invocation VALUES(10,X'01a20e0b91e2783dbb84456ccf079f34',1,1,'old-9','AKIAEXAMPLE',0,NULL,NULL,7,'','','delay=1ms','s3://work/out/01a20e0b-91e2-783d-bb84-456ccf079f34.out','s3://work/failed/01a20e0b-91e2-783d-bb84-456ccf079f34-error.out',21600000,900000,NULL,1795531968994549,4102444800000000,0,NULL,0,NULL,NULL,0,'','',0,0,0,NULL,0,0,0,'','',0,'',0,NULL,NULL);
CREATE TABLE body (
	seq   INTEGER PRIMARY KEY,
	bytes BLOB NOT NULL
);
INSERT INTO body VALUES(3,X'696e7075742032');
INSERT INTO body VALUES(4,X'696e7075742033');
INSERT INTO body VALUES(5,X'696e7075742034');
INSERT INTO body VALUES(6,X'696e7075742035');
INSERT INTO body VALUES(7,X'696e7075742036');
INSERT INTO body VALUES(8,X'696e7075742037');
INSERT INTO body VALUES(9,X'696e7075742038');
INSERT INTO body VALUES(10,X'696e7075742039');
CREATE TABLE staged (
	seq      INTEGER PRIMARY KEY,
	body     BLOB NOT NULL,
	metadata TEXT NOT NULL, -- JSON object
	upload   TEXT NOT NULL  -- JSON of a deferd.Upload, or ''
);
CREATE TABLE upload (
	id        TEXT PRIMARY KEY,
	seq       INTEGER NOT NULL,
	location  TEXT NOT NULL,
	abandoned INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE session (
	id       BLOB PRIMARY KEY,
	endpoint INTEGER NOT NULL,
	variant  TEXT NOT NULL,
	instance TEXT NOT NULL UNIQUE,
	slots    INTEGER NOT NULL,
	number   INTEGER NOT NULL -- of the last claim
) WITHOUT ROWID;
INSERT INTO session VALUES(X'341801fbda7afc88939a4aec5612f258',1,'AllTraffic','i-28d8121f8ded5980',4,6);
CREATE TABLE counts (
	endpoint   INTEGER PRIMARY KEY,
	accepted   INTEGER NOT NULL,
	queued     INTEGER NOT NULL,
	running    INTEGER NOT NULL,
	publishing INTEGER NOT NULL,
	completed  INTEGER NOT NULL,
	failed     INTEGER NOT NULL,
	expired    INTEGER NOT NULL,
	cancelled  INTEGER NOT NULL,
	pruned     INTEGER NOT NULL,
	unpublished INTEGER NOT NULL -- bytes of outcomes that wait to be published
);
INSERT INTO counts VALUES(1,10,4,4,0,2,0,0,0,0,0);
DELETE FROM sqlite_sequence;
INSERT INTO sqlite_sequence VALUES('model',1);
INSERT INTO sqlite_sequence VALUES('config',1);
INSERT INTO sqlite_sequence VALUES('endpoint',1);
INSERT INTO sqlite_sequence VALUES('invocation',10);
CREATE UNIQUE INDEX model_name ON model (account, name) WHERE removed = 0;
CREATE UNIQUE INDEX config_name ON config (account, name) WHERE removed = 0;
CREATE INDEX config_model_model ON config_model (model);
CREATE INDEX endpoint_config_config ON endpoint_config (config);
CREATE UNIQUE INDEX endpoint_name ON endpoint (account, name COLLATE NOCASE) WHERE removed = 0;
CREATE INDEX endpoint_deleting ON endpoint (row) WHERE status = 'Deleting';
CREATE INDEX endpoint_removed ON endpoint (row) WHERE removed = 1;
CREATE UNIQUE INDEX invocation_id ON invocation (id);
CREATE INDEX invocation_inference ON invocation (endpoint, inference_id, seq) WHERE inference_id IS NOT NULL;
CREATE INDEX invocation_endpoint ON invocation (endpoint, seq);
CREATE INDEX invocation_ready ON invocation (endpoint, suspect, priority, seq) WHERE state = 0 AND due IS NULL;
CREATE INDEX invocation_due ON invocation (due) WHERE state = 0 AND due IS NOT NULL;
CREATE INDEX invocation_expires ON invocation (expires) WHERE state = 0;
CREATE INDEX invocation_queued ON invocation (endpoint) WHERE state = 0;
CREATE INDEX invocation_held ON invocation (session) WHERE state = 1;
CREATE INDEX invocation_publishing ON invocation (seq) WHERE state = 2;
CREATE INDEX invocation_finished ON invocation (finished) WHERE finished IS NOT NULL;
CREATE INDEX upload_seq ON upload (seq);
CREATE INDEX upload_abandoned ON upload (id) WHERE abandoned = 1;
