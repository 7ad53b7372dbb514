"""`tale voices`, `models`, `status`, `circuits` and `completion` against a scripted gateway."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.json_format import Parse
from google.protobuf.timestamp_pb2 import Timestamp
from support.scripted_gateway import Failure, ScriptedGateway, scripted_gateway
from support.tale_command import SECONDS, environment, tale

from tale.common.v1 import common_pb2, status_pb2
from tale.gateway.v1 import gateway_pb2
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
            description="Embedded",
            preview_url="https://voices.example/anna.mp3",
        )
    ],
    stale=True,
)


CIRCUIT = status_pb2.CircuitStatus(
    name="openrouter:a/b",
    state=status_pb2.CIRCUIT_STATE_OPEN,
    total_calls=12,
    successful_calls=4,
    failed_calls=7,
    fallback_calls=3,
    state_changes=1,
    retry_time=Timestamp(seconds=1_700_000_000),
)
CLOSED = status_pb2.CircuitStatus(name="openrouter:a/b", state=status_pb2.CIRCUIT_STATE_CLOSED)
STATUS = gateway_pb2.GetSystemStatusResponse(
    services=[
        status_pb2.ServiceStatus(service="gateway", version="1.2", health=status_pb2.SERVICE_HEALTH_SERVING),
        status_pb2.ServiceStatus(
            service="story", version="1.2", health=status_pb2.SERVICE_HEALTH_SERVING, circuits=[CIRCUIT]
        ),
        status_pb2.ServiceStatus(service="voice", health=status_pb2.SERVICE_HEALTH_UNREACHABLE, warnings=["gone"]),
    ]
)


@pytest.fixture
async def gateway() -> AsyncIterator[ScriptedGateway]:
    async with scripted_gateway() as scripted:
        yield scripted


async def test_voices_lists_providers_and_voices(gateway: ScriptedGateway, tmp_path: Path) -> None:
    """Each provider with its status, reason and position, then the requested voices."""
    gateway.queue("ListProviders", PROVIDERS)
    gateway.queue("ListVoices", VOICES)
    code, out, err = await tale(gateway.target, tmp_path, "voices", "--language", "ru", "--provider", "offline")
    assert 0 == code
    assert "Note: a part of the list could not be refreshed and may be out of date.\n" == err
    assert [
        "PROVIDER STATUS LANGUAGES",
        "elevenlabs not configured: ELEVENLABS_API_KEY is not set en, ru",
        "speech not available: its circuit is open; default l0, l1, l2, l3, l4, l5, l6, l7 and 2 more",
        "offline available; fallback 1; embedded",
        "",
        "offline: ru LANGUAGES GENDER NAME ABOUT",
        "ru+f3 ru female Anna Embedded https://voices.example/anna.mp3",
    ] == [" ".join(line.split()) for line in out.splitlines()]
    (request,) = gateway.requests("ListVoices")
    assert isinstance(request, voice_pb2.ListVoicesRequest)
    assert "offline" == request.provider
    assert "ru" == request.language_code


async def test_voices_are_in_the_order_of_providers_and_languages(gateway: ScriptedGateway, tmp_path: Path) -> None:
    """The provider that is called first comes first; the language of the system first, the others in a line each."""
    gateway.queue("ListProviders", PROVIDERS)
    voices = [("c", "offline", "ru"), ("b", "offline", "en"), ("a", "elevenlabs", "sv")]
    listed = [voice_pb2.Voice(voice_id=name, provider=by, language_codes=[code]) for name, by, code in voices]
    gateway.queue("ListVoices", voice_pb2.ListVoicesResponse(voices=listed))
    _, out, _ = await tale(gateway.target, tmp_path, "voices", LC_ALL="C")
    assert ["", "elevenlabs: sv a", "", "offline: en LANGUAGES GENDER NAME ABOUT", "b en", "offline: ru c"] == [
        " ".join(line.split()) for line in out.splitlines()[-6:]
    ]


async def test_voices_with_json_prints_both_responses(gateway: ScriptedGateway, tmp_path: Path) -> None:
    """One object with the fields of both."""
    gateway.queue("ListProviders", PROVIDERS)
    gateway.queue("ListVoices", VOICES)
    _, out, _ = await tale(gateway.target, tmp_path, "voices", "--json")
    both = json.loads(out)
    assert {"providers", "voices", "stale"} == set(both)
    assert PROVIDERS == Parse(json.dumps({"providers": both["providers"]}), voice_pb2.ListProvidersResponse())


async def test_models_lists_status_and_price(gateway: ScriptedGateway, tmp_path: Path) -> None:
    """Status, languages and price; protobuf JSON with --json."""
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
    assert ["a/b available; default 0.15 / 0.60", "offline not available: it is switched off; embedded en"] == [
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
async def test_completion_works_in_bash(tmp_path: Path, words: str, completions: list[str]) -> None:
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
    assert 0 == process.returncode
    assert completions == out.decode().split()


@pytest.mark.parametrize("shell", ["zsh", "fish"])
async def test_completion_prints_a_script_for_other_shells(tmp_path: Path, shell: str) -> None:
    """The script is for that shell and calls the command."""
    code, out, err = await tale("127.0.0.1:1", tmp_path, "completion", shell)
    assert 0 == code
    assert "" == err
    assert f"_TALE_COMPLETE={shell}_complete" in out


async def test_status_names_the_settings_that_replace_embedded_parts(gateway: ScriptedGateway, tmp_path: Path) -> None:
    """Every service with its health, and the variables of embedded parts; exit code 1 if a service is not healthy."""
    status = gateway_pb2.GetSystemStatusResponse(
        healthy=False,
        services=[
            status_pb2.ServiceStatus(service="gateway", version="1.2", health=status_pb2.SERVICE_HEALTH_SERVING),
            status_pb2.ServiceStatus(service="voice", health=status_pb2.SERVICE_HEALTH_UNREACHABLE),
        ],
        embedded_parts=[
            status_pb2.EmbeddedPart(part="writer", implementation="offline", environment_variables=["KEY_A", "KEY_B"])
        ],
    )
    gateway.queue("GetSystemStatus", status)
    code, out, _ = await tale(gateway.target, tmp_path, "status")
    assert 1 == code
    assert "gateway  SERVING      version 1.2\nvoice    UNREACHABLE\n" in out
    assert "  writer: offline; to replace it, set KEY_A or KEY_B\n" in out


async def test_circuits_shows_counts_of_calls(gateway: ScriptedGateway, tmp_path: Path) -> None:
    """One line for each circuit, and a note for a service that does not answer."""
    gateway.queue("GetSystemStatus", STATUS)
    code, out, err = await tale(gateway.target, tmp_path, "circuits", TZ="UTC")

    assert 0 == code
    assert "Note: the voice service does not answer.\n" == err
    assert [
        "SERVICE CIRCUIT STATE CALLS SUCCEEDED FAILED FALLBACK RETRY AT",
        "story openrouter:a/b OPEN 12 4 7 3 2023-11-14 22:13:20 UTC",
    ] == [" ".join(line.split()) for line in out.splitlines()]


async def test_circuits_without_a_circuit_prints_a_sentence(gateway: ScriptedGateway, tmp_path: Path) -> None:
    """A sentence instead of an empty table."""
    gateway.queue("GetSystemStatus", gateway_pb2.GetSystemStatusResponse())

    code, out, err = await tale(gateway.target, tmp_path, "circuits")
    assert 0 == code
    assert "No circuits yet: no service has called a provider.\n" == out
    assert "" == err


async def test_circuits_are_for_operators(gateway: ScriptedGateway, tmp_path: Path) -> None:
    """A caller that learns names and health alone is not told that there are none."""
    services = [status_pb2.ServiceStatus(service="story", health=status_pb2.SERVICE_HEALTH_SERVING)]
    gateway.queue("GetSystemStatus", gateway_pb2.GetSystemStatusResponse(services=services))

    code, out, _ = await tale(gateway.target, tmp_path, "circuits")
    assert 0 == code
    assert "Circuits are for operators. Make a key for one: tale keys create NAME --operator\n" == out


async def test_circuits_with_json_prints_services_and_circuits(gateway: ScriptedGateway, tmp_path: Path) -> None:
    """The fields of GetSystemStatusResponse that concern circuits."""
    gateway.queue("GetSystemStatus", STATUS)
    _, out, _ = await tale(gateway.target, tmp_path, "circuits", "--json")
    expected = gateway_pb2.GetSystemStatusResponse(
        services=[
            status_pb2.ServiceStatus(service=each.service, health=each.health, circuits=each.circuits)
            for each in STATUS.services
        ]
    )

    assert expected == Parse(out, gateway_pb2.GetSystemStatusResponse())


@pytest.mark.parametrize(
    ("arguments", "service"),
    [
        (("circuits", "reset", "openrouter:a/b"), ""),
        (("circuits", "reset", "openrouter:a/b", "--service", "story"), "story"),
    ],
)
async def test_circuits_reset_calls_the_gateway(
    gateway: ScriptedGateway, tmp_path: Path, arguments: tuple[str, ...], service: str
) -> None:
    """By name, and by service if it is given."""
    gateway.queue("ResetCircuit", gateway_pb2.ResetCircuitResponse(circuit=CLOSED))

    code, out, err = await tale(gateway.target, tmp_path, *arguments)
    assert 0 == code
    assert "The circuit openrouter:a/b is CLOSED.\n" == out
    assert "" == err
    assert [gateway_pb2.ResetCircuitRequest(service=service, name="openrouter:a/b")] == gateway.requests("ResetCircuit")


@pytest.mark.parametrize("before", [True, False])
async def test_circuits_reset_accepts_options_in_both_places(
    gateway: ScriptedGateway, tmp_path: Path, before: bool
) -> None:
    """--json and --target of `tale circuits` apply to `reset` too."""
    gateway.queue("ResetCircuit", gateway_pb2.ResetCircuitResponse(circuit=CLOSED))
    options = ("--json", "--target", gateway.target)
    arguments = (*options, "reset", "x") if before else ("reset", "x", *options)
    code, out, _ = await tale("127.0.0.1:1", tmp_path, "circuits", *arguments)

    assert 0 == code
    assert CLOSED == Parse(out, status_pb2.CircuitStatus())


async def test_circuits_reset_of_an_unknown_circuit_names_the_command(gateway: ScriptedGateway, tmp_path: Path) -> None:
    """The error names the command that lists circuits, not the RPC."""
    gateway.queue(
        "ResetCircuit",
        Failure(
            grpc.StatusCode.NOT_FOUND, "CIRCUIT_NOT_FOUND", "No circuit has that name; GetSystemStatus lists them."
        ),
    )

    code, out, err = await tale(gateway.target, tmp_path, "circuits", "reset", "x")
    assert 1 == code
    assert "" == out
    assert "Error: No circuit has that name; `tale circuits` lists them. [CIRCUIT_NOT_FOUND]" == err.splitlines()[0]


async def test_circuits_reset_of_an_ambiguous_name_names_the_option(gateway: ScriptedGateway, tmp_path: Path) -> None:
    """The error names the option that selects the service."""
    gateway.queue(
        "ResetCircuit",
        Failure(
            grpc.StatusCode.INVALID_ARGUMENT,
            "VALIDATION_FAILED",
            violations=[("service", "must be given: story, voice have a circuit of that name")],
        ),
    )

    code, out, err = await tale(gateway.target, tmp_path, "circuits", "reset", "x")
    assert 2 == code
    assert "" == out
    assert "Error: --service must be given: story, voice have a circuit of that name.\n" == err
