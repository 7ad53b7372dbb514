"""Texts to speak, and a decoder to hear with."""

from __future__ import annotations

import subprocess
from typing import Final

import imageio_ffmpeg
import numpy as np

from voice_service.audio.decode import Pcm
from voice_service.audio.lengths import duration_bounds
from voice_service.audio.verify import ImplausibleError
from voice_service.ports import AudioChunk, SegmentRequest, Timings, VoiceProvider

ENGLISH: Final = (
    "Once upon a time, in a small house by the sea, there lived a girl named Mia. Every night she looked out of her "
    "window and counted the stars. One evening a little dragon landed on the roof. “Are you still awake?” she "
    "whispered. The dragon nodded; he couldn't sleep, because the well-known wind was singing far too loudly.\n\n"
    "Mia thought for a moment... Then she fetched a blue blanket, a cup of warm milk and a half-read book. Good night."
)
RUSSIAN: Final = (
    "Жила-была на краю леса девочка Маша. Каждый вечер она смотрела в окно и считала звёзды. Однажды на крышу "
    "опустился маленький дракон. «Ты ещё не спишь?» — тихо спросила она. Дракон покачал головой: ветер пел слишком "
    "громко, и он никак не мог уснуть. Маша принесла бабушкино синее одеяло, чашку тёплого молока и книжку."
)
GERMAN: Final = (
    "Es war einmal ein kleines Mädchen namens Mia, das in einem Häuschen am Meer wohnte. Jeden Abend schaute sie aus "
    "dem Fenster und zählte die Sterne. „Bist du noch wach?“, flüsterte sie. Der Drache nickte; er konnte nicht "
    "schlafen, weil der Wind viel zu laut sang. Dann holte sie ein Gutenachtgeschichtenbuch. Gute Nacht, Mia."
)


def pcm(samples: bytes, sample_rate: int) -> Pcm:
    """Mono samples of 16 bits."""
    return Pcm(np.frombuffer(samples, "<i2"), sample_rate)


def verify_pcm(samples: bytes, *, sample_rate: int, text: str, speed: float | None, provider: str) -> None:
    """Whether the samples are as long as the text needs. Raises ImplausibleError."""
    if not duration_bounds(text, speed).admit(pcm(samples, sample_rate).duration):
        raise ImplausibleError("of another length", provider=provider)


def decode(audio: bytes, container: str = "mp3") -> tuple[int, str]:
    """Decode with ffmpeg, which stops at the first error: the number of samples, and whatever it complained of."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "warning", "-xerror", "-f", container, "-i", "-", "-f", "s16le"]
    done = subprocess.run([*command, "-"], input=audio, capture_output=True, check=False, timeout=60)
    complaint = done.stderr.decode() or (f"exit {done.returncode}" if done.returncode else "")
    return len(done.stdout) // 2, complaint


async def spoken(provider: VoiceProvider, request: SegmentRequest) -> tuple[bytes, Timings]:
    """The sound of a request and the times of its words."""
    data, timings = b"", Timings(())
    async for item in provider.synthesize(request):
        if isinstance(item, AudioChunk):
            data += item.data
        elif isinstance(item, Timings):
            timings = item
    return data, timings
