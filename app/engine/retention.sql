-- Closed executions in the order in which they closed, and those whose history is being removed.
-- Children of a Map Run (their machine is negative) go with the execution that waited for them.

CREATE INDEX executions_closed ON executions (stopped_ms)
  WHERE stopped_ms IS NOT NULL AND machine > 0;

CREATE TABLE trimmed (
  execution INTEGER PRIMARY KEY
);
