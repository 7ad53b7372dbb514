"""Chooses the speaker that a narration begins with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servicekit.errors import DomainError
from voice_service.calls import Order
from voice_service.messages import Warned
from voice_service.registry import Skipped, no_providers_available
from voice_service.speaker import foreign

if TYPE_CHECKING:
    from collections.abc import Callable

    from voice_service.intake import TextIntake
    from voice_service.messages import NarrationRequest
    from voice_service.ports import VoiceProvider
    from voice_service.speaker import Speaker, SpeakerChain
    from voice_service.synthesize import SegmentSynthesizer


class FirstSpeaker:
    """Takes the first speaker who is well, or whose voice has said the beginning before."""

    def __init__(
        self,
        request: NarrationRequest,
        *,
        intake: TextIntake,
        synthesizer: SegmentSynthesizer,
        closed_reason: Callable[[str], str],
        watch: Callable[[VoiceProvider], None],
    ) -> None:
        """`watch` is told of each provider that is passed over, so that it is asked whether it is well again."""
        self._request = request
        self._intake = intake
        self._synthesizer = synthesizer
        self._closed_reason = closed_reason
        self._watch = watch
        self._passed: list[Skipped] = []

    @property
    def passed(self) -> tuple[str, ...]:
        """Names of those that are set up, and were passed over since they are not well."""
        return tuple(each.name for each in self._passed)

    async def first(self, chain: SpeakerChain) -> tuple[Speaker, list[Warned]]:
        """Return who begins, and what the caller should know of that.

        Raises UNAVAILABLE / NO_PROVIDERS_AVAILABLE where nobody is well, and what `SpeakerChain.take_next` raises.
        """
        while (speaker := await chain.take_next()) is not None:
            name = speaker.provider.metadata.name
            reason = self._closed_reason(name)
            if not reason or self._request.pinned is not None or await self._is_stored(speaker):
                strange = foreign(speaker)
                return speaker, [*(_replaced(each, name) for each in self._passed), *([strange] if strange else [])]
            self._watch(speaker.provider)
            self._passed.append(Skipped(name, reason))
        raise no_providers_available([*chain.skipped, *self._passed])

    async def _is_stored(self, speaker: Speaker) -> bool:
        """Returns whether the beginning is stored: a voice that told a story before can tell it again, well or not."""
        first = await self._intake.peek()
        if first is None:
            return False
        order = Order(
            provider=speaker.provider,
            request=speaker.request(first.spoken.text, first.previous),
            story_format=self._request.story_format,
        )
        try:
            return await self._synthesizer.is_stored(order, self._request.story_id)
        except DomainError:
            return False


def _replaced(passed: Skipped, following: str) -> Warned:
    return Warned(
        reason="CIRCUIT_OPEN",
        message=f"The voice provider {passed.name} is not called now ({passed.reason}), so {following} speaks.",
        mend=f"Look at the provider {passed.name}.",
        facts={"provider": passed.name, "next": following},
    )
