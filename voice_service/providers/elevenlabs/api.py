"""How ElevenLabs is called: configuration, API key, and its errors as ProviderErrors.

An error is `{"detail": {"type", "code", "status", "message", "request_id"}}`, where `status` is the older name of
`code` (https://elevenlabs.io/docs/eleven-api/resources/errors); 422 has a list, and some have a bare text. The code
counts more than the HTTP status: 401 may be a used-up quota, 429 one of three things. What the message says is passed
on without the words of the request.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import orjson

from servicekit.resilience.errors import ProviderError, ProviderErrorKind, wait_asked
from servicekit.resilience.said import Cleaner
from voice_service.ports import MP3_44100_128, NativeFormat, VoiceRefusedError, VoiceSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

    from servicekit.secrets import SecretSource


NAME: Final = "elevenlabs"
BASE_URL: Final = "https://api.elevenlabs.io"
DEFAULT_MODEL: Final = "eleven_multilingual_v2"
RACHEL: Final = "21m00Tcm4TlvDq8ikWAM"
"""The voice that is tried where the voices of the account are not known; newer accounts do not have it."""

_PCM: Final = {"pcm_16000": 16_000, "pcm_22050": 22_050, "pcm_24000": 24_000, "pcm_44100": 44_100}
FORMATS: Final = (MP3_44100_128.name, *_PCM)
"""Output formats that can be handed on; 44.1 kHz PCM depends on the plan."""


class Endpoint(StrEnum):
    """Endpoint for speech. All of them bill the same characters."""

    TIMESTAMPS = "timestamps"
    """A stream of audio with the times of its characters; without times for a request that wants none."""
    STREAM = "stream"
    """A stream of audio alone: a quarter fewer bytes, but no word timings."""
    CONVERT = "convert"
    """The audio as one file, when all of it is made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ElevenLabsConfig:
    """How to call ElevenLabs.

    `key` is read before each call, so it may rotate. `settings` are for requests that leave theirs open.
    `list_cache_seconds` is how long lists of voices and models are good. `connections` bounds the calls at a time.
    `zero_retention` requests that ElevenLabs stores neither text nor audio, which needs an enterprise plan.

    Deadlines, in seconds: `connect_seconds`, `pool_seconds` to get a connection, `read_seconds` between two pieces of
    an answer; `list_seconds` for the whole of a call for voices, models or the subscription. Raises ValueError.
    """

    key: SecretSource
    base_url: str = BASE_URL
    default_model: str = DEFAULT_MODEL
    default_voice: str = ""
    settings: VoiceSettings = field(
        default_factory=lambda: VoiceSettings(stability=0.5, similarity_boost=0.75, style=0.0, use_speaker_boost=True)
    )
    output_format: str = MP3_44100_128.name
    endpoint: Endpoint = Endpoint.TIMESTAMPS
    list_cache_seconds: float = 600.0
    list_seconds: float = 5.0
    connect_seconds: float = 5.0
    read_seconds: float = 30.0
    pool_seconds: float = 10.0
    connections: int = 64
    zero_retention: bool = False

    def __post_init__(self) -> None:
        """Refuses what cannot be handed on."""
        if self.output_format not in FORMATS:
            raise ValueError(f"the output format must be one of {', '.join(FORMATS)}")

    @property
    def native_format(self) -> NativeFormat:
        """What the provider hands over."""
        return NativeFormat.PCM_S16LE if self.output_format in _PCM else NativeFormat.MP3_44100_128

    @property
    def sample_rate(self) -> int:
        """In Hz."""
        return _PCM.get(self.output_format, MP3_44100_128.sample_rate)

    @property
    def bytes_per_second(self) -> float:
        """Of audio."""
        rate = _PCM.get(self.output_format)
        return MP3_44100_128.bit_rate / 8 if rate is None else 2.0 * rate


_Known = tuple[ProviderErrorKind, str]

_MAX_ERROR_BYTES: Final = 65_536


class KeyRefusedError(ProviderError):
    """The key is wrong, whatever it is used for; not so where it merely has no right to one thing."""


class LackingRightError(ProviderError):
    """The key has no right to one thing."""


_QUOTA: Final = (ProviderErrorKind.QUOTA, "the quota of the plan is used up")
_CONCURRENCY: Final = (ProviderErrorKind.CONCURRENCY, "more concurrent calls than the plan allows")
_RATE: Final = (ProviderErrorKind.RATE, "too many calls per minute")
_BUSY: Final = (ProviderErrorKind.OVERLOAD, "it is overloaded or failing")
_KEY: Final = (ProviderErrorKind.AUTH, "the key is refused; see ELEVENLABS_API_KEY")
_RIGHTS: Final = (ProviderErrorKind.AUTH, "the key is not allowed to do this; see ELEVENLABS_API_KEY")
_PLAN: Final = (ProviderErrorKind.UNSUPPORTED, "the plan does not include this voice or format")
_VOICE_PLAN: Final = (ProviderErrorKind.UNSUPPORTED, "the plan does not include this voice; see ELEVENLABS_VOICE")
_VOICE: Final = (ProviderErrorKind.UNSUPPORTED, "it does not know this voice; see ELEVENLABS_VOICE")
_MODEL: Final = (
    ProviderErrorKind.UNSUPPORTED,
    "it does not know this model, or the model cannot do this; see ELEVENLABS_MODEL",
)
_LONG: Final = (ProviderErrorKind.INVALID_INPUT, "the text is too long for the model")
_POLICY: Final = (ProviderErrorKind.CONTENT_POLICY, "its content filter refuses the text")
_REFUSED: Final = (ProviderErrorKind.INVALID_INPUT, "it refuses the text or a setting")
_LOST: Final = (ProviderErrorKind.UNSUPPORTED, "there is nothing at this address; see ELEVENLABS_BASE_URL")
_LATE: Final = (ProviderErrorKind.TIMEOUT, "it reported a timeout")
_STRANGE: Final = (ProviderErrorKind.TRANSPORT, "the answer cannot be read; see ELEVENLABS_BASE_URL")
_BROKEN_OFF: Final = (ProviderErrorKind.TRUNCATED, "it broke the stream off with an error")

_ERRORS: Final[Mapping[_Known, type[ProviderError]]] = {
    _KEY: KeyRefusedError,
    _RIGHTS: LackingRightError,
    _VOICE: VoiceRefusedError,
    _VOICE_PLAN: VoiceRefusedError,
}
_RIGHT: Final = re.compile(r"missing the permission ([a-z_]{3,40})\b")
_PAYMENT: Final = 402
_CODES: Final[Mapping[str, _Known]] = {
    "quota_exceeded": _QUOTA,
    "insufficient_credits": _QUOTA,
    "too_many_concurrent_requests": _CONCURRENCY,
    "concurrent_limit_exceeded": _CONCURRENCY,
    "system_busy": _BUSY,
    "rate_limit_exceeded": _RATE,
    "too_many_requests": _RATE,
    "invalid_api_key": _KEY,
    "needs_authorization": _KEY,
    "detected_unusual_activity": _RIGHTS,
    "missing_permissions": _RIGHTS,
    "paid_plan_required": _PLAN,
    "output_format_not_allowed": _PLAN,
    "voice_not_found": _VOICE,
    "voice_does_not_exist": _VOICE,
    "voice_access_denied": _VOICE,
    "voice_not_fine_tuned": _VOICE,
    "invalid_uid": _VOICE,
    "model_not_found": _MODEL,
    "invalid_model_id": _MODEL,
    "model_access_denied": _MODEL,
    "model_can_not_do_text_to_speech": _MODEL,
    "unsupported_model": _MODEL,
    "unsupported_language": _MODEL,
    "max_character_limit_exceeded": _LONG,
    "text_too_long": _LONG,
    "content_policy_violation": _POLICY,
    "content_against_policy": _POLICY,
}
"""Checked in this order, and before `_STATUSES`."""
_STATUSES: Final[Mapping[int, _Known]] = {
    401: _KEY,
    402: _QUOTA,
    403: _RIGHTS,
    404: _LOST,
    408: _LATE,
    409: _BUSY,
    425: _BUSY,
    429: _RATE,
}


def failure(kind: ProviderErrorKind, message: str, *, billed: bool = True) -> ProviderError:
    """Returns an error of this provider."""
    return ProviderError(kind, message, provider=NAME, billed=billed)


async def json_of(body: AsyncIterator[bytes]) -> Any:
    """Reads an answer that is no audio; None where it is no JSON, or longer than any error."""
    said = bytearray()
    async for piece in body:
        said += piece
        if len(said) > _MAX_ERROR_BYTES:
            return None
    try:
        return orjson.loads(said)
    except orjson.JSONDecodeError:
        return None


def error_of_answer(status: int, headers: Mapping[str, str], body: Any, texts: Sequence[str] = ()) -> ProviderError:
    """Returns the error for an HTTP answer; names of `headers` are looked up in lower case, `body` is JSON.

    `texts` are those of the request, of which nothing is repeated.
    """
    codes, request_id = _codes(body)
    known = _by_code(codes) or _by_status(status)
    words = _words(body)
    if status == _PAYMENT and known in (_QUOTA, _PLAN) and "voice" in words.lower():
        known = _VOICE_PLAN
    kind, message = known
    if known == _RIGHTS and (right := _RIGHT.search(words)) is not None:
        message = f"the key lacks the permission {right[1]}; allow it in the settings of the key"
    return _ERRORS.get(known, ProviderError)(
        kind,
        message,
        provider=NAME,
        retry_after=wait_asked(headers, rate_limited=status == 429),
        status=status,
        request_id=headers.get("request-id", "") or request_id,
        said=Cleaner(texts, model="").clean(words),
    )


def error_in_answer(said: Mapping[str, Any]) -> ProviderError | None:
    """Returns the error that an object in the midst of an answer of status 200 is; None where it is none."""
    codes, request_id = _codes(said)
    if not codes and not {"detail", "error", "message"} & said.keys():
        return None
    kind, message = _by_code(codes) or _BROKEN_OFF
    return ProviderError(kind, message, provider=NAME, status=200, request_id=request_id)


def _words(body: Any) -> str:
    """Returns what the error says; of several the first."""
    detail = body.get("detail") if isinstance(body, dict) else None
    if isinstance(detail, list):
        detail = detail[0] if detail else None
    said = detail.get("message") or detail.get("msg") if isinstance(detail, dict) else detail
    return said if isinstance(said, str) else ""


def _by_code(codes: set[str]) -> _Known | None:
    return next((known for code, known in _CODES.items() if code in codes), None)


def _by_status(status: int) -> _Known:
    known = _STATUSES.get(status)
    if known is not None:
        return known
    if 400 <= status < 500:
        return _REFUSED
    if 300 <= status < 400:
        return _LOST
    return _BUSY if status >= 500 else _STRANGE


def _codes(body: Any) -> tuple[set[str], str]:
    """Returns all that may be a code, and the id of the request."""
    codes: set[str] = set()
    request_id = ""
    if isinstance(body, dict):
        for part in (body, body.get("detail"), body.get("error")):
            if not isinstance(part, dict):
                continue
            codes |= {part[key].lower() for key in ("code", "status", "type") if isinstance(part.get(key), str)}
            if isinstance(part.get("request_id"), str):
                request_id = part["request_id"]
    return codes, request_id


_UNSET: Final = "set ELEVENLABS_API_KEY, or ELEVENLABS_API_KEY_FILE"
_MALFORMED: Final = "ELEVENLABS_API_KEY is no key: it must be printable ASCII without spaces, 512 characters at most"
_KEY_REFUSED: Final = "ElevenLabs refuses the key; set another ELEVENLABS_API_KEY"
_LONGEST: Final = 512


class ApiKey:
    """Gives the key of the moment, and remembers that it was refused until another one comes or it is taken after all.

    What is remembered is a hash.
    """

    def __init__(self, source: SecretSource) -> None:
        self._source = source
        self._refused = b""

    def trouble(self) -> str:
        """Returns why no call can be made with the key, and what to do; "" where it may well be taken."""
        key = self._source.get()
        if not key:
            return _UNSET
        if not _is_sane(key):
            return _MALFORMED
        return _KEY_REFUSED if _digest(key) == self._refused else ""

    def is_set(self) -> bool:
        """Returns whether there is a key, of whatever form."""
        return bool(self._source.get())

    def is_sane(self) -> bool:
        """Returns whether there is a key, and whether it has the form of one."""
        return _is_sane(self._source.get())

    @contextmanager
    def used(self) -> Iterator[str]:
        """Yields the key for a call, and notes how the call ends. Raises AUTH where there is no key."""
        key = self._source.get()
        if not _is_sane(key):
            raise ProviderError(ProviderErrorKind.AUTH, _MALFORMED if key else _UNSET, provider=NAME)
        try:
            yield key
        except KeyRefusedError:
            self._refused = _digest(key)
            raise
        if self._refused == _digest(key):
            self._refused = b""


def _is_sane(key: str) -> bool:
    return 0 < len(key) <= _LONGEST and all("!" <= character <= "~" for character in key)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
