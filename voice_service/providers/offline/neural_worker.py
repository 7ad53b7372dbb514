"""A process that speaks English with hibari's voice "heart".

It needs numpy, onnxruntime and hibari. A request has "text" and "speed", 1.0 being the voice's own. Nothing is
downloaded: the one model that is read is the one in hibari's wheel.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import ChainMap
from dataclasses import dataclass
from difflib import SequenceMatcher
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from hibari import dsp
from hibari.g2p import G2P
from hibari.g2p.oov import OOV
from hibari.tts import ASSETS, Hibari

from voice_service.providers.offline.english import prepare, with_s
from voice_service.providers.offline.graphs import session
from voice_service.providers.offline.pipe import reply, serve

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

_MODEL: Final = "hibari.onnx"
_SHA256: Final = "5f70741d4e900f4e85d0037498736cc1b3e1b9a63a13546a5da1e63abf4fccd8"
_DURATIONS: Final = b"/Clip_output_0"
"""The node that holds how long each phoneme lasts, in units of 25 ms."""
_UNIT: Final = 600
_MOST_PHONEMES: Final = 240
"""What is said in one go: a longer sentence is parted after a clause."""
_CLAUSE: Final = re.compile(r"[,;:\u2014\u2026]\W*$")
_CLAUSE_PAUSE: Final = 0.15
_GAIN: Final = 2.0
_KNEE: Final = 0.7
_CEILING: Final = 0.9
_QUIET: Final = 0.004
_MARGIN: Final = 600
_EARLY: Final = 2 * _UNIT
"""How much sooner than its phonemes a word is heard (measured at the ends of 29 pauses: 45 ms)."""
_PARAGRAPH: Final = 0.9
_PAUSES: Final = {r"[.!?\u2026]\W*$": 0.45, r"[,;:\u2013\u2014]\W*$": 0.2, "": 0.3}
"""Seconds of silence after a sentence by its end: the first that is found counts."""
_WRAPPED: Final = re.compile(r"\n(?=[ \t]*[a-z])")
"""The end of a line within a sentence."""


normalizing: Final[Any] = import_module("hibari.g2p.normalize")
# Else "King Charles" is read as "King the zeroth Charles": C begins a Roman numeral, of which none is left.
for _name in ("RE_ROMAN_C", "RE_ROMAN_O"):
    setattr(normalizing, _name, re.compile(getattr(normalizing, _name).pattern + "(?<! )"))


@dataclass(slots=True)
class Word:
    """Something to say: where it stands in the text, and its phonemes with what parts it from the next."""

    position: int
    phonemes: str


class Heart:
    """The voice, loaded once."""

    sample_rate = dsp.SR

    def __init__(self) -> None:
        assets = Path(ASSETS)
        model = (assets / _MODEL).read_bytes()
        if hashlib.sha256(model).hexdigest() != _SHA256:
            raise OSError("hibari's model is another than the one that this program was written for")
        self._session = session(model, _DURATIONS)
        self._ids: dict[str, int] = json.loads((assets / "vocab.json").read_text(encoding="utf-8"))
        self._unknown = OOV(str(assets / "oov.onnx"))
        self._g2p = G2P(oov=self._guess)
        lexicon = self._g2p.lexicon.golds
        self._knows = lexicon.__contains__
        self._said: dict[str, str] = {}
        lexicon.d = ChainMap(self._said, lexicon.d)

    def speak(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """Returns the header of the reply and the samples."""
        sound: list[NDArray[np.float32]] = []
        marks: list[tuple[int, int]] = []
        length = 0
        for words, pause in self.pieces(request["text"]):
            samples, begins = self._say(words, request["speed"])
            marks += [(word.position, length + begin) for word, begin in zip(words, begins, strict=True)]
            silence = np.zeros(round(pause / request["speed"] * self.sample_rate), np.float32)
            sound += [samples, silence]
            length += len(samples) + len(silence)
            if length * 2 > request["max_pcm_bytes"]:
                return {"error": "too_long"}, b""
        pcm = (_levelled(np.concatenate(sound)) * 32_767).astype("<i2").tobytes() if sound else b""
        return {"pcm_bytes": len(pcm), "words": marks}, pcm

    def pieces(self, written: str) -> Iterator[tuple[list[Word], float]]:
        """Returns what is said in one go, and the seconds of silence after it."""
        self._said.clear()
        prepared = prepare(written, self._knows)
        self._said.update(prepared.phonemes)
        text, end = _WRAPPED.sub(" ", prepared.text), 0
        for sentence in Hibari.split_sentences(text):
            start = text.index(sentence, end)
            end = start + len(sentence)
            piece: list[Word] = []
            for word in self._words(sentence, prepared.positions[start:end]):
                if piece and sum(len(each.phonemes) for each in (*piece, word)) > _MOST_PHONEMES:
                    clauses = [at for at, each in enumerate(piece, 1) if _CLAUSE.search(each.phonemes)]
                    cut = clauses[-1] if clauses else len(piece)
                    yield piece[:cut], _CLAUSE_PAUSE
                    piece = piece[cut:]
                piece.append(word)
            if piece:
                yield piece, _pause(sentence, text[end:])

    def _guess(self, word: str) -> str | None:
        """Returns how a word is said that is in no lexicon; what is Theo's sounds like Theo."""
        owner = re.sub("['\u2019]s$", "", word)
        said: str | None = self._unknown(owner)
        return with_s(said) if said and owner != word else said

    def _words(self, sentence: str, positions: Sequence[int]) -> list[Word]:
        parts = [(positions[part.start()], part[0]) for part in re.finditer(r"\S+", sentence)]
        tokens = self._g2p.tokenize(normalizing.normalize(sentence))
        said: list[tuple[str, str]] = [("", "")]
        for token in self._g2p.phonemize_tokens(tokens):
            spelled, sounds = said[-1]
            said[-1] = (spelled + token.text, sounds + (token.phonemes or "") + (" " if token.whitespace else ""))
            if token.whitespace:
                said.append(("", ""))
        places = _aligned([part for _, part in parts], [spelled for spelled, _ in said])
        return [
            Word(parts[place][0], known)
            for place, (_, sounds) in zip(places, said, strict=True)
            if (known := "".join(each for each in sounds if each in self._ids)).strip()
        ]

    def _say(self, words: list[Word], speed: float) -> tuple[NDArray[np.float32], list[int]]:
        """Returns the samples, without the silence around them, and where the words begin."""
        ids = [0, *(self._ids[each] for word in words for each in word.phonemes), 0]
        feed = {"ids": np.asarray([ids], np.int64), "speed": np.asarray([speed], np.float32)}
        *spectrum, durations = (each[0] if each.ndim > 1 else each for each in self._session.run(None, feed))
        # A generator of its own for each: the same words always sound the same.
        samples = dsp.synth(*spectrum, np.random.default_rng(0))
        loud = np.flatnonzero(np.abs(samples) > _QUIET)
        if not len(loud):
            return samples[:0], [0] * len(words)
        first, last = max(0, int(loud[0]) - _MARGIN), int(loud[-1]) + _MARGIN
        ends = np.cumsum(durations.ravel()).astype(int) * _UNIT
        begins, index = [], 0
        for word in words:
            begins.append(min(max(0, int(ends[index]) - _EARLY - first), last - first))
            index += len(word.phonemes)
        begins[0] = min(begins[0], _MARGIN)
        return samples[first:last], begins


def _levelled(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Raises the voice to -20 LUFS, about that of espeak-ng; the few peaks beyond the knee are bent, never cut."""
    loud = np.abs(samples) * _GAIN
    bent = _KNEE + (_CEILING - _KNEE) * np.tanh((loud - _KNEE) / (_CEILING - _KNEE))
    levelled: NDArray[np.float32] = np.copysign(np.where(loud > _KNEE, bent, loud), samples)
    return levelled


def _pause(sentence: str, rest: str) -> float:
    """Returns the seconds of silence after a sentence; an empty line parts paragraphs."""
    lines = rest[: len(rest) - len(rest.lstrip())].count("\n")
    return _PARAGRAPH if lines > 1 else next(seconds for end, seconds in _PAUSES.items() if re.search(end, sentence))


def _aligned(written: list[str], said: list[str]) -> list[int]:
    """Returns for each word that is said the index of the written one that it stands for."""
    places: list[int] = []
    plain = [word.replace("\u2019", "'") for word in written]
    for _, left, left_end, right, right_end in SequenceMatcher(None, plain, said, autojunk=False).get_opcodes():
        count, wide = right_end - right, max(1, left_end - left)
        places += [min(left + at * wide // count, len(written) - 1) for at in range(count)]
    return places


def main() -> int:
    """Serves requests until stdin ends. Returns the exit status."""
    return serve(Heart, reply)


if __name__ == "__main__":
    raise SystemExit(main())
