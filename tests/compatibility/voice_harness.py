"""Runs a case of a voice: the voice service as it is built by default, under a gateway's run, over scripted servers."""

import asyncio
import io
import random
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import soundfile  # type: ignore[import-untyped]
from support.elevenlabs_fake import KEY, Call, ElevenLabsFake, Fault, elevenlabs_fake
from support.speech_fake import Reply, Speech, SpeechFake, speech_fake
from support.virtual_runs import VirtualRuns
from support.voice_kit import settings
from support.voice_virtual import SharedSegments, VirtualVoice

from standins.virtual_time import loop_time, run_virtually
from tale.common.v1 import common_pb2
from voice_service.bootstrap import build
from voice_service.providers.registry import EMBEDDED
from voice_service.synthesis.store import MemorySegments

READY: Final = "READY"
TITLE: Final = "The Fox and the Stars"
TEXT: Final = (
    "Once there was a small fox who could not sleep. She counted the stars above the sea. Then the wind began to sing "
    "of the long road home, of the mill and of the quiet river. The fox listened, and she forgot to count. One eye "
    "closed, and then the other one closed too, and the moon looked after her until the morning came."
)
"""Three segments, and the title before them: four calls of a server that does as it was asked."""
WHOLE: Final = 4


_OF_THE_MACHINE: Final = "WAITING_FOR_PLACE"
"""How many narrations are admitted at once depends on how busy the machine is."""


@dataclass(slots=True)
class Upstreams:
    """The servers of a case; None: it is not configured."""

    speech: SpeechFake | None = None
    elevenlabs: ElevenLabsFake | None = None

    @property
    def calls(self) -> dict[str, int]:
        """How often each server that is configured was called for speech."""
        counts = {}
        if self.elevenlabs is not None:
            counts["elevenlabs"] = len(self.elevenlabs.speeches)
        if self.speech is not None:
            counts["speech"] = len(self.speech.speeches)
        return counts

    @property
    def texts(self) -> list[str]:
        """What they were given to speak, ElevenLabs first."""
        bodies = [call.body for call in self.elevenlabs.speeches] if self.elevenlabs is not None else []
        given = [body["text"] for body in bodies if body is not None]
        return given + ([speech.body["input"] for speech in self.speech.speeches] if self.speech is not None else [])


@dataclass(frozen=True, slots=True)
class Narrated:
    """What became of one story."""

    story: common_pb2.Story
    segments: Sequence[common_pb2.Segment]
    warnings: Sequence[common_pb2.Problem]
    sound: bytes
    """The bytes of the finished file."""

    @property
    def outcome(self) -> str:
        """READY with the reasons of its warnings, or the reason for which it has no audio."""
        if self.story.state == common_pb2.STORY_STATE_READY:
            reasons = [warning.reason for warning in self.warnings if warning.reason != _OF_THE_MACHINE]
            return ", ".join(dict.fromkeys([READY, *reasons]))
        return self.problem.reason

    @property
    def problem(self) -> common_pb2.Problem:
        """What ended the narration; empty where nothing did."""
        failed = self.story.state != common_pb2.STORY_STATE_READY and self.story.problems
        return self.story.problems[-1] if failed else common_pb2.Problem()

    @property
    def seconds(self) -> float:
        """How long the sound is, as the manifest says."""
        return sum(segment.duration.ToNanoseconds() for segment in self.segments) / 1e9

    @property
    def speakers(self) -> list[str]:
        """Provider and voice, in the order in which they first spoke."""
        return list(dict.fromkeys(f"{segment.provider}/{segment.voice_id}" for segment in self.segments))


@dataclass(frozen=True, slots=True)
class VoiceResult:
    """What a run gave."""

    stories: Sequence[Narrated]
    upstreams: Upstreams
    took: float
    """Seconds, of the clock of the servers."""

    @property
    def outcome(self) -> str:
        """In the form of `VoiceCase.outcome`; of several stories that differ, one after the other.

        Which of two stories waits for the other depends on which one came first: it counts for both.
        """
        told = dict.fromkeys(story.outcome for story in self.stories)
        return "; ".join(each for each in told if not any(other.startswith(f"{each}, ") for other in told))

    @property
    def seconds(self) -> float:
        """How long the sound of all stories is."""
        return sum(story.seconds for story in self.stories)

    @property
    def speakers(self) -> list[str]:
        """Those of all stories."""
        return list(dict.fromkeys(speaker for story in self.stories for speaker in story.speakers))

    @property
    def message(self) -> str:
        """What the error says; empty without one. Without what differs from run to run."""
        message = next((story.problem.message for story in self.stories if story.problem.message), "")
        for server in (self.upstreams.speech, self.upstreams.elevenlabs):
            if server is not None:
                message = message.replace(server.url.partition("//")[2].partition("/")[0], "server")
        return re.sub(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?", "YYYY-MM-DD hh:mm", message)

    @property
    def remedy(self) -> str:
        """What the error says to do about it."""
        return next((story.problem.remedy for story in self.stories if story.problem.remedy), "")

    def samples(self, story: int = 0) -> Any:
        """Returns the sound of a story, decoded: mono samples from -1 to 1, at 44,100 Hz."""
        return soundfile.read(io.BytesIO(self.stories[story].sound), dtype="float32")[0]


SpeechAnswers: TypeAlias = Sequence[Reply] | Callable[[Speech, int], Reply]
ElevenLabsAnswers: TypeAlias = Sequence[Fault | None] | Callable[[Call, int], Fault | None]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VoiceCase:
    """A row of the table: what a voice does, and what is expected of it. See the package."""

    kind: str
    sends: str
    speech: SpeechAnswers | None = None
    """What the server of SPEECH_BASE_URL answers; None: SPEECH_BASE_URL is not set."""
    elevenlabs: ElevenLabsAnswers | None = None
    """What ElevenLabs answers, None in place of a fault being a good answer; None: it has no key."""
    calls: int | Mapping[str, int] = WHOLE
    """Calls for speech in all, or by provider."""
    outcome: str = READY
    """READY, READY with the reasons of its warnings, or the reason for which there is no audio."""
    speakers: Sequence[str] = ()
    """Providers and voices in the order in which they spoke, as in "speech/af_heart"; empty: not looked at."""
    seconds: float | None = None
    """How long the sound of all stories is, to 5 %; None: not looked at."""
    says: str = ""
    """A part of the error's message, or of its remedy."""
    check: Callable[[VoiceResult], object] = field(default=lambda _result: None)
    """Asserts anything else."""
    title: str = TITLE
    texts: Sequence[str] = (TEXT,)
    """The stories."""
    at_once: bool = False
    """The stories are narrated at the same time, else one after the other."""
    language_code: str = "en"
    voice: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the request's VoiceSelection."""
    provider_wait: float = 600.0
    killed_after: Sequence[float] = ()
    """The run is killed after so many seconds, and another one continues; then that one, and so on."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Of the voice service; "{speech}" in one stands for the address of the speech server."""
    prepare: Callable[[Upstreams], object] = field(default=lambda _upstreams: None)
    """Sets anything else of the servers: their lists, how fast they work."""
    models: Sequence[str] = ("kokoro",)
    """Ids that the speech server's /models lists."""
    voices: Any = field(default_factory=lambda: {"voices": ["af_heart"]})
    """What the speech server's /audio/voices answers; None: it has no such list."""

    @property
    def is_virtual(self) -> bool:
        """Whether it runs in virtual time; the embedded voice speaks in processes, whose time is the machine's."""
        embedded = EMBEDDED in repr((self.settings, self.voice))
        return not embedded and (self.speech is not None or self.elevenlabs is not None)


def run(case: VoiceCase) -> VoiceResult:
    """Returns what the case gives."""
    state = random.getstate()
    # Pauses between calls are drawn at random, and the calls of a row must not be.
    random.seed(case.sends)
    try:
        return run_virtually(_run(case)) if case.is_virtual else asyncio.run(_run(case))
    finally:
        random.setstate(state)


async def _run(case: VoiceCase) -> VoiceResult:
    async with AsyncExitStack() as stack:
        upstreams = Upstreams()
        if case.speech is not None:
            upstreams.speech = await stack.enter_async_context(speech_fake())
            _script_speech(case, case.speech, upstreams.speech)
        if case.elevenlabs is not None:
            upstreams.elevenlabs = await stack.enter_async_context(elevenlabs_fake())
            _script_elevenlabs(case.elevenlabs, upstreams.elevenlabs)
        case.prepare(upstreams)
        store = SharedSegments()
        app = build(_settings(case, upstreams), store=store, clock=loop_time)
        stack.push_async_callback(app.stop)
        voice = VirtualVoice(app)
        began = loop_time()
        stories = [_narrate(case, number, voice, store) for number in range(len(case.texts))]
        narrated = await asyncio.gather(*stories) if case.at_once else [await story for story in stories]
        return VoiceResult(narrated, upstreams, loop_time() - began)


async def _narrate(case: VoiceCase, number: int, voice: VirtualVoice, store: MemorySegments) -> Narrated:
    story = common_pb2.Story(
        id=f"018f0000-0000-7000-8000-{number:012}",
        title=case.title,
        content=case.texts[number],
        language_code=case.language_code,
        voice=common_pb2.VoiceSelection(**case.voice),
    )
    runs = VirtualRuns(voice=voice, told=story, provider_wait=case.provider_wait)
    for killed_after in (*case.killed_after, None):
        await runs.run(killed_after=killed_after)
    segments = list(runs.record.run.segments)
    sound = b"".join([await store.read(segment.key) for segment in segments])
    return Narrated(runs.story, segments, runs.warnings, sound)


def _script_speech(case: VoiceCase, answers: SpeechAnswers, fake: SpeechFake) -> None:
    fake.models = {"data": [{"id": name, "object": "model"} for name in case.models]}
    fake.voices = case.voices
    if callable(answers):
        fake.answers = lambda speech: answers(speech, len(fake.speeches))
    else:
        fake.answers = lambda _: answers[min(len(fake.speeches), len(answers)) - 1]


def _script_elevenlabs(answers: ElevenLabsAnswers, fake: ElevenLabsFake) -> None:
    if callable(answers):
        fake.answers = lambda call: answers(call, len(fake.speeches))
    else:
        fake.answers = lambda _: answers[min(len(fake.speeches), len(answers)) - 1]


def _settings(case: VoiceCase, upstreams: Upstreams) -> Any:
    given: dict[str, Any] = {"default_provider": ""}
    if upstreams.speech is not None:
        given["speech_base_url"] = upstreams.speech.url
    if upstreams.elevenlabs is not None:
        given |= {"elevenlabs_base_url": upstreams.elevenlabs.url, "elevenlabs_api_key": KEY}
    url = upstreams.speech.url if upstreams.speech is not None else ""
    for name, value in case.settings.items():
        given[name] = value.replace("{speech}", url) if isinstance(value, str) else value
    return settings(**given)
