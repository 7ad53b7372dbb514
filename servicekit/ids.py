"""Makes and checks identifiers and language tags, and says what makes two requests the same request."""

import hashlib
import json
import re
from typing import Final

import uuid_utils
from google.protobuf.json_format import MessageToDict, SerializeToJsonError
from google.protobuf.message import Message

from servicekit.errors import FieldViolation, validation_failed
from tale.buf import validate_pb2
from tale.common.v1 import rules_pb2


def _pattern(rule: str) -> re.Pattern[str]:
    """The pattern of a rule of text in rules.proto."""
    options = rules_pb2.DESCRIPTOR.extensions_by_name[rule].GetOptions()
    expression = options.Extensions[validate_pb2.predefined].cel[0].expression
    return re.compile(expression.partition("matches('^")[2].partition("$')")[0])


_UUID7: Final = _pattern("id")
_LANGUAGE: Final = _pattern("language")
_TOKEN: Final = _pattern("token")
_PROVIDER: Final = _pattern("provider")


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


def is_provider(text: str) -> bool:
    """True for what a provider may be called: 1 to 64 characters of `A-Z a-z 0-9 . _ -`, a letter or digit first."""
    return _PROVIDER.fullmatch(text) is not None


def fingerprint(message: Message, *, without: frozenset[str] = frozenset()) -> bytes:
    """Returns the SHA-256 (32 bytes) of the canonical JSON (sorted keys) of `message` as given, before defaults.

    `without` names top-level fields that do not count, such as `request_id`.
    """
    try:
        said = MessageToDict(message, preserving_proto_field_name=True)
    except (SerializeToJsonError, ValueError):
        # Times and numbers that JSON knows no form of: no field that is used takes them.
        raise validation_failed([FieldViolation("request", "must hold no time or number out of range")]) from None
    hashed = {name: value for name, value in said.items() if name not in without}
    canonical = json.dumps(hashed, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).digest()
