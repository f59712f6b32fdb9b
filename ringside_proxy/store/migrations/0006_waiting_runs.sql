-- A run that was to wait for its thread is queued, and does not hold the lock yet: `waiting` has what
-- it brings along until it has its turn, as JSON.
ALTER TABLE runs ADD COLUMN waiting BLOB;

DROP INDEX one_active_run_per_conversation;
-- This index is the active-run lock: it frees itself with the status write.
CREATE UNIQUE INDEX one_active_run_per_conversation ON runs (conversation)
  WHERE status IN ('queued', 'in_progress', 'requires_action', 'cancelling') AND waiting IS NULL;
CREATE INDEX runs_waiting ON runs (conversation, seq) WHERE waiting IS NOT NULL;
