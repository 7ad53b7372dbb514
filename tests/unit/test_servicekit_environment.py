"""The proxy of a URL, and what of the environment is refused or warned of at the start."""

import os
from pathlib import Path
from typing import Final

import pytest
import trustme

from servicekit.environment import check_certificates, proxy_for, proxy_warnings
from servicekit.settings import ConfigurationError

PROXY: Final = "http://proxy.example:3128"


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith("SSL_CERT_"):
            monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("url", "environment", "proxy"),
    [
        ("https://api.example/v1", {}, None),
        ("https://api.example/v1", {"HTTPS_PROXY": PROXY}, PROXY),
        ("https://api.example/v1", {"https_proxy": PROXY}, PROXY),
        ("https://api.example/v1", {"HTTP_PROXY": PROXY}, None),
        ("http://api.example/v1", {"HTTP_PROXY": PROXY}, PROXY),
        ("http://api.example/v1", {"ALL_PROXY": PROXY}, PROXY),
        ("https://api.example/v1", {"ALL_PROXY": "http://a:1", "HTTPS_PROXY": PROXY}, PROXY),
        ("https://api.example/v1", {"HTTPS_PROXY": "proxy.example:3128"}, PROXY),
        ("https://api.example/v1", {"ALL_PROXY": "socks://proxy.example:1080/"}, "socks5h://proxy.example:1080/"),
        (
            "https://api.example/v1",
            {"ALL_PROXY": "socks5://me:x@proxy.example:1080"},
            "socks5://me:x@proxy.example:1080",
        ),
        ("https://api.example/v1", {"ALL_PROXY": "socks4://proxy.example:1080"}, None),
        ("https://api.example/v1", {"HTTPS_PROXY": PROXY, "NO_PROXY": "other.example, .example"}, None),
        ("https://api.example/v1", {"HTTPS_PROXY": PROXY, "NO_PROXY": "*"}, None),
        ("https://api.example/v1", {"HTTPS_PROXY": PROXY, "NO_PROXY": "api.example.com"}, PROXY),
        ("http://10.1.2.3:8080/v1", {"HTTP_PROXY": PROXY, "NO_PROXY": "10.1.0.0/16"}, None),
        ("http://10.2.2.3:8080/v1", {"HTTP_PROXY": PROXY, "NO_PROXY": "10.1.0.0/16,x"}, PROXY),
        ("http://[fd00::7]:8080/v1", {"HTTP_PROXY": PROXY, "NO_PROXY": "fd00::/8"}, None),
        ("http://127.0.0.1:11434/v1", {"HTTP_PROXY": PROXY, "ALL_PROXY": PROXY}, None),
        ("http://host.docker.internal:11434/v1", {"HTTP_PROXY": PROXY}, None),
        ("http://ollama:11434/v1", {"HTTP_PROXY": PROXY}, None),
        ("http://10.1.2.3:11434/v1", {"HTTP_PROXY": PROXY}, PROXY),
        ("http://localhost:11434/v1", {"HTTP_PROXY": PROXY, "ALL_PROXY": PROXY}, None),
        ("http://[::1]:11434/v1", {"HTTP_PROXY": PROXY, "ALL_PROXY": PROXY}, None),
    ],
)
def test_proxy_of_a_url(
    monkeypatch: pytest.MonkeyPatch, url: str, environment: dict[str, str], proxy: str | None
) -> None:
    """As curl chooses it, and none for this machine."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert proxy == proxy_for(url)


def test_a_proxy_that_cannot_be_used_is_a_warning_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the variable, the value and what to set; a proxy that can be used is none."""
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    monkeypatch.setenv("ALL_PROXY", "socks4://mia:secret@proxy.example:1080")
    monkeypatch.setenv("http_proxy", "http://")

    lines = list(proxy_warnings())

    assert ["http_proxy", "ALL_PROXY"] == [line.split()[0] for line in lines]
    assert "socks4://…@proxy.example:1080" in lines[1]
    assert "secret" not in lines[1]
    assert lines[1].endswith("Set ALL_PROXY to http://host:port or socks5://host:port.")


def test_certificates_that_can_be_read_are_accepted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A file with several, and a folder with hashed names beside one that is not there, as OpenSSL takes it."""
    file = tmp_path / "ca.pem"
    for _ in range(2):
        trustme.CA().cert_pem.write_to_path(str(file), append=True)
    (tmp_path / "0a1b2c3d.0").write_bytes(file.read_bytes())
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    monkeypatch.setenv("SSL_CERT_DIR", f"{tmp_path / 'none'}{os.pathsep}{tmp_path}")

    check_certificates()


@pytest.mark.parametrize(
    ("variable", "name", "content", "fault"),
    [
        ("SSL_CERT_FILE", "none.pem", None, r"cannot be read \(No such file"),
        ("SSL_CERT_FILE", "", None, r"cannot be read \(Is a directory"),
        ("SSL_CERT_FILE", "empty.pem", "", "holds no certificate"),
        ("SSL_CERT_FILE", "page.pem", "<html>Not Found</html>", "holds no certificate"),
        ("SSL_CERT_DIR", "none", None, r"cannot be read \(No such file"),
        ("SSL_CERT_DIR", "", None, "holds no certificate with a hashed name"),
    ],
)
def test_certificates_that_are_none_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str, name: str, content: str | None, fault: str
) -> None:
    """One line: the variable, its value, what is wrong, what to set."""
    value = str(tmp_path / name).rstrip("/")
    if content is not None:
        Path(value).write_text(content)
    monkeypatch.setenv(variable, value)

    with pytest.raises(ConfigurationError, match=f"^{variable} is {value}, which {fault}.*; set {variable} to "):
        check_certificates()
