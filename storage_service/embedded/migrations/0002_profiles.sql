-- Children (kind 1) and heroes (kind 2). `profile` is a Child or a Hero without what has a column of its own.
CREATE TABLE profiles (
    id TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    kind INTEGER NOT NULL CHECK (kind IN (1, 2)),
    revision INTEGER NOT NULL DEFAULT 1,
    create_time INTEGER NOT NULL,
    update_time INTEGER NOT NULL,
    profile BLOB NOT NULL
) STRICT;

CREATE INDEX profiles_by_owner ON profiles (owner, kind, create_time DESC, id DESC);
