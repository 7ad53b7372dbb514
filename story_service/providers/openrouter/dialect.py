"""OpenRouter's dialect: which companies may run a model, what a call has cost, its keys and its errors."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from servicekit.resilience.errors import ProviderErrorKind
from story_service.providers.chat.dialect import Dialect
from story_service.providers.chat.dialect import check_key_format as check_any_key
from story_service.providers.chat.errors import metadata_of

OPENROUTER: Final = "openrouter"
OPENROUTER_URL: Final = "https://openrouter.ai/api/v1"

_OPENROUTER_HOST: Final = "openrouter.ai"
_KEY_PREFIX: Final = "sk-or-"
_IN_FLIGHT: Final = "openrouter_in_flight_budget"
_UNKNOWN_MODEL: Final = re.compile(r"not a valid model|no endpoints found", re.IGNORECASE)
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


def openrouter(
    base_url: str = OPENROUTER_URL, *, routing: ProviderRouting | None = None, max_connections: int = 1024
) -> Dialect:
    """Returns the dialect of OpenRouter, or of a server with the same API; routing is `deny` by default."""
    return Dialect(
        provider=OPENROUTER,
        base_url=base_url,
        key_variable="OPENROUTER_API_KEY",
        url_variable="OPENROUTER_BASE_URL",
        max_connections=max_connections,
        fields={"usage": {"include": True}, "provider": (routing or ProviderRouting()).fields()},
        check_key=lambda key: check_key_format(key, base_url=base_url),
        key_path="/key",
        generation_path="/generation",
        read_error=_kind,
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
    host = urlsplit(base_url).hostname or ""
    ours = host == _OPENROUTER_HOST or host.endswith(f".{_OPENROUTER_HOST}")
    if ours and (not key.startswith(_KEY_PREFIX) or key == _KEY_PREFIX):
        raise ValueError(f'must begin with "{_KEY_PREFIX}": keys are made at https://openrouter.ai/keys')
    return key


def _kind(status: int, error: Mapping[str, Any]) -> ProviderErrorKind | None:
    """Returns the kind of an error by OpenRouter's own signs (openrouter.ai/docs, Errors and Debugging)."""
    metadata, message = metadata_of(error), error.get("message")
    if metadata.get("limit_source") == _IN_FLIGHT and status in {402, 429}:
        return ProviderErrorKind.CONCURRENCY
    if status == 403 and any(metadata.get(sign) for sign in _MODERATED):
        return ProviderErrorKind.CONTENT_POLICY
    if status == 400 and isinstance(message, str) and _UNKNOWN_MODEL.search(message):
        return ProviderErrorKind.UNSUPPORTED
    return None
