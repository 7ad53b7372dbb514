"""Updates the lock files with hashes from pyproject.toml, or checks that they are current.

python tools/locks.py             writes them with the present versions where these still fit
python tools/locks.py --upgrade   writes them with the newest versions
python tools/locks.py --check     exits with 1 when a lock pins other versions than it would now
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# An image holds what its service needs and nothing else, at the versions that the tests ran with.
_TESTED = "--constraint=requirements/dev.txt"
LOCKS = {
    "dev.txt": ("pyproject.toml", "--group=dev"),
    "stubs.txt": ("requirements/stubs.in",),
    "uv.txt": ("requirements/uv.in", _TESTED),
    "cluster.txt": ("pyproject.toml", "--group=cluster", "--group=build", _TESTED),
    "gateway.txt": ("--group=gateway", _TESTED),
    "story.txt": ("--group=story", _TESTED),
    "voice.txt": ("--group=voice", "--group=offline-voice", _TESTED),
    "storage.txt": ("--group=storage", _TESTED),
    "client.txt": ("pyproject.toml", _TESTED),
    "build.txt": ("--group=build", _TESTED),
    "proxy.txt": ("--group=proxy",),
    "sbom.txt": ("--group=sbom", _TESTED),
}


def compile_lock(sources: tuple[str, ...], output: Path, *, upgrade: bool) -> None:
    """Writes the lock of `sources` to `output`, with its present pins unless `upgrade`."""
    command = [
        str(Path(sys.executable).parent / "uv"),
        "pip",
        "compile",
        "--quiet",
        "--universal",
        "--python-version=3.11",
        "--generate-hashes",
        "--no-emit-index-url",
        "--no-emit-find-links",
        "--no-header",
        *(["--upgrade"] if upgrade else []),
        *sources,
        f"--output-file={output}",
    ]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def pins(lock: Path) -> set[str]:
    """Returns the pinned requirements of a lock, without hashes: an index may gain files for a pinned version."""
    return set(re.findall(r"^[A-Za-z0-9][^\n\\]*", lock.read_text(), re.MULTILINE))


def main() -> None:
    """Writes or checks, as the command line says."""
    stale: list[str] = []
    for name, sources in LOCKS.items():
        lock = ROOT / "requirements" / name
        if "--check" not in sys.argv[1:]:
            compile_lock(sources, lock, upgrade="--upgrade" in sys.argv[1:])
            continue
        with tempfile.TemporaryDirectory() as folder:
            fresh = Path(folder) / name
            shutil.copyfile(lock, fresh)
            compile_lock(sources, fresh, upgrade=False)
            stale += [f"requirements/{name}: {pin}" for pin in sorted(pins(fresh) ^ pins(lock))]
    if stale:
        raise SystemExit("locks differ from pyproject.toml, run `make locks`:\n" + "\n".join(stale))


if __name__ == "__main__":
    main()
