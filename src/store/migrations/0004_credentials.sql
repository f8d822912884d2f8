-- What clients of the server sign their requests with: the secret is sealed.
CREATE TABLE credentials (
    id TEXT PRIMARY KEY,
    principal TEXT NOT NULL,
    created INTEGER NOT NULL,
    sealed BLOB NOT NULL,
    mac BLOB NOT NULL
) STRICT, WITHOUT ROWID;
