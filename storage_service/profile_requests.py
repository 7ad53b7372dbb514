"""What is wrong with a request about children and heroes, all of it at once."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final, TypeAlias

from google.protobuf.field_mask_pb2 import FieldMask

from servicekit.validation import Violations
from storage_service.records import Profile
from tale.common.v1 import common_pb2
from tale.profile.v1 import profile_pb2

MAX_ENTRIES: Final = 20

_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")

_Check: TypeAlias = Callable[[Violations, str, common_pb2.Child | common_pb2.Hero], object]


def check_child(child: common_pb2.Child, request_id: str, *, given: bool) -> None:
    """Raises VALIDATION_FAILED for a child that can not be kept."""
    _check_new("child", _CHILD, child, request_id, given=given)


def check_hero(hero: common_pb2.Hero, request_id: str, *, given: bool) -> None:
    """Raises VALIDATION_FAILED for a hero that can not be kept."""
    _check_new("hero", _HERO, hero, request_id, given=given)


def check_child_update(request: profile_pb2.UpdateChildRequest) -> Collection[str]:
    """The fields to change; raises VALIDATION_FAILED."""
    mask = request.update_mask if request.HasField("update_mask") else None
    return _check_update("child", _CHILD, request.child, mask, given=request.HasField("child"))


def check_hero_update(request: profile_pb2.UpdateHeroRequest) -> Collection[str]:
    """The fields to change; raises VALIDATION_FAILED."""
    mask = request.update_mask if request.HasField("update_mask") else None
    return _check_update("hero", _HERO, request.hero, mask, given=request.HasField("hero"))


def check_id(field: str, profile_id: str) -> None:
    """Raises VALIDATION_FAILED for what can be no id."""
    found = Violations()
    found.check_uuid7(field, profile_id)
    found.raise_if_any()


def check_list(page_size: int, page_token: str) -> int:
    """The page size to use; raises VALIDATION_FAILED."""
    found = Violations()
    size = found.page_size(page_size)
    found.text_bounds("page_token", page_token, most=512)
    found.raise_if_any()
    return size


def _check_new(prefix: str, checks: Mapping[str, _Check], profile: Profile, request_id: str, *, given: bool) -> None:
    found = Violations()
    found.check_token("request_id", request_id)
    if found.check(given, prefix, "must be given"):
        for name, check in checks.items():
            check(found, f"{prefix}.{name}", profile)
    found.raise_if_any()


def _check_update(
    prefix: str, checks: Mapping[str, _Check], profile: Profile, mask: FieldMask | None, *, given: bool
) -> Collection[str]:
    found = Violations()
    fields = {field.name for field, _ in profile.ListFields()} & checks.keys()
    if mask is not None:
        fields = checks.keys() & set(mask.paths)
        unknown = found.check(
            len(mask.paths) <= len(checks), "update_mask.paths", f"must have at most {len(checks)} entries"
        )
        for index, path in enumerate(mask.paths if unknown else ()):
            found.check(path in checks, f"update_mask.paths[{index}]", f"must be one of {', '.join(checks)}")
    if found.check(given, prefix, "must be given"):
        found.check_uuid7(f"{prefix}.id", profile.id)
        found.check(profile.revision >= 0, f"{prefix}.revision", "must not be negative")
        for name, check in checks.items():
            if name in fields:
                check(found, f"{prefix}.{name}", profile)
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
    entries: Iterable[str] = getattr(profile, field.rpartition(".")[2])
    given = list(entries)
    if found.check(len(given) <= MAX_ENTRIES, field, f"must have at most {MAX_ENTRIES} entries"):
        for index, entry in enumerate(given):
            found.text_bounds(f"{field}[{index}]", entry, least=1, most=100)


_CHILD: Final[Mapping[str, _Check]] = {"name": _name, "age": _age, "gender": _gender, "interests": _entries}
_HERO: Final[Mapping[str, _Check]] = {
    "name": _name,
    "gender": _gender,
    "appearance": _appearance,
    "personality_traits": _entries,
    "strengths": _entries,
    "interests": _entries,
    "language_code": _language,
}
