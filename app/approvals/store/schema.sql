-- Approvals, their mails and their audit. Times are milliseconds since the epoch, UTC.

CREATE TABLE approvals (
  n              INTEGER PRIMARY KEY,     -- order of creation
  id             TEXT    NOT NULL UNIQUE,
  target         TEXT    NOT NULL,
  state          TEXT    NOT NULL,
  created_at     INTEGER NOT NULL,
  expires_at     INTEGER NOT NULL,
  closed_at      INTEGER,
  delivered_at   INTEGER,
  decided_by     INTEGER,                 -- recipient whose vote decided
  output         TEXT,                    -- the frozen answer: output, or error and cause
  error          TEXT,
  cause          TEXT,
  attempts       INTEGER NOT NULL DEFAULT 0,  -- above 0: bytes may have left for the target
  next_at        INTEGER,                 -- set while an answer is owed; the end of a lease too
  lease_owner    TEXT,
  needs_operator INTEGER NOT NULL DEFAULT 0,
  evidence       TEXT,                    -- what proves the end, or why it is not there yet
  round          INTEGER NOT NULL DEFAULT 0,  -- how often the mails were sent again
  audit_seq      INTEGER NOT NULL,
  audit_head     BLOB    NOT NULL
) STRICT;

CREATE INDEX approvals_by_state ON approvals (state);
CREATE INDEX approvals_owed ON approvals (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX approvals_open ON approvals (expires_at) WHERE state = 'PENDING';

-- A final state is final, whoever writes.
CREATE TRIGGER approvals_final BEFORE UPDATE OF state ON approvals
WHEN OLD.state NOT IN ('PENDING', 'DECIDED') AND NEW.state <> OLD.state
BEGIN
  SELECT RAISE(ABORT, 'a final state never changes');
END;

CREATE TRIGGER approvals_decided BEFORE UPDATE OF decided_by ON approvals
WHEN OLD.decided_by IS NOT NULL AND NEW.decided_by IS NOT OLD.decided_by
BEGIN
  SELECT RAISE(ABORT, 'a decision never changes');
END;

-- What never changes lies apart, so that a move does not rewrite it.
CREATE TABLE requests (
  n             INTEGER PRIMARY KEY REFERENCES approvals (n),
  task_token    BLOB NOT NULL,            -- sealed
  fingerprint   BLOB NOT NULL,
  document      BLOB NOT NULL,            -- JSON
  execution_arn TEXT
) STRICT;

CREATE INDEX requests_of_execution ON requests (execution_arn) WHERE execution_arn IS NOT NULL;

CREATE TABLE votes (
  approval  INTEGER NOT NULL REFERENCES approvals (n),
  recipient INTEGER NOT NULL,
  id        TEXT    NOT NULL,
  action    TEXT    NOT NULL,
  comment   TEXT,
  at        INTEGER NOT NULL,
  PRIMARY KEY (approval, recipient)
) STRICT, WITHOUT ROWID;

CREATE TABLE notices (
  n          INTEGER PRIMARY KEY,
  id         TEXT    NOT NULL UNIQUE,
  document   BLOB    NOT NULL,            -- JSON
  created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE mails (
  n         INTEGER PRIMARY KEY,
  approval  INTEGER REFERENCES approvals (n),
  notice    INTEGER REFERENCES notices (n),
  kind      TEXT    NOT NULL,
  recipient INTEGER NOT NULL,
  round     INTEGER NOT NULL,
  state     TEXT    NOT NULL DEFAULT 'queued',
  attempts  INTEGER NOT NULL DEFAULT 0,
  next_at   INTEGER,                      -- set while it is queued; the end of a lease too
  note      TEXT,
  CHECK ((approval IS NULL) <> (notice IS NULL)),
  CHECK ((state = 'queued') = (next_at IS NOT NULL))
) STRICT;

CREATE INDEX mails_of_approval ON mails (approval) WHERE approval IS NOT NULL;
CREATE INDEX mails_queued ON mails (next_at) WHERE next_at IS NOT NULL;

CREATE TABLE audit (
  n        INTEGER PRIMARY KEY,           -- over all approvals, without gaps
  approval INTEGER NOT NULL REFERENCES approvals (n),
  seq      INTEGER NOT NULL,
  at       INTEGER NOT NULL,
  event    TEXT    NOT NULL,
  details  BLOB    NOT NULL,              -- canonical JSON
  hash     BLOB    NOT NULL
) STRICT;

CREATE UNIQUE INDEX audit_of_approval ON audit (approval, seq);

CREATE TRIGGER audit_unchanged BEFORE UPDATE ON audit
BEGIN
  SELECT RAISE(ABORT, 'the audit is only ever appended to');
END;

CREATE TRIGGER audit_kept BEFORE DELETE ON audit
BEGIN
  SELECT RAISE(ABORT, 'the audit is only ever appended to');
END;

CREATE TABLE audit_digests (
  number    INTEGER PRIMARY KEY,
  first     INTEGER NOT NULL,
  last      INTEGER NOT NULL,
  at        INTEGER NOT NULL,
  root      BLOB    NOT NULL,
  previous  BLOB    NOT NULL,
  key_id    TEXT    NOT NULL,
  signature BLOB    NOT NULL
) STRICT;

-- The data key under each key of the ring.
CREATE TABLE wraps (
  key_id TEXT PRIMARY KEY,
  wrap   BLOB NOT NULL
) STRICT, WITHOUT ROWID;
