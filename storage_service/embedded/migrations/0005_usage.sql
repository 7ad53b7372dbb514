-- What owners used by day (of UTC, since 1970): no row names a story or a child, and none is removed with them. Of kind
-- 0 `calls` are the stories that were requested.
CREATE TABLE usage (
    owner TEXT NOT NULL,
    day INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    calls INTEGER NOT NULL,
    characters INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    cost_usd REAL NOT NULL,
    PRIMARY KEY (owner, day, kind, provider, model)
) STRICT, WITHOUT ROWID;

CREATE INDEX usage_by_day ON usage (day);

-- Stories that wait for a place, and those that have one, by owner.
CREATE INDEX stories_waiting ON stories (owner, create_time, id) WHERE state IN (1, 2, 3) AND lease_expire_time IS NULL;
CREATE INDEX stories_unfinished_by_owner ON stories (owner, lease_expire_time) WHERE state IN (1, 2, 3);
