"""python -m voice_service."""

from servicekit.main import run
from servicekit.settings import load
from voice_service.bootstrap import build
from voice_service.settings import VoiceServiceSettings


def main() -> None:
    """Run the voice service until it is told to end."""
    run(lambda: load(VoiceServiceSettings), build, "voice")


if __name__ == "__main__":
    main()
