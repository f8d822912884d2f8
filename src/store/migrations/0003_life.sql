-- The whole life of a key: who manages it, its rotation and policy; what an import said of material, and how often it was used;
-- grants, tags, alarms, and the volumes whose files a key governs. Imported material that is gone has sealed bytes of length 0.
ALTER TABLE keys ADD COLUMN manager TEXT;
ALTER TABLE keys ADD COLUMN rotation_period INTEGER;
ALTER TABLE keys ADD COLUMN rotation_next INTEGER;
ALTER TABLE keys ADD COLUMN policy TEXT;

ALTER TABLE materials ADD COLUMN import TEXT;
ALTER TABLE materials ADD COLUMN valid_to INTEGER;
ALTER TABLE materials ADD COLUMN description TEXT;
ALTER TABLE materials ADD COLUMN uses INTEGER;

CREATE TABLE grants (
    id TEXT PRIMARY KEY,
    key_id TEXT NOT NULL REFERENCES keys (id),
    name TEXT,
    grantee TEXT NOT NULL,
    retiring TEXT,
    operations TEXT NOT NULL,
    constraints TEXT,
    issuer TEXT NOT NULL,
    created INTEGER NOT NULL,
    mac BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX grants_of_a_key ON grants (key_id);

CREATE TABLE tags (
    id TEXT PRIMARY KEY,
    key_id TEXT NOT NULL REFERENCES keys (id),
    tag TEXT NOT NULL,
    value TEXT NOT NULL,
    mac BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE alarms (
    name TEXT PRIMARY KEY,
    key_id TEXT,
    watch TEXT NOT NULL,
    action TEXT NOT NULL,
    period INTEGER NOT NULL,
    created INTEGER NOT NULL,
    mac BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE volumes (
    id TEXT PRIMARY KEY,
    path TEXT NOT NULL,
    seen INTEGER NOT NULL,
    counted INTEGER,
    usage TEXT,
    mac BLOB NOT NULL
) STRICT, WITHOUT ROWID;
