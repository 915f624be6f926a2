-- Executions as ListExecutions has them: by when they ended or, while they run, began or were
-- redriven. It finds, lists and counts by status too, as the index did that it replaces.

DROP INDEX executions_by_status;
CREATE INDEX executions_by_moment
  ON executions (machine, status, coalesce(stopped_ms, redriven_ms, started_ms));
