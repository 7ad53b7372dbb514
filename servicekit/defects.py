"""Logs defects: unexpected errors by types and stack frames, without their texts."""

import traceback
from typing import Final

import structlog

_log: Final = structlog.stdlib.get_logger("servicekit.defects")

_MAX_FRAMES: Final = 30
_MAX_CAUSES: Final = 5


def log_defect(error: BaseException) -> None:
    """Logs an unexpected error by the types and stack frames of it and its causes."""
    _log.error("unexpected error", errors=described(error))


def described(error: BaseException) -> list[dict[str, object]]:
    """Returns `error` and its causes as type names and stack frames ("path:line function"), without their texts."""
    chain: list[dict[str, object]] = []
    link: BaseException | None = error
    while link is not None and len(chain) < _MAX_CAUSES:
        frames = traceback.extract_tb(link.__traceback__)[-_MAX_FRAMES:]
        entry: dict[str, object] = {
            "type": f"{type(link).__module__}.{type(link).__qualname__}",
            "frames": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
        }
        if isinstance(link, BaseExceptionGroup):
            entry["members"] = [described(member) for member in link.exceptions[:_MAX_CAUSES]]
        chain.append(entry)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return chain
