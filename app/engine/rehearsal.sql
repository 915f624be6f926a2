-- Executions of a test case: which one, and how often each of its states was called.

ALTER TABLE executions ADD COLUMN test_case TEXT;

CREATE TABLE mocked_calls (
  execution INTEGER NOT NULL,
  state TEXT NOT NULL,
  calls INTEGER NOT NULL,
  PRIMARY KEY (execution, state)
) WITHOUT ROWID;
