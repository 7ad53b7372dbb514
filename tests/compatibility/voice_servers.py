"""Voices that are well, slow, broken or refuse: the rows that hold whatever the upstream is."""

from typing import Final

from support.elevenlabs_fake import Break, Fault
from support.speech_fake import Reply

from compatibility.voice_harness import TEXT, WHOLE, Upstreams, VoiceCase, VoiceResult

_OTHER: Final = TEXT.replace("fox", "hare").replace("sea", "hill").replace("moon", "lamp")
_GERMAN: Final = "GermanVoice000000001"


def _each_once(result: VoiceResult) -> None:
    """No text was sent twice."""
    texts = result.upstreams.texts
    assert len(texts) == len(set(texts))


def _slow(upstreams: Upstreams) -> None:
    """A server on a small machine: one call at a time, two seconds of work for a second of sound."""
    assert upstreams.speech is not None
    upstreams.speech.work, upstreams.speech.threads = 2.0, 1


def _embedded(result: VoiceResult) -> None:
    assert all(speaker.startswith("offline/") for speaker in result.speakers)


CASES: Final[tuple[VoiceCase, ...]] = (
    VoiceCase(
        kind="Voices that are well",
        sends="each segment as raw samples",
        speech=[Reply()],
        speakers=["speech/af_heart"],
        seconds=22.7,
        check=_each_once,
    ),
    VoiceCase(
        kind="Voices that are well",
        sends="each segment as MP3, with the times of its characters",
        elevenlabs=[None],
        voice={"voice_id": _GERMAN},
        speakers=[f"elevenlabs/{_GERMAN}"],
        seconds=22.6,
        check=_each_once,
    ),
    VoiceCase(
        kind="Voices that are well",
        sends="each segment, from a server without `/audio/voices`; `SPEECH_VOICE` is set",
        speech=[Reply()],
        voices=None,
        settings={"speech_voice": "alloy"},
        speakers=["speech/alloy"],
    ),
    VoiceCase(
        kind="Voices that are well",
        sends="nothing: no provider is configured, and the embedded voice speaks",
        calls=0,
        outcome="READY, EMBEDDED_VOICE",
        check=_embedded,
    ),
    VoiceCase(
        kind="Calls for speech that fail",
        sends="status 500 once, then each segment",
        speech=[Reply(status=500), Reply()],
        calls=WHOLE + 1,
        seconds=22.7,
    ),
    VoiceCase(
        kind="Calls for speech that fail",
        sends="status 429 with `Retry-After: 7` once, then each segment",
        speech=[Reply(status=429, headers={"Retry-After": "7"}), Reply()],
        calls=WHOLE + 1,
        seconds=22.7,
    ),
    VoiceCase(
        kind="Calls for speech that fail",
        sends="half of an answer before the connection breaks, once, then each segment",
        elevenlabs=[Fault(breaks=Break.CUT), None],
        voice={"voice_id": _GERMAN},
        calls=WHOLE + 1,
        seconds=22.6,
    ),
    VoiceCase(
        kind="Calls for speech that fail",
        sends="status 401 to every call",
        speech=[Reply(status=401)],
        calls=1,
        outcome="UPSTREAM_AUTH",
    ),
    VoiceCase(
        kind="Calls for speech that fail",
        sends="status 401 from ElevenLabs, where the speech server falls back",
        elevenlabs=[Fault(status=401, code="invalid_api_key")],
        speech=[Reply()],
        settings={"provider_fallback": ("speech",)},
        calls={"elevenlabs": 1, "speech": WHOLE},
        outcome="READY, PROVIDER_FAILED",
        speakers=["speech/af_heart"],
        seconds=22.7,
    ),
    VoiceCase(
        kind="Slow voices",
        sends="each segment, at half of real time and one call at a time, of two stories at the same time",
        speech=[Reply()],
        prepare=_slow,
        texts=(TEXT, _OTHER),
        at_once=True,
        # The stories share their title.
        calls=2 * WHOLE - 1,
        outcome="READY, WAITING_FOR_PROVIDER",
        check=_each_once,
    ),
    VoiceCase(
        kind="Slow voices",
        sends="nothing for a minute, while it loads its model, then each segment",
        speech=lambda _, number: Reply(delay=60.0 if number == 1 else 0.0),
        outcome="READY, WAITING_FOR_PROVIDER",
        check=_each_once,
    ),
    VoiceCase(
        kind="Slow voices",
        sends="each segment after ten seconds, to runs that are killed after 15 and after 10 more seconds",
        speech=[Reply(delay=10.0)],
        killed_after=(15.0, 10.0),
        seconds=22.7,
    ),
)
