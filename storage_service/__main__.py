"""`python -m storage_service`, and its commands."""

import sys

from servicekit.main import run
from servicekit.settings import load
from storage_service.bootstrap import build_app
from storage_service.commands import run_command
from storage_service.settings import StorageSettings


def main() -> None:
    """Runs the storage service until it is stopped, or a command (`check`, `migrate`, …) to its end."""
    if len(sys.argv) > 1:
        sys.exit(run_command(sys.argv[1:]))
    run(lambda: load(StorageSettings), build_app, "storage")


if __name__ == "__main__":
    main()
