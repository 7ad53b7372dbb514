"""Speech as ElevenLabs streams it with timestamps: JSON lines of audio in base64 and the times of its characters."""

import base64
import json
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from typing import Final

from standins.made_up import (
    BLOCK_BYTES,
    BLOCK_FRAMES,
    CHARACTERS_PER_SECOND,
    blocks,
    made_up_frames,
    made_up_silence,
    made_up_speech,
)

_MOST_CHARACTERS: Final = 2_000
_TIMES: Final = tuple(f"{place / CHARACTERS_PER_SECOND:.3f}" for place in range(_MOST_CHARACTERS + 1))


def timed_lines(text: str, *, distinct: bool) -> Iterator[bytes]:
    """Returns lines of 1.28 s, each with its characters. Text beyond 2,000 characters has no times."""
    encoded = _encoded(text) if distinct else _silence(made_up_frames(text))
    lines = len(encoded)
    for number, audio in enumerate(encoded):
        start, end = (len(text) * place // lines for place in (number, number + 1))
        alignment = (
            f'{{"characters": {json.dumps(list(text[start:end]))}, '
            f'"character_start_times_seconds": [{", ".join(islice(_TIMES, start, end))}], '
            f'"character_end_times_seconds": [{", ".join(islice(_TIMES, start + 1, end + 1))}]}}'
        )
        yield (
            f'{{"audio_base64": "{audio}", "alignment": {alignment}, "normalized_alignment": {alignment}}}\n'.encode()
        )


def _encoded(text: str) -> list[str]:
    return [base64.b64encode(block).decode() for block in blocks(made_up_speech(text))]


@lru_cache(maxsize=1024)
def _silence(frames: int) -> list[str]:
    whole, over = divmod(frames, BLOCK_FRAMES)
    return [_block(number, BLOCK_FRAMES) for number in range(whole)] + ([_block(whole, over)] if over else [])


@lru_cache(maxsize=8192)
def _block(number: int, frames: int) -> str:
    start = number * BLOCK_BYTES
    speech = made_up_silence((number * BLOCK_FRAMES) + frames)
    return base64.b64encode(speech[start:]).decode()
