"""`tale voices`, `tale models` and `tale completion`."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from google.protobuf.json_format import Parse
from support.scripted_gateway import ScriptedGateway, scripted_gateway
from support.tale_command import SECONDS, environment, tale

from tale.common.v1 import common_pb2
from tale.story.v1 import story_pb2
from tale.voice.v1 import voice_pb2

PROVIDERS = voice_pb2.ListProvidersResponse(
    providers=[
        voice_pb2.Provider(
            provider_name="elevenlabs", unavailable_reason="ELEVENLABS_API_KEY is not set", language_codes=["en", "ru"]
        ),
        voice_pb2.Provider(
            provider_name="speech",
            configured=True,
            unavailable_reason="its circuit is open",
            is_default=True,
            language_codes=[f"l{n}" for n in range(10)],
        ),
        voice_pb2.Provider(
            provider_name="offline", configured=True, available=True, fallback_position=1, embedded=True
        ),
    ]
)
VOICES = voice_pb2.ListVoicesResponse(
    voices=[
        voice_pb2.Voice(
            provider="offline",
            voice_id="ru+f3",
            display_name="Anna\x1b[2J",
            language_codes=["ru"],
            gender=common_pb2.GENDER_FEMALE,
        )
    ],
    stale=True,
)


@pytest.fixture
async def gateway() -> AsyncIterator[ScriptedGateway]:
    async with scripted_gateway() as scripted:
        yield scripted


async def test_voices_tells_who_can_speak(gateway: ScriptedGateway, tmp_path: Path) -> None:
    """Each provider's standing with its reason and its place, then the voices that were asked for."""
    gateway.queue("ListProviders", PROVIDERS)
    gateway.queue("ListVoices", VOICES)
    code, out, err = await tale(gateway.target, tmp_path, "voices", "--language", "ru", "--provider", "offline")
    assert (0, "Note: a part of the list could not be refreshed and is an older one.\n") == (code, err)
    assert [
        "PROVIDER LANGUAGES",
        "elevenlabs not set up: ELEVENLABS_API_KEY is not set en, ru",
        "speech not available: its circuit is open; tried first l0, l1, l2, l3, l4, l5, l6, l7 and 2 more",
        "offline available; fallback 1; embedded",
        "",
        "VOICE PROVIDER LANGUAGES NAME",
        "ru+f3 offline ru female Anna",
    ] == [" ".join(line.split()) for line in out.splitlines()]
    (request,) = gateway.requests("ListVoices")
    assert isinstance(request, voice_pb2.ListVoicesRequest)
    assert ("offline", "ru") == (request.provider, request.language_code)


async def test_voices_with_json_has_both_answers(gateway: ScriptedGateway, tmp_path: Path) -> None:
    """One object with the fields of either."""
    gateway.queue("ListProviders", PROVIDERS)
    gateway.queue("ListVoices", VOICES)
    _, out, _ = await tale(gateway.target, tmp_path, "voices", "--json")
    both = json.loads(out)
    assert {"providers", "voices", "stale"} == set(both)
    assert PROVIDERS == Parse(json.dumps({"providers": both["providers"]}), voice_pb2.ListProvidersResponse())


async def test_models_tells_who_can_write(gateway: ScriptedGateway, tmp_path: Path) -> None:
    """Standing, languages and price; protobuf JSON with --json."""
    models = story_pb2.ListModelsResponse(
        models=[
            story_pb2.Model(
                id="a/b",
                available=True,
                is_default=True,
                prompt_usd_per_million_tokens=0.15,
                completion_usd_per_million_tokens=0.6,
            ),
            story_pb2.Model(
                id="offline", unavailable_reason="it is switched off", language_codes=["en"], embedded=True
            ),
        ]
    )
    gateway.queue("ListModels", models)
    code, out, _ = await tale(gateway.target, tmp_path, "models")
    assert 0 == code
    assert ["a/b available; tried first 0.15 / 0.60", "offline not available: it is switched off; embedded en"] == [
        " ".join(line.split()) for line in out.splitlines()[1:]
    ]
    gateway.queue("ListModels", models)
    _, out, _ = await tale(gateway.target, tmp_path, "models", "--json")
    assert models == Parse(out, story_pb2.ListModelsResponse())


@pytest.mark.parametrize(
    ("words", "completions"),
    [
        ("tale chil", ["children"]),
        ("tale heroes rem", ["remove"]),
        ("tale list --state ready", ["ready", "ready-without-audio"]),
    ],
)
async def test_the_script_completes_in_bash(tmp_path: Path, words: str, completions: list[str]) -> None:
    """Commands, subcommands and the values of options."""
    script = (
        'source <(tale completion bash) && read -ra COMP_WORDS <<< "$1" && COMP_CWORD=$((${#COMP_WORDS[@]} - 1))'
        ' && _tale_completion tale && printf "%s\\n" "${COMPREPLY[@]}"'
    )
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", script, "bash", words),
        cwd=tmp_path,
        env=environment("127.0.0.1:1"),
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(SECONDS):
        out, _ = await process.communicate()
    assert (0, completions) == (process.returncode, out.decode().split())


@pytest.mark.parametrize("shell", ["zsh", "fish"])
async def test_the_other_shells_have_a_script_too(tmp_path: Path, shell: str) -> None:
    """It is for that shell and asks the command itself."""
    code, out, err = await tale("127.0.0.1:1", tmp_path, "completion", shell)
    assert (0, "") == (code, err)
    assert f"_TALE_COMPLETE={shell}_complete" in out
