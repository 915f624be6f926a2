-- Executions whose history is owed to CloudWatch Logs.
CREATE TABLE logged (
  execution INTEGER PRIMARY KEY,
  delivered INTEGER NOT NULL,     -- the last event that was written
  events INTEGER NOT NULL,        -- the last there is
  attempts INTEGER NOT NULL,
  due_ms INTEGER NOT NULL
);
CREATE INDEX logged_due ON logged (due_ms);
