"""`python -m storage_service`."""

from servicekit.main import run
from servicekit.settings import load
from storage_service.bootstrap import build_app
from storage_service.settings import StorageSettings


def main() -> None:
    """Runs the storage service until it is told to end."""
    run(lambda: load(StorageSettings), build_app, "storage")


if __name__ == "__main__":
    main()
