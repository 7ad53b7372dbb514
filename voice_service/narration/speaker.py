"""Chooses the speaker of a narration, and the one that takes over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

from servicekit.errors import DomainError, not_found
from servicekit.languages import scripts_of
from servicekit.resilience.errors import ProviderError
from voice_service.languages import can_read, covers
from voice_service.narration.errors import warned
from voice_service.ports import Continuing, SegmentRequest, Selective
from voice_service.providers.mock.provider import NAME as SILENT
from voice_service.providers.registry import EMBEDDED, Announced, knows_voice, voices_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from servicekit.resilience.errors import CircuitOpenError
    from tale.common.v1.common_pb2 import Problem
    from voice_service.narration.intake import TextSegment
    from voice_service.narration.messages import VoiceChoice
    from voice_service.ports import VoiceProvider, VoiceSettings
    from voice_service.providers.registry import Chain, ProviderRegistry, Skipped

_log: Final = structlog.stdlib.get_logger(__name__)

_IN_TIME: Final = 10.0
_AT_ONCE: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Speaker:
    """A provider with a voice and a model of its own."""

    provider: VoiceProvider
    voice_id: str
    model_id: str
    settings: VoiceSettings
    language_code: str

    @property
    def name(self) -> str:
        """Name of the provider."""
        return self.provider.metadata.name

    def request(self, segment: TextSegment) -> SegmentRequest:
        """Returns the request for a segment.

        Word timings are always requested, since the segment store serves all callers.
        """
        return SegmentRequest(
            text=segment.spoken.text,
            language_code=self.language_code,
            voice_id=self.voice_id,
            model_id=self.model_id,
            settings=self.settings,
            previous_text=segment.previous if self._takes_previous_text else "",
            with_timings=True,
            # The story ends with its last word.
            pause=0.0 if segment.last else segment.spoken.pause,
        )

    @property
    def _takes_previous_text(self) -> bool:
        if isinstance(self.provider, Continuing):
            return self.provider.takes_previous_text(self.model_id)
        return self.provider.metadata.takes_previous_text


class SpeakerChain:
    """The speakers of one narration: the present one and those that would take over.

    Those that support the language come first, unless the narration is `pinned` to the first of the chain; with
    `strict` there is no other. Those that cannot read it, by its script or that of the title, are not among them.
    """

    def __init__(
        self,
        chain: Chain,
        choice: VoiceChoice,
        language_code: str,
        *,
        pinned: bool,
        strict: bool = False,
        replaceable: bool = False,
        title: str | None = "",
    ) -> None:
        """`title` is what is known of the text; None where nothing will be.

        `replaceable`: the voice of `choice`, if any, is one that was chosen and not requested.
        """
        self._choice = choice
        self._replaceable = replaceable
        self._language = language_code
        self._unwell = chain.unavailable
        self._set_up = {each.metadata.name for each in chain.providers}
        # A voice requested without a provider belongs to the provider that is tried first.
        self._asked = choice.provider or chain.providers[0].metadata.name
        speaking = [each for each in chain.providers if covers(each.metadata.languages, language_code)]
        others = [] if strict else [each for each in chain.providers if each not in speaking]
        self.providers = list(chain.providers) if pinned else [*speaking, *others]
        """Those that may speak, in order, also those that were tried."""
        self._rest: list[VoiceProvider] = []
        if not pinned:
            self.read_only(title)
        self.start_over()
        self.skipped = chain.skipped

    def outspoken(self, requested: str) -> Problem | None:
        """Returns the warning LANGUAGE_UNSUPPORTED where another goes first since `requested` lacks the language."""
        first = self._rest[0].metadata.name if self._rest else requested
        if not requested or first == requested or requested not in self._set_up:
            return None
        said = f"The voice provider {requested} does not support this language, so {first} speaks."
        return warned("LANGUAGE_UNSUPPORTED", said, language_code=self._language, provider=requested, next=first)

    def read_only(self, text: str | None) -> None:
        """Leaves out those that cannot read `text`; if None, whatever is in the language."""
        self.providers = [each for each in self.providers if self._reads(each, text)]
        self._rest = [each for each in self._rest if each in self.providers]

    def _reads(self, provider: VoiceProvider, text: str | None) -> bool:
        metadata, asked = provider.metadata, provider.metadata.name == self._asked
        if metadata.languages_assumed or (asked and self._choice.model_id not in {"", metadata.default_model}):
            return True
        if isinstance(provider, Selective):
            scripts = provider.scripts(self._choice.voice_id if asked else "", self._language)
        else:
            scripts = frozenset[str]().union(*map(scripts_of, metadata.languages))
        return can_read(scripts, self._language, text)

    def start_over(self) -> None:
        """Lets all be tried again, the first one first."""
        self._rest = list(self.providers)

    def give_up(self, name: str) -> None:
        """Has a provider tried no more: it refused for good."""
        self.providers = [each for each in self.providers if each.metadata.name != name]

    async def take_next(self) -> Speaker | None:
        """Returns the next speaker, with the voice that suits the language; None where there is none.

        Raises NOT_FOUND / VOICE_NOT_FOUND if the requested voice does not exist.
        """
        if not self._rest:
            return None
        provider = self._rest.pop(0)
        asked = provider.metadata.name == self._asked
        return await self._speaker(provider, self._choice.voice_id if asked else "")

    async def with_another_voice(self, speaker: Speaker) -> Speaker | None:
        """Returns another speaker of the provider, whose voice was refused; None where that was requested or set."""
        if speaker.name == self._asked and self._choice.voice_id and not self._replaceable:
            return None
        another = await self._speaker(speaker.provider, "")
        return another if another.voice_id != speaker.voice_id else None

    async def _speaker(self, provider: VoiceProvider, voice: str) -> Speaker:
        name = provider.metadata.name
        asked = name == self._asked
        model = self._choice.model_id if asked else ""
        # One with an open circuit is not waited for: its cached list is there at once.
        within = _AT_ONCE if name in self._unwell else _IN_TIME
        return Speaker(
            provider=provider,
            voice_id=await _voice(provider, voice, self._language, within, replaceable=self._replaceable),
            model_id=model or provider.metadata.default_model,
            settings=self._choice.settings,
            language_code=self._language,
        )


async def choose(
    registry: ProviderRegistry,
    choice: VoiceChoice,
    language_code: str,
    *,
    pinned: bool,
    strict: bool,
    title: str | None = "",
    replaceable: bool = False,
) -> tuple[SpeakerChain, list[Problem]]:
    """Returns the speakers for `language_code` and `choice`, and warnings for the caller; see `SpeakerChain`.

    Raises what `ProviderRegistry.candidates` raises, and LANGUAGE_UNSUPPORTED where no provider reads the language (see
    SpeakerChain), or none speaks it and the caller is `strict`.
    """
    chain = await registry.candidates(choice.provider)
    speakers = SpeakerChain(
        chain, choice, language_code, pinned=pinned, strict=strict, title=title, replaceable=replaceable
    )
    if not speakers.providers:
        raise unreadable(registry, language_code, [each.metadata.name for each in chain.providers])
    warnings = _passed_over(chain, choice.provider or registry.get_default_provider_name())
    outspoken = speakers.outspoken(choice.provider)
    return speakers, [*warnings, outspoken] if outspoken else warnings


def unreadable(registry: ProviderRegistry, language_code: str, tried: Collection[str]) -> DomainError:
    """Returns FAILED_PRECONDITION / LANGUAGE_UNSUPPORTED, with what would read it: none of the providers `tried`."""
    hints = []
    for each in registry.list_providers():
        if isinstance(each, Announced):
            hints.append(f"{each.name} reads many languages: {each.reason}")
        elif each.metadata.name not in (*tried, SILENT) and covers(each.metadata.languages, language_code):
            hints.append(f"{each.metadata.name} reads it: request it, or add it to VOICE_PROVIDER_FALLBACK")
    said = f"No voice that would be called reads this text (language {language_code})."
    return DomainError(
        "LANGUAGE_UNSUPPORTED",
        " ".join([said, *(f"{hint}." for hint in hints)]),
        metadata={"language_code": language_code},
    )


def foreign(speaker: Speaker) -> Problem | None:
    """Returns the warning LANGUAGE_UNSUPPORTED where `speaker` reads a language that its provider does not speak."""
    if covers(speaker.provider.metadata.languages, speaker.language_code):
        return None
    said = "No available voice supports this language; the first one reads it."
    return warned("LANGUAGE_UNSUPPORTED", said, language_code=speaker.language_code, provider=speaker.name)


async def next_speaker(
    chain: SpeakerChain,
    refusal: Callable[[VoiceProvider], CircuitOpenError | None],
    is_stored: Callable[[Speaker], Awaitable[bool]],
) -> tuple[Speaker | None, list[CircuitOpenError]]:
    """Returns the next speaker, if any, that can be called or whose segment is stored; and those passed over.

    `refusal` returns why a provider cannot be called. Raises what `SpeakerChain.take_next` raises.
    """
    passed: list[CircuitOpenError] = []
    while (speaker := await chain.take_next()) is not None:
        error = refusal(speaker.provider)
        if error is None or await is_stored(speaker):
            return speaker, passed
        passed.append(error)
    return None, passed


def replaced(passed: Skipped, following: Speaker) -> Problem:
    """Returns the warning CIRCUIT_OPEN: `following` speaks since `passed` is not called now."""
    said = f"The voice provider {passed.name} is not available ({passed.reason}), so {following.name} speaks."
    return warned("CIRCUIT_OPEN", said, provider=passed.name, next=following.name)


async def _voice(provider: VoiceProvider, asked: str, language_code: str, within: float, *, replaceable: bool) -> str:
    metadata = provider.metadata
    try:
        if asked:
            if await knows_voice(provider, asked, language_code, within=within):
                return asked
            if not replaceable:
                raise not_found(
                    "VOICE_NOT_FOUND",
                    "The provider has no voice of that id.",
                    provider=metadata.name,
                )
        fitting = [voice.voice_id for voice in await voices_of(provider, language_code, within=within)]
    except ProviderError as error:
        # The call itself will show whether the voice exists.
        _log.warning("voices not listed", provider=metadata.name, kind=error.kind.value)
        return asked or metadata.default_voice
    # Known only now: it may depend on the list.
    return fitting[0] if fitting else provider.metadata.default_voice


def _passed_over(chain: Chain, expected: str) -> list[Problem]:
    if chain.stand_in:
        said = "No other voice is available, so the embedded voice speaks."
        return [warned("EMBEDDED_VOICE", said, provider=EMBEDDED)]
    return [
        warned(
            "INVALID_CONFIGURATION",
            f"The voice provider {passed.name} cannot be called ({passed.reason}), so another one speaks.",
            provider=passed.name,
        )
        for passed in chain.skipped
        if passed.name == expected
    ]
