"""Calls that are paid for: refusals for good, voices that an account does not have, and how often a segment is sent."""

from typing import Any, Final

from support.elevenlabs_fake import Break, Fault, listed_voice
from support.speech_fake import Reply

from compatibility.voice_harness import WHOLE, Upstreams, VoiceCase

_REFUSALS: Final = "Voices that refuse for good"
_OWN: Final = "Voices of an account"
_PAID: Final = "Calls for speech that fail"
_FIRST: Final = "FirstVoice0000000001"
_SECOND: Final = "SecondVoice000000001"
_LIBRARY: Final = Fault(
    status=402,
    body={
        "detail": {
            "type": "payment_required",
            "code": "paid_plan_required",
            "status": "payment_required",
            "message": "Free users cannot use library voices via the API. Please upgrade your subscription.",
        }
    },
)
_UNKNOWN: Final = Fault(
    status=404,
    body={"detail": {"status": "voice_not_found", "message": "A voice with this id was not found."}},
)
_LACKS: Final = Fault(
    status=401,
    body={
        "detail": {
            "status": "missing_permissions",
            "message": "The API key you used is missing the permission voices_read to execute this operation.",
        }
    },
)


def _json(status: int, body: bytes) -> Reply:
    return Reply(status=status, body=body, content_type="application/json")


def _two_voices(upstreams: Upstreams) -> None:
    """An account without Rachel, which has two voices for English."""
    assert upstreams.elevenlabs is not None
    english: list[Any] = [("en", "en-US")]
    upstreams.elevenlabs.voices = [listed_voice(each, each, verified=english) for each in (_FIRST, _SECOND)]
    upstreams.elevenlabs.only_listed = True


def _foreign_voice(upstreams: Upstreams) -> None:
    _two_voices(upstreams)
    assert upstreams.elevenlabs is not None
    upstreams.elevenlabs.voices = [listed_voice(_SECOND, "Anna", verified=[("de", "de-DE")])]


def _restricted(upstreams: Upstreams) -> None:
    """A key that may speak and list nothing."""
    _two_voices(upstreams)
    assert upstreams.elevenlabs is not None
    upstreams.elevenlabs.lists = _LACKS


CASES: Final[tuple[VoiceCase, ...]] = (
    *(
        VoiceCase(
            kind=_REFUSALS,
            sends=f"status {status} from ElevenLabs to every call",
            elevenlabs=[Fault(status=status, body={"detail": {"message": "This request is not possible."}})],
            calls=1,
            outcome=outcome,
            says=says,
        )
        for status, outcome, says in (
            (400, "UPSTREAM_REFUSED", "another provider, voice or model"),
            (401, "UPSTREAM_AUTH", "ELEVENLABS_API_KEY"),
            (402, "QUOTA_EXCEEDED", "quota"),
            (403, "UPSTREAM_AUTH", "ELEVENLABS_API_KEY"),
            (404, "UPSTREAM_UNSUPPORTED", "ELEVENLABS_BASE_URL"),
            (422, "UPSTREAM_REFUSED", "another provider, voice or model"),
        )
    ),
    *(
        VoiceCase(
            kind=_REFUSALS,
            sends=f"status {reply.status} {sends}".rstrip(),
            speech=[reply],
            calls=1,
            outcome=outcome,
            says=says,
        )
        for reply, sends, outcome, says in (
            (
                _json(400, b'{"error": {"message": "Invalid input"}}'),
                "in OpenAI's form",
                "UPSTREAM_REFUSED",
                "Invalid input",
            ),
            (
                _json(400, b'{"detail": {"error": "validation_error", "message": "Voice \'x\' not found."}}'),
                "“Voice 'x' not found.”",
                "VOICE_NOT_FOUND",
                "it has no voice",
            ),
            (
                _json(422, b'{"detail": [{"loc": ["body", "speed"], "msg": "Field required"}]}'),
                "in FastAPI's form",
                "UPSTREAM_REFUSED",
                "Field required",
            ),
            (Reply(status=402, body=b"Payment required"), "in plain text", "QUOTA_EXCEEDED", "Payment required"),
            (Reply(status=403, body=b""), "", "UPSTREAM_AUTH", "SPEECH_API_KEY"),
            (Reply(status=404, body=b""), "", "UPSTREAM_UNSUPPORTED", "SPEECH_MODEL"),
            (Reply(status=405, body=b""), "", "UPSTREAM_UNSUPPORTED", "SPEECH_MODEL"),
            (Reply(status=413, body=b""), "", "UPSTREAM_REFUSED", "SPEECH_MODEL"),
            (Reply(status=451, body=b""), "", "UPSTREAM_REFUSED", "SPEECH_MODEL"),
            (Reply(status=302, body=b""), "", "UPSTREAM_UNSUPPORTED", "SPEECH_MODEL"),
        )
    ),
    VoiceCase(
        kind=_REFUSALS,
        sends="status 402 from ElevenLabs, then status 500 from the speech server that falls back",
        elevenlabs=[Fault(status=402, body={})],
        speech=[Reply(status=500, body=b"")],
        settings={"provider_fallback": ("speech",)},
        calls={"elevenlabs": 1, "speech": 3},
        provider_wait=0.0,
        outcome="QUOTA_EXCEEDED",
    ),
    *(
        VoiceCase(
            kind=_OWN,
            sends=f"status {fault.status} to the first voice for the language, which no request or setting names",
            elevenlabs=[fault, None],
            prepare=_two_voices,
            calls=WHOLE + 1,
            speakers=[f"elevenlabs/{_SECOND}"],
        )
        for fault in (_LIBRARY, _UNKNOWN)
    ),
    VoiceCase(
        kind=_OWN,
        sends="each segment, by the only voice of the account, which is listed for another language",
        elevenlabs=[None],
        prepare=_foreign_voice,
        speakers=[f"elevenlabs/{_SECOND}"],
    ),
    VoiceCase(
        kind=_OWN,
        sends="status 404 to a voice that `ELEVENLABS_VOICE` names",
        elevenlabs=[_UNKNOWN],
        settings={"elevenlabs_voice": _FIRST},
        prepare=_two_voices,
        calls=1,
        outcome="VOICE_NOT_FOUND",
        says="ELEVENLABS_VOICE",
    ),
    VoiceCase(
        kind=_OWN,
        sends="each segment, to a key that may not list voices; `ELEVENLABS_VOICE` is set",
        elevenlabs=[None],
        settings={"elevenlabs_voice": _FIRST},
        prepare=_restricted,
        speakers=[f"elevenlabs/{_FIRST}"],
    ),
    VoiceCase(
        kind=_OWN,
        sends="each segment, to a key that may not list voices; the request names a voice",
        elevenlabs=[None],
        voice={"provider": "elevenlabs", "voice_id": _FIRST},
        prepare=_restricted,
        speakers=[f"elevenlabs/{_FIRST}"],
    ),
    VoiceCase(
        kind=_OWN,
        sends="status 404 to a key that may not list voices; no request or setting names a voice",
        elevenlabs=[_UNKNOWN],
        prepare=_restricted,
        calls=1,
        outcome="VOICE_NOT_FOUND",
        says="the key lacks the permission voices_read",
    ),
    *(
        VoiceCase(
            kind=_PAID,
            sends=f"{sends}, to every call of a story that may wait for ten minutes",
            elevenlabs=[fault],
            calls=calls,
            outcome=outcome,
        )
        for sends, fault, calls, outcome in (
            ("status 500", Fault(status=500, body={}), 9, "AUDIO_GENERATION_FAILED"),
            ("half an answer", Fault(breaks=Break.END), 6, "AUDIO_GENERATION_FAILED"),
            ("a connection that breaks", Fault(breaks=Break.CUT), 5, "AUDIO_GENERATION_FAILED"),
            ("nothing within the timeout", Fault(breaks=Break.SILENCE), 3, "NETWORK_ERROR"),
        )
    ),
    VoiceCase(
        kind=_PAID,
        sends="nothing within the timeout, to runs that are killed after 5, 5 and 45 seconds",
        elevenlabs=[Fault(breaks=Break.SILENCE)],
        killed_after=(5.0, 5.0, 45.0),
        calls=3,
        outcome="NETWORK_ERROR",
    ),
)
