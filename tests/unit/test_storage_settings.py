"""The knobs of the storage service."""

from datetime import timedelta
from pathlib import Path

import pytest

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


def test_a_backend_that_is_not_there_yet_is_refused_at_start() -> None:
    """Supabase is named in one line, and nothing pretends to be it."""
    with pytest.raises(ConfigurationError, match="STORAGE_BACKEND=supabase is not available in this version yet"):
        build_app(StorageSettings(backend="supabase"))


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("STORAGE_BACKEND", "oracle"),
        ("STORAGE_SYNC", "never"),
        ("STORAGE_READERS", "0"),
        ("AUDIO_MAX_BYTES", "many"),
        ("STORAGE_UPLOAD_IDLE_SECONDS", "0"),
        ("AUDIO_SWEEP_GRACE_SECONDS", "-1"),
    ],
)
def test_a_wrong_value_names_its_variable(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    """The one line at start names what to mend."""
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
