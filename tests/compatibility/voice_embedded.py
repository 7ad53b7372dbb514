"""What the embedded voice makes of odd texts, and of a user's own voices."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from support.piper_voices import make_voice

from compatibility.voice_harness import TEXT, VoiceCase, VoiceResult

_FOLDER: Final = TemporaryDirectory(prefix="piper-")
_WELL: Final = Path(_FOLDER.name) / "well"
_CUT: Final = Path(_FOLDER.name) / "cut"
_ODD: Final = (
    f'"Shhh!" said the owl. NOOOO, that is {"7" * 200} times [x](/y/) too loud: {"a-" * 250}. '
    f"Look at https://example.com/{'very/' * 40}long, {'((' * 40} Brrr, Zzzzz, 'HELP'!"
)


def _voices(_: object) -> None:
    for folder in (_WELL, _CUT):
        folder.mkdir(exist_ok=True)
        make_voice(folder, "amy")
    (_CUT / "amy.onnx").write_bytes((_WELL / "amy.onnx").read_bytes()[:400])


def _whole(result: VoiceResult) -> None:
    """Two hundred digits take a minute and a half."""
    assert result.seconds > 80


CASES: Final = (
    VoiceCase(
        kind="The embedded voice",
        sends="nothing; the text has capitals, 200 digits, long addresses, brackets and sounds, and is spoken by Heart",
        calls=0,
        texts=(_ODD,),
        outcome="READY, EMBEDDED_VOICE",
        speakers=["offline/heart"],
        check=_whole,
    ),
    VoiceCase(
        kind="The embedded voice",
        sends="nothing; the folder of `VOICE_PIPER_DIR` has a voice for the language",
        calls=0,
        texts=(TEXT,),
        settings={"piper_dir": _WELL},
        prepare=_voices,
        outcome="READY, EMBEDDED_VOICE",
        speakers=["offline/piper:amy"],
    ),
    VoiceCase(
        kind="The embedded voice",
        sends="nothing; the model in the folder of `VOICE_PIPER_DIR` is cut short",
        calls=0,
        texts=(TEXT,),
        settings={"piper_dir": _CUT},
        prepare=_voices,
        outcome="READY, EMBEDDED_VOICE",
        speakers=["offline/heart"],
    ),
)
