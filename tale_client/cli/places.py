"""Where files are to go, looked at before anything is asked for."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

import click


def check_folder(folder: Path, called: str) -> None:
    """UsageError unless files can be written to `folder`, which may be still to be made; `called` names it."""
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    try:
        # Permissions alone do not tell: the disk may be full or read-only.
        with tempfile.TemporaryFile(dir=there):
            pass
    except NotADirectoryError:
        raise click.UsageError(f"{called} {folder} can not be used: {there} is a file. Name a folder.") from None
    except OSError as error:
        why = error.strerror or str(error)
        raise click.UsageError(f"{called} {folder} can not be written: {why}. Name another folder.") from None


def data_folder(environ: Mapping[str, str]) -> Path:
    """Where stories are kept; UsageError as of `check_folder`."""
    folder = Path(environ.get("TALE_DATA_DIR") or "data")
    check_folder(folder, "TALE_DATA_DIR")
    return folder
