"""Checks addresses: those to listen on, and those of upstreams."""

import asyncio
import ipaddress
import re
import socket
from typing import Final
from urllib.parse import SplitResult, urlsplit, urlunsplit

_NAME_WITHOUT_DOTS: Final = re.compile(r"[a-z][a-z0-9_-]*", re.IGNORECASE)
_OWN_DOMAINS: Final = (".local", ".localhost", ".internal", ".lan", ".home.arpa")
_ENDPOINT: Final = re.compile(
    r"/(?:(?:chat/)?completions|models|responses|embeddings|audio/(?:speech|voices|transcriptions))/*$", re.IGNORECASE
)
"""What is asked of a server with OpenAI's API, which follows its base URL."""
_OLLAMA: Final = re.compile(r"/api/(?:chat|generate|tags)/*$", re.IGNORECASE)
"""The paths of Ollama's own API; that of OpenAI is beside it, under /v1."""
_OPENROUTER: Final = "openrouter.ai"
_WITHOUT_PORTS: Final = frozenset({"unix", "unix-abstract", "xds", "vsock"})
_BARE_HOST: Final = re.compile(r"(?:[\w.-]+|\[[0-9a-fA-F:]+\])(?::[0-9]+)?(?:/|$)")
"""Begins an address that has no scheme, such as that in OLLAMA_HOST."""


def split_address(address: str) -> tuple[str, int]:
    """Returns host and port of "host:port" or "[ipv6]:port"; ValueError for anything else."""
    host, colon, port = address.rpartition(":")
    if not host or not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError("must be host:port, such as 127.0.0.1:50051")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError("must have an IPv6 host in brackets, such as [::1]:50051")
    return host, int(port)


def reached(listen: str) -> str:
    """Returns the address at which this machine reaches what listens on `listen` ("host:port")."""
    host, port = split_address(listen)
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - the address is compared
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def check_address(address: str) -> str:
    """Returns `address` if it is "host:port"; ValueError otherwise."""
    split_address(address)
    return address


def check_target(target: str) -> str:
    """Returns a target of gRPC that names its port, or has a scheme without ports; ValueError with the remedy."""
    scheme, colon, rest = target.partition(":")
    if not target or (colon and scheme in _WITHOUT_PORTS):
        return target
    if colon and scheme in {"dns", "ipv4", "ipv6"}:
        addresses = (rest.rpartition("/")[2] if scheme == "dns" else rest).split(",")
    else:
        addresses = [target]
    for address in addresses:
        try:
            usable = split_address(address)[1] > 0
        except ValueError:
            usable = False
        if not usable:
            raise ValueError(f"must be host:port or dns:///host:port, with the port of the service, not {target}")
    return target


def is_loopback(listen: str) -> bool:
    """Returns whether only this machine can reach what listens on `listen` ("host:port")."""
    return is_loopback_host(split_address(listen)[0])


def is_loopback_host(host: str) -> bool:
    """Returns whether `host`, a name or an address without brackets, is this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def check_free(address: str) -> None:
    """Raises OSError if no server could listen on `address` ("host:port") now. Port 0 is always free."""
    host, port = split_address(address)
    if port == 0:
        return
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    for family, kind, protocol, _, place in found:
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)


def is_own_network(url: str) -> bool:
    """Returns whether the host of `url` is this machine or in its own network, as far as its name or address shows.

    That is an address that is not global, a name without dots (a container, a machine of this network), or one under
    .local, .localhost, .internal (host.docker.internal), .lan or .home.arpa.
    """
    host = (urlsplit(url).hostname or "").rstrip(".")
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return _NAME_WITHOUT_DOTS.fullmatch(host) is not None or host.endswith(_OWN_DOMAINS)


def check_base_url(url: str, *, allow_plain_http: bool = False) -> str:
    """Returns `url` without a trailing slash, safe to be called with a key and a child's name in the request.

    Raises ValueError with the remedy: not http(s), no host, a query or a user in it, or plain http to a host that is
    not loopback unless `allow_plain_http`.
    """
    parts = _split_url(url)
    if parts.scheme == "http" and not allow_plain_http and not is_loopback_host(parts.hostname or ""):
        raise ValueError("must be https, or set UPSTREAM_ALLOW_PLAIN_HTTP=1 where the network is trusted")
    return url.rstrip("/")


class CorrectedUrl(str):
    """A base URL that is used in place of `given`."""

    __slots__ = ("given",)

    given: str


def check_api_url(url: str, *, allow_plain_http: bool = False) -> str:
    """Returns the base URL of a server with OpenAI's API: `url`, or a CorrectedUrl in its place.

    The path of an endpoint behind it is removed, and /v1 is added where no path is left, since every such server has
    it; another path stays. A host of the own network without a scheme gets http, which is fine there
    (docs/adr/0014-plain-http-in-the-own-network.md). Raises what `check_base_url` raises.
    """
    given = url.strip()
    url = f"http://{given}" if _BARE_HOST.match(given) and is_own_network(f"http://{given}") else given
    parts = _split_url(url)
    path = _OLLAMA.sub("", parts.path)
    while path != (shorter := _ENDPOINT.sub("", path)):
        path = shorter
    path = path.rstrip("/") or "/v1"
    if parts.hostname == _OPENROUTER and path in {"/v1", "/api"}:
        path = "/api/v1"
    used = check_base_url(
        urlunsplit((parts.scheme, parts.netloc, path, "", "")),
        allow_plain_http=allow_plain_http or is_own_network(url),
    )
    if used == given.rstrip("/"):
        return used
    corrected = CorrectedUrl(used)
    corrected.given = given
    return corrected


def _split_url(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError("must be a URL such as https://host/v1") from None
    if parts.scheme not in {"http", "https"} or not host or parts.query or parts.fragment:
        raise ValueError("must be a URL such as https://host/v1")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must hold no user and no password; set the key in its own variable")
    return parts
