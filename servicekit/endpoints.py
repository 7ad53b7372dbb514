"""Checks addresses of upstreams."""

from typing import Final
from urllib.parse import urlsplit

from servicekit.addresses import is_loopback

_SCHEMES: Final = ("http", "https")


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
    if parts.scheme not in _SCHEMES or not host or parts.query or parts.fragment:
        raise ValueError("must be a URL such as https://host/v1")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must hold no user and no password; set the key in its own variable")
    if parts.scheme == "http" and not allow_plain_http and not _is_here(host):
        raise ValueError("must be https, or set UPSTREAM_ALLOW_PLAIN_HTTP=1 where the network is trusted")
    return url.rstrip("/")


def _is_here(host: str) -> bool:
    return is_loopback(f"[{host}]:80" if ":" in host else f"{host}:80")
