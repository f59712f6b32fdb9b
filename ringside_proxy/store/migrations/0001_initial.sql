-- Times are INTEGER milliseconds UTC, JSON is TEXT or BLOB, ids are TEXT. `seq` is the order of
-- creation: lists are paged by it, because two objects may share a millisecond. AUTOINCREMENT where
-- rows can be deleted: a tombstone's place must not be taken by a newer object.

CREATE TABLE store_meta (
  key TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE api_tokens (
  seq INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL,
  role TEXT NOT NULL CHECK (role IN ('developer', 'client')),
  customer TEXT CHECK ((role = 'client') = (customer IS NOT NULL)),
  sha256 TEXT NOT NULL UNIQUE,
  created_ms INTEGER NOT NULL,
  expires_ms INTEGER
) STRICT;

-- `owner` is '' for what developers made, else the customer whose client token made it.
CREATE TABLE assistants (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  owner TEXT NOT NULL,
  body BLOB NOT NULL                       -- the wire object
) STRICT;
CREATE INDEX assistants_by_owner ON assistants (owner, seq);

-- A conversation is what a thread (`thread_…`) and, later, a conversation (`conv_…`) both show.
CREATE TABLE conversations (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  owner TEXT NOT NULL,
  customer TEXT,                           -- whom runs are attributed to by default
  created_ms INTEGER NOT NULL,
  deleted_ms INTEGER,                      -- gone for callers; its rows are being purged
  metadata TEXT NOT NULL,
  tool_resources TEXT NOT NULL,
  message_count INTEGER NOT NULL DEFAULT 0,
  next_ordinal INTEGER NOT NULL DEFAULT 1
) STRICT;
CREATE INDEX conversations_live ON conversations (seq) WHERE deleted_ms IS NULL;
CREATE INDEX conversations_live_by_owner ON conversations (owner, seq) WHERE deleted_ms IS NULL;
CREATE INDEX conversations_deleted ON conversations (deleted_ms) WHERE deleted_ms IS NOT NULL;

CREATE TABLE api_thread_aliases (
  thread_id TEXT PRIMARY KEY,
  conversation INTEGER NOT NULL UNIQUE REFERENCES conversations (seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE conversation_metadata (
  key TEXT NOT NULL,
  value TEXT NOT NULL,
  conversation INTEGER NOT NULL REFERENCES conversations (seq),
  PRIMARY KEY (key, value, conversation)
) STRICT, WITHOUT ROWID;
CREATE INDEX conversation_metadata_of ON conversation_metadata (conversation);

CREATE TABLE runs (
  seq INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  conversation INTEGER NOT NULL REFERENCES conversations (seq),
  thread_id TEXT NOT NULL,
  assistant_id TEXT NOT NULL,
  customer TEXT,
  status TEXT NOT NULL CHECK (status IN ('queued', 'in_progress', 'requires_action', 'cancelling',
    'completed', 'failed', 'incomplete', 'cancelled', 'expired')),
  created_ms INTEGER NOT NULL,
  started_ms INTEGER,
  expires_ms INTEGER NOT NULL,
  ended_ms INTEGER,
  settings BLOB NOT NULL,                  -- the snapshot the run keeps
  metadata TEXT NOT NULL,
  last_error BLOB,
  incomplete_reason TEXT,
  usage BLOB
) STRICT;
CREATE INDEX runs_of_conversation ON runs (conversation, seq);
-- This index is the active-run lock: it frees itself with the status write.
CREATE UNIQUE INDEX one_active_run_per_conversation ON runs (conversation)
  WHERE status IN ('queued', 'in_progress', 'requires_action', 'cancelling');
CREATE INDEX runs_by_expiry ON runs (expires_ms)
  WHERE status IN ('queued', 'in_progress', 'requires_action', 'cancelling');

-- A generation is one stretch of model work that ends by returning control: a segment of a run,
-- and later a response (`resp_…`). A row exists before the first byte goes to a provider.
CREATE TABLE generations (
  seq INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  run INTEGER NOT NULL REFERENCES runs (seq),
  number INTEGER NOT NULL,
  model TEXT NOT NULL,
  created_ms INTEGER NOT NULL,
  ended_ms INTEGER,
  usage BLOB,
  UNIQUE (run, number)
) STRICT;
CREATE INDEX generations_open ON generations (run) WHERE ended_ms IS NULL;

CREATE TABLE run_steps (
  seq INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  run INTEGER NOT NULL REFERENCES runs (seq),
  generation INTEGER NOT NULL REFERENCES generations (seq),
  type TEXT NOT NULL CHECK (type IN ('message_creation', 'tool_calls')),
  status TEXT NOT NULL CHECK (status IN ('in_progress', 'completed', 'failed', 'cancelled', 'expired')),
  created_ms INTEGER NOT NULL,
  ended_ms INTEGER,
  last_error BLOB,
  usage BLOB,
  message_id TEXT                          -- of the message it made, which may be deleted since
) STRICT;
CREATE INDEX run_steps_of_run ON run_steps (run, seq);
CREATE INDEX run_steps_of_generation ON run_steps (generation);
CREATE UNIQUE INDEX one_open_step_per_run ON run_steps (run) WHERE status = 'in_progress';

-- Messages, function calls and their outputs, in the order of the conversation. `body` has the
-- shape of a Responses item (plain text and a list of annotations), from which both surfaces are
-- written; columns beside it are what SQL filters on.
CREATE TABLE items (
  seq INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  conversation INTEGER NOT NULL REFERENCES conversations (seq),
  ordinal INTEGER NOT NULL,
  type TEXT NOT NULL CHECK (type IN ('message', 'function_call', 'function_call_output')),
  role TEXT,
  status TEXT NOT NULL CHECK (status IN ('in_progress', 'completed', 'incomplete')),
  incomplete_reason TEXT,
  call_id TEXT,
  run INTEGER REFERENCES runs (seq),
  generation INTEGER REFERENCES generations (seq),
  step INTEGER REFERENCES run_steps (seq),
  step_index INTEGER,
  created_ms INTEGER NOT NULL,
  ended_ms INTEGER,
  body BLOB NOT NULL,
  metadata TEXT NOT NULL DEFAULT '{}',
  UNIQUE (conversation, ordinal)
) STRICT;
CREATE INDEX items_messages ON items (conversation, ordinal) WHERE type = 'message';
CREATE INDEX items_messages_of_run ON items (run, ordinal) WHERE type = 'message' AND run IS NOT NULL;
CREATE INDEX items_of_run ON items (run, ordinal) WHERE run IS NOT NULL;
CREATE INDEX items_of_generation ON items (generation) WHERE generation IS NOT NULL;
CREATE INDEX items_of_step ON items (step) WHERE step IS NOT NULL;

-- Where deleted objects stood, so that a caller who deletes while paging can go on.
CREATE TABLE tombstones (
  id TEXT PRIMARY KEY,
  parent INTEGER NOT NULL,
  owner TEXT NOT NULL,
  position INTEGER NOT NULL,
  deleted_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX tombstones_by_age ON tombstones (deleted_ms);

-- What a provider wants back, unread, with the function calls it made. Of chat completions, which
-- have no conversation, it is kept until `expires_ms`.
CREATE TABLE provider_states (
  scope TEXT NOT NULL,
  call_id TEXT NOT NULL,
  model TEXT NOT NULL,
  state BLOB NOT NULL,
  expires_ms INTEGER,
  PRIMARY KEY (scope, call_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX provider_states_by_expiry ON provider_states (expires_ms) WHERE expires_ms IS NOT NULL;
