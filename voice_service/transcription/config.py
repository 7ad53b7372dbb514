"""Which server writes down what is said, and with which key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from servicekit.endpoints import check_base_url
from servicekit.secrets import SecretSource
from servicekit.settings import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import SecretStr

OPENAI_URL: Final = "https://api.openai.com/v1"
DEFAULT_MODEL: Final = "whisper-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptionConfig:
    """One server with OpenAI's /audio/transcriptions; `call_seconds` is how long a call may take."""

    base_url: str
    key: SecretSource
    model: str = DEFAULT_MODEL
    call_seconds: float = 60.0

    def missing(self) -> str:
        """Say which variable has to be set; "" where the server can be asked."""
        if self.base_url == OPENAI_URL and not self.key.get():
            return "set OPENAI_API_KEY, or TRANSCRIBE_BASE_URL to a server with OpenAI's /audio/transcriptions"
        return ""


def transcription_config(
    *,
    base_url: str,
    api_key: SecretStr | None,
    api_key_file: Path | None,
    openai_api_key: SecretStr | None,
    openai_api_key_file: Path | None,
    model: str = DEFAULT_MODEL,
    call_seconds: float = 60.0,
    allow_plain_http: bool = False,
) -> TranscriptionConfig:
    """Return the configuration that TRANSCRIBE_* and OPENAI_API_KEY ask for.

    Without an address it is OpenAI's own. A key of TRANSCRIBE_API_KEY or its file goes before OPENAI_API_KEY; another
    server than OpenAI's may need none. Raises ConfigurationError, which names the variable and the mend.
    """
    try:
        address = check_base_url(base_url, allow_plain_http=allow_plain_http) if base_url else OPENAI_URL
    except ValueError as error:
        raise ConfigurationError(f"TRANSCRIBE_BASE_URL {error}") from None
    if api_key or api_key_file:
        key = SecretSource(api_key, api_key_file, name="TRANSCRIBE_API_KEY")
    else:
        key = SecretSource(openai_api_key, openai_api_key_file, name="OPENAI_API_KEY")
    return TranscriptionConfig(base_url=address, key=key, model=model, call_seconds=call_seconds)
