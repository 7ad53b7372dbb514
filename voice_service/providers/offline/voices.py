"""The voices that espeak-ng brings, read from its own data.

A voice is a file under `espeak-ng-data/lang` with lines such as `name`, `language <code> [priority]` (a lower number is
a better match) and `dictionary` (docs/voices.md of espeak-ng); a variant is a file under `voices/!v` and gives any
voice another throat. Names and codes are matched without regard to case.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from servicekit.languages import scripts_of
from voice_service.languages import canonical

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_DEFAULT_PRIORITY: Final = 5
_UNREADABLE: Final = frozenset({"he", "th", "my", "shn", "hak", "piqd", "en-shaw"})
"""Voices that are left out, since they do not read their languages: they leave out vowels (he, th), spell letters in
English (shn, hak) or end the process (my), or they speak no script of people (piqd, en-shaw)."""
_RENAMED: Final = {"ja": "ja-hrkt"}
"""Of Japanese the engine reads kana alone; a kanji is "Chinese letter"."""
_READ_BY_ALL: Final = frozenset((
    "LATIN", "ARMENIAN", "BENGALI", "DEVANAGARI", "GEORGIAN", "GUJARATI", "GURMUKHI", "HANGUL", "KANNADA", "MALAYALAM",
    "SINHALA", "TAMIL",
))  # fmt: skip
"""Latin, and the scripts whose words every voice hands to a voice of theirs."""


class UnknownVoiceError(LookupError):
    """There is no such voice, or none for the language."""


@dataclass(frozen=True, slots=True)
class EspeakVoice:
    """A voice: `code` names it to callers, `identifier` to espeak-ng; `languages` maps codes to priorities."""

    code: str
    identifier: str
    name: str
    languages: dict[str, int]


class EspeakVoices:
    """Finds voices by name and by language.

    A voice id is `<voice>`, `<voice>+<variant>`, or `+<variant>`: the language's own voice in that variant.
    """

    def __init__(self, voices: tuple[EspeakVoice, ...], variants: dict[str, str]) -> None:
        self._voices = voices
        self._variants = {name.casefold(): name for name in variants}
        self._genders = variants
        self._by_name = {
            alias.casefold(): voice
            for voice in reversed(voices)
            for alias in (voice.identifier, voice.identifier.rsplit("/", 1)[-1], voice.name, voice.code)
        }

    @classmethod
    def load(cls, data: Path) -> EspeakVoices:
        """Reads the `espeak-ng-data` folder. Takes some milliseconds of file reading. Raises OSError."""
        voices: list[EspeakVoice] = []
        codes: set[str] = set()
        root = data / "lang"
        for path in sorted((path for path in root.rglob("*") if path.is_file()), key=lambda path: len(path.name)):
            lines = list(_lines(path))
            languages = {
                _RENAMED.get(words[1].lower(), words[1].lower()): int(words[2]) if len(words) > 2 else _DEFAULT_PRIORITY
                for words in lines
                if words[0] == "language"
            }
            first = next(iter(languages), path.name.lower())
            dictionary = next((words[1] for words in lines if words[0] == "dictionary"), first.split("-")[0])
            if not (data / f"{dictionary}_dict").is_file() or first in _UNREADABLE:
                continue  # a voice without its dictionary cannot speak
            code = first.removesuffix("-hrkt") if first not in codes else path.name.lower()
            codes.add(code)
            name = next((" ".join(words[1:]) for words in lines if words[0] == "name"), code)
            voices.append(EspeakVoice(code, path.relative_to(root).as_posix(), name, languages))
        variants = {
            path.name: next((words[1] for words in _lines(path) if words[0] == "gender"), "male")
            for path in sorted((data / "voices" / "!v").iterdir())
        }
        return cls(tuple(voices), variants)

    @property
    def languages(self) -> tuple[str, ...]:
        """Every language code that a voice names, as BCP-47 writes it."""
        return tuple(sorted({canonical(code) for voice in self._voices for code in voice.languages}))

    def gender(self, variant: str) -> str:
        """Returns "female" or "male"; every voice without a variant ("") is male."""
        return self._genders[variant] if variant else "male"

    def speaking(self, language_code: str) -> list[EspeakVoice]:
        """Returns the voices of a language, the best first: of "en-AU", for want of one, those of "en"."""
        wanted = language_code.lower().replace("_", "-")
        while wanted:
            matches = [
                (tag != wanted, priority, index)
                for index, voice in enumerate(self._voices)
                for tag, priority in voice.languages.items()
                if tag == wanted or tag.startswith(f"{wanted}-")
            ]
            if matches:
                order = dict.fromkeys(index for _, _, index in sorted(matches))
                return [self._voices[index] for index in order]
            wanted = wanted.rpartition("-")[0]
        return []

    def resolve(self, voice_id: str, language_code: str) -> str:
        """Returns the name by which espeak-ng knows the voice. Raises UnknownVoiceError."""
        name, plus, variant = voice_id.partition("+")
        named = [self._by_name.get(name.casefold())] if name else self.speaking(language_code)
        voice = next(iter(named), None)
        if voice is None:
            raise UnknownVoiceError("there is no such voice" if name else "no voice speaks this language")
        if not plus:
            return voice.identifier
        if variant.casefold() not in self._variants:
            raise UnknownVoiceError("there is no such variant of a voice")
        return f"{voice.identifier}+{self._variants[variant.casefold()]}"

    def scripts(self, identifier: str) -> frozenset[str]:
        """Returns the scripts that a voice reads, by the name that espeak-ng knows it by; none where it is left out."""
        voice = self._by_name.get(identifier.partition("+")[0].casefold())
        return frozenset() if voice is None else _READ_BY_ALL.union(*map(scripts_of, voice.languages))

    def all(self) -> tuple[EspeakVoice, ...]:
        """Returns every voice."""
        return self._voices


def bcp47_languages(voice: EspeakVoice) -> tuple[str, ...]:
    """Returns the voice's languages, the best match first."""
    return tuple(canonical(code) for code, _ in sorted(voice.languages.items(), key=lambda item: item[1]))


def _lines(path: Path) -> Iterator[list[str]]:
    # Some comments in the data are not UTF-8.
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if (words := line.split()) and not words[0].startswith("//"):
            yield words
