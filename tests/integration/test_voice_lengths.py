"""True lengths of speech in many languages: none is refused, and no half of one passes."""

import json
import re
from collections.abc import AsyncIterator
from copy import deepcopy
from pathlib import Path

import pytest
from support.story_languages import IN_OTHER_LANGUAGES
from support.voice_processes import without_neural

from voice_service.audio.lengths import Lengths, duration_bounds
from voice_service.ports import AudioChunk, SegmentRequest, VoiceProvider, VoiceSettings

MORE = json.loads((Path(__file__).parent.parent / "support/story_in_more_languages.json").read_text())
STORIES = {**IN_OTHER_LANGUAGES, **MORE}
ENDS = re.compile(r"(?<=[.!?\u3002\u0964\u06d4\u0589])\s*|\n\n")


@pytest.fixture(scope="module")
async def voice() -> AsyncIterator[VoiceProvider]:
    provider = without_neural()
    yield provider
    await provider.aclose()


async def spoken(voice: VoiceProvider, request: SegmentRequest) -> float:
    """Seconds of sound."""
    size = sum([len(each.data) async for each in voice.synthesize(request) if isinstance(each, AudioChunk)])
    return size / 2 / voice.metadata.sample_rate


@pytest.mark.parametrize("code", sorted(STORIES))
@pytest.mark.sampled(5)
async def test_true_lengths_pass_and_halves_never(voice: VoiceProvider, code: str) -> None:
    """Title, sentences and passages at every pace; once it is known, a passage that lost 40 % is refused."""
    lengths = Lengths()
    sentences = [each for each in ENDS.split(STORIES[code]) if each.strip()]
    passages = ["\n".join(sentences[begin:end]) for begin in range(2) for end in range(begin + 2, len(sentences) + 1)]
    for speed in (None, 1.5):
        for text in (*sentences, *passages):
            request = SegmentRequest(text=text, language_code=code, settings=VoiceSettings(speed=speed))
            seconds = await spoken(voice, request)
            assert "" == lengths.trouble(seconds, request, "offline"), text
            assert seconds < 0.9 * duration_bounds(text, speed, code).longest
            if text in passages[-2:]:
                for kept in (0.5, 0.55, 0.6):
                    assert deepcopy(lengths).trouble(kept * seconds, request, "offline"), (kept, text)
