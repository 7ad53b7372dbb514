"""OpenRouter's dialect: which companies may run a model, what a call has cost, its keys and its errors."""

import re
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from servicekit.resilience.errors import ProviderErrorKind
from story_service.ports import OPENROUTER
from story_service.providers.chat.dialect import Dialect, Finding
from story_service.providers.chat.dialect import check_key_format as check_any_key
from story_service.providers.chat.report import Report

OPENROUTER_URL: Final = "https://openrouter.ai/api/v1"

_OPENROUTER_HOST: Final = "openrouter.ai"
_KEY_PREFIX: Final = "sk-or-"
_IN_FLIGHT: Final = "openrouter_in_flight_budget"
_UNKNOWN_MODEL: Final = re.compile(r"not a valid model|no endpoints found", re.IGNORECASE)
_DATA_POLICY: Final = re.compile(r"data policy|data_collection|settings/privacy", re.IGNORECASE)
_DATA_POLICY_SET: Final = (
    "no company runs this model under the data policy; see OPENROUTER_DATA_COLLECTION, OPENROUTER_ZDR and "
    "https://openrouter.ai/settings/privacy"
)
_EXCLUDED: Final = re.compile(r"no allowed providers", re.IGNORECASE)
_EXCLUDED_BY: Final = "none of the companies that may be used runs this model; see OPENROUTER_PROVIDER_ONLY"
_MODERATED: Final = ("reasons", "flagged_input", "patterns")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderRouting:
    """Which companies may run a model: OpenRouter's `provider` object (openrouter.ai/docs, Provider Routing).

    `data_collection` "deny" excludes companies that store what is written about a child or train on it. `order` are
    tried first, `only` at all; `zdr` True requires zero data retention. None and empty leave it to OpenRouter.
    """

    data_collection: Literal["deny", "allow"] = "deny"
    order: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    zdr: bool | None = None

    def fields(self) -> dict[str, Any]:
        """Returns the object, without what is left to OpenRouter."""
        given = {"order": list(self.order) or None, "only": list(self.only) or None, "zdr": self.zdr}
        chosen = {name: value for name, value in given.items() if value is not None}
        return {"data_collection": self.data_collection, **chosen}


def openrouter(url: str = OPENROUTER_URL, *, routing: ProviderRouting | None = None) -> Dialect:
    """Returns the dialect of OpenRouter, or of a server with the same API; routing is `deny` by default."""
    return Dialect(
        provider=OPENROUTER,
        url=url,
        key_variable="OPENROUTER_API_KEY",
        url_variable="OPENROUTER_BASE_URL",
        fields={"usage": {"include": True}, "provider": (routing or ProviderRouting()).fields()},
        check_key=lambda key: check_key_format(key, base_url=url),
        key_path="/key",
        generation_path="/generation",
        read_error=_found,
        # A company that stores what is written about a child must not be asked because a field was refused.
        needed=frozenset({"provider"}) if _is_openrouter(url) else frozenset(),
        words={
            ProviderErrorKind.UNSUPPORTED: "no such model, or no company that may run it",
            ProviderErrorKind.QUOTA: "the credits are used up",
        },
    )


def check_key_format(key: str, *, base_url: str = OPENROUTER_URL) -> str:
    """Returns `key` if it can be one. Raises ValueError with the remedy, and without the key, else.

    A key is printable ASCII without blanks; one for OpenRouter's own host begins with "sk-or-".
    """
    if not key:
        raise ValueError("must not be empty")
    check_any_key(key)
    if _is_openrouter(base_url) and (not key.startswith(_KEY_PREFIX) or key == _KEY_PREFIX):
        raise ValueError(f'must begin with "{_KEY_PREFIX}": keys are made at https://openrouter.ai/keys')
    return key


def _is_openrouter(base_url: str) -> bool:
    host = urlsplit(base_url).hostname or ""
    return host == _OPENROUTER_HOST or host.endswith(f".{_OPENROUTER_HOST}")


def _found(report: Report) -> Finding | None:
    """Returns what an error is by OpenRouter's own signs (openrouter.ai/docs, Errors and Debugging)."""
    if report.metadata.get("limit_source") == _IN_FLIGHT and report.status in {402, 429}:
        return Finding(ProviderErrorKind.CONCURRENCY)
    if report.status == 403 and any(report.metadata.get(sign) for sign in _MODERATED):
        return Finding(ProviderErrorKind.CONTENT_POLICY)
    if report.status in {0, 400, 404}:
        if _DATA_POLICY.search(report.text) is not None:
            return Finding(ProviderErrorKind.CONFIGURATION, _DATA_POLICY_SET)
        if _EXCLUDED.search(report.text) is not None:
            return Finding(ProviderErrorKind.CONFIGURATION, _EXCLUDED_BY)
        if _UNKNOWN_MODEL.search(report.text) is not None:
            return Finding(ProviderErrorKind.UNSUPPORTED)
    return None
