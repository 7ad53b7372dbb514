"""Where the objects of a cache are."""


def segment_path(key: str) -> str:
    """Return the path of a segment."""
    return f"segments/{key}"


def story_mark(story_id: str, key: str) -> str:
    """Return the path of the mark that the story used the segment."""
    return f"by-story/{story_id}/{key}"


def audio_mark(sha256: str, key: str) -> str:
    """Return the path of the mark that the segment's audio has the checksum (hexadecimal)."""
    return f"by-audio/{sha256}/{key}"
