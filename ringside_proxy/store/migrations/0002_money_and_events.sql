-- Money is INTEGER nano-USD. A day is YYYY-MM-DD and a period YYYY-MM, both in `budgets.timezone` as
-- it was when the call was admitted.

-- Whom usage is attributed to. A row is made at the first call in a customer's name.
CREATE TABLE customers (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  name TEXT,
  metadata TEXT NOT NULL DEFAULT '{}',
  has_own_budget INTEGER NOT NULL DEFAULT 0 CHECK (has_own_budget IN (0, 1)),  -- else the configuration's
  monthly_nano INTEGER CHECK (monthly_nano >= 0),                              -- NULL: no cap
  requests_per_minute INTEGER CHECK (requests_per_minute > 0),
  tokens_per_minute INTEGER CHECK (tokens_per_minute > 0),
  created_ms INTEGER NOT NULL
) STRICT;

-- What a customer has spent in a period, and what calls at work may yet cost. It outlives the
-- customer's row: to be deleted and made again is no way to a fresh budget.
CREATE TABLE budget_periods (
  customer TEXT NOT NULL,
  period TEXT NOT NULL,
  settled_nano INTEGER NOT NULL DEFAULT 0 CHECK (settled_nano >= 0),
  reserved_nano INTEGER NOT NULL DEFAULT 0 CHECK (reserved_nano >= 0),
  requests INTEGER NOT NULL DEFAULT 0,
  input_tokens INTEGER NOT NULL DEFAULT 0,
  output_tokens INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (customer, period)
) STRICT, WITHOUT ROWID;

-- The newest period that was opened, and the newest time that was seen: a clock that is set back
-- opens no old month, one that jumps ahead no new one.
CREATE TABLE ledger_clock (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  period TEXT NOT NULL,
  seen_ms INTEGER NOT NULL
) STRICT;
INSERT INTO ledger_clock VALUES (1, '', 0);

-- A call that is at a provider: what it may cost at most is kept back until it is settled or void,
-- which removes the row. `boot` names the process that made the call.
CREATE TABLE holds (
  id TEXT PRIMARY KEY,
  boot TEXT NOT NULL,
  customer TEXT,
  day TEXT NOT NULL,
  amount_nano INTEGER NOT NULL CHECK (amount_nano >= 0),
  uses_wallet INTEGER NOT NULL CHECK (uses_wallet IN (0, 1)),
  created_ms INTEGER NOT NULL,
  call BLOB NOT NULL                       -- what the usage row will say of it
) STRICT, WITHOUT ROWID;

-- One row for each attempt at a provider that consumed tokens. `sequence` has no gaps. The id has
-- the digits of the hold that paid for it, so that nothing is booked twice.
CREATE TABLE usage_records (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  created_ms INTEGER NOT NULL,
  day TEXT NOT NULL,
  customer TEXT,
  token TEXT NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('run', 'chat.completion', 'embedding')),
  model TEXT NOT NULL,
  requested_model TEXT NOT NULL,
  provider TEXT NOT NULL,
  thread_id TEXT,
  run_id TEXT,
  step_id TEXT,
  request_id TEXT,
  attempt INTEGER NOT NULL,
  input_tokens INTEGER NOT NULL,
  cached_input_tokens INTEGER NOT NULL,
  cache_write_input_tokens INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL,
  reasoning_tokens INTEGER NOT NULL,
  estimated INTEGER NOT NULL CHECK (estimated IN (0, 1)),
  provider_cost_nano INTEGER,              -- NULL: no price was known
  markup_nano INTEGER,
  price_source TEXT,
  service_tier TEXT,
  raw BLOB                                 -- the provider's own words
) STRICT;
CREATE INDEX usage_records_of_run ON usage_records (run_id) WHERE run_id IS NOT NULL;

-- Sums of the rows above, so that no report reads them. `customer` is '' for nobody's.
CREATE TABLE usage_days (
  day TEXT NOT NULL,
  customer TEXT NOT NULL,
  model TEXT NOT NULL,
  kind TEXT NOT NULL,
  provider TEXT NOT NULL,
  requests INTEGER NOT NULL,
  estimated_requests INTEGER NOT NULL,
  input_tokens INTEGER NOT NULL,
  cached_input_tokens INTEGER NOT NULL,
  cache_write_input_tokens INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL,
  reasoning_tokens INTEGER NOT NULL,
  provider_cost_nano INTEGER NOT NULL,
  markup_nano INTEGER NOT NULL,
  PRIMARY KEY (day, customer, model, kind)
) STRICT, WITHOUT ROWID;
CREATE INDEX usage_days_of_customer ON usage_days (customer, day);

-- Prepaid credit for the whole proxy: one row. `is_low` and `is_exhausted`: that was said already.
CREATE TABLE wallet (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  balance_nano INTEGER NOT NULL DEFAULT 0,
  reserved_nano INTEGER NOT NULL DEFAULT 0 CHECK (reserved_nano >= 0),
  is_low INTEGER NOT NULL DEFAULT 0 CHECK (is_low IN (0, 1)),
  is_exhausted INTEGER NOT NULL DEFAULT 0 CHECK (is_exhausted IN (0, 1))
) STRICT;
INSERT INTO wallet (id) VALUES (1);

CREATE TABLE wallet_transactions (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  type TEXT NOT NULL CHECK (type IN ('top_up', 'charge')),
  amount_nano INTEGER NOT NULL,            -- what it added to the balance: below 0 for a charge
  balance_nano INTEGER NOT NULL,           -- after it
  note TEXT,
  usage_id TEXT,
  created_ms INTEGER NOT NULL
) STRICT;

-- The outbox: what happened, stored with it. `once_key`: what must be said only once.
CREATE TABLE events (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  type TEXT NOT NULL,
  created_ms INTEGER NOT NULL,
  data BLOB NOT NULL,
  once_key TEXT UNIQUE
) STRICT;
CREATE INDEX events_by_age ON events (created_ms);

-- Requests that came with an Idempotency-Key. `scope` is a hash of token, method, path and key.
CREATE TABLE idempotency_keys (
  scope BLOB PRIMARY KEY,
  fingerprint BLOB NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('running', 'done')),
  boot TEXT NOT NULL,
  dispatched INTEGER NOT NULL DEFAULT 0 CHECK (dispatched IN (0, 1)),
  resource TEXT,
  status INTEGER,
  content_type TEXT,
  headers BLOB,
  body BLOB,
  created_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_ms);

-- Which token a run is attributed to.
ALTER TABLE runs ADD COLUMN token TEXT NOT NULL DEFAULT '';
