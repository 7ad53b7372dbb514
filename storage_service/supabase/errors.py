"""Tells apart how Supabase fails, by status and code, and what can be done about it.

Codes: https://docs.postgrest.org/en/stable/references/errors.html (PGRST…, SQLSTATE) and
https://supabase.com/docs/guides/storage/debugging/error-codes (Storage says its status in the body too).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from servicekit.resilience.errors import ProviderError, ProviderErrorKind, Treatment, wait_asked

if TYPE_CHECKING:
    from collections.abc import Mapping


PROVIDER: Final = "supabase"

MIGRATE: Final = "run `python -m storage_service migrate`, and expose the schema `tales` in the API settings"

_FULL: Final = Treatment(reason="STORAGE_FULL", cool_down=True)
_SCHEMA_CODES: Final = frozenset(
    {"PGRST106", "PGRST202", "PGRST203", "PGRST204", "PGRST205", "3F000", "42P01", "42703", "42883"}
)
_AUTH_CODES: Final = frozenset({"PGRST300", "PGRST301", "PGRST302", "PGRST303", "42501"})
_UNDONE_CONFLICTS: Final = frozenset({"40001", "40P01", "55P03"})
_READ_ONLY: Final = "25006"
_INVALID_PATH: Final = "PGRST125"
_AWAY_CODES: Final = ("PGRST000", "PGRST001", "PGRST002", "PGRST003", "08", "53", "57P")
_CLIENT: Final = 400
_SERVER: Final = 500
_CANCELED: Final = "57014"
_CHECK_VIOLATION: Final = "23514"
_DATA_CODES: Final = "22"
_SQLSTATE: Final = 5
_BUCKET_CODES: Final = frozenset({"Bucket not found", "NoSuchBucket"})
_PAGE_OF_SUPABASE: Final = frozenset({402, 408, 413, 429})
"""Refusals that the proxies of a project make with a page of their own."""
_JUDGED: Final = re.compile(r"PGRST[0-9A-Z]{3}|[0-9A-Z]{5}|NoSuch[A-Za-z]+|not_found|Not found", re.ASCII)
"""Codes that PostgREST, PostgreSQL and Storage say."""
_CODE: Final = re.compile(r"[A-Za-z0-9_]{1,40}")


class SupabaseError(ProviderError):
    """Supabase did not do what was asked. `undone`: for sure nothing was changed, so any call can be made again."""

    def __init__(
        self,
        kind: ProviderErrorKind,
        message: str,
        *,
        undone: bool,
        retry_after: float | None = None,
        status: int = 0,
        treatment: Treatment | None = None,
    ) -> None:
        super().__init__(kind, message, provider=PROVIDER, retry_after=retry_after, status=status, treatment=treatment)
        self.undone = undone


class SchemaMismatchError(SupabaseError):
    """The schema or the bucket is not there, or not the one that this program knows: to be migrated."""

    def __init__(self, message: str, *, status: int = 0) -> None:
        treatment = Treatment(reason="INVALID_CONFIGURATION")
        super().__init__(ProviderErrorKind.AUTH, message, undone=True, status=status, treatment=treatment)


class MisaddressedError(SupabaseError):
    """What answers at SUPABASE_URL is not Supabase: a page, a redirection, or an API that does not know the path.

    A setting to fix, unless a proxy on the way fails; it does not count against Supabase's health.
    """

    def __init__(self, *, status: int) -> None:
        message = f"no Supabase answers there (HTTP {status}); set SUPABASE_URL to the address of the project"
        treatment = Treatment(reason="UPSTREAM_UNAVAILABLE")
        super().__init__(ProviderErrorKind.TRANSPORT, message, undone=True, status=status, treatment=treatment)


class MissingError(SupabaseError):
    """What was asked for is not there: an answer, not a failure."""

    def __init__(self, *, status: int) -> None:
        treatment = Treatment(reason="NOT_FOUND")
        super().__init__(
            ProviderErrorKind.INVALID_INPUT, "there is no such thing", undone=True, status=status, treatment=treatment
        )


class SupabaseDefectError(Exception):
    """Supabase refused what this program should not have asked; `code` says why; its text is dropped."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(f"HTTP {status}, {code or 'no code'}")
        self.status = status
        self.code = code


def from_answer(status: int, body: object, headers: Mapping[str, str]) -> Exception:
    """Returns what an unsuccessful answer means; `body` is its JSON, or None where it is none."""
    said = body if isinstance(body, dict) else {}
    code = str(said.get("code") or said.get("error") or "")
    # Storage answers 400 and says in the body what it means.
    inner = str(said.get("statusCode") or "")
    status = int(inner) if inner.isdigit() and status < _SERVER else status
    # A code says that the database has judged, and has undone what it refuses.
    found = _by_code(status, code)
    if found is None and _is_elsewhere(status, said, code, headers):
        found = MisaddressedError(status=status)
    found = found or _by_status(status, wait_asked(headers), undone=bool(said.get("code")))
    return found or SupabaseDefectError(status, code if _CODE.fullmatch(code) else "")


def is_page(headers: Mapping[str, str]) -> bool:
    """Returns True for a page for people: Supabase's services answer with none."""
    return headers.get("content-type", "").lower().startswith("text/html")


def _is_elsewhere(status: int, said: Mapping[str, object], code: str, headers: Mapping[str, str]) -> bool:
    if status >= _SERVER or status in _PAGE_OF_SUPABASE:
        return False
    if status < _CLIENT or is_page(headers) or code == _INVALID_PATH:
        return True
    return status in {404, 405} and not (said.get("statusCode") or _JUDGED.fullmatch(code))


def _by_code(status: int, code: str) -> SupabaseError | None:
    found: SupabaseError | None = None
    if code in _SCHEMA_CODES or code in _BUCKET_CODES:
        what = "the bucket `tales`" if code in _BUCKET_CODES else "the schema `tales`, or a part of it,"
        found = SchemaMismatchError(f"{what} is not there; {MIGRATE}", status=status)
    elif code in _AUTH_CODES:
        found = _auth(status)
    elif code in _UNDONE_CONFLICTS:
        found = _conflict(status, undone=True)
    elif code == _CANCELED:
        found = SupabaseError(ProviderErrorKind.TIMEOUT, "the database took too long", undone=True, status=status)
    elif code == _READ_ONLY:
        # Supabase makes a database read-only when its disk is full.
        message = "the database takes no changes; see to the disk and the quota of the project"
        found = SupabaseError(ProviderErrorKind.QUOTA, message, undone=True, status=status, treatment=_FULL)
    elif code == _CHECK_VIOLATION or (len(code) == _SQLSTATE and code.startswith(_DATA_CODES)):
        found = _refused(status, "a value breaks a rule of the schema", "VALIDATION_FAILED")
    elif code.startswith(_AWAY_CODES):
        found = SupabaseError(ProviderErrorKind.OVERLOAD, "the database is not there", undone=False, status=status)
    return found


def _by_status(status: int, retry_after: float | None, *, undone: bool) -> SupabaseError | None:
    match status:
        case 401 | 403:
            found = _auth(status)
        case 402:
            message = "the project is restricted; see to its usage and billing in the dashboard of Supabase"
            found = SupabaseError(ProviderErrorKind.QUOTA, message, undone=True, status=status, treatment=_FULL)
        case 404:
            found = MissingError(status=status)
        case 409:
            found = _conflict(status, undone=False)
        case 413:
            found = _refused(
                status,
                "the file is larger than the project takes",
                "AUDIO_TOO_LARGE",
            )
        case 429:
            found = SupabaseError(
                ProviderErrorKind.RATE, "too many calls", undone=True, retry_after=retry_after, status=status
            )
        case 408 | 504:
            found = SupabaseError(ProviderErrorKind.TIMEOUT, "it took too long", undone=undone, status=status)
        case _ if status >= _SERVER:
            what = "it failed on its own side"
            found = SupabaseError(
                ProviderErrorKind.OVERLOAD, what, undone=undone, retry_after=retry_after, status=status
            )
        case _:
            return None
    return found


def _auth(status: int) -> SupabaseError:
    message = "the key is not accepted; set SUPABASE_KEY to a secret key (service role) of the project"
    return SupabaseError(ProviderErrorKind.AUTH, message, undone=True, status=status)


def _conflict(status: int, *, undone: bool) -> SupabaseError:
    """Returns the error of two concurrent changes of one thing: to be retried where it was rolled back."""
    treatment = Treatment(reason="STORAGE_CONFLICT", retry=undone)
    message = "the same was changed at the same time"
    return SupabaseError(ProviderErrorKind.OVERLOAD, message, undone=undone, status=status, treatment=treatment)


def _refused(status: int, message: str, reason: str) -> SupabaseError:
    """Returns an error that only the caller, or a setting of the project, can fix."""
    treatment = Treatment(reason=reason)
    return SupabaseError(ProviderErrorKind.INVALID_INPUT, message, undone=True, status=status, treatment=treatment)
