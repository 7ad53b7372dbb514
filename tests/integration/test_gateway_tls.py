"""TLS of the gateway's port, and the commands that use it with a key."""

from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from structlog.testing import capture_logs
from support.house import House, house
from support.tale_command import tale

from gateway.door.certificate import Certificate
from gateway.door.keys import KeyFile
from servicekit.settings import ConfigurationError
from tale_client import AsyncTaleClient, TaleError


def issue(folder: Path, authority: trustme.CA) -> tuple[Path, Path]:
    """A certificate for this machine, in two files that are replaced at once."""
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    chain, key = folder / "chain.pem", folder / "key.pem"
    for path, pem in ((chain, certificate.cert_chain_pems[0].bytes()), (key, certificate.private_key_pem.bytes())):
        new = path.with_suffix(".new")
        new.write_bytes(pem)
        new.replace(path)
    return chain, key


async def healthy(it: House, authority: trustme.CA, token: str) -> bool:
    """What a new connection that trusts `authority` learns of the cluster."""
    credentials = grpc.ssl_channel_credentials(authority.cert_pem.bytes())
    target = it.servers["gateway"].address
    async with AsyncTaleClient(target, credentials=credentials, token=token, connect_timeout=3) as client:
        return (await client.system_status()).healthy


def test_a_certificate_that_cannot_be_read_for_a_moment_is_used_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though its files do not change once more."""
    present = Certificate(*issue(tmp_path, trustme.CA()))
    issue(tmp_path, trustme.CA())
    with monkeypatch.context() as moment:
        moment.setattr(Path, "read_bytes", lambda _: (_ for _ in ()).throw(OSError(24, "Too many open files")))
        assert present._changed() is None
        assert present._changed() is None
    assert present._changed() is not None
    assert present._changed() is None


def test_a_certificate_that_is_damaged_is_logged_with_its_files(tmp_path: Path) -> None:
    """The line says which files, and what is wrong with them."""
    present = Certificate(*issue(tmp_path, trustme.CA()))
    (tmp_path / "key.pem").write_bytes(trustme.CA().issue_cert("localhost").private_key_pem.bytes())
    with capture_logs() as lines:
        assert present._changed() is None

    (line,) = lines
    assert "certificate not read" == line["event"]
    assert [str(tmp_path / "chain.pem"), str(tmp_path / "key.pem")] == [line["file"], line["key_file"]]
    assert "KEY_VALUES_MISMATCH" == line["why"]


async def test_a_certificate_is_exchanged_while_the_gateway_runs(tmp_path: Path) -> None:
    """Open connections stay, new ones get the new certificate; a damaged one changes nothing."""
    first, second = trustme.CA(), trustme.CA()
    chain, key = issue(tmp_path, first)
    file = KeyFile(tmp_path / "keys.json")
    token, _ = file.create("mia")
    settings: dict[str, Any] = {"auth": "api_key", "api_keys_file": tmp_path / "keys.json"}
    settings |= {"tls_cert_file": chain, "tls_key_file": key}
    async with house(tmp_path / "data", **settings) as it:
        credentials = grpc.ssl_channel_credentials(first.cert_pem.bytes())
        async with AsyncTaleClient(it.servers["gateway"].address, credentials=credentials, token=token) as before:
            assert (await before.system_status()).healthy
            issue(tmp_path, second)
            assert await healthy(it, second, token)
            with pytest.raises(TaleError, match="not signed by a trusted"):
                await healthy(it, first, token)
            key.write_text("damaged")
            assert await healthy(it, second, token)
            issue(tmp_path, first)
            assert await healthy(it, first, token)
            assert (await before.system_status()).healthy
        authority = tmp_path / "ca.pem"
        authority.write_bytes(first.cert_pem.bytes())
        status = ("status", "--tls-ca", str(authority))
        with_key = await tale(it.servers["gateway"].address, tmp_path, *status, TALE_TOKEN=token)
        without = await tale(it.servers["gateway"].address, tmp_path, *status)

    assert (0, True) == (with_key[0], "gateway" in with_key[1])
    assert (1, True) == (without[0], "authorization" in without[2])


@pytest.mark.parametrize("damage", ["missing", "empty", "other key"])
def test_files_that_are_no_certificate_stop_the_start(tmp_path: Path, damage: str) -> None:
    """With a text that names the settings."""
    chain, key = issue(tmp_path, trustme.CA())
    match damage:
        case "missing":
            key.unlink()
        case "empty":
            chain.write_text("")
        case _:
            key.write_bytes(trustme.CA().issue_cert("localhost").private_key_pem.bytes())
    with pytest.raises(ConfigurationError, match=r"GATEWAY_TLS_CERT_FILE and GATEWAY_TLS_KEY_FILE must be"):
        Certificate(chain, key)
