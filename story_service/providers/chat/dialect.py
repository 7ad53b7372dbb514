"""What one server differs in from another with OpenAI's API: names, checks, and fields of its own."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from servicekit.resilience.errors import ProviderErrorKind
from story_service.chat import Server
from story_service.ports import CHAT
from story_service.providers.chat.report import Report

_KEY: Final = re.compile(r"[\x21-\x7e]{1,1024}")


def check_key_format(key: str) -> str:
    """Returns `key` if it can be sent. Raises ValueError with the remedy, and without the key, else."""
    if _KEY.fullmatch(key) is None:
        raise ValueError("must be one word of printable ASCII: no blanks, line breaks or other characters")
    return key


class Finding(NamedTuple):
    """The kind of an error, and a message where that of the kind says too little."""

    kind: ProviderErrorKind
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect(Server):
    """One server, and what it adds to OpenAI's API. `fields` are sent with every request.

    `check_key` returns the key to send, "" for none, and raises ValueError for one that cannot be sent. `key_path` is
    read to check the key, and `generation_path` to learn what a call has cost ("" where the server cannot say).
    `read_error` returns what an error is by the server's own signs, None where it has none, and `words` replace what
    the message of a kind says. `needed` are the fields without which nothing is asked, even where they are refused.
    `max_connections` bounds the concurrent calls of this process.
    """

    max_connections: int = 1024
    fields: Mapping[str, Any] = field(default_factory=dict)
    check_key: Callable[[str], str] = check_key_format
    key_path: str = "/models"
    generation_path: str = ""
    read_error: Callable[[Report], Finding | None] = lambda _: None
    needed: frozenset[str] = frozenset()
    words: Mapping[ProviderErrorKind, str] = field(default_factory=dict)


def chat_server(url: str, *, provider: str = CHAT, prefix: str = "CHAT") -> Dialect:
    """Returns the dialect of the server at CHAT_BASE_URL: OpenAI's API and nothing else; no key is needed.

    `prefix` is that of its settings.
    """
    return Dialect(
        provider=provider,
        url=url,
        key_variable=f"{prefix}_API_KEY",
        url_variable=f"{prefix}_BASE_URL",
        check_key=lambda key: check_key_format(key) if key else "",
    )
