"""The provider of docs/voice-providers.md, as somebody would install it."""

import importlib
import re
import sys
from collections.abc import AsyncIterator, Iterator
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from support.voice_kit import STORY, NamedVoice, voice_service

from servicekit.metrics import Metrics
from servicekit.resilience.errors import ProviderError
from servicekit.settings import ConfigurationError
from tale.voice.v1 import voice_pb2
from voice_service.metrics import VoiceMetrics
from voice_service.ports import Probing
from voice_service.providers.factory import GROUP, load_plugins, make_providers
from voice_service.providers.registry import Announced
from voice_service.settings import Tuning, VoiceServiceSettings

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "voice-providers.md").read_text()
BLOCKS: dict[str, str] = dict(re.findall(r"^```(toml|python)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The package as pip leaves it: the module, and its entry points."""
    (tmp_path / "acme_voice.py").write_text(BLOCKS["python"])
    points = re.findall(r'^(\w+) = "(acme_voice:\w+)"$', BLOCKS["toml"], re.MULTILINE)
    info = tmp_path / "acme_voice-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-voice\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n" + "".join(f"{name} = {value}\n" for name, value in points))
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    yield tmp_path
    sys.modules.pop("acme_voice", None)


class Acme:
    """The made-up server: hums a tone as long as the text needs."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.status = 200
        self.headers: dict[str, str] = {}

    async def speak(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.asked.append({**body, "authorization": request.headers.get("authorization")})
        moments = np.arange(len(body["text"]) * 16_000 // 15) / 16_000
        pcm = (np.sin(2 * np.pi * 220 * moments) * 8000).astype("<i2").tobytes()
        return web.Response(status=self.status, body=pcm, headers={"x-request-id": f"acme-{len(self.asked)}"})

    async def health(self, request: web.Request) -> web.Response:
        del request
        return web.Response(status=self.status, headers=self.headers)


@pytest.fixture
async def acme() -> AsyncIterator[tuple[Acme, str]]:
    """The server and its address."""
    server, app = Acme(), web.Application()
    app.add_routes([web.post("/speak", server.speak), web.get("/health", server.health)])
    async with TestServer(app) as running:
        yield server, str(running.make_url("")).rstrip("/")


def _loaded(environment: dict[str, str]) -> Any:
    (provider,) = [each for each in load_plugins(environment) if _name(each) == "acme"]
    return provider


def _name(each: Any) -> str:
    return each.name if isinstance(each, Announced) else str(each.metadata.name)


async def test_it_tells_a_story(installed: Path, acme: tuple[Acme, str]) -> None:
    """Found by its entry point, it speaks, is asked with its key, and its request ids are in the ledger."""
    server, url = acme
    provider = _loaded({"ACME_URL": url, "ACME_KEY": "k"})
    async with voice_service(provider, default_provider="acme") as voice:
        told = await voice.tell(STORY, title="The Fox")

    assert installed
    assert isinstance(provider, Probing)
    assert (None, {"acme"}) == (told.error, {segment.provider for segment in told.segments})
    assert {("anna", "Bearer k")} == {(each["voice"], each["authorization"]) for each in server.asked}
    assert {f"acme-{number}" for number in range(1, len(told.segments) + 1)} == {
        attempt.metadata["request_id"] for attempt in told.attempts
    }


async def test_it_falls_back_and_is_probed_as_every_provider(installed: Path, acme: tuple[Acme, str]) -> None:
    """503 is against its health; `probe` says when it is back."""
    server, url = acme
    server.status = 503
    provider = _loaded({"ACME_URL": url})
    async with voice_service(
        provider, NamedVoice("two"), default_provider="acme", provider_fallback=("two",), breaker_seconds=3600
    ) as voice:
        told = await voice.tell(STORY)
        listed = await voice.stub.ListProviders(voice_pb2.ListProvidersRequest(), timeout=5)
        with pytest.raises(ProviderError, match="it answered 503"):
            await provider.probe()

    assert installed
    assert {"two"} == {segment.provider for segment in told.segments}
    assert "open" == next(each.circuit_state for each in listed.providers if each.provider_name == "acme")


@pytest.mark.parametrize(
    ("status", "headers", "kind", "retryable", "wait"),
    [
        (307, {"location": "/speak"}, "unsupported", False, None),
        (401, {}, "auth", False, None),
        (403, {}, "auth", False, None),
        (404, {}, "unsupported", False, None),
        (422, {}, "invalid_input", False, None),
        (429, {"retry-after": "7"}, "rate", True, 7.0),
        (500, {}, "overload", True, None),
    ],
)
async def test_permanent_refusal_is_not_retried(
    installed: Path,
    acme: tuple[Acme, str],
    status: int,
    headers: dict[str, str],
    kind: str,
    retryable: bool,
    wait: float | None,
) -> None:
    """Nor is a redirect followed; the wait that the server names is passed on."""
    server, url = acme
    server.status, server.headers = status, headers
    provider = _loaded({"ACME_URL": url})
    with pytest.raises(ProviderError) as caught:
        await provider.probe()
    await provider.aclose()

    assert installed
    assert kind == caught.value.kind.value
    assert retryable == caught.value.retryable
    assert wait == caught.value.retry_after


async def test_broken_connection_is_a_provider_error(installed: Path) -> None:
    """For a probe as well."""
    provider = _loaded({"ACME_URL": "http://127.0.0.1:1"})
    with pytest.raises(ProviderError, match="the connection broke"):
        await provider.probe()
    await provider.aclose()

    assert installed


def test_plain_http_to_another_machine_is_refused(installed: Path) -> None:
    """Unless the operator allows it."""
    refused = _loaded({"ACME_URL": "http://acme.example"})
    allowed = _loaded({"ACME_URL": "http://acme.example", "UPSTREAM_ALLOW_PLAIN_HTTP": "1"})

    assert installed
    assert refused.reason.startswith("ACME_URL must be https")
    assert not isinstance(allowed, Announced)


def test_what_is_missing_is_shown_and_stops_nothing(installed: Path) -> None:
    """Without its variable it is known by name, with the remedy; so is one that does not even load."""
    unset = _loaded({})
    (installed / "acme_voice.py").write_text("import no_such_module")
    sys.modules.pop("acme_voice", None)
    importlib.invalidate_caches()
    broken = _loaded({"ACME_URL": "http://127.0.0.1:1"})

    assert Announced("acme", "acme", "set ACME_URL to the address of the Acme server") == unset
    assert "acme_voice:make cannot be loaded (ModuleNotFoundError)" == broken.reason


def test_a_name_that_is_taken_stops_the_service(installed: Path) -> None:
    """Two of one name would be one too many."""
    points = installed / "acme_voice-1.0.dist-info" / "entry_points.txt"
    points.write_text(points.read_text().replace("acme =", "offline ="))
    assert list(distributions(path=[str(installed)]))
    with pytest.raises(ConfigurationError, match="offline"):
        make_providers(VoiceServiceSettings(), Tuning(), VoiceMetrics(Metrics()), {})
