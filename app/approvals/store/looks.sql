-- When the task of a pending approval is looked at next: for heartbeats, and to see that it ended.

ALTER TABLE approvals ADD COLUMN look_at INTEGER;

CREATE INDEX approvals_looked_at ON approvals (look_at)
WHERE state = 'PENDING' AND look_at IS NOT NULL;
