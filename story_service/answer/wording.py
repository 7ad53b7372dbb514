"""How models speak to the person who asked, in many languages: the patterns of `wording.toml`."""

from __future__ import annotations

import re
import tomllib
from importlib.resources import files
from typing import Final

_SOURCES: Final[dict[str, str]] = tomllib.loads(files(__package__).joinpath("wording.toml").read_text("utf-8"))
_NAMED: Final = re.compile(r"\{([a-z_]+)\}")


def wording(name: str) -> re.Pattern[str]:
    """Returns the pattern of that name."""
    return re.compile(_source(name), re.IGNORECASE)


def _source(name: str) -> str:
    return _NAMED.sub(lambda found: f"(?:{_source(found[1])})", _SOURCES[name].replace("\n", ""))


ABOUT_LENGTH: Final = wording("about_length")
CLOSING: Final = wording("closing")
THE_END: Final = wording("the_end")
