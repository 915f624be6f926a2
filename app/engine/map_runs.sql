-- Map Runs: the work of a distributed Map, done by executions of their own.

CREATE TABLE map_runs (
  id INTEGER PRIMARY KEY AUTOINCREMENT,  -- never given twice: its children's names hold it
  name TEXT NOT NULL UNIQUE,      -- LABEL:UUID, what its ARN ends with
  execution INTEGER NOT NULL,     -- that waits for it...
  frame INTEGER NOT NULL,         -- ...in this frame
  revision INTEGER NOT NULL,
  test_case TEXT,                 -- of the mock file, that the execution runs
  stage INTEGER NOT NULL,         -- 0 reading items, 1 running, 2 writing results, 3 ended
  status INTEGER NOT NULL,        -- as of executions
  started_ms INTEGER NOT NULL,
  stopped_ms INTEGER,
  redrives INTEGER NOT NULL DEFAULT 0,
  redriven_ms INTEGER,
  max_concurrency INTEGER NOT NULL,
  tolerated_count INTEGER,
  tolerated_percentage REAL,
  error TEXT,                     -- why it is about to fail, or did
  cause TEXT,
  plan TEXT NOT NULL,             -- JSON: distribution.Plan
  children INTEGER NOT NULL DEFAULT 0,  -- how many there are to be, and of how many items
  items INTEGER NOT NULL DEFAULT 0,
  counts TEXT NOT NULL DEFAULT '{}'     -- JSON: of children and of items by status
);
CREATE INDEX map_runs_by_execution ON map_runs (execution);
CREATE INDEX map_runs_open ON map_runs (stage) WHERE stage < 3;

-- What each child is to work on. A child is an execution whose machine is the negative of its run:
-- so the indexes of executions find, list and count a run's children, and a machine's own
-- executions are not lost among them.
CREATE TABLE map_items (
  key INTEGER PRIMARY KEY,        -- (run << 27) | position
  items INTEGER NOT NULL,         -- how many this child has
  input TEXT,                     -- NULL once the child began
  item TEXT,                      -- its $$.Map.Item, where that is not made of the input
  execution INTEGER               -- the child
);

-- A run is kept as long as the execution that waited for it.
CREATE TRIGGER map_runs_forgotten AFTER DELETE ON executions BEGIN
  DELETE FROM map_runs WHERE execution = old.id;
END;
CREATE TRIGGER map_items_forgotten AFTER DELETE ON map_runs BEGIN
  DELETE FROM map_items WHERE key BETWEEN old.id << 27 AND ((old.id + 1) << 27) - 1;
END;
