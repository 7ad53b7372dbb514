"""The lines of a stream with timestamps, however they are cut."""

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from voice_service.providers.elevenlabs import answers
from voice_service.providers.elevenlabs.answers import SpeechLine, TimedCharacters, speech_lines

ALIGNMENT = {
    "characters": ["H", "ö"],
    "character_start_times_seconds": [0, 0.5],
    "character_end_times_seconds": [0.5, 1],
}


def _line(audio: bytes, alignment: Any = None) -> bytes:
    return json.dumps({"audio_base64": base64.b64encode(audio).decode(), "alignment": alignment}).encode()


async def _read(*pieces: bytes) -> list[SpeechLine]:
    async def body() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    return [line async for line in speech_lines(body())]


@pytest.mark.parametrize("size", [1, 2, 7, 1_000])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\n\n"])
async def test_lines_may_be_cut_anywhere(size: int, end: bytes) -> None:
    """And the last one needs no end."""
    whole = _line(b"one", ALIGNMENT) + end + _line(b"two") + end + _line(b"")
    timed = TimedCharacters(("H", "ö"), (0, 0.5), (0.5, 1))

    assert [SpeechLine(b"one", timed), SpeechLine(b"two", None), SpeechLine(b"", None)] == await _read(
        *(whole[start : start + size] for start in range(0, len(whole), size))
    )


@pytest.mark.parametrize(
    "alignment",
    [
        [],
        {},
        {**ALIGNMENT, "characters": ["H"]},
        {**ALIGNMENT, "characters": "Hö"},
        {**ALIGNMENT, "characters": ["H", 1]},
        {**ALIGNMENT, "character_end_times_seconds": [0.5, None]},
        {**ALIGNMENT, "character_end_times_seconds": [0.5, -1]},
        {**ALIGNMENT, "character_end_times_seconds": [0.5, float("nan")]},
        {**ALIGNMENT, "character_end_times_seconds": [0.5, True]},
    ],
)
async def test_times_that_make_no_sense_are_none(alignment: Any) -> None:
    """The audio counts all the same."""
    assert [SpeechLine(b"one", None)] == await _read(_line(b"one", alignment))


async def test_half_a_character_costs_no_audio() -> None:
    """It is compared like any other, and found in no text."""
    alignment = {**ALIGNMENT, "characters": ["H", "\ud83d"]}

    assert [SpeechLine(b"one", TimedCharacters(("H", "\ud83d"), (0, 0.5), (0.5, 1)))] == await _read(
        _line(b"one", alignment)
    )


@pytest.mark.parametrize(
    "line",
    [b"{", b"\xff", b"[]", b"7", b"{}", b'{"audio_base64": 7}', b'{"audio_base64": null}', b'{"audio_base64": "a"}'],
)
async def test_a_line_that_can_not_be_read_is_lost_audio(line: bytes) -> None:
    """TRUNCATED, and not the next line."""
    with pytest.raises(ProviderError) as caught:
        await _read(_line(b"one"), b"\n", line, b"\n", _line(b"two"))

    assert ProviderErrorKind.TRUNCATED == caught.value.kind


async def test_a_line_that_does_not_end_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """TRUNCATED, once it is longer than any line."""
    monkeypatch.setattr(answers, "_MAX_LINE_BYTES", 100)

    with pytest.raises(ProviderError) as caught:
        await _read(*[b"x" * 60] * 3)

    assert (ProviderErrorKind.TRUNCATED, "does not end" in str(caught.value)) == (caught.value.kind, True)
