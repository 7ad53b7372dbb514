"""A process that speaks with Piper's voices: `main()`.

It needs numpy and onnxruntime. A request has "model" (a path), "sample_rate", "scales", "speaker", "pause" (seconds)
and "sentences": phoneme ids, and marks (code point, index of the id that it begins with). A model that cannot be loaded
is refused ("voice"); a request without sentences does no more than that.

Noise is part of these models, and its generator cannot be set back: each request is spoken in a fork, from the state
that the model had when it was new, so that the same request gives the same samples.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import numpy as np
import onnxruntime
from cachetools import LRUCache

from voice_service.providers.offline.graphs import session
from voice_service.providers.offline.pipe import reply_in_fork, serve

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MODELS: Final = 3
"""Models that stay loaded; one takes 70 MB and half a second."""
_DURATIONS: Final = b"/Ceil_output_0"
"""The node that holds how long each phoneme lasts."""
_SEED: Final = 1


class Piper:
    """The voices that were used last. `sample_rate` is that of most; each reply has its own."""

    sample_rate = 22_050

    def __init__(self) -> None:
        onnxruntime.set_seed(_SEED)
        self._models: LRUCache[str, Any] = LRUCache(_MODELS)

    def load(self, path: str) -> None:
        """Loads a model if it is not there, in place of the one that was used least recently."""
        self._models[path] = self._models[path] if path in self._models else _loaded(path)

    def speak(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """Returns the header of the reply and the samples."""
        model = self._models[request["model"]]
        if model is None:
            return {"error": "voice"}, b""
        silence = bytes(2 * round(request["pause"] * request["sample_rate"]))
        pcm = b""
        words: list[tuple[int, int]] = []
        for ids, marks in request["sentences"]:
            samples, begins = _infer(model, ids, request)
            words += [(position, len(pcm) // 2 + int(begins[index])) for position, index in marks if len(begins)]
            pcm += (np.clip(samples, -1.0, 1.0) * 32767).astype("<i2").tobytes() + silence
            if len(pcm) > request["max_pcm_bytes"]:
                return {"error": "too_long"}, b""
        return {"pcm_bytes": len(pcm), "sample_rate": request["sample_rate"], "words": words}, pcm


def _loaded(path: str) -> Any:
    """Returns a model, with the durations of phonemes where it has them; None where it cannot be loaded."""
    for output in (_DURATIONS, b""):
        try:
            return session(Path(path).read_bytes(), output)
        except Exception:  # noqa: BLE001, S112 - onnxruntime's are of many kinds
            continue
    return None


def _infer(model: Any, ids: list[int], request: dict[str, Any]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Returns the samples, and the sample that each id begins at where the model says so."""
    inputs = {
        "input": np.asarray([ids], np.int64),
        "input_lengths": np.asarray([len(ids)], np.int64),
        "scales": np.asarray(request["scales"], np.float32),
        "sid": np.asarray([request["speaker"]], np.int64),
    }
    sound, *more = model.run(None, {each.name: inputs[each.name] for each in model.get_inputs()})
    frames = np.ravel(more[0]) if more else np.zeros(0)
    if len(frames) != len(ids) or not frames.sum():
        return np.ravel(sound), np.zeros(0)
    return np.ravel(sound), (np.cumsum(frames) - frames) * (sound.size / frames.sum())


def _answer(engine: Piper, request: dict[str, Any], replies: BinaryIO) -> bool:
    # Before the fork, so that the next one finds it.
    engine.load(request["model"])
    return reply_in_fork(engine, request, replies)


def main() -> int:
    """Serves requests until stdin ends. Returns the exit status."""
    return serve(Piper, _answer)
