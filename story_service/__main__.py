"""Runs the story service: python -m story_service."""

from servicekit.main import run
from servicekit.settings import load
from story_service.bootstrap import build
from story_service.settings import StorySettings


def main() -> None:
    """Runs the story service until it is stopped."""
    run(lambda: load(StorySettings), build, "story")


if __name__ == "__main__":
    main()
