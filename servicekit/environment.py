"""What the HTTP clients of a service take from the environment: the proxy of a URL, and checks at the start."""

import ipaddress
import os
import re
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from servicekit.addresses import is_own_network
from servicekit.settings import ConfigurationError

_PROXY_VARIABLES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
_SCHEMES: Final = frozenset({"http", "https", "socks5", "socks5h"})
_HASHED: Final = re.compile(r"[0-9a-f]{8}\.\d+")
"""A file in a folder of certificates, as OpenSSL looks for it."""


def proxy_for(url: str) -> str | None:
    """Returns the proxy for calls to `url` by HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY; None: without one.

    It is http, https, socks5 or socks5h. A proxy knows neither this machine nor the names of its own network, such as
    host.docker.internal: these hosts are never called through one.
    """
    where = urlsplit(url)
    if _is_near(url) or proxy_bypass(where.netloc) or _in_no_proxy(where.hostname or ""):
        return None
    named = getproxies()
    proxy = _full(named.get(where.scheme) or named.get("all") or "")
    return proxy if _is_usable(proxy) else None


def check_certificates() -> None:
    """Raises ConfigurationError where SSL_CERT_FILE or SSL_CERT_DIR names nothing that holds a certificate."""
    if file := os.environ.get("SSL_CERT_FILE"):
        _check("SSL_CERT_FILE", file, _file_fault(file), "a file with certificates in PEM")
    if folders := os.environ.get("SSL_CERT_DIR"):
        faults = [_folder_fault(folder) for folder in folders.split(os.pathsep) if folder]
        fault = "" if "" in faults else "; ".join(faults)
        _check("SSL_CERT_DIR", folders, fault, "a folder of certificates prepared with `openssl rehash`")


def proxy_warnings() -> Iterator[str]:
    """Yields a sentence for each variable with a proxy that cannot be used, without user and password."""
    for variable in _PROXY_VARIABLES:
        for name in (variable.lower(), variable):
            proxy = _full(os.environ.get(name, ""))
            if proxy and not _is_usable(proxy):
                shown = re.sub(r"//.*@", "//…@", proxy)
                yield (
                    f"{name} is {shown}, which is no address of a proxy over HTTP or SOCKS 5: providers are called "
                    f"without it. Set {name} to http://host:port or socks5://host:port."
                )


def _full(proxy: str) -> str:
    """Returns the value of a variable as a URL: curl and desktops write it without a scheme, or with their own."""
    if proxy and "://" not in proxy:
        return f"http://{proxy}"
    return f"socks5h://{proxy.removeprefix('socks://')}" if proxy.startswith("socks://") else proxy


def _is_usable(proxy: str) -> bool:
    try:
        parts = urlsplit(proxy)
        return parts.scheme in _SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _is_near(url: str) -> bool:
    try:
        return ipaddress.ip_address(urlsplit(url).hostname or "").is_loopback
    except ValueError:
        return is_own_network(url)


def _in_no_proxy(host: str) -> bool:
    """Returns whether NO_PROXY names a network, such as 10.0.0.0/8, that holds the address `host`."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    for each in getproxies().get("no", "").split(","):
        try:
            if address in ipaddress.ip_network(each.strip(), strict=False):
                return True
        except ValueError:
            continue
    return False


def _check(variable: str, value: str, fault: str, remedy: str) -> None:
    if fault:
        raise ConfigurationError(f"{variable} is {value}, {fault}; set {variable} to {remedy}, or unset it")


def _file_fault(file: str) -> str:
    try:
        context = ssl.create_default_context(cafile=file)
    except ssl.SSLError:
        return "which holds no certificate"
    except OSError as error:
        return f"which cannot be read ({os.strerror(error.errno) if error.errno else 'no file'})"
    return "" if context.cert_store_stats()["x509"] else "which holds no certificate"


def _folder_fault(folder: str) -> str:
    try:
        hashed = any(_HASHED.fullmatch(each.name) for each in Path(folder).iterdir())
    except OSError as error:
        return f"which cannot be read ({os.strerror(error.errno) if error.errno else 'no folder'})"
    return "" if hashed else "which holds no certificate with a hashed name"
