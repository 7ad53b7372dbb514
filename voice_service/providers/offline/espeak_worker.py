"""A process that speaks with espeak-ng: `main(LIBRARY, DATA_PARENT)`.

A program of its own, which knows nothing of the service: espeak-ng is GPL-3, keeps its state in globals and is not safe
in threads. It imports the standard library and `pipe` alone, so that it starts at once. A request has "text", "voice",
"rate" and "volume"; with "phonemes" the reply has "clauses", pairs of IPA and where the clause ends in the text, and no
sound.

Each request is spoken in a fork, from the state that the library had when it was new, so that the same request gives
the same samples whatever was spoken before; forking takes under a millisecond. The process ends when a fork fails in
any way: the reader then sees the end of stdout.
"""

from __future__ import annotations

import ctypes
import os
from functools import partial
from typing import Any

from voice_service.providers.offline.pipe import reply_in_fork, serve

_AUDIO_SYNCHRONOUS = 2
_CHARS_UTF8 = 1
_NOTATION = 0x100
_END_PAUSE = 0x1000
_POSITION_CHARACTER = 1
_PARAMETER_RATE = 1
_PARAMETER_VOLUME = 2
_EVENT_LIST_TERMINATED = 0
_EVENT_WORD = 1
_PHONEMES_IPA = 2
_ANY_SEED = 1


class _EventId(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    """`espeak_EVENT` of speak_lib.h. `text_position` counts characters from 1, `sample` from the start of the text."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _EventId),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(_Event))


class Engine:
    """The library, loaded once. `sample_rate` in Hz."""

    def __init__(self, library: str, data_parent: str) -> None:
        # The library keeps the path of its data in 160 bytes: a relative one always fits.
        os.chdir(data_parent)
        self._lib = ctypes.CDLL(library)
        self.sample_rate: int = self._lib.espeak_Initialize(_AUDIO_SYNCHRONOUS, 0, b".", 0)
        if self.sample_rate <= 0:
            raise OSError("espeak-ng does not find its data")
        self._lib.espeak_TextToPhonemes.restype = ctypes.c_char_p

    def speak(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """Returns the header of the reply and the samples."""
        pcm = bytearray()
        words: list[tuple[int, int]] = []
        full = False

        def on_samples(wave: int | None, count: int, events: Any) -> int:
            nonlocal full
            if wave and count > 0:
                pcm.extend(ctypes.string_at(wave, count * 2))
            index = 0
            while events[index].type != _EVENT_LIST_TERMINATED:
                if events[index].type == _EVENT_WORD:
                    words.append((events[index].text_position - 1, events[index].sample))
                index += 1
            full = len(pcm) > request["max_pcm_bytes"]
            return int(full)

        callback = _Callback(on_samples)
        self._lib.espeak_SetSynthCallback(callback)
        self._lib.espeak_ng_SetRandSeed(ctypes.c_long(_ANY_SEED))
        ctypes.CDLL(None).srand(_ANY_SEED)
        if self._lib.espeak_SetVoiceByName(request["voice"].encode()):
            return {"error": "voice"}, b""
        self._lib.espeak_SetParameter(_PARAMETER_RATE, request["rate"], 0)
        self._lib.espeak_SetParameter(_PARAMETER_VOLUME, request["volume"], 0)
        text = request["text"].encode() + b"\0"
        # SSML is not enabled. Phonemes in [[ ]] are: the service puts them there, and no others leave it.
        failed = self._lib.espeak_Synth(
            text,
            ctypes.c_size_t(len(text)),
            0,
            _POSITION_CHARACTER,
            0,
            _CHARS_UTF8 | _NOTATION | _END_PAUSE,
            None,
            None,
        )
        if full:
            return {"error": "too_long"}, b""
        if failed:
            return {"error": "failed"}, b""
        if request.get("phonemes"):
            return {"pcm_bytes": 0, "words": words, "clauses": self._clauses(text)}, b""
        return {"pcm_bytes": len(pcm), "words": words}, bytes(pcm)

    def _clauses(self, text: bytes) -> list[tuple[str, int]]:
        buffer = ctypes.create_string_buffer(text)
        start = ctypes.addressof(buffer)
        at = ctypes.c_void_p(start)
        clauses = []
        while at.value is not None:
            said = self._lib.espeak_TextToPhonemes(ctypes.byref(at), _CHARS_UTF8, _PHONEMES_IPA)
            end = len(text) - 1 if at.value is None else at.value - start
            clauses.append(((said or b"").decode(), len(text[:end].decode(errors="ignore"))))
        return clauses


def main(library: str, data_parent: str) -> int:
    """Serves requests until stdin ends. Returns the exit status."""
    return serve(partial(Engine, library, data_parent), reply_in_fork)
