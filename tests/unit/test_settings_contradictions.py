"""Settings that contradict each other: a warning with the remedy; a wrong target stops the start."""

import os
import pwd
from pathlib import Path
from typing import Any

import pytest
from support.servers import running

from gateway.settings import GatewaySettings
from servicekit.addresses import check_target
from servicekit.settings import ConfigurationError, ServiceSettings, load, warnings_of
from storage_service.private import ownership
from storage_service.settings import StorageSettings
from story_service.settings import StorySettings
from tale.common.v1 import status_pb2, status_pb2_grpc
from voice_service.settings import VoiceServiceSettings

CONTRADICTIONS: list[tuple[type[ServiceSettings], dict[str, str], str]] = [
    (
        StorageSettings,
        {"SUPABASE_URL": "https://x.supabase.co"},
        "SUPABASE_URL is set, and STORAGE_BACKEND",
    ),
    (
        StorageSettings,
        {"SUPABASE_URL": "https://x.supabase.co", "SUPABASE_KEY": "k"},
        "SUPABASE_URL and SUPABASE_KEY are set, and STORAGE_BACKEND is embedded",
    ),
    (StorageSettings, {"AUDIO_STORE_KMS_KEY_ID": "k"}, "AUDIO_STORE_KMS_KEY_ID is set without a bucket"),
    (
        StorageSettings,
        {"AUDIO_STORE_URL": "file:///a", "SEGMENT_STORE_URL": "file:///a"},
        "SEGMENT_STORE_URL is AUDIO_STORE_URL",
    ),
    (StorySettings, {"CHAT_API_KEY": "k"}, "CHAT_API_KEY is set without CHAT_BASE_URL"),
    (
        StorySettings,
        {"OPENROUTER_BASE_URL": "https://o.example/v1"},
        "OPENROUTER_BASE_URL is set without",
    ),
    (StorySettings, {"STORY_SAFETY_MODEL": "a/b"}, "STORY_SAFETY is off"),
    (StorySettings, {"STORY_CRITIC_MODEL": "a/b"}, "STORY_CRITIC is off"),
    (VoiceServiceSettings, {"SPEECH_API_KEY": "k"}, "SPEECH_API_KEY is set without SPEECH_BASE_URL"),
    (VoiceServiceSettings, {"OPENAI_API_KEY": "k"}, "OPENAI_API_KEY is used for transcription alone"),
    (
        VoiceServiceSettings,
        {"ELEVENLABS_API_KEY": "k", "DEFAULT_VOICE_PROVIDER": "offline"},
        "ELEVENLABS_API_KEY is set, and neither DEFAULT_VOICE_PROVIDER nor VOICE_PROVIDER_FALLBACK names elevenlabs",
    ),
    (GatewaySettings, {"GATEWAY_JWT_SECRET": "s" * 32}, "GATEWAY_JWT_SECRET is set, and GATEWAY_AUTH is none"),
    (GatewaySettings, {"GATEWAY_API_KEYS_FILE": "/keys.json"}, "Set GATEWAY_AUTH=api_key"),
    (GatewaySettings, {"PICKUP_INTERVAL_SECONDS": "60"}, "stands still for up to 66 s"),
]


@pytest.mark.parametrize(("kind", "variables", "said"), CONTRADICTIONS)
def test_contradiction_is_a_warning_that_names_the_variables(
    monkeypatch: pytest.MonkeyPatch, kind: type[ServiceSettings], variables: dict[str, str], said: str
) -> None:
    """One, and none without them."""
    assert [] == warnings_of(load(kind))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    (warning,) = warnings_of(load(kind))
    assert said in warning


def test_provider_that_a_list_names_is_no_contradiction() -> None:
    """As the first, or as a fallback."""
    key: dict[str, Any] = {"elevenlabs_api_key": "k"}
    assert [] == warnings_of(VoiceServiceSettings(**key))
    assert [] == warnings_of(VoiceServiceSettings(**key, default_provider="offline", provider_fallback=("elevenlabs",)))


@pytest.mark.parametrize(
    "target",
    [
        "dns:///story:50052",
        "dns://8.8.8.8/story:50052",
        "story:50052",
        "ipv4:127.0.0.1:1,127.0.0.2:2",
        "unix:/run/x",
        "",
    ],
)
def test_target_with_a_port_is_used(target: str) -> None:
    """As are those that have none by their scheme."""
    assert target == check_target(target)


@pytest.mark.parametrize("target", ["dns:///story", "story", "http://story:50052/x", "ipv4:127.0.0.1", "story:port"])
def test_target_without_a_port_stops_the_start(monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    """gRPC would call port 443. The line names the variable, the value and what to set."""
    monkeypatch.setenv("STORY_TARGET", target)
    with pytest.raises(ConfigurationError) as caught:
        load(GatewaySettings)
    assert str(caught.value).startswith("STORY_TARGET must be host:port or dns:///host:port")
    assert f"not {target}" in str(caught.value)


async def test_contradiction_of_storage_is_in_its_status(tmp_path: Path) -> None:
    """The status of the others has their warnings, too."""
    import storage_service.bootstrap  # noqa: PLC0415 - loads SDKs

    settings = StorageSettings(
        listen="127.0.0.1:0", ops_listen="127.0.0.1:0", data_dir=tmp_path, supabase_url="https://x.supabase.co"
    )
    async with running(storage_service.bootstrap.build_app(settings), service="storage", settings=settings) as server:
        stub: Any = status_pb2_grpc.StatusServiceStub(server.channel)
        status = (await stub.GetStatus(status_pb2.GetStatusRequest(), timeout=5)).status
    assert warnings_of(settings) == list(status.warnings)


async def test_data_folder_that_cannot_be_used_names_its_owner_and_the_user(tmp_path: Path) -> None:
    """With the folder, so that the one can be given to the other."""
    import storage_service.bootstrap  # noqa: PLC0415 - loads SDKs

    (tmp_path / "storage").write_text("no folder")
    settings = StorageSettings(listen="127.0.0.1:0", ops_listen="127.0.0.1:0", data_dir=tmp_path)
    app = storage_service.bootstrap.build_app(settings)
    with pytest.raises(ConfigurationError) as caught:
        await app.start()
    user = f"{os.geteuid()} ({pwd.getpwuid(os.geteuid()).pw_name})"
    assert "TALE_DATA_DIR must be a folder that the service can write to" in str(caught.value)
    assert f"{tmp_path / 'storage'} belongs to user {user}, and this process is user {user}" in str(caught.value)
    assert str(tmp_path) in ownership(tmp_path / "missing" / "file")
