package sqlite

import (
	"errors"
	"fmt"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// applicationID marks our files, so that somebody else's database is refused
// rather than migrated. It spells "dfrd".
const applicationID = 0x64667264

// migrations are the steps from an empty file to today's schema. Step i brings
// a file from version i to i+1; what has been released is never edited.
//
// Times are microseconds since 1970, durations milliseconds, locations s3://
// URIs. The partial indexes repeat their condition in every query that uses
// them: state 0 is Queued, 1 Running, 2 Publishing. Rows are never used twice, since
// they are remembered.
var migrations = []string{`
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
CREATE UNIQUE INDEX model_name ON model (account, name) WHERE removed = 0;

CREATE TABLE config (
	row     INTEGER PRIMARY KEY AUTOINCREMENT,
	id      TEXT NOT NULL UNIQUE,
	account TEXT NOT NULL,
	name    TEXT NOT NULL,
	created INTEGER NOT NULL,
	doc     TEXT NOT NULL,
	removed INTEGER NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX config_name ON config (account, name) WHERE removed = 0;

-- Which models a configuration needs, and which configurations an endpoint has
-- had: its invocations still refer to them.
CREATE TABLE config_model (
	config INTEGER NOT NULL,
	model  TEXT NOT NULL,
	PRIMARY KEY (config, model)
) WITHOUT ROWID;
CREATE INDEX config_model_model ON config_model (model);
CREATE TABLE endpoint_config (
	endpoint INTEGER NOT NULL,
	config   INTEGER NOT NULL,
	PRIMARY KEY (endpoint, config)
) WITHOUT ROWID;
CREATE INDEX endpoint_config_config ON endpoint_config (config);

-- An endpoint's name is taken whatever its case, but looked up as it is.
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
CREATE UNIQUE INDEX endpoint_name ON endpoint (account, name COLLATE NOCASE) WHERE removed = 0;
CREATE INDEX endpoint_deleting ON endpoint (row) WHERE status = 'Deleting';
CREATE INDEX endpoint_removed ON endpoint (row) WHERE removed = 1;

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

-- Inline bodies and staged outcomes lie apart from the queue's rows.
CREATE TABLE body (
	seq   INTEGER PRIMARY KEY,
	bytes BLOB NOT NULL
);
CREATE TABLE staged (
	seq      INTEGER PRIMARY KEY,
	body     BLOB NOT NULL,
	metadata TEXT NOT NULL, -- JSON object
	upload   TEXT NOT NULL  -- JSON of a deferd.Upload, or ''
);

-- Uploads recorded under a lease. What a settle names is no longer here.
CREATE TABLE upload (
	id        TEXT PRIMARY KEY,
	seq       INTEGER NOT NULL,
	location  TEXT NOT NULL,
	abandoned INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX upload_seq ON upload (seq);
CREATE INDEX upload_abandoned ON upload (id) WHERE abandoned = 1;

CREATE TABLE session (
	id       BLOB PRIMARY KEY,
	endpoint INTEGER NOT NULL,
	variant  TEXT NOT NULL,
	instance TEXT NOT NULL UNIQUE,
	slots    INTEGER NOT NULL,
	number   INTEGER NOT NULL -- of the last claim
) WITHOUT ROWID;

-- One row an endpoint, changed once in a group commit.
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
`, `
-- Tags can change, so they lie apart from the request that creates a thing.
UPDATE model SET doc = json_remove(json_set(doc, '$.Tags', json_extract(doc, '$.Request.Tags')), '$.Request.Tags')
	WHERE json_type(doc, '$.Request.Tags') = 'array';
UPDATE config SET doc = json_remove(json_set(doc, '$.Tags', json_extract(doc, '$.Request.Tags')), '$.Request.Tags')
	WHERE json_type(doc, '$.Request.Tags') = 'array';
UPDATE endpoint SET doc = json_remove(json_set(doc, '$.Tags', json_extract(doc, '$.Request.Tags')), '$.Request.Tags')
	WHERE json_type(doc, '$.Request.Tags') = 'array';

-- How an endpoint was deployed last is not only said when it is created.
UPDATE endpoint SET doc = json_set(doc, '$.DeploymentConfig', json_extract(doc, '$.Request.DeploymentConfig'))
	WHERE json_type(doc, '$.Request.DeploymentConfig') = 'object' AND json_type(doc, '$.DeploymentConfig') IS NULL;
`, `
-- Sessions, and what they hold, end with the process that they were opened in:
-- it has them in memory. The columns invocation.session and .claim are not used
-- any more. What is queued for an endpoint is found by what is ready, and what waits.
DROP TABLE session;
DROP INDEX invocation_held;
CREATE INDEX invocation_running ON invocation (seq) WHERE state = 1;
DROP INDEX invocation_queued;
`, `
CREATE TABLE document (
	kind    TEXT NOT NULL,
	account TEXT NOT NULL,
	name    TEXT NOT NULL,
	version INTEGER NOT NULL,
	body    BLOB NOT NULL,
	PRIMARY KEY (kind, account, name)
) WITHOUT ROWID;
`, `
-- What was measured: a row for each series and minute that had values. Minutes
-- are counted since 1970; a series knows its oldest one, so that what is too
-- old is found without an index of all points.
CREATE TABLE series (
	row        INTEGER PRIMARY KEY AUTOINCREMENT,
	account    TEXT NOT NULL,
	namespace  TEXT NOT NULL,
	metric     TEXT NOT NULL,
	dimensions TEXT NOT NULL,
	unit       TEXT NOT NULL,
	oldest     INTEGER NOT NULL,
	UNIQUE (account, namespace, metric, dimensions, unit)
);
CREATE TABLE point (
	series INTEGER NOT NULL,
	minute INTEGER NOT NULL,
	sum    REAL NOT NULL,
	min    REAL NOT NULL,
	max    REAL NOT NULL,
	count  REAL NOT NULL,
	PRIMARY KEY (series, minute)
) WITHOUT ROWID;
CREATE INDEX series_oldest ON series (oldest);
`, `
-- The outbox. What is dead has no due time.
CREATE TABLE notice (
	seq      INTEGER PRIMARY KEY AUTOINCREMENT,
	id       TEXT NOT NULL,
	target   TEXT NOT NULL,
	account  TEXT NOT NULL,
	endpoint TEXT NOT NULL,
	variant  TEXT NOT NULL,
	subject  TEXT NOT NULL,
	created  INTEGER NOT NULL,
	since    INTEGER NOT NULL,
	due      INTEGER,
	tries    INTEGER NOT NULL,
	error    TEXT NOT NULL,
	message  TEXT NOT NULL
);
CREATE UNIQUE INDEX notice_id ON notice (id, target);
CREATE INDEX notice_due ON notice (target, due) WHERE due IS NOT NULL;
CREATE INDEX notice_waiting ON notice (since) WHERE due IS NOT NULL;
CREATE INDEX notice_account ON notice (account, seq);
CREATE INDEX notice_dead ON notice (account, seq) WHERE due IS NULL;
CREATE INDEX notice_died ON notice (since) WHERE due IS NULL;
`, `
-- Keys of sessions end by themselves.
ALTER TABLE access_key ADD COLUMN expires INTEGER;
CREATE INDEX access_key_expires ON access_key (expires) WHERE expires IS NOT NULL;
`}

// check refuses a file that is not ours, or that a newer deferd wrote.
func check(conn *sqlite.Conn) error {
	const elsewhere = "; move it away, or name another file with --store"
	id, err := pragmaInt(conn, "application_id")
	if sqlite.ErrCode(err) == sqlite.ResultNotADB {
		return errors.New("the file is not a database" + elsewhere)
	}
	if err != nil {
		return err
	}
	version, err := pragmaInt(conn, "user_version")
	if err != nil {
		return err
	}
	tables, err := queryInt(conn, "SELECT count(*) FROM sqlite_schema")
	switch {
	case err != nil:
		return err
	case id != applicationID && tables > 0:
		return errors.New("the file is a database, but not one of deferd's" + elsewhere)
	case version > int64(len(migrations)):
		return fmt.Errorf("the file has schema version %d; this deferd knows versions up to %d: it was written by a newer one, which is needed to read it", version, len(migrations))
	}
	return nil
}

// migrate brings the file to today's schema, one transaction a step.
func migrate(conn *sqlite.Conn) error {
	version, err := pragmaInt(conn, "user_version")
	if err != nil {
		return err
	}
	for v := version; v < int64(len(migrations)); v++ {
		if err := step(conn, v); err != nil {
			return fmt.Errorf("migrate from version %d: %w", v, err)
		}
	}
	return nil
}

func step(conn *sqlite.Conn, v int64) (err error) {
	end, err := sqlitex.ImmediateTransaction(conn)
	if err != nil {
		return err
	}
	defer end(&err)
	if err := sqlitex.ExecuteScript(conn, migrations[v], nil); err != nil {
		return err
	}
	if err := sqlitex.ExecuteTransient(conn, fmt.Sprintf("PRAGMA application_id = %d", applicationID), nil); err != nil {
		return err
	}
	return sqlitex.ExecuteTransient(conn, fmt.Sprintf("PRAGMA user_version = %d", v+1), nil)
}

func pragmaInt(conn *sqlite.Conn, name string) (int64, error) {
	return queryInt(conn, "PRAGMA "+name)
}

func queryInt(conn *sqlite.Conn, query string) (int64, error) {
	stmt, _, err := conn.PrepareTransient(query)
	if err != nil {
		return 0, err
	}
	defer stmt.Finalize()
	return sqlitex.ResultInt64(stmt)
}
