"""Generates the Python stubs of `protos/` beside the .proto files, or checks that they are current.

    python tools/stubs.py            writes them
    python tools/stubs.py --check    exits with 1 when a committed stub differs from what would be written

Runs on the interpreter of `.venv-stubs` (requirements/stubs.txt); see requirements/stubs.in for why.
"""

import shutil
import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
SUFFIXES = ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py", "_pb2_grpc.pyi")


def generate(target: Path) -> None:
    """Writes the stubs of every .proto below `protos/` into `target`, in the same layout."""
    sources = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))
    well_known = Path(str(protoc.__file__)).parent / "_proto"
    plugins = Path(sys.executable).parent
    arguments = [
        "protoc",
        f"-I{PROTOS}",
        f"-I{well_known}",
        f"--plugin=protoc-gen-mypy={plugins / 'protoc-gen-mypy'}",
        f"--plugin=protoc-gen-mypy_grpc={plugins / 'protoc-gen-mypy_grpc'}",
        f"--python_out={target}",
        f"--grpc_python_out={target}",
        f"--mypy_out=quiet:{target}",
        f"--mypy_grpc_out=quiet:{target}",
        *sources,
    ]
    if protoc.main(arguments) != 0:
        raise SystemExit("protoc refused the contracts: see its output above")
    _move_vendored(target)


def _move_vendored(target: Path) -> None:
    """Moves the stub of the vendored `buf/validate/validate.proto` to tale/buf and adapts the imports of the others.

    A package `buf` in the client's distribution would overwrite files of protovalidate 1 in its user's environment.
    """
    folder = target / "tale" / "buf"
    folder.mkdir()
    for suffix in ("py", "pyi"):
        (target / "buf" / "validate" / f"validate_pb2.{suffix}").rename(folder / f"validate_pb2.{suffix}")
    shutil.rmtree(target / "buf")
    for stub in (target / "tale").rglob("*_pb2.py*"):
        text = stub.read_text()
        moved = text.replace("from buf.validate import", "from tale.buf import")
        if moved != text:
            stub.write_text(moved)


def stubs(folder: Path) -> dict[str, bytes]:
    """Returns every stub below `folder` with its bytes."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*_pb2*"))
        if path.name.endswith(SUFFIXES)
    }


def main() -> None:
    """Writes or checks, as the command line says."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder)
        generate(fresh)
        wanted, present = stubs(fresh), stubs(PROTOS)
        if "--check" in sys.argv[1:]:
            stale = sorted(name for name in wanted.keys() | present.keys() if wanted.get(name) != present.get(name))
            if stale:
                raise SystemExit(f"stubs differ from the contracts, run `make stubs`: {', '.join(stale)}")
            return
        for name in present.keys() - wanted.keys():
            (PROTOS / name).unlink()
        for name in wanted:
            shutil.copyfile(fresh / name, PROTOS / name)


if __name__ == "__main__":
    main()
