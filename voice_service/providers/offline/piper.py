"""The engine of Piper's voices: files of a user's own, spoken with onnxruntime and espeak-ng's phonemes."""

from __future__ import annotations

import asyncio
import json
import re
import unicodedata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import AliasPath, BaseModel, Field, ValidationError

from servicekit.languages import scripts_of
from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from voice_service.languages import canonical, covers
from voice_service.ports import VoiceInfo
from voice_service.providers.offline.engine import failure
from voice_service.providers.offline.voices import UnknownVoiceError
from voice_service.providers.offline.workers import WorkerPool, worker_program

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from voice_service.providers.offline.engine import Speech
    from voice_service.providers.offline.espeak import EspeakEngine

_SETTING: Final = "VOICE_PIPER_DIR"
_PREFIX: Final = "piper:"
_PACES: Final = (0.5, 2.0)
_PAUSE: Final = 0.3
_DEPTH: Final = 6
"""Folders in which a voice may lie: libraries of them have one by language, region, name and quality."""
_LISTED_SPEAKERS: Final = 50
_STOP: Final = re.compile(r"([.。؟?!,、:;—])\W*\w?$")
_STOPS: Final = str.maketrans("。؟、—", ".?,,")
_TRIED_PHONEMES: Final = 9
_AT_FAULT: Final = {ProviderErrorKind.UNSUPPORTED, ProviderErrorKind.INVALID_INPUT, ProviderErrorKind.TRANSPORT}
_SWITCH: Final = re.compile(r"\([a-z-]+\)")


class PiperVoice(BaseModel):
    """What is read of a voice's files; `name` is that of its model."""

    name: str
    model: Path
    ids: dict[str, list[int]] = Field(validation_alias="phoneme_id_map", min_length=1)
    kind: Literal["espeak", "text"] = Field("espeak", validation_alias="phoneme_type")
    speakers: dict[str, int] = Field({}, validation_alias="speaker_id_map")
    sample_rate: int = Field(validation_alias=AliasPath("audio", "sample_rate"), ge=8_000, le=48_000)
    espeak: str = Field("", validation_alias=AliasPath("espeak", "voice"))
    language: str = Field("", validation_alias=AliasPath("language", "code"))
    noise: float = Field(0.667, validation_alias=AliasPath("inference", "noise_scale"))
    length: float = Field(1.0, validation_alias=AliasPath("inference", "length_scale"), gt=0)
    width: float = Field(0.8, validation_alias=AliasPath("inference", "noise_w"))

    @property
    def languages(self) -> tuple[str, ...]:
        """Its language, as a BCP-47 code with and without the region."""
        code = canonical(self.language or self.espeak)
        return tuple(dict.fromkeys((code, code.partition("-")[0])))

    def request(self, sentences: Sequence[Any], *, speaker: str = "", speed: float = 1.0) -> dict[str, Any]:
        """Returns what the worker is asked for."""
        scales = [self.noise, self.length / min(max(speed, _PACES[0]), _PACES[1]), self.width]
        about = {"model": str(self.model), "sample_rate": self.sample_rate, "pause": _PAUSE, "scales": scales}
        return {**about, "speaker": self.speakers.get(speaker, 0), "sentences": sentences}


def load(folder: Path) -> tuple[list[PiperVoice], list[str]]:
    """Reads the voices of a folder; returns them, and what is wrong with others. Blocks while it reads files."""
    voices, warnings = [], []
    found = (model for depth in range(_DEPTH) for model in folder.glob("*/" * depth + "*.onnx"))
    for model in sorted(model for model in found if model.is_file()):
        about = next(filter(Path.is_file, (Path(f"{model}.json"), model.with_suffix(".json"))), None)
        if about is None:
            warnings.append(f"{model.name} has no {model.name}.json beside it: put it there.")
            continue
        try:
            read = json.loads(about.read_bytes())
            voices.append(PiperVoice.model_validate({**read, "name": model.stem, "model": model.resolve()}))
        except (OSError, TypeError, ValueError, RecursionError) as error:
            where = error.errors()[0]["loc"] if isinstance(error, ValidationError) else ("JSON",)
            warnings.append(f"{about.name} does not describe a Piper voice ({where[-1]}): get it again.")
    if not voices and not warnings:
        warnings.append(f"{folder} is no folder with voices: put NAME.onnx and NAME.onnx.json there.")
    if voices and find_spec("onnxruntime") is None:
        return [], ["onnxruntime is not installed: pip install onnxruntime."]
    return voices, warnings


class PiperEngine:
    """Speaks with the voices of a folder, at their pace times the speed, held within 0.5 and 2.0.

    Reads the folder when it is made; None is one without voices. One process is enough.
    """

    def __init__(
        self, folder: Path | None, espeak: EspeakEngine, *, speak_timeout: float, queue_timeout: float
    ) -> None:
        self._espeak = espeak
        found, self._warnings = load(folder) if folder is not None else ([], [])
        self._voices = {voice.name.casefold(): voice for voice in found}
        self._checks: asyncio.Task[None] | None = None
        self._pool = WorkerPool(
            worker_program("piper_worker"),
            size=1,
            start_timeout=30.0,
            speak_timeout=speak_timeout,
            queue_timeout=queue_timeout,
        )

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages of its voices."""
        return tuple(dict.fromkeys(code for voice in self._voices.values() for code in voice.languages))

    def warm_up(self) -> None:
        """Has each model say something once, in the background."""
        if self._voices and self._checks is None:
            self._checks = asyncio.create_task(self._check())

    async def reduced(self) -> str:
        """Returns what is wrong with files of the folder, once each has been tried."""
        self.warm_up()
        if self._checks is not None:
            await asyncio.shield(self._checks)
        return " ".join(f"{_SETTING}: {warning}" for warning in self._warnings)

    async def missing(self) -> str:
        """Returns "" where there are voices and the worker starts, else why not; waits until each model was tried."""
        await self.reduced()
        return await self._pool.failed() if self._voices else f"{_SETTING} has no voices"

    def list_voices(self, language_code: str | None = None) -> Sequence[VoiceInfo]:
        """Lists its voices, those of the very region first, each with its speakers."""
        return [
            VoiceInfo(
                voice_id=f"{_PREFIX}{voice.name}{speaker and '#'}{speaker}",
                display_name=f"{voice.name} {speaker}".strip(),
                language_codes=voice.languages,
                description=f"Embedded, from {_SETTING}",
            )
            for voice in self._speaking(language_code)
            for speaker in ("", *list(voice.speakers)[:_LISTED_SPEAKERS])
        ]

    def resolve(self, voice_id: str, language_code: str) -> str:
        """Returns "name#speaker" of "piper:name#speaker", without a name the first voice of the language."""
        name = voice_id.removeprefix(_PREFIX)
        name, _, speaker = (name, "", "") if name.casefold() in self._voices else name.rpartition("#")
        named = [self._voices.get(name.casefold())] if voice_id.startswith(_PREFIX) else []
        voice = next(iter(named if voice_id else self._speaking(language_code)), None)
        if voice is None or (speaker and speaker not in voice.speakers):
            raise UnknownVoiceError("there is no such voice" if voice_id else "no voice speaks this language")
        return f"{voice.name}#{speaker}"

    def scripts(self, voice: str) -> frozenset[str]:
        """Returns the scripts of the voice's language, or those that espeak-ng has phonemes of."""
        chosen = self._voices.get(voice.rpartition("#")[0].casefold())
        if chosen is None or chosen.kind == "espeak":
            return self._espeak.scripts(self._espeak.resolve("", chosen.espeak) if chosen else "")
        return frozenset[str]().union(*map(scripts_of, chosen.languages))

    async def speak(self, text: str, voice: str, speed: float) -> Speech:
        """Reads `text`."""
        name, _, speaker = voice.rpartition("#")
        if (chosen := self._voices.get(name.casefold())) is None:
            raise failure(ProviderErrorKind.UNSUPPORTED, f"the model of {_PREFIX}{name} cannot be loaded")
        if chosen.kind == "text":
            parts = re.split(r"(?<=[.!?])\s+|\n+", text.lower())
            clauses = [(part, part[-1:] if part[-1:] in set(".!?") else ".") for part in parts]
            begins = [word.start() for word in re.finditer(r"\S+", text)]
        else:
            phonemes = await self._espeak.phonemes(text, self._espeak.resolve("", chosen.espeak))
            clauses, begins = _with_stops(text, phonemes.clauses), [position for position, _ in phonemes.words]
        return await self._pool.speak(
            chosen.request(list(sentences(clauses, begins, chosen.ids)), speaker=speaker, speed=speed)
        )

    async def aclose(self) -> None:
        """Ends the worker."""
        await self._pool.aclose()
        if self._checks is not None:
            await asyncio.wait([self._checks])

    def _speaking(self, language_code: str | None) -> list[PiperVoice]:
        voices = self._voices.values()
        if language_code is None:
            return list(voices)
        found = (voice for voice in voices if covers(voice.languages, language_code))
        return sorted(found, key=lambda voice: voice.languages[0] != canonical(language_code))

    async def _check(self) -> None:
        for name, voice in list(self._voices.items()):
            some = [each for ids in list(voice.ids.values())[:_TRIED_PHONEMES] for each in ids]
            try:
                if voice.kind == "espeak":
                    self._espeak.resolve("", voice.espeak)
                await self._pool.speak(voice.request([(some, [])]))
            except UnknownVoiceError:
                reason = f"espeak-ng has no phonemes of {voice.espeak!r}"
            except ProviderError as error:
                broken = error.kind in _AT_FAULT and not await self._pool.failed()
                reason = error.message if broken else ""
            else:
                reason = ""
            if reason:
                del self._voices[name]
                self._warnings.append(f"{voice.model.name} cannot speak ({reason}): get it again.")


def _with_stops(text: str, clauses: Iterable[tuple[str, int]]) -> list[tuple[str, str]]:
    """Returns the phonemes of each clause, and the mark that it ends with in the text."""
    parts, start = [], 0
    for phonemes, end in clauses:
        part = unicodedata.normalize("NFKC", text[start:end])
        stop = _STOP.search(part)
        mark = stop[1].translate(_STOPS) if stop else "." if "\n" in part or end >= len(text) else ""
        parts.append((_SWITCH.sub("", phonemes), mark))
        start = end
    return parts


def sentences(
    clauses: Sequence[tuple[str, str]], begins: Sequence[int], ids_of: dict[str, list[int]]
) -> Iterator[tuple[list[int], list[tuple[int, int]]]]:
    """Returns for each sentence its phoneme ids, and marks: where a word begins in the text, and among the ids."""
    # Word for word, or not at all: else the marks would be of other words.
    places = iter(begins if sum(len(said.split()) for said, _ in clauses) == len(begins) else ())
    ids: list[int] = []
    marks: list[tuple[int, int]] = []

    def add(symbols: str) -> None:
        for symbol in symbols:
            for each in ids_of.get(symbol, ()):
                ids.extend((each, *ids_of.get("_", ())))

    for at, (said, mark) in enumerate(clauses):
        for word in said.split():
            add(" " if ids else "^")
            marks += [(place, len(ids)) for place in [next(places, None)] if place is not None]
            add(unicodedata.normalize("NFD", word))
        add(mark if ids and not said.endswith(mark) else "")
        if ids and (mark in set(".!?") or at == len(clauses) - 1):
            yield [*ids, *ids_of.get("$", ())], marks
            ids, marks = [], []
