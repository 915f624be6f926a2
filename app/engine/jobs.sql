-- Jobs to be stopped: nobody waits for them any more.
CREATE TABLE cancellations (
  id INTEGER PRIMARY KEY,
  execution TEXT NOT NULL,        -- the ARN of the one that started it
  resource TEXT NOT NULL,
  role TEXT,
  job TEXT NOT NULL               -- JSON: what names it
);

-- Executions here whose end a task here waits for.
CREATE TABLE parents (
  frame INTEGER PRIMARY KEY,      -- its key
  attempt INTEGER NOT NULL,
  child INTEGER NOT NULL
);
CREATE INDEX parents_by_child ON parents (child);
