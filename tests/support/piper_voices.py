"""Makes small Piper voices: models with the inputs and outputs of real ones, whose sound is told by hand."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from onnx import TensorProto, helper, save

if TYPE_CHECKING:
    from pathlib import Path

HOP: Final = 256
FRAMES: Final = 2
"""What each phoneme id lasts."""
_SYMBOLS: Final = "_^$ !'(),-.:;?abcdefhijklmnopqrstuvwxyzæçðøħŋœɐɑɒɔɕəɚɛɜɡɪɹɾʁʃʊʌʒʔʲˈˌːθχᵻ"
IDS: Final = {symbol: [index] for index, symbol in enumerate(_SYMBOLS)}


def make_voice(folder: Path, name: str, *, durations: bool = True, **config: Any) -> None:
    """Writes NAME.onnx and NAME.onnx.json; the sound is 0.2, more by 0.1 for each speaker, and noise."""
    save(_model(speakers="speaker_id_map" in config, durations=durations), folder / f"{name}.onnx")
    about = {
        "audio": {"sample_rate": 22_050, "quality": "medium"},
        "espeak": {"voice": "en-us"},
        "language": {"code": "en_US"},
        "inference": {"noise_scale": 0.667, "length_scale": 1, "noise_w": 0.8},
        "phoneme_type": "espeak",
        "phoneme_id_map": IDS,
        "num_speakers": 1,
    }
    (folder / f"{name}.onnx.json").write_text(json.dumps({**about, **config}), encoding="utf-8")


def _model(*, speakers: bool, durations: bool) -> Any:
    node = helper.make_node
    constants = {"frames": float(FRAMES), "hop": float(HOP), "loud": 0.1, "quiet": 0.02}
    initial = [helper.make_tensor(name, TensorProto.FLOAT, [1], [value]) for name, value in constants.items()]
    initial += [helper.make_tensor(f"at{index}", TensorProto.INT64, [1], [index]) for index in range(2)]
    initial += [helper.make_tensor("zero", TensorProto.FLOAT, [1], [0.0])]
    initial += [helper.make_tensor("one", TensorProto.INT64, [1], [1])]
    initial += [helper.make_tensor("shape", TensorProto.INT64, [3], [1, 1, -1])]
    lasting = "/Ceil_output_0" if durations else "hidden"
    nodes = [
        node("Gather", ["scales", "at0"], ["noise_scale"]),
        node("Gather", ["scales", "at1"], ["length_scale"]),
        node("Cast", ["input"], ["ids"], to=TensorProto.FLOAT),
        node("Mul", ["ids", "zero"], ["zeros"]),
        node("Mul", ["frames", "length_scale"], ["each"]),
        node("Add", ["zeros", "each"], ["lengths"]),
        node("Ceil", ["lengths"], [lasting]),
        node("ReduceSum", [lasting], ["sum"], keepdims=0),
        node("Mul", ["sum", "hop"], ["total"]),
        node("Cast", ["total"], ["samples"], to=TensorProto.INT64),
        node("ConstantOfShape", ["samples"], ["silence"]),
        node("RandomNormalLike", ["silence"], ["random"]),
        node("Mul", ["random", "noise_scale"], ["scaled"]),
        node("Mul", ["scaled", "quiet"], ["noise"]),
        node("Cast", ["sid" if speakers else "one"], ["speaker"], to=TensorProto.FLOAT),
        node("Mul", ["speaker", "loud"], ["louder"]),
        node("Add", ["noise", "louder"], ["sound"]),
        node("Add", ["sound", "loud"], ["flat"]),
        node("Reshape", ["flat", "shape"], ["output"]),
    ]
    value = helper.make_tensor_value_info
    inputs = [value("input", TensorProto.INT64, [1, "n"]), value("input_lengths", TensorProto.INT64, [1])]
    inputs += [value("scales", TensorProto.FLOAT, [3])]
    inputs += [value("sid", TensorProto.INT64, [1])] if speakers else []
    graph = helper.make_graph(nodes, "voice", inputs, [value("output", TensorProto.FLOAT, [1, 1, "t"])], initial)
    return helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 17)])
