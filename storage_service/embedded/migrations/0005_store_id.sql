-- The id of this store: what a place for audio outside of TALE_DATA_DIR is marked with, so that no other store sweeps it.
CREATE TABLE store_identity (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    id TEXT NOT NULL
) STRICT;

INSERT INTO store_identity (one, id) VALUES (1, lower(hex(randomblob(16))));
