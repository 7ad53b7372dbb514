"""The version of the client and of every service: the one place that names it."""

from typing import Final

VERSION: Final = "0.1.0"
