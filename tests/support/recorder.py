"""A playback library for a `tale` process: the real one, whose device writes down what it is given."""

from pathlib import Path

_MODULE = """
import importlib.util, os, sys, threading, time
from pathlib import Path

_path = [each for each in sys.path if Path(each) != Path(__file__).parent]
_spec = importlib.machinery.PathFinder.find_spec("miniaudio", _path)
_real = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_real)
MiniaudioError, DecodeError, decode = _real.MiniaudioError, _real.DecodeError, _real.decode


class PlaybackDevice:
    backend = "recorder"

    def __init__(self, *, nchannels, sample_rate, buffersize_msec, app_name):
        if os.environ.get("RECORDER_IS_BROKEN"):
            raise MiniaudioError("failed to init device", -1)
        assert (1, 44_100) == (nchannels, sample_rate)
        self._seconds = buffersize_msec / 1000
        self._count = round(self._seconds * sample_rate)
        self._closed = threading.Event()
        self._thread = None

    def start(self, samples):
        self._thread = threading.Thread(target=self._take, args=[samples])
        self._thread.start()

    def close(self):
        self._closed.set()
        if self._thread is not None:
            self._thread.join()

    def _take(self, samples):
        with Path(os.environ["RECORDER_FILE"]).open("ab", buffering=0) as file:
            while not self._closed.wait(self._seconds / float(os.environ["RECORDER_SPEED"])):
                try:
                    file.write(samples.send(self._count))
                except StopIteration:
                    return
"""


class Recorder:
    """A device that takes samples `speed` times as fast as they sound, or that is broken."""

    def __init__(self, folder: Path, *, speed: float = 50.0, broken: bool = False) -> None:
        library = folder / "library"
        library.mkdir(parents=True, exist_ok=True)
        (library / "miniaudio.py").write_text(_MODULE)
        self._file = folder / "recording"
        self.environment = {
            "PYTHONPATH": str(library),
            "RECORDER_FILE": str(self._file),
            "RECORDER_SPEED": str(speed),
            "RECORDER_IS_BROKEN": "1" if broken else "",
        }

    @property
    def samples(self) -> bytes:
        """What the device was given, without pauses."""
        return self._file.read_bytes() if self._file.exists() else b""
