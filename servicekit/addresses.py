"""Checks addresses: those to listen on, and those of upstreams."""

import asyncio
import ipaddress
import socket
from urllib.parse import urlsplit


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


def check_address(address: str) -> str:
    """Returns `address` if it is "host:port"; ValueError otherwise."""
    split_address(address)
    return address


def is_loopback(listen: str) -> bool:
    """Returns whether only this machine can reach what listens on `listen` ("host:port")."""
    host, _ = split_address(listen)
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


def check_base_url(url: str, *, allow_plain_http: bool = False) -> str:
    """Returns `url` without a trailing slash, safe to be called with a key and a child's name in the request.

    Raises ValueError with the remedy: not http(s), no host, a query or a user in it, or plain http to a host that is
    not loopback unless `allow_plain_http`.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError("must be a URL such as https://host/v1") from None
    if parts.scheme not in {"http", "https"} or not host or parts.query or parts.fragment:
        raise ValueError("must be a URL such as https://host/v1")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must hold no user and no password; set the key in its own variable")
    place = f"[{host}]:80" if ":" in host else f"{host}:80"
    if parts.scheme == "http" and not allow_plain_http and not is_loopback(place):
        raise ValueError("must be https, or set UPSTREAM_ALLOW_PLAIN_HTTP=1 where the network is trusted")
    return url.rstrip("/")
