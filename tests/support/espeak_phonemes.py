"""Prints the phonemes that espeak-ng gives texts: `python espeak_phonemes.py`, with [[voice, text], ...] on stdin.

A program of its own, as the worker is: each text is read in a fork, since some end the process. Prints a JSON list of
phonemes, null where the fork ended.
"""

import ctypes
import json
import os
import sys
from pathlib import Path

import espeakng_loader  # type: ignore[import-untyped]

_IPA, _UTF8, _SYNCHRONOUS = 2, 1, 2


def _phonemes(library: ctypes.CDLL, voice: str, text: str) -> bytes:
    library.espeak_SetVoiceByName(voice.encode())
    rest = ctypes.pointer(ctypes.c_char_p(text.encode()))
    found = []
    while rest.contents.value is not None:
        found.append(library.espeak_TextToPhonemes(rest, _UTF8, _IPA) or b"")
    return b" ".join(found)


def main() -> None:
    """Reads pairs and prints their phonemes."""
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    os.chdir(Path(espeakng_loader.get_data_path()).parent)
    library.espeak_Initialize(_SYNCHRONOUS, 0, b".", 0)
    library.espeak_TextToPhonemes.restype = ctypes.c_char_p
    answers = []
    for voice, text in json.load(sys.stdin):
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            os.write(writer, _phonemes(library, voice, text))
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            phonemes = pipe.read().decode()
        answers.append(phonemes if os.waitpid(child, 0)[1] == 0 else None)
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
