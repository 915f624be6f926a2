-- Closed executions in the order in which they closed, and those whose history is being removed.

CREATE INDEX executions_closed ON executions (stopped_ms) WHERE stopped_ms IS NOT NULL;

CREATE TABLE trimmed (
  execution INTEGER PRIMARY KEY
);
