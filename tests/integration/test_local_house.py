"""Everything on this machine: a first start with the two addresses of a chat and a speech server, and nothing else."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from aiohttp import web
from google.protobuf.json_format import Parse
from support.openrouter_fake import DONE, Answer, Call, Event, Finish, OpenRouterFake, openrouter_fake, pieces
from support.speech_fake import SpeechFake, speech_fake
from support.story_models import TEXT, TITLE, WHOLE

from tale.common.v1 import common_pb2
from tale_client import AsyncTaleClient
from tale_cluster.layout import GATEWAY, Layout

SECONDS: Final = 60.0
LOADING_SECONDS: Final = 1.0
THOUGHTS: Final = ("The child is six.", " An owl, then.", " It ends in bed.")
OF_THE_USER: Final = ("HOME", "PATH", "LANG", "TMPDIR")
"""What is left of the environment: no setting of a service."""


@dataclass(frozen=True, slots=True)
class Servers:
    """What a user has started: Ollama with one model, and Kokoro-FastAPI."""

    chat: OpenRouterFake
    speech: SpeechFake
    is_sloppy: bool
    """With an endpoint behind one address, and without /v1 in the other."""

    @property
    def environment(self) -> dict[str, str]:
        """The two addresses, and proxies that a machine may name for its way out."""
        passed = {name: os.environ[name] for name in OF_THE_USER if name in os.environ}
        dead = dict.fromkeys(
            ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"), "socks5://127.0.0.1:9"
        )
        chat, speech = self.chat.chat_url, self.speech.url
        if self.is_sloppy:
            chat, speech = f"{chat}/chat/completions", speech.removesuffix("/v1")
        return {**passed, **dead, "CHAT_BASE_URL": chat, "SPEECH_BASE_URL": speech}


@pytest.fixture(params=["llama3.2:3b", "deepseek-r1:8b"])
async def servers(request: pytest.FixtureRequest) -> AsyncIterator[Servers]:
    """With a model that answers at once when it is loaded, and one that thinks, at addresses as people copy them."""
    model = str(request.param)
    loaded = asyncio.Event()

    def answer(call: Call) -> Answer:
        if call.body["model"] != model:
            said = {"message": f'model "{call.body["model"]}" not found, try pulling it first', "type": "api_error"}
            return Answer(status=404, body=web.json_response({"error": said}).body)  # type: ignore[arg-type] # is bytes
        asyncio.get_running_loop().call_later(LOADING_SECONDS, loaded.set)
        thoughts = [_thought(text) for text in THOUGHTS] if "r1" in model else []
        return Answer(steps=(*thoughts, *pieces(WHOLE), Finish("stop"), DONE), hold=loaded)

    async with openrouter_fake() as chat, speech_fake() as speech:
        chat.models = [{"id": model, "object": "model", "created": 1_760_000_000, "owned_by": "library"}]
        chat.default = answer
        speech.voices = {"voices": ["af_heart", "am_adam", "bf_emma"]}
        speech.models = {
            "object": "list",
            "data": [{"id": name, "object": "model", "owned_by": "kokoro"} for name in ("tts-1", "tts-1-hd", "kokoro")],
        }
        yield Servers(chat, speech, is_sloppy="r1" in model)


def _thought(text: str) -> Event:
    delta = {"role": "assistant", "content": "", "reasoning": text}
    return Event({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})


async def _start(folder: Path, environ: dict[str, str], *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tale_client",
        *arguments,
        cwd=folder,
        env={**environ, "PYTHONIOENCODING": "utf-8"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


def _check(story: common_pb2.Story, servers: Servers) -> None:
    """Its text and its sound are of the two servers, and nothing is embedded."""
    assert common_pb2.STORY_STATE_READY == story.state
    assert (TITLE, TEXT) == (story.title, story.content)
    assert [] == list(story.problems)
    assert servers.speech.speeches
    assert {"writer", "voice"}.isdisjoint(story.embedded_parts)
    assert not story.audio.embedded
    assert [servers.chat.models[0]["id"]] == [call.model for call in servers.chat.calls]
    assert [] == servers.chat.strangers
    assert {""} == set(servers.chat.keys)


async def test_demo_uses_the_two_servers(tmp_path: Path, servers: Servers) -> None:
    """Text of the one model that the chat server lists, sound of a voice that the speech server lists."""
    async with asyncio.timeout(SECONDS):
        process = await _start(tmp_path, servers.environment, "demo", "--minutes", "1", "--json")
        out, err = await process.communicate()

    assert 0 == process.returncode, err.decode()
    _check(Parse(out, common_pb2.Story()), servers)
    for variable in ("OPENROUTER_API_KEY", "ELEVENLABS_API_KEY"):
        assert variable not in err.decode()


async def test_up_uses_the_two_servers(tmp_path: Path, servers: Servers) -> None:
    """The status says so before the first story, and the list of models is that of the chat server."""
    layout = Layout.on_free_ports()
    async with asyncio.timeout(SECONDS):
        process = await _start(tmp_path, layout.environment(servers.environment), "up")
        assert process.stdout is not None
        await process.stdout.readuntil(b"Stop: Ctrl-C\n")
        async with AsyncTaleClient(layout[GATEWAY].listen) as client:
            status = await client.system_status()
            spec = common_pb2.StorySpec(child=common_pb2.Child(name="Mia", age=6), length_minutes=1)
            *_, last = [event async for event in client.tell(spec)]
            story = await client.get_story(last.done.story.id, full=True)
            models = (await client.list_models()).models
        process.send_signal(signal.SIGTERM)
        await process.communicate()

    assert status.healthy
    parts = {part.part for service in status.services for part in service.embedded_parts}
    assert parts <= {"storage", "store"}
    assert [servers.chat.models[0]["id"]] == [model.id for model in models if model.available and not model.embedded]
    _check(story, servers)
    assert {"speech"} == {segment.provider for segment in story.audio.segments}
    writing = [each for each in story.attempts if each.kind == common_pb2.ATTEMPT_KIND_MODEL_CALL]
    assert [("chat", servers.chat.models[0]["id"])] == [(each.provider, each.model) for each in writing]
