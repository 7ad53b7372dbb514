"""Measures how the embedded voices sound, in the product: `python -m benchmarks.voice_quality PYTHON`.

PYTHON is the interpreter of an environment that transcribes and scores, which the project does not need otherwise:

    python3.11 -m venv judges
    judges/bin/pip install -r benchmarks/voice_quality.txt
    judges/bin/pip install --no-deps distillmos==0.9.1 xls-r-sqa==0.1.0
    .venv/bin/python -m benchmarks.voice_quality judges/bin/python

A voice service speaks the sentences, each as a narration of its own, with each voice; the table goes to docs/voices.md.
"""

import asyncio
import json
import re
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.voice import Service, service
from servicekit.channel import open_channel
from tale.common.v1 import common_pb2
from tale.voice.v1 import voice_pb2, voice_pb2_grpc

SENTENCES: Final = (
    "Once upon a time, in a small house by the sea, there lived a girl named Mia.",
    "Every night she looked out of her window and counted the stars.",
    "One evening a little dragon landed on the roof and folded his wings.",
    '"Are you still awake?" whispered Mia, and she opened the window.',
    "The dragon nodded, for the wind was singing far too loudly for him to sleep.",
    '"Shhh," said the moon, "the hedgehog and the mouse are dreaming already."',
    "So Mia fetched a blue blanket, a cup of warm milk and a book with a torn corner.",
    "Captain Wonder, her brave teddy bear, sat beside them and listened.",
    "They read about a lantern that was never afraid of the dark.",
    '"I WANT TO FLY THERE!" cried the dragon, and the candle flickered.',
    "Then they flew over the sleeping village, past the mill and the quiet river.",
    "Leaf by leaf the old oak stopped its rustling.",
    "The fireflies came out of the reeds like sparks and settled on the water.",
    "At last the little dragon yawned, and a tiny cloud of smoke rose to the ceiling.",
    "And Mia slept until the morning, with the soft light of her friends around her.",
)
VOICES: Final = (("espeak-ng", "en-gb+f2", "espeak_worker"), ("neural, `heart`", "heart", "neural_worker"))
"""Name, id, and a part of the command line of the worker."""
_HEAD: Final = (
    "| voice | word errors | MOS (mean) | CPU s per second of sound | words a minute | loudness, LUFS"
    " | memory of the service | of its worker |"
)
_PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "voices.md"
_BEGIN: Final = "<!-- measured by benchmarks/voice_quality.py -->"
_END: Final = "<!-- end of the measurement -->"
_MEGABYTE: Final = 1e6


@dataclass(frozen=True, slots=True)
class Spoken:
    """The sentences in one voice: files, seconds of CPU of all processes, megabytes of the service and of a worker."""

    files: list[Path]
    cpu: float
    service_memory: float
    worker_memory: float


async def speak(it: Service, voice_id: str, worker: str, folder: Path) -> Spoken:
    """Has the sentences spoken into files."""
    files = [folder / f"{number:02}.wav" for number in range(len(SENTENCES))]
    async with open_channel(it.address, health_checked=False) as channel:
        # The worker has loaded its model by then.
        await _narrate(channel, "The house was quiet, and only the clock was awake.", voice_id)
        before = _cpu(it)
        for sentence, file in zip(SENTENCES, files, strict=True):
            file.write_bytes(await _narrate(channel, sentence, voice_id))
    workers = [each for each in it.process.children(recursive=True) if worker in " ".join(each.cmdline())]
    memory = [each.memory_info().rss / _MEGABYTE for each in (it.process, *workers)]
    return Spoken(files, _cpu(it) - before, memory[0], max(memory[1:]))


def _cpu(it: Service) -> float:
    processes = [it.process, *it.process.children(recursive=True)]
    times = [each.cpu_times() for each in processes]
    return float(sum(each.user + each.system for each in times))


async def _narrate(channel: Any, text: str, voice_id: str) -> bytes:
    voice = common_pb2.VoiceSelection(provider="offline", voice_id=voice_id, audio_format=common_pb2.AUDIO_FORMAT_WAV)

    async def requests() -> Any:
        config = voice_pb2.SpeechConfig(language_code="en", voice=voice)
        yield voice_pb2.SynthesizeSpeechRequest(config=config)
        yield voice_pb2.SynthesizeSpeechRequest(text=voice_pb2.TextPiece(text=text))

    audio = b""
    async for response in voice_pb2_grpc.VoiceServiceStub(channel).SynthesizeSpeech(requests(), timeout=120):
        audio += response.chunk.data
    return audio


def word_errors(said: str, heard: str) -> tuple[int, int]:
    """Returns how many words are wrong, missing or too many, and how many were said."""
    wanted, got = _words(said), _words(heard)
    row = list(range(len(got) + 1))
    for index, word in enumerate(wanted, 1):
        diagonal, row[0] = row[0], index
        for place, other in enumerate(got, 1):
            best = min(row[place] + 1, row[place - 1] + 1, diagonal + (word != other))
            diagonal, row[place] = row[place], best
    return row[-1], len(wanted)


def _words(text: str) -> list[str]:
    # "Shhh" is heard as "Shh".
    short = re.sub(r"(.)\1{2,}", r"\1\1", text.lower().replace("\u2019", "'"))
    return re.findall(r"[a-z']+", short)


def line(name: str, spoken: Spoken, judged: list[dict[str, Any]]) -> str:
    """Returns the row of a voice."""
    errors = [word_errors(sentence, each["heard"]) for sentence, each in zip(SENTENCES, judged, strict=True)]
    words = sum(said for _, said in errors)
    seconds = sum(each["seconds"] for each in judged)
    values = (
        name,
        f"{100 * sum(wrong for wrong, _ in errors) / words:.1f} %",
        f"{statistics.mean(each['mos'] for each in judged):.2f}",
        f"{spoken.cpu / seconds:.3f}",
        f"{60 * words / seconds:.0f}",
        f"{statistics.mean(each['lufs'] for each in judged):.1f}",
        f"{spoken.service_memory:.0f} MB",
        f"{spoken.worker_memory:.0f} MB",
    )
    return f"| {' | '.join(values)} |"


async def main() -> None:
    """Measures, prints the table and writes it into the document."""
    rows = [_HEAD, "|---|---|---|---|---|---|---|---|"]
    for name, voice_id, worker in VOICES:
        with tempfile.TemporaryDirectory() as folder:
            async with service(DEFAULT_VOICE_PROVIDER="offline") as it:
                spoken = await speak(it, voice_id, worker, Path(folder))
            command = [sys.argv[1], str(Path(__file__).with_name("voice_judges.py")), *map(str, spoken.files)]
            judges = await asyncio.to_thread(subprocess.run, command, check=True, stdout=subprocess.PIPE)
        judged: list[dict[str, Any]] = json.loads(judges.stdout.splitlines()[-1])
        rows.append(line(name, spoken, judged))
        for sentence, each in zip(SENTENCES, judged, strict=True):
            if word_errors(sentence, each["heard"])[0]:
                print(f"{name}: {sentence} -> {each['heard']}", file=sys.stderr)
    table = "\n".join(rows)
    print(table)
    before, rest = _PAGE.read_text().split(_BEGIN)
    _PAGE.write_text(f"{before}{_BEGIN}\n\n{table}\n\n{_END}{rest.partition(_END)[2]}")


if __name__ == "__main__":
    asyncio.run(main())
