"""Random messages of any type, by its descriptor: edge values, odd text, other people's ids, nothing at all."""

import random
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

TEXTS: Final = (
    "",
    "en",
    "x",
    " ",
    "offline",
    "mock",
    "vendor/name",
    "../../etc/passwd",
    "0190b5c2-0000-7000-8000-000000000000",
    "\x00",
    "\x07\x1b[2J",
    "🦄" * 50,
    "Ωμέγα и 中文 \u202e",
    "{{7*7}} <script> %s ' OR 1=1 --",
    "a" * 5000,
)
INTEGERS: Final = (0, 1, -1, 5, 10, 11, 100, 101, 2**31 - 1, -(2**31))
LONGS: Final = (*INTEGERS, 2**63 - 1, -(2**63))
FLOATS: Final = (0.0, 1.0, -1.0, 0.5, 2.5, 1e308, float("inf"), float("nan"))
VALUES: Final[dict[int, tuple[object, ...]]] = {
    FieldDescriptor.CPPTYPE_STRING: TEXTS,
    FieldDescriptor.CPPTYPE_BOOL: (False, True),
    FieldDescriptor.CPPTYPE_ENUM: (0, 1, 2, 3, 99),
    FieldDescriptor.CPPTYPE_DOUBLE: FLOATS,
    FieldDescriptor.CPPTYPE_FLOAT: FLOATS,
    FieldDescriptor.CPPTYPE_INT64: LONGS,
    FieldDescriptor.CPPTYPE_UINT32: (0, 1, 100, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 1, 100, 2**64 - 1),
}


def random_message(chance: random.Random, descriptor: Descriptor, *, depth: int = 0) -> Message:
    """A message of the type that `descriptor` describes."""
    message: Any = GetMessageClass(descriptor)()
    for field in descriptor.fields:
        if chance.random() < (0.5 if depth < 4 else 1.0):
            continue
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            continue
        if field.is_repeated:
            many = chance.choice((0, 1, 3, 25))
            values = [_value(chance, field, depth) for _ in range(many if depth < 3 else min(many, 1))]
            getattr(message, field.name).extend(values)
        elif field.message_type is not None:
            getattr(message, field.name).CopyFrom(_value(chance, field, depth))
        else:
            setattr(message, field.name, _value(chance, field, depth))
    return message  # type: ignore[no-any-return]


def _value(chance: random.Random, field: FieldDescriptor, depth: int) -> Any:
    if field.message_type is not None:
        return random_message(chance, field.message_type, depth=depth + 1)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return chance.choice((b"", b"\x00" * 32, b"x" * 1000))
    return chance.choice(VALUES.get(field.cpp_type, INTEGERS))
