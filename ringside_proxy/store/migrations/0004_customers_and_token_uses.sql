-- A customer's id is its owner's own word: it may be the id of something else, and both may be gone.
CREATE TABLE tombstones_by_kind (
  id TEXT NOT NULL,
  parent INTEGER NOT NULL,
  owner TEXT NOT NULL,
  position INTEGER NOT NULL,
  deleted_ms INTEGER NOT NULL,
  PRIMARY KEY (id, parent)
) STRICT, WITHOUT ROWID;
INSERT INTO tombstones_by_kind SELECT id, parent, owner, position, deleted_ms FROM tombstones;
DROP TABLE tombstones;
ALTER TABLE tombstones_by_kind RENAME TO tombstones;
CREATE INDEX tombstones_by_age ON tombstones (deleted_ms);

-- When a token was last used, to a minute or so; those of the configuration are here too.
CREATE TABLE token_uses (
  token_id TEXT PRIMARY KEY,
  used_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
