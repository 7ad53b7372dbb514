"""What the voice service asks of whoever writes down what is said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Recording:
    """A whole recording: the bytes of a file, its media type, and the language spoken (BCP-47; "": to be told)."""

    data: bytes
    content_type: str
    language_code: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """What was said.

    `language_code` is the language that was heard (BCP-47), "" where nobody knows. `duration` of the recording in
    seconds, None where nobody says. `request_id` is the provider's.
    """

    text: str
    language_code: str
    duration: float | None
    model: str
    request_id: str = ""


class Transcriber(Protocol):
    """Writes down what is said."""

    @property
    def name(self) -> str:
        """The provider's name, as errors, breakers and metrics have it."""

    def missing(self) -> str:
        """Say what has to be set before it can be asked, and how; "" where nothing is missing."""

    async def transcribe(self, recording: Recording, *, deadline: float | None = None) -> Transcript:
        """Write down `recording`; `deadline` in seconds of the loop's clock. Raises ProviderError.

        A recording without words gives an empty text.
        """

    async def aclose(self) -> None:
        """Let go of connections."""
