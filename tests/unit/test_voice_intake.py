"""Text is read as it comes, and its segments are handed out in order."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from servicekit.errors import DomainError
from voice_service.narration.intake import MAX_TEXT, TextIntake, TextSegment
from voice_service.narration.spoken_text import speakable


async def _pieces(*pieces: str) -> AsyncIterator[str]:
    for piece in pieces:
        yield piece


def _taken(intake: TextIntake) -> list[TextSegment]:
    taken = []
    while (segment := intake.next()) is not None:
        taken.append(segment)
    return taken


async def test_the_title_is_the_first_segment_with_an_empty_span() -> None:
    """Each segment knows what was said before it."""
    intake = TextIntake("The Fox", 60)
    intake.cut_for("en")
    await intake.read(_pieces("She ran. ", "Then she slept."))

    assert [
        TextSegment(0, 0, 0, speakable("The Fox\n\n"), ""),
        TextSegment(1, 0, 9, speakable("She ran. "), "The Fox."),
        TextSegment(2, 9, 24, speakable("Then she slept."), "She ran.", last=True),
    ] == _taken(intake)
    assert (True, 3) == (intake.ended, intake.count)


async def test_text_that_came_before_the_language_was_known_is_cut_once_it_is() -> None:
    """Nothing is lost, whether the text has ended by then or not."""
    intake = TextIntake("", 60)
    await intake.read(_pieces("She ran. ", "Then she slept."))
    assert ([], False) == (_taken(intake), intake.ended)
    intake.cut_for("en")

    assert ["She ran.", "Then she slept."] == [segment.spoken.text for segment in _taken(intake)]
    assert intake.ended


async def test_a_hundred_and_twenty_characters_are_enough_of_a_sample() -> None:
    """The language is told before the text has ended; of a shorter text when it has."""
    more = asyncio.Event()

    async def pieces() -> AsyncIterator[str]:
        yield "a" * 100
        yield "b" * 50
        await more.wait()

    intake = TextIntake("", 60)
    reading = asyncio.create_task(intake.read(pieces()))
    assert "a" * 100 + "b" * 20 == await intake.sample()
    more.set()
    await reading
    short = TextIntake("", 60)
    await short.read(_pieces("ab"))

    assert "ab" == await short.sample()


async def test_65536_characters_are_read_and_one_more_is_refused() -> None:
    """Code points, whatever the pieces."""
    fits, too_long = TextIntake("", 60), TextIntake("", 60)
    for intake, pieces in ((fits, ("é" * MAX_TEXT,)), (too_long, ("é" * MAX_TEXT, "é"))):
        intake.cut_for("en")
        await intake.read(_pieces(*pieces))
    fits.raise_error()

    with pytest.raises(DomainError, match="TEXT_TOO_LONG"):
        too_long.next()
    with pytest.raises(DomainError, match="TEXT_TOO_LONG"):
        await too_long.sample()


async def test_a_failure_of_reading_is_raised_where_segments_are_taken() -> None:
    """And wakes whoever waits for more."""

    async def broken() -> AsyncIterator[str]:
        yield "She ran. "
        raise RuntimeError("the caller broke off")

    intake = TextIntake("", 60)
    intake.cut_for("en")
    await intake.read(broken())

    assert intake.changed.is_set()
    with pytest.raises(RuntimeError, match="broke off"):
        intake.next()
