"""The application of the HTTP port: which part answers a request, whom it refuses, what every response says."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.door.web.bridge import METHODS
from servicekit.addresses import is_loopback_host
from servicekit.logging import log_defect
from servicekit.metrics import Metrics

STATIC: Final = Path(__file__).parent / "static"
_SERVICES: Final = frozenset(path.split("/")[1] for path in METHODS)

_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self' blob:; "
    "connect-src 'self'; font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_HEADERS: Final[Mapping[str, str]] = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
"""Of every response that does not set them itself."""
_CLIENT_LEFT: Final = "499"
LINKED: Final = frozenset({"media", "feed"})


class CutError(Exception):
    """A response that has begun cannot be completed: its connection ends."""


class Site:
    """Gives RPCs to `rpcs`, and serves the files of the page.

    It refuses what a page of another origin has a browser send. Without authentication (`open_to_all`) it also refuses
    names other than those of this machine and that of `url`: such a page could have one bound to this address.
    """

    def __init__(self, rpcs: ASGIApp, links: Sequence[Route], metrics: Metrics, *, url: str, open_to_all: bool) -> None:
        """`links` are the routes under LINKED, whose requests have tokens in their paths."""
        self._rpcs = rpcs
        self._files = Starlette(routes=[*links, Mount("/", _Files(directory=STATIC, html=True))])
        self._own = urlsplit(url)
        self._open_to_all = open_to_all
        self._requests = metrics.counter(
            "http_requests",
            "Requests to the page's port that ended, by what they asked for and status",
            ("part", "code"),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        # "*" and the like have no folder; they are answered as what is not there.
        folder = scope["path"].removeprefix("/").partition("/")[0]
        part = "rpc" if folder in _SERVICES else folder if folder in LINKED else "page"
        code = _CLIENT_LEFT

        async def answer(message: Message) -> None:
            nonlocal code
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                code = str(message["status"])
            await send(message)

        try:
            await self._part(part, Headers(scope=scope))(scope, receive, answer)
        except CutError:
            code = _CLIENT_LEFT
        except Exception as error:  # noqa: BLE001 - the connection is closed, and the defect logged without texts
            log_defect(error)
            if code == _CLIENT_LEFT:
                await _refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "Internal error.")(scope, receive, answer)
        finally:
            self._requests.labels(part, code).inc()

    def _part(self, part: str, headers: Headers) -> ASGIApp:
        if part in LINKED:
            # Who has the link may read it, from wherever.
            return self._files
        if self._open_to_all and not self._is_own_host(headers.get("host", "")):
            return _refusal(
                HTTPStatus.FORBIDDEN,
                "permission_denied",
                "The gateway has no authentication and is called by a name that is not its own. Call it at a loopback"
                " address, or set GATEWAY_WEB_URL to this address.",
            )
        if not self._is_own_origin(headers):
            return _refusal(
                HTTPStatus.FORBIDDEN,
                "permission_denied",
                "The request comes from a page of another origin. Set GATEWAY_WEB_URL to the address of the gateway's"
                " own page.",
            )
        return self._rpcs if part == "rpc" else self._files

    def _is_own_host(self, host: str) -> bool:
        with suppress(ValueError):
            name = urlsplit(f"//{host}").hostname or ""
            return is_loopback_host(name) or name == self._own.hostname
        return False

    def _is_own_origin(self, headers: Headers) -> bool:
        origin = headers.get("origin")
        if origin is None:
            # A link on another page leads here; forms and scripts, which can send something, name their origin.
            return True
        with suppress(ValueError):
            place = urlsplit(origin).netloc
            return bool(place) and place in {headers.get("host", ""), self._own.netloc}
        return False


class _Files(StaticFiles):
    """Files that a browser asks for again each time: they change with the version, and have no build step."""

    def file_response(self, *args: Any, **options: Any) -> Response:
        """Returns a file, or that it is not modified."""
        response = super().file_response(*args, **options)
        response.headers["cache-control"] = "no-cache"
        return response


def _refusal(status: HTTPStatus, code: str, message: str) -> Response:
    return Response(json.dumps({"code": code, "message": message}), status, media_type="application/json")
