"""What makes two requests the same request."""

import hashlib
import json

from google.protobuf.json_format import MessageToDict, SerializeToJsonError
from google.protobuf.message import Message

from servicekit.errors import FieldViolation, validation_failed


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
