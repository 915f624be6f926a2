-- The engine's tables. Moments are milliseconds since the epoch.
--
-- Frames and history are keyed by one integer, (execution << 17) | id, so that all of an execution
-- lies together and neither needs an index beside its key. A waiting execution is one row of
-- executions and one of frames: about 500 bytes with their indexes.

CREATE TABLE secrets (
  name TEXT PRIMARY KEY,
  value BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE machines (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  type TEXT NOT NULL,
  status TEXT NOT NULL,           -- ACTIVE, DELETING; DELETED keeps the name for its executions
  revision INTEGER NOT NULL,      -- the newest
  created_ms INTEGER NOT NULL,
  tags TEXT NOT NULL,             -- JSON
  versions INTEGER NOT NULL DEFAULT 0  -- how many were ever published
);

CREATE TABLE activities (
  id INTEGER PRIMARY KEY AUTOINCREMENT,  -- never given twice: waiting tasks name it
  name TEXT NOT NULL UNIQUE,
  created_ms INTEGER NOT NULL,
  tags TEXT NOT NULL              -- JSON
);

-- A definition is stored once and shared by all executions that started with it.
CREATE TABLE revisions (
  id INTEGER PRIMARY KEY,
  machine INTEGER NOT NULL REFERENCES machines,
  revision_id TEXT,               -- NULL: the first, which AWS does not name
  definition TEXT NOT NULL,
  role_arn TEXT NOT NULL,
  settings TEXT NOT NULL,         -- JSON: logging, tracing, encryption
  created_ms INTEGER NOT NULL
);

CREATE TABLE versions (
  machine INTEGER NOT NULL REFERENCES machines,
  number INTEGER NOT NULL,
  revision INTEGER NOT NULL REFERENCES revisions,
  description TEXT,
  created_ms INTEGER NOT NULL,
  PRIMARY KEY (machine, number)
) WITHOUT ROWID;

CREATE TABLE aliases (
  id INTEGER PRIMARY KEY,
  machine INTEGER NOT NULL REFERENCES machines,
  name TEXT NOT NULL,
  description TEXT,
  routes TEXT NOT NULL,           -- JSON: [[version, weight], ...]
  created_ms INTEGER NOT NULL,
  updated_ms INTEGER NOT NULL,
  UNIQUE (machine, name)
);

-- Written when an execution starts and when it ends; what changes meanwhile is in its frames.
CREATE TABLE executions (
  id INTEGER PRIMARY KEY AUTOINCREMENT,  -- never given twice: task tokens name it
  machine INTEGER NOT NULL,
  revision INTEGER NOT NULL,
  name TEXT NOT NULL,
  status INTEGER NOT NULL,
  started_ms INTEGER NOT NULL,
  stopped_ms INTEGER,
  timeout_ms INTEGER NOT NULL,
  seed INTEGER NOT NULL,
  input TEXT NOT NULL,
  output TEXT,
  error TEXT,
  cause TEXT,
  trace_header TEXT,
  version INTEGER,                -- that it was started as
  alias TEXT,                     -- that it was started through
  redrives INTEGER NOT NULL DEFAULT 0,
  redriven_ms INTEGER,
  redrive_token TEXT              -- of the clients that did it lately, as JSON
);
CREATE UNIQUE INDEX executions_by_name ON executions (machine, name);
CREATE INDEX executions_by_status ON executions (machine, status);

-- Of executions that did not succeed: what a redrive needs.
CREATE TABLE halted (
  execution INTEGER PRIMARY KEY,
  since_ms INTEGER NOT NULL,      -- when it first ended
  events INTEGER NOT NULL,        -- how many there were at the end
  frames BLOB NOT NULL            -- rows of frames, packed as events are
);

CREATE TABLE frames (
  key INTEGER PRIMARY KEY,
  parent INTEGER NOT NULL,
  branch INTEGER NOT NULL,
  state TEXT NOT NULL,
  phase INTEGER NOT NULL,
  last_event INTEGER NOT NULL,
  entered_ms INTEGER NOT NULL,
  entered_event INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  due_ms INTEGER,
  input TEXT,                     -- NULL: the execution's input
  more TEXT,                      -- JSON: what most frames do not have
  activity INTEGER,               -- whose task waits for a worker
  events INTEGER,                 -- the execution's counters, in its first frame
  frames INTEGER
);
CREATE INDEX frames_due ON frames (due_ms) WHERE due_ms IS NOT NULL;
CREATE INDEX frames_queued ON frames (activity, entered_ms) WHERE activity IS NOT NULL;
CREATE INDEX frames_owed ON frames (phase) WHERE phase = 1;

-- The events of one transaction are one row, keyed by the first of them.
CREATE TABLE history (
  key INTEGER PRIMARY KEY,
  events BLOB NOT NULL
);
