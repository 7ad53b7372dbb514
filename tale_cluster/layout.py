"""Knows the services, their addresses, and the environment with which they find each other."""

import errno
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self


@dataclass(frozen=True, slots=True)
class Service:
    """One of the four services."""

    name: str
    """Its name in GetSystemStatus."""
    module: str
    """The module that `python -m` runs."""
    default_port: int
    """Default port of its gRPC server on loopback."""
    default_ops_port: int
    """Default port of its HTTP server for health and metrics on loopback."""

    @property
    def listen_variable(self) -> str:
        """Environment variable with its gRPC bind address."""
        return f"{self.name.upper()}_LISTEN"

    @property
    def ops_variable(self) -> str:
        """Environment variable with the bind address of its HTTP server."""
        return f"{self.name.upper()}_OPS_LISTEN"

    @property
    def target_variable(self) -> str:
        """Environment variable with which the other services find it."""
        return f"{self.name.upper()}_TARGET"


GATEWAY: Final = Service("gateway", "gateway", 50051, 9051)
STORY: Final = Service("story", "story_service", 50052, 9052)
VOICE: Final = Service("voice", "voice_service", 50053, 9053)
STORAGE: Final = Service("storage", "storage_service", 50054, 9054)

SERVICES: Final = (GATEWAY, STORY, VOICE, STORAGE)
STOP_ORDER: Final = ((GATEWAY,), (STORY, VOICE), (STORAGE,))
"""The gateway first, while storage can still take its stories."""
CERTIFICATE_VARIABLE: Final = "GATEWAY_TLS_CERT_FILE"
"""Environment variable with the certificate file of the gateway; unset or empty: no TLS."""
AUTH_VARIABLE: Final = "GATEWAY_AUTH"
"""Environment variable with the authentication of the gateway; unset: none."""
_KEY_VARIABLE: Final = "GATEWAY_TLS_KEY_FILE"
_PAGE_VARIABLE: Final = "GATEWAY_WEB_LISTEN"
_DEFAULT_PAGE: Final = "127.0.0.1:8080"


def _reached(listen: str) -> str:
    host, _, port = listen.rpartition(":")
    return f"{'127.0.0.1' if host in {'', '0.0.0.0'} else '[::1]' if host == '[::]' else host}:{port}"  # noqa: S104 - read, not bound


@dataclass(frozen=True, slots=True)
class Place:
    """The addresses of one service, "host:port" each."""

    listen: str
    ops_listen: str

    @property
    def address(self) -> str:
        """The address for a client on this machine."""
        return _reached(self.listen)

    @property
    def ops_address(self) -> str:
        """The address of its HTTP server for a client on this machine."""
        return _reached(self.ops_listen)


class Layout:
    """The addresses of every service."""

    def __init__(self, places: Mapping[Service, Place], *, private: bool, page: str = "") -> None:
        """`page` is the URL of the gateway's page; empty: there is none."""
        self._places = dict(places)
        self._private = private
        self.page = page

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Self:
        """Returns the addresses of `GATEWAY_LISTEN`, `GATEWAY_OPS_LISTEN` and so on, or the defaults."""
        return cls(
            {
                service: Place(
                    environ.get(service.listen_variable) or f"127.0.0.1:{service.default_port}",
                    environ.get(service.ops_variable) or f"127.0.0.1:{service.default_ops_port}",
                )
                for service in SERVICES
            },
            private=False,
            page=_page(environ),
        )

    @classmethod
    def on_free_ports(cls) -> Self:
        """Returns free loopback ports, whatever the environment says. OSError if there are none."""
        sockets = [socket.socket() for _ in range(2 * len(SERVICES))]
        try:
            # All at the same time, so that no port is used twice.
            for each in sockets:
                each.bind(("127.0.0.1", 0))
            addresses = iter([f"127.0.0.1:{each.getsockname()[1]}" for each in sockets])
        finally:
            for each in sockets:
                each.close()
        return cls({service: Place(next(addresses), next(addresses)) for service in SERVICES}, private=True)

    def __getitem__(self, service: Service) -> Place:
        return self._places[service]

    def environment(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Returns `environ` with all addresses. Its own targets and certificate stay, except on free ports."""
        made = dict(environ)
        if self._private:
            for name in (CERTIFICATE_VARIABLE, _KEY_VARIABLE):
                made.pop(name, None)
            made[_PAGE_VARIABLE] = ""
        for service, place in self._places.items():
            made[service.listen_variable] = place.listen
            made[service.ops_variable] = place.ops_listen
            if service is not GATEWAY and (self._private or not made.get(service.target_variable)):
                made[service.target_variable] = f"dns:///{place.address}"
        made["PYTHONUNBUFFERED"] = "1"
        return made

    def taken(self) -> list[str]:
        """Returns a sentence for each address that another process uses."""
        return [
            f"{address} is in use, perhaps by another `tale up`. Stop it, or set {variable} to another address."
            for service, place in self._places.items()
            for address, variable in (
                (place.listen, service.listen_variable),
                (place.ops_listen, service.ops_variable),
            )
            if _in_use(address)
        ]


def _page(environ: Mapping[str, str]) -> str:
    """Returns the URL of the page; empty where it is off, or another program has its default address."""
    listen = environ.get(_PAGE_VARIABLE)
    if listen == "" or (listen is None and _in_use(_DEFAULT_PAGE)):
        return ""
    scheme = "https" if environ.get(CERTIFICATE_VARIABLE) else "http"
    return environ.get("GATEWAY_WEB_URL") or f"{scheme}://{_reached(listen or _DEFAULT_PAGE)}"


def _in_use(address: str) -> bool:
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    if not port.isdigit():
        return False  # the service reports what is wrong with it
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False
