"""Identifiers and language tags that come without a message; in a message the rules of its fields hold."""

import re
from typing import Final

import uuid_utils

_UUID7: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*")
_TOKEN: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def new_id() -> str:
    """A new UUIDv7 (RFC 9562) as lower-case text; ids made later sort later."""
    return str(uuid_utils.uuid7())


def is_id(text: str) -> bool:
    """True for a UUIDv7 in canonical lower-case text, which thus can be no path."""
    return _UUID7.fullmatch(text) is not None


def is_token(text: str) -> bool:
    """True for what a caller may choose as a request id: 1 to 128 characters of `A-Z a-z 0-9 . _ : -`."""
    return _TOKEN.fullmatch(text) is not None


def is_language(text: str) -> bool:
    """True for a language tag as in BCP-47, such as "en" or "pt-BR", of at most 35 characters."""
    return len(text) <= 35 and _LANGUAGE.fullmatch(text) is not None
