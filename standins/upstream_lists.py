"""Lists of the stand-in upstreams: models, voices, account."""

from typing import Any, Final

from standins.paid_upstreams import MODEL

VOICE: Final = "21m00Tcm4TlvDq8ikWAM"
_LANGUAGE: Final = {"language": "en", "locale": "en-US", "model_id": "eleven_multilingual_v2"}

FIXED: Final[dict[str, Any]] = {
    "/api/v1/models": {
        "data": [
            {
                "id": MODEL,
                "name": MODEL,
                "pricing": {"prompt": "0.0000001", "completion": "0.0000004"},
                "context_length": 128_000,
            }
        ]
    },
    "/api/v1/key": {"data": {"label": "bench"}},
    "/v1/voices": {
        "voices": [{"voice_id": VOICE, "name": "Rachel", "category": "premade", "verified_languages": [_LANGUAGE]}]
    },
    "/v1/models": [
        {
            "model_id": "eleven_multilingual_v2",
            "name": "bench",
            "can_do_text_to_speech": True,
            "maximum_text_length_per_request": 10_000,
            "languages": [{"language_id": "en", "name": "English"}],
        }
    ],
    "/v1/user/subscription": {"tier": "creator", "character_count": 0, "character_limit": 10**9},
}
"""Answers to GET, by path."""
