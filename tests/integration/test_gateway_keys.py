"""`tale keys` makes, lists and revokes the keys that a gateway takes."""

from pathlib import Path

from support.house import house
from support.tale_command import tale

OWNER = "mia"


async def test_a_key_works_until_it_is_revoked(tmp_path: Path) -> None:
    """The key is printed alone, so that a program can take it, and never again."""
    file = tmp_path / "keys.json"
    variables = {"GATEWAY_API_KEYS_FILE": str(file)}
    async with house(tmp_path / "data", auth="api_key", api_keys_file=file) as it:
        target = it.servers["gateway"].address
        create = ("keys", "create", OWNER, "--operator", "--days", "30")
        code, key, said = await tale(target, tmp_path, *create, **variables)
        before = await tale(target, tmp_path, "status", TALE_TOKEN=key.strip())
        _, listed, _ = await tale(target, tmp_path, "keys", "list", "--file", str(file))
        identity = listed.splitlines()[1].split()[0]
        revoked = await tale(target, tmp_path, "keys", "revoke", identity, **variables)
        after = await tale(target, tmp_path, "status", TALE_TOKEN=key.strip())
        unknown = await tale(target, tmp_path, "keys", "revoke", identity, **variables)

    assert (0, 1, True) == (code, len(key.splitlines()), "shown this once" in said)
    assert ["mia", "operator", "all"] == listed.splitlines()[1].split()[1:4]
    assert key.strip().split("_", 2)[2] not in listed
    assert [0, 0, 1, 1] == [before[0], revoked[0], after[0], unknown[0]]
    assert "revoked" in after[2]
    assert "no key with that id" in unknown[2]
