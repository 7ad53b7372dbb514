"""One line for each call of consequence: who did what to what, and what came of it. No text and no names."""

from collections.abc import Mapping
from typing import Any, Final

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import DecodeError, Message

from gateway.door.access import GATEWAY, PROFILE, STATUS, decoded, paths
from gateway.runs.run import AUDIT
from servicekit.context import current
from servicekit.ids import is_id

_READS: Final = ("Get", "List", "Read", "Watch")
_CHANGES: Final[Mapping[str, MethodDescriptor]] = {
    path: method
    for service in (GATEWAY, PROFILE, STATUS)
    for path, method in paths(service)
    if not method.name.startswith(_READS)
}
_REFUSED: Final = frozenset({"UNAUTHENTICATED", "PERMISSION_DENIED"})
_RESOURCES: Final = ("story", "child", "hero")


def audit_call(method: str, code: str, reason: str | None) -> None:
    """Writes the line of a call that changes something, or that was refused for what its caller is."""
    if method not in _CHANGES and code not in _REFUSED:
        return
    call = current()
    AUDIT.info(
        method.rpartition("/")[2],
        owner="" if code == "UNAUTHENTICATED" else call.owner,
        credential=call.caller.credential,
        operator=call.caller.operator,
        code=code,
        **({} if reason is None else {"reason": reason}),
        **call.named,
    )


def note_ids(method: str, message: Message | bytes, *, response: bool = False) -> None:
    """Notes the ids of stories and profiles in a message, for the lines of its call.

    A message that is only passed on is decoded where the call changes something.
    """
    known = _CHANGES.get(method)
    if known is None:
        if isinstance(message, Message):
            note(message)
        return
    try:
        whole = decoded(known.output_type if response else known.input_type, message)
    except DecodeError:
        return
    note(whole)
    for field in ("spec", *_RESOURCES):
        if field in whole.DESCRIPTOR.fields_by_name and whole.HasField(field):
            note(getattr(whole, field), resource=field)


def note(message: Any, resource: str = "") -> None:
    """Notes the ids among the fields of `message`, and its own as that of `resource`."""
    named, fields = current().named, message.DESCRIPTOR.fields_by_name
    for name in _RESOURCES:
        field = "id" if name == resource else f"{name}_id"
        if field in fields and is_id(getattr(message, field)):
            named[f"{name}_id"] = getattr(message, field)
