"""python -m voice_service."""

from servicekit.main import run
from servicekit.settings import load
from voice_service.bootstrap import build
from voice_service.settings import VoiceServiceSettings


def main() -> None:
    """Runs the voice service until a signal ends it."""
    run(lambda: load(VoiceServiceSettings), build, "voice")


if __name__ == "__main__":
    main()
