"""Checks messages against the rules in their .proto files and reports all violations at once."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from protovalidate import Validator
from protovalidate import Violation as RuleViolation

from servicekit.errors import FieldViolation, validation_failed
from tale.buf import validate_pb2
from tale.common.v1 import rules_pb2

if TYPE_CHECKING:
    from protovalidate import FieldPathElementPb

DEFAULT_PAGE_SIZE: Final = 20
MAX_PAGE_SIZE: Final = 100

_MOST_EMPTY: Final = 1_000
"""Messages without content that a stream may have beside as many as have some."""

# More than the longest list that a caller sends may have.
_ENTRIES_SHOWN: Final = 32

MessageT = TypeVar("MessageT", bound=Message)

# Compiles the rules of each type of message once.
_VALIDATOR: Final = Validator()

_TEXTS: Final = {
    "required": "must be given",
    "enum.defined_only": "must be a value that this version knows",
    "enum.not_in": "must not be unspecified",
    "repeated.unique": "must have each entry once",
    # The one text that the contracts forbid: PostgreSQL cannot store it.
    "string.not_contains": "must not contain NUL",
}
"""Texts for rules whose own text names a number or a character that says nothing to a reader."""

_PHRASES: Final = (
    (re.compile(r"greater than or equal to (\S+) and less than or equal to (\S+)"), r"from \1 to \2"),
    (re.compile(r"greater than (\S+) and less than or equal to (\S+)"), r"above \1 and at most \2"),
    (re.compile(r"^must be greater than or equal to 0$"), "must not be negative"),
    (re.compile(r"greater than or equal to"), "at least"),
    (re.compile(r"^must be at most (\d+) characters"), r"must have at most \1 characters"),
    (re.compile(r"^must contain no more than (\d+) item\(s\)$"), r"must have at most \1 entries"),
    (re.compile(r"^must contain at least (\d+) item\(s\)$"), r"must have \1 or more entries"),
    (re.compile(r"^must be in list \[(.*)\]$"), r"must be one of \1"),
)
"""protovalidate's texts in fewer words."""


def validate(message: Message) -> None:
    """Raises INVALID_ARGUMENT / VALIDATION_FAILED with all violations of `message`."""
    if found := violations(message):
        raise validation_failed(found)


def violations(message: Message, path: str = "") -> list[FieldViolation]:
    """Returns the violations of the rules of `message`; `path` is the place of the message in its request.

    All of them, except that of a list that is long only the first entries are looked at, or else the first violation.
    """
    # A request of 4 MB has room for a million entries: 1 s to walk through, 50 µs and 4 KB for each violation.
    long = list(islice(_too_long(message, ""), _ENTRIES_SHOWN))
    first = [] if long else _VALIDATOR.collect_violations(message, fail_fast=True)
    found = (long or first) and (_VALIDATOR.collect_violations(_shortened(message)) or first)
    said = [FieldViolation(_path(each), _description(each, message)) for each in found]
    # What is wrong within a field says more than that it is too long.
    said += [each for each in long if not any(f"{one.field}.".startswith(f"{each.field}.") for one in said)]
    return [replace(each, field=f"{path}.{each.field}") for each in said] if path else said


def max_length(message: type[Message], field: str) -> int:
    """Returns how many characters the rules allow a text field of `message`."""
    rules = message.DESCRIPTOR.fields_by_name[field].GetOptions().Extensions[validate_pb2.field]
    return int(rules.string.max_len)


class _Bound(NamedTuple):
    """A field that has a limit, or fields with limits within: `entries` of a list, `size` in bytes of a message."""

    name: str
    entries: int | None
    size: int
    within: bool


def _too_long(message: Message, path: str) -> Iterator[FieldViolation]:
    """What has more entries or bytes than its rule allows; what is within such a field is passed over."""
    for name, entries, size, within in _bounds_of(message.DESCRIPTOR):
        value = getattr(message, name)
        if entries is not None and len(value) > entries:
            yield FieldViolation(path + name, f"must have at most {entries} entries")
        elif size and value.ByteSize() > size:
            yield FieldViolation(path + name, f"must have at most {size} bytes in all")
        elif entries is None and within and message.HasField(name):
            yield from _too_long(value, f"{path}{name}.")
        elif entries is not None and within:
            for index, each in enumerate(value):
                yield from _too_long(each, f"{path}{name}[{index}].")


class Progress:
    """Bounds the messages of a stream that bring nothing."""

    def __init__(self, field: str) -> None:
        """Takes the name of the field that brings something."""
        self._field = field
        self._left = _MOST_EMPTY

    def count(self, content: str | bytes) -> None:
        """Counts the content of a message; VALIDATION_FAILED when too many were empty."""
        self._left += 1 if content else -1
        if self._left < 0:
            raise validation_failed([FieldViolation(self._field, "must not be empty in message after message")])


@cache
def _bounds_of(kind: Descriptor) -> tuple[_Bound, ...]:
    """The fields of a message that have a limit, or fields with limits within."""
    found: list[_Bound] = []
    for field in kind.fields:
        options, inner = field.GetOptions(), field.message_type
        rules = options.Extensions[validate_pb2.field]
        if rules.ignore == validate_pb2.IGNORE_ALWAYS:
            continue
        within = inner is not None and not inner.GetOptions().map_entry and bool(_bounds_of(inner))
        size = options.Extensions[rules_pb2.max_bytes]
        if field.is_repeated and rules.repeated.HasField("max_items"):
            found.append(_Bound(field.name, rules.repeated.max_items, 0, within))
        elif size or (within and not field.is_repeated):
            found.append(_Bound(field.name, None, size, within))
    return tuple(found)


def _shortened(message: MessageT) -> MessageT:
    """A copy of the known fields, whose lists are no longer than needed to show what is wrong with them."""
    copy = type(message)()
    copy.CopyFrom(message)
    copy.DiscardUnknownFields()
    _shorten(copy)
    return copy


def _shorten(message: Message) -> None:
    for field, value in message.ListFields():
        kind = field.message_type
        within: Iterable[Any] = (value,)
        if kind is not None and kind.GetOptions().map_entry:
            for key in [*islice(value, _ENTRIES_SHOWN, None)]:
                del value[key]
            kind, within = kind.fields_by_name["value"].message_type, value.values()
        elif field.is_repeated:
            del value[_ENTRIES_SHOWN:]
            within = value
        for each in within if kind is not None else ():
            _shorten(each)


def _path(violation: RuleViolation) -> str:
    """The field, such as `spec.child.interests[3]`. The id of a rule of a whole message is the path of its field."""
    steps = [_step(element) for element in _elements(violation)]
    if not violation.proto.rule and violation.proto.rule_id != "required":
        steps.append(violation.proto.rule_id)
    return ".".join(steps)


def _elements(violation: RuleViolation) -> "list[FieldPathElementPb]":
    return list(violation.proto.field.elements) if violation.proto.field else []


def _step(element: "FieldPathElementPb") -> str:
    subscript = element.subscript
    return element.field_name + (f"[{subscript.value}]" if subscript is not None else "")


def _description(violation: RuleViolation, message: Message) -> str:
    """What is wrong and how to correct it; reads on after the field and never repeats the caller's value."""
    rule = violation.proto.rule_id
    if rule.startswith("string.") and violation.field_value == "":
        return _TEXTS["required"]
    if rule == "required":
        return " ".join((_TEXTS[rule], *_members(violation, message.DESCRIPTOR)))
    if rule in _TEXTS:
        return _TEXTS[rule]
    text = violation.proto.message
    for pattern, replacement in _PHRASES:
        text = pattern.sub(replacement, text)
    return text


def _members(violation: RuleViolation, descriptor: Any) -> Iterator[str]:
    """The fields to choose from, where a oneof is required."""
    *parents, last = [element.field_name for element in _elements(violation)]
    for parent in parents:
        descriptor = descriptor.fields_by_name[parent].message_type
    oneof = descriptor.oneofs_by_name.get(last)
    if oneof is not None and last not in descriptor.fields_by_name:
        yield f"({' or '.join(field.name for field in oneof.fields)})"
