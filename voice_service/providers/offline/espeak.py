"""The engine of every language: espeak-ng in worker processes."""

from __future__ import annotations

import importlib
import re
import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from servicekit.resilience.errors import ProviderErrorKind
from voice_service.ports import VoiceInfo
from voice_service.providers.offline.engine import failure
from voice_service.providers.offline.voices import EspeakVoices, bcp47_languages
from voice_service.providers.offline.workers import WorkerPool, worker_program

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voice_service.providers.offline.engine import Speech

_NOT_INSTALLED: Final = "espeak-ng is not installed: pip install espeakng-loader"
_WORDS_PER_MINUTE: Final = 150
_RATES: Final = (80, 450)
# Full volume touches the limit in some languages; this leaves 1.5 dB at least, and speech at about -21 dBFS.
_VOLUME: Final = 80
# Of the female variants that stay clear of the limit f2 and f4 have the lowest spectral centroid (920 Hz; f3 998, f5
# 1106), and of the two f2 has the livelier pitch.
_DEFAULT_VARIANT: Final = "f2"
DEFAULT_VOICE: Final = f"en-gb+{_DEFAULT_VARIANT}"
"""Reads what no voice speaks."""
_LISTED_VARIANTS: Final = (_DEFAULT_VARIANT, "f4", "", "m3")


_BRACKETS: Final = str.maketrans("[]", "()")
_WORD: Final = re.compile(r"(?<![\w-])[^\W\d_](?:-?[^\W\d_]){1,39}(?![\w-])")
_CYRILLIC: Final = str.maketrans(
    dict(zip("бвгджзклмнпрстфхшщ", "bvgdZzklmnprstfXSS", strict=True)) | {"ц": "ts", "ч": "tS"}
)
_CONSONANTS: Final = re.compile(r"[bcdfghklmnprstvzSXZ]+")
_LONG_END: Final = re.compile(r"([szfvmnrhSXZ])\1+t?$")
_SHORT: Final = frozenset({"sh", "pst", "pft", "psh", "hm", "ts", "tS", "Xm"})


class EspeakEngine:
    """Speaks every language of espeak-ng, at 150 words a minute times the speed, held within 0.53 and 3.0.

    Reads files when it is made (10 to 40 ms). `size` processes speak at a time.
    """

    def __init__(self, *, size: int, speak_timeout: float, queue_timeout: float) -> None:
        self._voices = EspeakVoices((), {})
        self._pool: WorkerPool | None = None
        if (paths := _installation()) is not None:
            library, data = paths
            self._voices = EspeakVoices.load(data)
            self._pool = WorkerPool(
                worker_command(library, data),
                size=size,
                start_timeout=15.0,
                speak_timeout=speak_timeout,
                queue_timeout=queue_timeout,
            )

    @property
    def languages(self) -> tuple[str, ...]:
        """Every language that has a voice."""
        return self._voices.languages

    def warm_up(self) -> None:
        """Starts the workers in the background."""
        if self._pool is not None:
            self._pool.warm_up()

    async def missing(self) -> str:
        """Returns "" when espeak-ng is installed and a worker starts, else what to do."""
        if self._pool is None:
            return _NOT_INSTALLED
        reason = await self._pool.failed()
        return f"espeak-ng is installed but does not start: {reason}" if reason else ""

    def list_voices(self, language_code: str | None = None) -> Sequence[VoiceInfo]:
        """Lists voices, each in a few variants. Any other variant's name works too."""
        found = self._voices.all() if language_code is None else self._voices.speaking(language_code)
        return tuple(
            VoiceInfo(
                voice_id=f"{voice.code}+{variant}" if variant else voice.code,
                display_name=f"{voice.name}, {variant}" if variant else voice.name,
                language_codes=bcp47_languages(voice),
                gender=self._voices.gender(variant),
                description="Embedded, robotic (espeak-ng)",
            )
            for voice in found
            for variant in _LISTED_VARIANTS
        )

    def resolve(self, voice_id: str, language_code: str) -> str:
        """Returns espeak-ng's name of the voice; "+f2" alone is of a voice of the language."""
        return self._voices.resolve(voice_id or f"+{_DEFAULT_VARIANT}", language_code)

    def scripts(self, voice: str) -> frozenset[str]:
        """Returns the scripts that a voice reads, by what `resolve` returned."""
        return self._voices.scripts(voice)

    async def speak(self, text: str, voice: str, speed: float) -> Speech:
        """Reads `text`."""
        if self._pool is None:
            raise failure(ProviderErrorKind.AUTH, _NOT_INSTALLED)
        notated, positions = with_sounds(text)
        speech = await self._pool.speak(_worker_request(notated, voice, speed))
        return replace(
            speech, words=tuple((positions[at], sample) for at, sample in speech.words if at < len(positions))
        )

    async def phonemes(self, text: str, voice: str) -> Speech:
        """Returns the clauses of `text` in IPA and where its words begin, without sound. Raises ProviderError."""
        if self._pool is None:
            raise failure(ProviderErrorKind.AUTH, _NOT_INSTALLED)
        return await self._pool.speak({**_worker_request(text, voice, 1.0), "phonemes": True})

    async def aclose(self) -> None:
        """Ends the workers."""
        if self._pool is not None:
            await self._pool.aclose()


def worker_command(library: Path, data: Path) -> tuple[str, ...]:
    """Returns the command line of a worker."""
    return worker_program("espeak_worker", str(library), str(data.parent), packages=False)


def speakable(text: str) -> str:
    """Replaces what espeak-ng would take for a command by a space, code point for code point.

    That is control characters (0x01 starts a command), the private use area and unassigned code points (which it uses
    for marks of its own), and halves of surrogate pairs, which have no UTF-8.
    """
    return "".join(
        character if character == "\n" or unicodedata.category(character) not in {"Cc", "Cn", "Co", "Cs"} else " "
        for character in text
    )


def with_sounds(text: str) -> tuple[str, list[int]]:
    """Returns `text` with interjections such as "Shhh" as sounds, and where each character stood.

    Words without a vowel that end in a long sound are spelled by espeak-ng: they become phonemes in its notation. What
    is notation in `text` itself loses its brackets.
    """
    plain = text.translate(_BRACKETS)
    parts: list[str] = []
    positions: list[int] = []
    at = 0
    for found in _WORD.finditer(plain):
        if sounds := _sounds(found[0]):
            parts += [plain[at : found.start()], f"[[{sounds}]]"]
            positions += [*range(at, found.start()), *[found.start()] * len(parts[-1])]
            at = found.end()
    return "".join((*parts, plain[at:])), [*positions, *range(at, len(plain))]


def _sounds(word: str) -> str:
    """Returns the phonemes of an interjection; "" of another word, such as an abbreviation in capitals."""
    plain = word.lower().replace("-", "").translate(_CYRILLIC)
    long = _LONG_END.search(plain)
    drawn = len(long[0]) if long else 0
    sounds = plain in _SHORT or drawn > 2 or (drawn and (len(plain) > drawn or "-" in word))
    if not sounds or not _CONSONANTS.fullmatch(plain) or (word.isupper() and "-" not in word and drawn < 3):
        return ""
    plain = re.sub(r"s?ch+|sh+", lambda found: "S" * len(found[0]), plain).replace("c", "k").replace("X", "x")
    return re.sub(r"(.)\1{5,}", lambda found: found[1] * 6, plain)


def _installation() -> tuple[Path, Path] | None:
    """Returns the paths of the library and of its data, or None where they are not installed."""
    try:
        loader = importlib.import_module("espeakng_loader")
        return Path(loader.get_library_path()), Path(loader.get_data_path())
    except (ImportError, RuntimeError):
        return None


def _worker_request(text: str, voice: str, speed: float) -> dict[str, Any]:
    return {
        "text": speakable(text),
        "voice": voice,
        "rate": min(max(round(_WORDS_PER_MINUTE * speed), _RATES[0]), _RATES[1]),
        "volume": _VOLUME,
    }
