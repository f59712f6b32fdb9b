-- A run that has not ended has no `ended_ms`. Whatever else becomes of it moves its status alone, and
-- no index of those at work is about the status: so none is written again when it starts.
DROP INDEX one_active_run_per_conversation;
DROP INDEX runs_by_expiry;
DROP INDEX runs_active_of_token;
DROP INDEX runs_active_of_customer;
-- This index is the active-run lock: it frees itself with the write that ends the run.
CREATE UNIQUE INDEX one_active_run_per_conversation ON runs (conversation)
  WHERE ended_ms IS NULL AND waiting IS NULL;
CREATE INDEX runs_by_expiry ON runs (expires_ms) WHERE ended_ms IS NULL;
CREATE INDEX runs_active_of_token ON runs (token) WHERE ended_ms IS NULL;
CREATE INDEX runs_active_of_customer ON runs (customer) WHERE ended_ms IS NULL;
