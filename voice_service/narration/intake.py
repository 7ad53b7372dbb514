"""Reads the text of a narration as it comes, detects its language and returns its segments."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from servicekit.errors import DomainError
from servicekit.validation import max_length
from tale.common.v1 import common_pb2
from voice_service.narration.segmenter import Segmenter
from voice_service.narration.spoken_text import speakable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from voice_service.narration.segmenter import Cut
    from voice_service.narration.spoken_text import SpokenText


MAX_TEXT: Final = max_length(common_pb2.Story, "content")
"""Most code points of a story's text."""
_SLICE: Final = 2_048
"""Code points of one piece that are looked at before other tasks get their turn."""


@dataclass(frozen=True, slots=True)
class TextSegment:
    """A segment of text: its place in the narration and its span in the content.

    `spoken` is its text as a provider gets it, `previous` that of the segment before it. `last` follows from the text
    alone: of a text with any words in it the last segment has it, a title never does.
    """

    index: int
    start: int
    end: int
    spoken: SpokenText
    previous: str
    last: bool = False


class TextIntake:
    """Reads pieces of text in a task of its own. The text is bounded, so it is never held back."""

    def __init__(self, title: str, target_words: int, most_characters: int = MAX_TEXT) -> None:
        self._most_characters = min(most_characters, MAX_TEXT)
        self._target_words = target_words
        self._ready: deque[TextSegment] = deque()
        self._sample = ""
        self._waiting: list[str] = []
        self._sampled = asyncio.Event()
        self._segmenter: Segmenter | None = None
        self._judge: Callable[[str], None] | None = None
        self._length = 0
        self._count = 0
        self._previous = ""
        self._error: Exception | None = None
        self.changed = asyncio.Event()
        """Set whenever there is more to take, the text has ended or reading has failed, and by those that take."""
        self.ended = False
        self._read_all = False
        if title:
            # A title stands above an empty line.
            self._add(0, 0, f"{title}\n\n")

    async def sample(self) -> str:
        """The first `SAMPLE` code points of the text, or all there are. Raises what reading raised."""
        await self._sampled.wait()
        self.raise_error()
        return self._sample

    def cut_for(self, language_code: str, judge: Callable[[str], None] | None = None) -> None:
        """Begins to cut, by the sentences of that language, once there is a sample and `judge` has not raised on it."""
        self._segmenter = Segmenter(language_code, self._target_words)
        self._judge = judge
        if self._sampled.is_set():
            self._begin()

    async def peek(self) -> TextSegment | None:
        """Waits for the next segment without taking it; None if there is none. Raises what reading raised."""
        while not self._ready and not self.ended:
            self.raise_error()
            self.changed.clear()
            await self.changed.wait()
        self.raise_error()
        return self._ready[0] if self._ready else None

    @property
    def has_next(self) -> bool:
        """Whether there is a segment to take now."""
        return bool(self._ready)

    def next(self) -> TextSegment | None:
        """Takes the next segment; None while there is none. Raises what reading raised."""
        self.raise_error()
        return self._ready.popleft() if self._ready else None

    def raise_error(self) -> None:
        """Raises what reading raised."""
        if self._error is not None:
            raise self._error

    @property
    def count(self) -> int:
        """Segments found so far."""
        return self._count

    async def read(self, pieces: AsyncIterator[str]) -> None:
        """Reads `pieces` to their end. Failures are raised where segments are taken."""
        try:
            async for piece in pieces:
                self._count_in(piece)
                for begin in range(0, len(piece), _SLICE):
                    if begin:
                        await asyncio.sleep(0)
                    self._push(piece[begin : begin + _SLICE])
            self._read_all = True
            self._begin()
        except Exception as error:  # noqa: BLE001 - raised where segments are taken
            self._error = error
        finally:
            self._sampled.set()
            self.changed.set()

    def _count_in(self, piece: str) -> None:
        self._length += len(piece)
        if self._length > self._most_characters:
            raise text_too_long(self._most_characters)

    def _push(self, piece: str) -> None:
        self._waiting.append(piece)
        if len(self._sample) < SAMPLE:
            self._sample = (self._sample + piece)[:SAMPLE]
        if len(self._sample) == SAMPLE:
            self._begin()
            self._sampled.set()

    def _begin(self) -> None:
        """Cuts what waits, unless the language is not known yet; raises what the judge of the sample does."""
        if self._segmenter is None:
            return
        if self._judge is not None:
            judge, self._judge = self._judge, None
            judge(self._sample)
        waiting, self._waiting = self._waiting, []
        for piece in waiting:
            self._take(self._segmenter.push(piece))
        if self._read_all:
            self._take(self._segmenter.finish())
            self.ended = True
            self.changed.set()

    def _take(self, cuts: Iterable[Cut]) -> None:
        for cut in cuts:
            self._add(cut.start, cut.end, cut.text, last=cut.last)

    def _add(self, start: int, end: int, text: str, *, last: bool = False) -> None:
        spoken = speakable(text)
        self._ready.append(TextSegment(self._count, start, end, spoken, self._previous, last))
        self._count += 1
        self._previous = spoken.text
        self.changed.set()


def text_too_long(most: int) -> DomainError:
    """Returns FAILED_PRECONDITION / TEXT_TOO_LONG: more text, or more sound of it, than one file may have."""
    return DomainError(
        "TEXT_TOO_LONG",
        f"The text is longer than {most} characters; narrate it in parts.",
        metadata={"max_characters": str(most)},
    )


SAMPLE: Final = 120
"""Code points that are enough to detect a language."""
