"""Makes up stories and speech: the same for the same seed or text, and cheap enough for load tests.

A story has sentences of ten words, five to a paragraph. Speech is silence that lasts as long as its text needs at 14
characters a second, as valid MP3 frames that differ from text to text.
"""

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from voice_service.audio.mp3 import followed_by_silence, walk
from voice_service.narration.spoken_text import speakable
from voice_service.providers.mock.provider import frames_for, silent_mp3

CHARACTERS_PER_SECOND: Final = 14
BLOCK_FRAMES: Final = 49
"""Frames of 128 kbit/s whose bytes come out even."""
BLOCK_BYTES: Final = 20_480
BLOCK_SECONDS: Final = 1.28
_SHORTEST_SECONDS: Final = 0.2
_SENTENCE_WORDS: Final = 10
_PARAGRAPH_SENTENCES: Final = 5
_LONGEST_BLOCKS: Final = 200
_WORDS: Final = (
    "acorn ant apple badger barley basket bay bee beetle bell berry birch boat branch breeze bright brook calm candle "
    "cat cherry cloud clover cradle crown dapple dawn dew dewdrop doe dove dream drowsy duck dusk elf elm ember "
    "falcon far fawn fern fig fox friend frost garden gentle glade golden hare hat hazel hedge hen honey hum hush ink "
    "island ivory ivy jam kettle kite kitten ladder lamb lamp lantern lark leaf lemon lilac lime linen little maple "
    "marble meadow mill moon morning moss moth music nap nectar nest oak oar ocean old olive otter owl pea pear "
    "pebble petal pie pillow pine plum pond pony poppy pup quilt rabbit rain red ribbon river robin rose rosy rye "
    "sailor sea shadow shy silver sky sleepy snow soft song sparrow star stream sun swan tea tiny tree tulip twig "
    "valley velvet warm water willow wind window winter wren"
)
VOCABULARY: Final = tuple(_WORDS.split())


@dataclass(frozen=True, slots=True)
class MadeUpStory:
    """A story: its title, and its sentences, each with the white space before it."""

    title: str
    sentences: tuple[str, ...]

    @property
    def text(self) -> str:
        """Returns the whole text, without the title."""
        return "".join(self.sentences)

    def answer(self, written: int = 0) -> str:
        """Returns the answer of a model: the whole story, or what follows its first `written` sentences."""
        rest = "".join(self.sentences[written:]).lstrip(" ") or self.sentences[-1].strip()
        return rest if written else f"{self.title}\n\n{rest}"

    def told_in(self, prompt: str) -> int:
        """Returns how many of its sentences are in `prompt`, from the first on."""
        if self.sentences[0] not in prompt:
            return 0
        written, text = 1, self.sentences[0]
        while written < len(self.sentences) and (text := text + self.sentences[written]) in prompt:
            written += 1
        return written


@lru_cache(maxsize=64)
def made_up_story(seed: int, words: int) -> MadeUpStory:
    """Returns the story of that seed, of about `words` words."""
    chance = random.Random(seed)
    title = " ".join(word.capitalize() for word in chance.sample(VOCABULARY, 4))
    sentences = []
    for number in range(max(1, words // _SENTENCE_WORDS)):
        before = "" if not number else " " if number % _PARAGRAPH_SENTENCES else "\n\n"
        sentences.append(f"{before}{' '.join(chance.sample(VOCABULARY, _SENTENCE_WORDS)).capitalize()}.")
    return MadeUpStory(title, tuple(sentences))


def made_up_frames(text: str) -> int:
    """Returns how many MP3 frames the speech of `text` has."""
    return frames_for(max(_SHORTEST_SECONDS, len(text) / CHARACTERS_PER_SECOND))


def made_up_speech(text: str) -> bytes:
    """Returns the speech of `text`, unique to that text."""
    return silent_mp3(hashlib.sha256(text.encode()).digest(), made_up_frames(text))


def made_up_segment(text: str, *, last: bool = False) -> bytes:
    """Returns the segment that is stored of `text`: the speech of what a voice is given of it, and a pause."""
    spoken = speakable(text)
    return followed_by_silence(walk(made_up_speech(spoken.text)), 0.0 if last else spoken.pause).data


def made_up_silence(frames: int) -> bytes:
    """Returns the first `frames` frames of a fixed silence."""
    whole, over = divmod(frames, BLOCK_FRAMES)
    return _silence()[: whole * BLOCK_BYTES + over * BLOCK_BYTES // BLOCK_FRAMES]


def blocks(speech: bytes) -> Iterator[bytes]:
    """Yields speech in pieces of 1.28 s, each of whole frames."""
    return (speech[start : start + BLOCK_BYTES] for start in range(0, len(speech), BLOCK_BYTES))


@lru_cache(maxsize=1)
def _silence() -> bytes:
    return silent_mp3(b"made up", BLOCK_FRAMES * _LONGEST_BLOCKS)
