"""Logs one line an event, JSON or console, with the request id; defects by types and stack frames, without texts."""

import logging
import sys
import traceback
from collections.abc import Mapping, MutableMapping
from typing import Any, Final, Literal, TextIO

import structlog

from servicekit.context import current_or_none

LogFormat = Literal["auto", "console", "json"]

Event = MutableMapping[str, Any]

_log: Final = structlog.stdlib.get_logger("servicekit.defects")

_HANDLER: Final = "servicekit"
_NAMED: Final = ("story_id", "child_id", "hero_id")
_MAX_FRAMES: Final = 30
_MAX_CAUSES: Final = 5

_HTTP_CLIENTS: Final = ("httpx", "httpx2", "httpcore", "httpcore2", "hpack", "openai", "elevenlabs")
"""Libraries that log at INFO what the audit lines hold, and at DEBUG what was sent: keys, prompts, names."""


def configure(
    service: str,
    *,
    level: str = "INFO",
    levels: Mapping[str, str] | None = None,
    log_format: LogFormat = "auto",
    stream: TextIO | None = None,
) -> None:
    """Sets up logging for the process, once, from `main`; called again it replaces what it had set up.

    Every line carries `service`, `event`, `level`, `logger`, `timestamp` (UTC) and, within a call, `request_id`, the
    ids of what the call is about, such as `story_id`, and of a call with a trace `trace_id` and `span_id`.
    Exceptions are logged by type and stack frames, never by text, since that may carry what users wrote. `levels` are
    for single loggers by name. Libraries that call providers log from WARNING on, and never more than INFO. Lines go to
    standard error unless `stream` is given.
    """

    def name_service(_: object, __: str, event: Event) -> Event:
        event["service"] = service
        return event

    out = stream or sys.stderr
    console = log_format == "console" or (log_format == "auto" and out.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        name_service,
        identify,
        _exceptions_without_text,
    ]
    renderer: structlog.typing.Processor
    renderer = structlog.dev.ConsoleRenderer(colors=out.isatty()) if console else structlog.processors.JSONRenderer()
    handler = logging.StreamHandler(out)
    handler.set_name(_HANDLER)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.PositionalArgumentsFormatter(), *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [other for other in root.handlers if other.get_name() != _HANDLER] + [handler]
    root.setLevel(level)
    for name in _HTTP_CLIENTS:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name, single in (levels or {}).items():
        logging.getLogger(name).setLevel(_bounded(name, single))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _bounded(name: str, level: str) -> int:
    number = logging.getLevelNamesMapping()[level]
    return max(number, logging.INFO) if name.partition(".")[0] in _HTTP_CLIENTS else number


def identify(_: object, __: str, event: Event) -> Event:
    """Adds the ids of the request, of what it is about, and of its trace."""
    if (context := current_or_none()) is not None:
        event.setdefault("request_id", context.request_id)
        for name, value in context.named.items():
            if name in _NAMED:
                event.setdefault(name, value)
        if context.trace is not None:
            event.update(trace_id=context.trace.trace_id, span_id=context.trace.span_id)
    return event


def _exceptions_without_text(_: object, __: str, event: Event) -> Event:
    given = event.pop("exc_info", None)
    error = sys.exc_info()[1] if given is True else given[1] if isinstance(given, tuple) else given
    if isinstance(error, BaseException):
        event["errors"] = described(error)
    return event


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
