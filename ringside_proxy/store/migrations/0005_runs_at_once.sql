-- How many runs of a token, and of a customer, have not ended: counted whenever one is added under a
-- limit of runs at once.
CREATE INDEX runs_active_of_token ON runs (token)
  WHERE status IN ('queued', 'in_progress', 'requires_action', 'cancelling');
CREATE INDEX runs_active_of_customer ON runs (customer)
  WHERE status IN ('queued', 'in_progress', 'requires_action', 'cancelling');
