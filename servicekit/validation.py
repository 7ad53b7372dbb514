"""Gathers all that is wrong with a request, so that the caller learns it in one go."""

from typing import Final

from servicekit.errors import FieldViolation, validation_failed
from servicekit.ids import is_id, is_token

DEFAULT_PAGE_SIZE: Final = 20
MAX_PAGE_SIZE: Final = 100


class Violations:
    """Collects field violations; each check returns whether the field is fine."""

    def __init__(self) -> None:
        self._found: list[FieldViolation] = []

    @property
    def found(self) -> tuple[FieldViolation, ...]:
        """What was found so far, in the order of the checks."""
        return tuple(self._found)

    def add(self, field: str, description: str) -> None:
        """Notes a violation. `description` reads on after the field and does not repeat the caller's value."""
        self._found.append(FieldViolation(field, description))

    def check(self, condition: object, field: str, description: str) -> bool:
        """Notes a violation unless `condition` holds."""
        if not condition:
            self.add(field, description)
        return bool(condition)

    def check_uuid7(self, field: str, value: str, *, required: bool = True) -> bool:
        """Asks for a UUIDv7 in lower-case text, which can be no path; "" is fine where it is not required."""
        if not value and not required:
            return True
        return self.check(value, field, "must be given") and self.check(
            is_id(value), field, "must be a UUIDv7 in lower-case text"
        )

    def check_token(self, field: str, value: str, *, required: bool = False) -> bool:
        """Asks for a name of the caller's choice (a `request_id`): up to 128 characters of `A-Za-z0-9._:-`."""
        if not value and not required:
            return True
        return self.check(value, field, "must be given") and self.check(
            is_token(value), field, "must be at most 128 characters of A-Z a-z 0-9 . _ : -"
        )

    def text_bounds(self, field: str, value: str, *, most: int, least: int = 0) -> bool:
        """Asks for `least` to `most` code points, not all of them blank where `least` > 0, and no NUL."""
        if least and not value.strip():
            return self.check(condition=False, field=field, description="must be given")
        return self.check(least <= len(value) <= most, field, f"must have {least} to {most} characters") and self.check(
            "\0" not in value, field, "must not contain NUL"
        )

    def in_range(self, field: str, value: float, low: float, high: float) -> bool:
        """Asks for `low` <= value <= `high`; NaN is out of every range."""
        return self.check(low <= value <= high, field, f"must be from {low} to {high}")

    def page_size(self, value: int, field: str = "page_size") -> int:
        """The page size to use: 0 stands for 20; below 0 or above 100 is a violation (AIP-158)."""
        self.in_range(field, value, 0, MAX_PAGE_SIZE)
        return value or DEFAULT_PAGE_SIZE

    def raise_if_any(self) -> None:
        """Raises INVALID_ARGUMENT / VALIDATION_FAILED with all violations, if there are any."""
        if self._found:
            raise validation_failed(self._found)
