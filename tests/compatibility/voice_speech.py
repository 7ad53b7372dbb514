"""Speech servers of one machine, with short limits, and with voices that no list has."""

import json
from collections import Counter
from typing import Any, Final

from support.speech_fake import Reply, Speech

from compatibility.voice_harness import WHOLE, VoiceCase, VoiceResult

_LIMITS: Final = "Limits of a text"
_VOICES: Final = "Voices beyond the list"
_KOKORO: Final = {"voices": ["af_heart", "af_bella", "am_adam"]}


def _refusal(status: int, said: Any) -> Reply:
    return Reply(status=status, body=json.dumps(said).encode(), content_type="application/json")


def _at_most(most: int, status: int, said: Any) -> Any:
    """Refuses longer texts."""

    def answer(speech: Speech, number: int) -> Reply:
        del number
        return Reply() if len(speech.body["input"]) <= most else _refusal(status, said)

    return answer


def _fits(most: int) -> Any:
    """Checks that no text was spoken twice, and that those that were are short enough."""

    def check(result: VoiceResult) -> None:
        assert result.upstreams.speech is not None
        texts = result.upstreams.speech.texts
        assert {1} == {*Counter(texts).values()}
        assert any(len(text) <= most for text in texts)

    return check


CASES: Final[tuple[VoiceCase, ...]] = (
    VoiceCase(
        kind="Slow voices",
        sends="status 503 “Loading model” five times, then each segment",
        speech=[_refusal(503, {"error": {"message": "Loading model", "code": 503}})] * 5 + [Reply()],
        calls=WHOLE + 5,
        outcome="READY, WAITING_FOR_PROVIDER",
        seconds=22.7,
    ),
    VoiceCase(
        kind=_LIMITS,
        sends="each part of at most 100 characters; `SPEECH_MAX_TEXT_LENGTH` is 100",
        speech=_at_most(100, 400, {"error": "too long"}),
        settings={"speech_max_text_length": 100},
        calls=7,
        check=_fits(100),
    ),
    VoiceCase(
        kind=_LIMITS,
        sends="status 400 “Input is too long (max 100 characters)” to longer texts",
        speech=_at_most(100, 400, {"error": {"message": "Input is too long (max 100 characters)"}}),
        calls=8,
        check=_fits(100),
    ),
    VoiceCase(
        kind=_LIMITS,
        sends="status 422, `string_too_long` with `max_length` 100, to longer texts",
        speech=_at_most(100, 422, {"detail": [{"type": "string_too_long", "ctx": {"max_length": 100}}]}),
        calls=8,
        check=_fits(100),
    ),
    *(
        VoiceCase(
            kind=_LIMITS,
            sends=f"status {status} “{said}” to longer texts",
            speech=_at_most(100, status, {"error": {"message": said}}),
            calls=8,
            check=_fits(100),
        )
        for status, said in (
            (400, "Text too long: 123 > 100"),
            (413, "Text must be 100 characters or less"),
            (200, "The input must not exceed 100 characters"),
        )
    ),
    VoiceCase(
        kind=_LIMITS,
        sends="status 400 “The text is too long”, with no limit, to every text",
        speech=_at_most(1, 400, {"error": "The text is too long"}),
        calls=1,
        outcome="UPSTREAM_REFUSED",
        says="SPEECH_MAX_TEXT_LENGTH",
    ),
    VoiceCase(
        kind=_VOICES,
        sends="each segment, in a mixture of two voices",
        speech=[Reply()],
        voice={"voice_id": "af_bella+af_sky"},
        voices=_KOKORO,
        speakers=["speech/af_bella+af_sky"],
        seconds=22.7,
    ),
    VoiceCase(
        kind=_VOICES,
        sends="status 400 “Voice 'af_hart' not found” to every text",
        speech=[_refusal(400, {"detail": {"error": "validation_error", "message": "Voice 'af_hart' not found."}})],
        voice={"voice_id": "af_hart"},
        voices=_KOKORO,
        calls=1,
        outcome="VOICE_NOT_FOUND",
        says="its list has af_heart",
    ),
)
