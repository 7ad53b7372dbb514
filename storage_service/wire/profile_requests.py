"""What is wrong with a request about children and heroes, all of it at once."""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from servicekit.validation import Violations
from storage_service.wire.requests import check_texts
from tale.common.v1 import common_pb2

_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")

_Check: TypeAlias = Callable[[Violations, str, common_pb2.Child | common_pb2.Hero], object]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of profile: its message, what many of them are called, and a check for each field that a caller sets."""

    message: type[Any]
    plural: str
    checks: Mapping[str, _Check]

    @property
    def noun(self) -> str:
        """What one is called: the name of its field in messages."""
        return str(self.message.DESCRIPTOR.name).lower()


def check_list(page_size: int, page_token: str) -> int:
    """The page size to use; raises VALIDATION_FAILED."""
    found = Violations()
    size = found.page_size(page_size)
    found.text_bounds("page_token", page_token, most=512)
    found.raise_if_any()
    return size


def check_new(kind: Kind, request: Any) -> None:
    """Raises VALIDATION_FAILED for a profile that cannot be stored."""
    found = Violations()
    found.check_token("request_id", request.request_id)
    if found.check(request.HasField(kind.noun), kind.noun, "must be given"):
        for name, check in kind.checks.items():
            check(found, f"{kind.noun}.{name}", getattr(request, kind.noun))
    found.raise_if_any()


def check_update(kind: Kind, request: Any) -> Collection[str]:
    """The fields to change; raises VALIDATION_FAILED."""
    found, profile = Violations(), getattr(request, kind.noun)
    fields = {field.name for field, _ in profile.ListFields()} & kind.checks.keys()
    if request.HasField("update_mask"):
        mask = request.update_mask
        fields = kind.checks.keys() & set(mask.paths)
        unknown = found.check(
            len(mask.paths) <= len(kind.checks), "update_mask.paths", f"must have at most {len(kind.checks)} entries"
        )
        for index, path in enumerate(mask.paths if unknown else ()):
            found.check(path in kind.checks, f"update_mask.paths[{index}]", f"must be one of {', '.join(kind.checks)}")
    if found.check(request.HasField(kind.noun), kind.noun, "must be given"):
        found.check_uuid7(f"{kind.noun}.id", profile.id)
        found.check(profile.revision >= 0, f"{kind.noun}.revision", "must not be negative")
        for name, check in kind.checks.items():
            if name in fields:
                check(found, f"{kind.noun}.{name}", profile)
    found.raise_if_any()
    return fields


def _name(found: Violations, field: str, profile: common_pb2.Child | common_pb2.Hero) -> None:
    found.text_bounds(field, profile.name, least=1, most=100)


def _age(found: Violations, field: str, profile: common_pb2.Child | common_pb2.Hero) -> None:
    if isinstance(profile, common_pb2.Child) and profile.HasField("age"):
        found.in_range(field, profile.age, 1, 18)


def _gender(found: Violations, field: str, profile: common_pb2.Child | common_pb2.Hero) -> None:
    found.check(profile.gender in common_pb2.Gender.values(), field, "must be GENDER_FEMALE or GENDER_MALE (or unset)")


def _appearance(found: Violations, field: str, profile: common_pb2.Child | common_pb2.Hero) -> None:
    if isinstance(profile, common_pb2.Hero):
        found.text_bounds(field, profile.appearance, most=1_000)


def _language(found: Violations, field: str, profile: common_pb2.Child | common_pb2.Hero) -> None:
    if isinstance(profile, common_pb2.Hero) and (code := profile.language_code):
        found.check(len(code) <= 35 and _LANGUAGE.fullmatch(code), field, 'must be a BCP-47 tag such as "en" or "ru"')


def _entries(found: Violations, field: str, profile: common_pb2.Child | common_pb2.Hero) -> None:
    check_texts(found, field, getattr(profile, field.rpartition(".")[2]))


CHILD: Final = Kind(
    common_pb2.Child, "children", {"name": _name, "age": _age, "gender": _gender, "interests": _entries}
)
HERO: Final = Kind(
    common_pb2.Hero,
    "heroes",
    {
        "name": _name,
        "gender": _gender,
        "appearance": _appearance,
        "personality_traits": _entries,
        "strengths": _entries,
        "interests": _entries,
        "language_code": _language,
    },
)
