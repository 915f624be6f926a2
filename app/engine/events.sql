-- What others are told: execution status changes, and log lines of executions.

-- Status changes in their order. Kept while a destination has not taken them, and the newest for
-- listeners that come back.
CREATE TABLE status_changes (
  id INTEGER PRIMARY KEY AUTOINCREMENT,  -- never given twice: listeners resume after it
  machine TEXT NOT NULL,          -- the state machine's ARN
  at_ms INTEGER NOT NULL,
  event TEXT NOT NULL             -- JSON, as it is delivered
);
-- The number before the first recording, which skips one as each does that follows a gap.
INSERT INTO sqlite_sequence (name, seq) VALUES ('status_changes', -1);

-- What destinations have not taken yet.
CREATE TABLE owed_events (
  change INTEGER NOT NULL REFERENCES status_changes,
  destination INTEGER NOT NULL,
  attempts INTEGER NOT NULL,
  due_ms INTEGER,                 -- NULL: given up
  reason TEXT,                    -- why the last attempt failed
  PRIMARY KEY (change, destination)
) WITHOUT ROWID;
CREATE INDEX owed_events_due ON owed_events (destination, due_ms);

-- How long status changes are recorded, and since when without a gap. One row.
CREATE TABLE recording (
  until_ms INTEGER NOT NULL,
  since INTEGER NOT NULL          -- the newest change before the recording began
);
INSERT INTO recording VALUES (0, 0);
