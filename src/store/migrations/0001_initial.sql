-- Each row carries a MAC over the table's name and all of its columns; `heads` says how many rows each table has and
-- authenticates all of them together. The key of a table is its first column.

CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value ANY,
    mac BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE slots (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    parameters BLOB NOT NULL,
    salt BLOB NOT NULL,
    sealed BLOB NOT NULL,
    mac BLOB NOT NULL
) STRICT;

CREATE TABLE keys (
    id TEXT PRIMARY KEY,
    state TEXT NOT NULL,
    origin TEXT NOT NULL,
    description TEXT NOT NULL,
    created INTEGER NOT NULL,
    deletion_date INTEGER,
    mac BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE materials (
    id TEXT PRIMARY KEY,
    key_id TEXT NOT NULL REFERENCES keys (id),
    version INTEGER NOT NULL,
    rotation TEXT,
    rotated INTEGER,
    sealed BLOB NOT NULL,
    mac BLOB NOT NULL,
    UNIQUE (key_id, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE aliases (
    name TEXT PRIMARY KEY,
    key_id TEXT NOT NULL REFERENCES keys (id),
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL,
    mac BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX aliases_of_a_key ON aliases (key_id);

CREATE TABLE tombstones (
    key_id TEXT PRIMARY KEY,
    arn TEXT NOT NULL,
    created INTEGER NOT NULL,
    deleted INTEGER NOT NULL,
    mac BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE heads (
    name TEXT PRIMARY KEY,
    generation INTEGER NOT NULL,
    row_count INTEGER NOT NULL,
    mac BLOB NOT NULL
) STRICT, WITHOUT ROWID;
