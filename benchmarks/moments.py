"""Rows about one story, and about how long a start takes."""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Final

from benchmarks.hearing import hear
from benchmarks.table import Table
from benchmarks.throughput import paid_cluster
from standins.made_up import made_up_speech
from standins.paid_upstreams import PaidUpstreams
from standins.processes import MODULES, Cluster, cluster
from voice_service.audio.mp3 import walk

WORDS, TOKENS_PER_WORD, TOKENS_PER_SECOND = 750, 4 / 3, 60
FIRST_TOKEN, FIRST_BYTE, PACE = 0.5, 0.4, 5.0
WRITING: Final = WORDS * TOKENS_PER_WORD / TOKENS_PER_SECOND
STARTS: Final = 3


async def heard_while_written(table: Table, upstreams: PaidUpstreams) -> None:
    """First sound and whole story at the pace of real upstreams: an event is a token."""
    script = {
        "words": WORDS,
        "events": round(WORDS * TOKENS_PER_WORD),
        "first_token": FIRST_TOKEN,
        "writing": WRITING,
        "first_byte": FIRST_BYTE,
        "pace": PACE,
    }
    async with paid_cluster(upstreams, **script) as it:
        heard = await hear(it)
    limit = heard.title + FIRST_BYTE + heard.title_sound / PACE
    table.row(
        "first audio byte at the caller (first token 0.5 s, 60 tokens/s; voice 0.4 s, 5 x faster than speech)",
        f"<= title line written, then spoken whole ({limit:.2f} s) + 0.3 s",
        f"{heard.first_audio:.2f} s ({heard.first_audio - limit:+.2f} s; title after {heard.title:.2f} s)",
    )
    table.row("silence after the first sound", "none while the writer keeps pace", f"{heard.silence:.2f} s")
    # Text to its end, then one call that speaks all of it, and nothing is handed out before that is whole.
    sequential = FIRST_TOKEN + WRITING + FIRST_BYTE + heard.heard / PACE
    table.row(
        "first audio against generate-then-narrate",
        ">= 15 x sooner",
        f"{sequential / heard.first_audio:.0f} x (by the stand-ins' pace that takes {sequential:.0f} s)",
    )
    voice = FIRST_BYTE + heard.last_sound / PACE
    table.row(
        "whole narrated story, same timings",
        f"<= writing alone + the last segment's voice time ({voice:.1f} s) + 1 s",
        f"{heard.done:.1f} s: {heard.done - FIRST_TOKEN - WRITING:.1f} s after the writing alone"
        f" ({FIRST_TOKEN + WRITING:.1f} s)",
    )


async def starts(table: Table, upstreams: PaidUpstreams) -> None:
    """From the start of each process to SERVING, with keys, so that the SDKs are loaded besides."""
    with tempfile.TemporaryDirectory() as folder:
        it = Cluster(Path(folder), {**upstreams.environment, "LOG_LEVEL": "WARNING"})
        try:
            for name in MODULES:
                times = [await _start(it, name) for _ in range(STARTS)]
                seconds = ", ".join(f"{each:.2f}" for each in sorted(times))
                table.row(f"start of {name} to SERVING", "< 1.5 s", f"{statistics.median(times):.2f} s ({seconds})")
        finally:
            await it.close()


async def cold_start(table: Table) -> None:
    """A story with everything embedded, from nothing."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        async with cluster(Path(folder), LOG_LEVEL="WARNING") as it:
            up = time.perf_counter() - began
            heard = await hear(it)
    table.row(
        "five-minute story with embedded writer, voice and store, cold start of the cluster included",
        "< 10 s",
        f"{up + heard.done:.1f} s (start {up:.1f} s, first sound {heard.first_audio:.2f} s after the call,"
        f" {heard.heard:.0f} s of sound)",
    )


def frame_walk(table: Table) -> None:
    """The check that MP3 is whole frames."""
    speech = made_up_speech("x" * (300 * 14))
    times = []
    for _ in range(20):
        began = time.perf_counter()
        walk(speech)
        times.append(time.perf_counter() - began)
    table.row(
        f"frame walk of {len(speech) / 1e6:.1f} MB of MP3", "0.02 s", f"{statistics.median(times):.3f} s median of 20"
    )


async def _start(it: Cluster, name: str) -> float:
    began = time.perf_counter()
    await it.start(name)
    taken = time.perf_counter() - began
    await it.kill(name)
    return taken
