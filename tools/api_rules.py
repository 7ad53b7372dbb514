"""Puts the `buf.validate` rules of a contract into words."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from google.protobuf import descriptor_pb2 as pb
from google.protobuf.message import Message

from tale.buf import validate_pb2
from tale.common.v1 import rules_pb2

PREDEFINED: Final = rules_pb2.DESCRIPTOR.extensions_by_name
"""The rules that several fields share. They must be loaded before options are read."""

_UNSAID: Final = {"not_contains", "defined_only", "finite"}
"""Rules that every field of their type has; the page says them once."""

_UNITS: Final = {"string": "characters", "bytes": "bytes", "repeated": "entries", "map": "entries"}
_LEAST: Final = ("gte", "min_len", "min_items", "min_pairs")
_MOST: Final = ("lte", "max_len", "max_items", "max_pairs")


def field_rules(
    message: pb.DescriptorProto, field: pb.FieldDescriptorProto, enum: pb.EnumDescriptorProto | None
) -> str:
    """Returns the rules of a field as one sentence; empty where it has none. `enum` is its type where it has one."""
    rules = field.options.Extensions[validate_pb2.field]
    parts = ["required"] if rules.required else []
    if rules.ignore == validate_pb2.IGNORE_IF_ZERO_VALUE and rules.WhichOneof("type"):
        parts.append("may be empty")
    names = {value.number: value.name for value in enum.value} if enum else {}
    parts += [*_typed(rules, names), *_of_the_message(message, field)]
    sentence = "; ".join(parts)
    return f"*{sentence[0].upper()}{sentence[1:]}.*" if sentence else ""


def is_required(oneof: pb.OneofDescriptorProto) -> bool:
    """Returns whether exactly one field of a oneof must be set."""
    return bool(oneof.options.Extensions[validate_pb2.oneof].required)


def _typed(rules: Any, names: Mapping[int, str]) -> Iterator[str]:
    kind = rules.WhichOneof("type")
    if kind in {None, "timestamp"}:  # times have the bounds of the type itself
        return
    values: dict[str, Any] = {}
    shared: list[str] = []
    for descriptor, value in getattr(rules, kind).ListFields():
        if descriptor.is_extension:
            shared += (rule.message for rule in descriptor.GetOptions().Extensions[validate_pb2.predefined].cel)
        elif descriptor.name == "items":
            inner = ", ".join(_typed(value, names))
            values["items"] = f"each {inner}" if inner else ""
        elif descriptor.name not in _UNSAID:
            values[descriptor.name] = value
    yield from _range(values, f" {_UNITS[kind]}" if kind in _UNITS else "")
    yield from _others(values, names)
    yield from shared


def _range(values: dict[str, Any], unit: str) -> Iterator[str]:
    least = next((_value(values.pop(name)) for name in _LEAST if name in values), "")
    most = next((_value(values.pop(name)) for name in _MOST if name in values), "")
    if "len" in values:
        yield f"exactly {_value(values.pop('len'))}{unit}"
    if "gt" in values:
        yield f"more than {_value(values.pop('gt'))}{unit}"
    if "lt" in values:
        yield f"less than {_value(values.pop('lt'))}{unit}"
    if least and most:
        yield f"{least} to {most}{unit}"
    elif least:
        yield f"{least} or more{unit}"
    elif most:
        yield f"at most {most}{unit}"


def _others(values: dict[str, Any], names: Mapping[int, str]) -> Iterator[str]:
    for name, value in values.items():
        match name:
            case "pattern":
                yield f"matches `{value}`"
            case "in":
                yield "one of " + ", ".join(f"`{names.get(each, each)}`" for each in value)
            case "not_in":
                yield "not " + " or ".join(f"`{names.get(each, each)}`" for each in value)
            case "unique":
                yield "no duplicates"
            case "const":
                yield f"exactly {_value(value)}"
            case "items":
                if value:
                    yield value
            case _:
                raise SystemExit(f"tools/api_rules.py has no words for the rule {name!r}")


def _of_the_message(message: pb.DescriptorProto, field: pb.FieldDescriptorProto) -> Iterator[str]:
    """Returns the rules of a message that speak of this field: the first part of their id names it."""
    for rule in message.options.Extensions[validate_pb2.message].cel:
        if rule.id.partition(".")[0] == field.name:
            yield rule.message


def _value(value: Any) -> str:
    if isinstance(value, Message):
        seconds = getattr(value, "seconds", 0) + getattr(value, "nanos", 0) / 1e9
        return f"{seconds:,.10g} s"
    return f"{value:,.10g}" if isinstance(value, float) else f"{value:,}"
