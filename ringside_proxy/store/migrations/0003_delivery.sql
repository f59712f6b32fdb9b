-- Who is told what happens. The secrets are sealed (`store/vault.py`); those of the configuration are
-- not here at all. A receiver that was deleted stays until its deliveries are gone.
CREATE TABLE webhooks (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  source TEXT NOT NULL CHECK (source IN ('api', 'config')),
  url TEXT NOT NULL,
  events TEXT NOT NULL,                    -- as they were asked for, a JSON array
  description TEXT,
  metadata TEXT NOT NULL DEFAULT '{}',
  secret BLOB,
  secret_hint TEXT NOT NULL,
  old_secret BLOB,                         -- signs too, until `old_secret_until_ms`
  old_secret_until_ms INTEGER,
  is_enabled INTEGER NOT NULL DEFAULT 1 CHECK (is_enabled IN (0, 1)),
  disabled_reason TEXT,
  last_success_ms INTEGER,
  last_failure_ms INTEGER,
  failing_since_ms INTEGER,                -- the first failure since the last success
  consecutive_failures INTEGER NOT NULL DEFAULT 0,
  deleted_ms INTEGER,
  created_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX deleted_webhooks ON webhooks (deleted_ms) WHERE deleted_ms IS NOT NULL;
CREATE INDEX rotated_webhooks ON webhooks (old_secret_until_ms) WHERE old_secret_until_ms IS NOT NULL;

-- Which events each receiver wants; the type '*', which then stands alone, is all of them.
CREATE TABLE webhook_subscriptions (
  type TEXT NOT NULL,
  webhook INTEGER NOT NULL REFERENCES webhooks (seq) ON DELETE CASCADE,
  PRIMARY KEY (type, webhook)
) STRICT, WITHOUT ROWID;
CREATE INDEX webhook_subscriptions_of ON webhook_subscriptions (webhook);

-- One event on its way to one receiver. `attempt` counts on the schedule that began at `begun_ms`.
-- `falls_back_to`: it is tried once, and is then what it was before.
CREATE TABLE deliveries (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  event INTEGER NOT NULL REFERENCES events (seq),
  webhook INTEGER NOT NULL REFERENCES webhooks (seq),
  state TEXT NOT NULL CHECK (state IN ('pending', 'in_flight', 'delivered', 'dead')),
  attempt INTEGER NOT NULL DEFAULT 0,
  begun_ms INTEGER NOT NULL,
  next_ms INTEGER NOT NULL,
  lease TEXT,
  lease_until_ms INTEGER,
  falls_back_to TEXT CHECK (falls_back_to IN ('delivered', 'dead')),
  ended_ms INTEGER,
  created_ms INTEGER NOT NULL,
  UNIQUE (event, webhook)
) STRICT;
CREATE INDEX deliveries_of_webhook ON deliveries (webhook, seq);
CREATE INDEX deliveries_by_state ON deliveries (webhook, state, seq);
CREATE INDEX deliveries_due ON deliveries (webhook, next_ms, seq) WHERE state = 'pending';
CREATE INDEX deliveries_in_flight ON deliveries (lease_until_ms) WHERE state = 'in_flight';
CREATE INDEX deliveries_waiting ON deliveries (begun_ms, state)
  WHERE state IN ('pending', 'in_flight');
CREATE INDEX deliveries_ended ON deliveries (state, ended_ms) WHERE ended_ms IS NOT NULL;

-- What came of each try.
CREATE TABLE delivery_attempts (
  delivery INTEGER NOT NULL REFERENCES deliveries (seq) ON DELETE CASCADE,
  number INTEGER NOT NULL,
  at_ms INTEGER NOT NULL,
  status INTEGER,
  error TEXT,
  duration_ms INTEGER NOT NULL,
  PRIMARY KEY (delivery, number)
) STRICT, WITHOUT ROWID;

-- How far usage was reported: one row. The batch that is on its way is kept as it was first sent.
CREATE TABLE usage_upstream (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  source TEXT NOT NULL,                    -- who reports: the same for as long as the store is
  acknowledged INTEGER NOT NULL DEFAULT 0, -- the last sequence that the upstream has
  batch_id TEXT,
  batch_to INTEGER,
  batch_body BLOB
) STRICT;
