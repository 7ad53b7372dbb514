"""The knobs of the storage service."""

import base64
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from servicekit.settings import ConfigurationError, load
from storage_service.bootstrap import build_app
from storage_service.settings import StorageSettings


def test_without_any_variable_the_store_is_embedded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The defaults need no set-up."""
    for name in ("STORAGE_LISTEN", "STORAGE_OPS_LISTEN", "TALE_DATA_DIR", "STORAGE_SYNC", "STORAGE_BACKEND"):
        monkeypatch.delenv(name, raising=False)
    settings = load(StorageSettings)
    assert ("127.0.0.1:50054", "127.0.0.1:9054", "normal", "embedded", Path("data/storage")) == (
        settings.listen,
        settings.ops_listen,
        settings.sync,
        settings.backend,
        settings.folder,
    )


def supabase(**changes: Any) -> StorageSettings:
    """Settings that are enough for Supabase, but for the changes."""
    fields = {"supabase_url": "https://abc.supabase.co", "supabase_key": SecretStr("sb_secret_1234"), **changes}
    return StorageSettings(backend="supabase", **fields)


async def test_supabase_is_set_up_by_its_address_and_a_key() -> None:
    """Nothing is asked of it before the service starts; the status names no embedded part."""
    app = build_app(supabase(supabase_url="https://abc.supabase.co/"))
    told = await app.describe()
    assert ([], ["supabase"]) == (list(told.embedded_parts), [provider.name for provider in told.providers])
    assert app.circuits is not None
    await app.stop()


def jwt(role: str) -> str:
    """A key of the older kind."""
    return f"e30.{base64.urlsafe_b64encode(json.dumps({'role': role}).encode()).decode().rstrip('=')}.c2ln"


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"supabase_url": None}, "SUPABASE_URL must be set"),
        ({"supabase_url": "abc.supabase.co"}, "SUPABASE_URL must be a URL such as"),
        ({"supabase_url": "http://abc.supabase.co"}, "SUPABASE_URL must be https"),
        ({"supabase_url": "https://me:secret@abc.supabase.co"}, "SUPABASE_URL must hold no user"),
        ({"supabase_key": None}, "SUPABASE_KEY, or a file named by SUPABASE_KEY_FILE, must hold"),
        ({"supabase_key": None, "supabase_key_file": Path("/nowhere/key")}, "SUPABASE_KEY_FILE"),
        ({"supabase_key": SecretStr("sb_secret with blanks")}, "SUPABASE_KEY must be a key as Supabase shows it"),
        ({"supabase_key": SecretStr("sb_publishable_1234")}, "SUPABASE_KEY must be a secret key"),
        ({"supabase_key": SecretStr(jwt("anon"))}, "SUPABASE_KEY must be a secret key"),
    ],
)
def test_what_supabase_lacks_is_said_in_one_line(changes: dict[str, Any], line: str) -> None:
    """The variable, and the remedy; never the key."""
    with pytest.raises(ConfigurationError, match=line) as caught:
        build_app(supabase(**changes))
    assert "\n" not in str(caught.value)
    assert "secret with" not in str(caught.value)


def test_older_keys_and_plain_http_in_a_trusted_network_are_fine() -> None:
    """A key may be a JWT of the service role; http needs to be allowed."""
    build_app(supabase(supabase_key=SecretStr(jwt("service_role"))))
    build_app(supabase(supabase_url="http://kong:8000", upstream_allow_plain_http=True))


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("STORAGE_BACKEND", "oracle"),
        ("STORAGE_SYNC", "never"),
        ("AUDIO_MAX_BYTES", "many"),
        ("STORAGE_SWEEP_INTERVAL_SECONDS", "0"),
        ("SEGMENT_STORE_MAX_BYTES", "-1"),
    ],
)
def test_a_wrong_value_names_its_variable(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    """The one line at start names what to fix."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError, match=variable):
        load(StorageSettings)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("90d", timedelta(days=90)),
        ("12h", timedelta(hours=12)),
        ("30m", timedelta(minutes=30)),
        ("45s", timedelta(seconds=45)),
    ],
)
def test_a_retention_is_a_number_and_a_unit(monkeypatch: pytest.MonkeyPatch, given: str, expected: timedelta) -> None:
    """Days, hours, minutes or seconds; unset or empty is for good."""
    monkeypatch.setenv("STORY_RETENTION", given)
    assert expected == load(StorageSettings).story_retention
    monkeypatch.setenv("STORY_RETENTION", "")
    assert load(StorageSettings).story_retention is None


@pytest.mark.parametrize("given", ["90", "d", "-1d", "1.5h", "0d", "90 days"])
def test_a_retention_that_says_nothing_stops_the_start(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    """The line names the variable."""
    monkeypatch.setenv("STORY_RETENTION", given)
    with pytest.raises(ConfigurationError, match="STORY_RETENTION"):
        load(StorageSettings)


def test_former_variable_of_the_s3_server_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ignored, it would send the requests to Amazon."""
    monkeypatch.setenv("AUDIO_STORE_ENDPOINT", "http://minio:9000")
    with pytest.raises(ConfigurationError, match=r"^AUDIO_STORE_ENDPOINT .* AWS_ENDPOINT_URL_S3"):
        load(StorageSettings)
