"""Keys that rotate, and addresses that a key may be sent to."""

import os
from pathlib import Path

import pytest
from pydantic import SecretStr

from servicekit.addresses import CorrectedUrl, check_api_url, check_base_url, is_own_network
from servicekit.secrets import SecretSource


class _Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_value_from_the_environment_is_the_key() -> None:
    """Without the blanks around it."""
    assert "key" == SecretSource(SecretStr(" key\n"), name="A_KEY").get()
    assert "" == SecretSource(None, name="A_KEY").get()


def test_a_key_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    """The file comes before the value, and a new content counts after five seconds at most."""
    clock, file = _Clock(), tmp_path / "key"
    file.write_text("first\n")
    source = SecretSource(SecretStr("given"), file, name="A_KEY", clock=clock)
    assert "first" == source.get()

    file.write_text("second, which is longer")
    assert "first" == source.get()
    clock.now = 5.0
    assert "second, which is longer" == source.get()


def test_a_key_file_that_is_replaced_is_read_again(tmp_path: Path) -> None:
    """Also where size and time are the same, as a new file put in place of the old one has."""
    clock, file, other = _Clock(), tmp_path / "key", tmp_path / "other"
    file.write_text("one")
    other.write_text("two")
    for each in (file, other):
        os.utime(each, ns=(1, 1))
    source = SecretSource(None, file, name="A_KEY", clock=clock)
    assert "one" == source.get()

    other.replace(file)
    clock.now = 5.0
    assert "two" == source.get()


@pytest.mark.parametrize("content", [None, b"", b" \n", b"\xff\xfe"])
def test_the_last_good_key_stays_while_its_file_is_no_good(tmp_path: Path, content: bytes | None) -> None:
    """A file that is gone, empty or not text changes nothing."""
    clock, file = _Clock(), tmp_path / "key"
    file.write_text("good")
    source = SecretSource(None, file, name="A_KEY", clock=clock)
    assert "good" == source.get()

    file.unlink()
    if content is not None:
        file.write_bytes(content)
    clock.now = 5.0
    assert "good" == source.get()


def test_a_key_file_that_is_rewritten_alike_is_read_again(tmp_path: Path) -> None:
    """Same size, same time of the last writing: the time of the change tells."""
    clock, file = _Clock(), tmp_path / "key"
    file.write_text("one")
    os.utime(file, ns=(1, 1))
    source = SecretSource(None, file, name="A_KEY", clock=clock)
    assert "one" == source.get()

    before = file.stat().st_ctime_ns
    while file.stat().st_ctime_ns == before:
        file.write_text("two")
        os.utime(file, ns=(1, 1))
    clock.now = 5.0
    assert "two" == source.get()


def test_a_byte_order_mark_is_no_part_of_the_key(tmp_path: Path) -> None:
    """Some editors write one."""
    file = tmp_path / "key"
    file.write_bytes(b"\xef\xbb\xbfkey\r\n")

    assert "key" == SecretSource(None, file, name="A_KEY").get()


def test_a_pipe_is_no_key_file(tmp_path: Path) -> None:
    """Nobody waits for it: what was given stays."""
    pipe = tmp_path / "key"
    os.mkfifo(pipe)

    assert "given" == SecretSource(SecretStr("given"), pipe, name="A_KEY").get()


@pytest.mark.parametrize(
    "url", ["https://host.example/v1", "http://127.0.0.1:8080", "http://localhost/v1", "http://[::1]:1/v1"]
)
def test_upstreams_over_tls_or_on_this_machine_are_fine(url: str) -> None:
    """A trailing slash goes."""
    assert url == check_base_url(url + "/")


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("http://host.example/v1", "must be https"),
        ("http://127.0.0.1.example", "must be https"),
        ("ftp://host.example", "must be a URL"),
        ("host.example", "must be a URL"),
        ("", "must be a URL"),
        ("https://", "must be a URL"),
        ("https://host.example:99999", "must be a URL"),
        ("https://host.example/?key=1", "must be a URL"),
        ("https://user:secret@host.example", "must hold no user"),
    ],
)
def test_upstreams_that_would_leak_or_can_not_be_called_are_refused(url: str, remedy: str) -> None:
    """With the remedy, and without the address, which may hold a secret."""
    with pytest.raises(ValueError, match=remedy) as caught:
        check_base_url(url)
    assert "secret" not in str(caught.value)


def test_plain_http_can_be_allowed() -> None:
    """For a network that is trusted, such as one of containers."""
    assert "http://kokoro:8880/v1" == check_base_url("http://kokoro:8880/v1", allow_plain_http=True)


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("http://127.0.0.1:11434/v1", "http://127.0.0.1:11434/v1"),
        ("http://127.0.0.1:11434/v1/", "http://127.0.0.1:11434/v1"),
        ("http://127.0.0.1:11434", "http://127.0.0.1:11434/v1"),
        ("http://127.0.0.1:11434/", "http://127.0.0.1:11434/v1"),
        (" http://127.0.0.1:11434/v1 ", "http://127.0.0.1:11434/v1"),
        ("http://127.0.0.1:11434/v1/chat/completions", "http://127.0.0.1:11434/v1"),
        ("http://127.0.0.1:11434/v1/chat/completions/", "http://127.0.0.1:11434/v1"),
        ("http://127.0.0.1:11434/chat/completions", "http://127.0.0.1:11434/v1"),
        ("http://127.0.0.1:8080/v1/completions", "http://127.0.0.1:8080/v1"),
        ("http://127.0.0.1:1234/v1/models", "http://127.0.0.1:1234/v1"),
        ("127.0.0.1:11434", "http://127.0.0.1:11434/v1"),
        ("localhost:11434", "http://localhost:11434/v1"),
        ("ollama:11434/v1", "http://ollama:11434/v1"),
        ("[::1]:11434", "http://[::1]:11434/v1"),
        ("http://127.0.0.1:11434/api/chat", "http://127.0.0.1:11434/v1"),
        ("http://127.0.0.1:11434/api/tags", "http://127.0.0.1:11434/v1"),
        ("http://127.0.0.1:8880/v1/audio/speech", "http://127.0.0.1:8880/v1"),
        ("http://127.0.0.1:8880/v1/audio/voices", "http://127.0.0.1:8880/v1"),
        ("http://127.0.0.1:8000/v1/audio/transcriptions", "http://127.0.0.1:8000/v1"),
        ("https://api.openai.com", "https://api.openai.com/v1"),
        ("https://api.openai.com/V1/Chat/Completions", "https://api.openai.com/V1"),
        ("https://openrouter.ai", "https://openrouter.ai/api/v1"),
        ("https://openrouter.ai/api", "https://openrouter.ai/api/v1"),
        ("https://openrouter.ai/v1/chat/completions", "https://openrouter.ai/api/v1"),
        ("https://host.example/llm/openai", "https://host.example/llm/openai"),
        ("https://host.example/llm/chat/completions", "https://host.example/llm"),
        ("http://host.docker.internal:11434", "http://host.docker.internal:11434/v1"),
        ("http://ollama:11434/v1", "http://ollama:11434/v1"),
        ("http://192.168.1.20:1234/v1", "http://192.168.1.20:1234/v1"),
        ("http://[fd00::2]:1234/v1", "http://[fd00::2]:1234/v1"),
        ("http://studio.local:1234/v1", "http://studio.local:1234/v1"),
    ],
)
def test_base_url_of_an_api_is_corrected(given: str, used: str) -> None:
    """The path of an endpoint goes, /v1 comes where no path is left; what was given is known where it matters."""
    url = check_api_url(given)

    assert used == url
    assert isinstance(url, CorrectedUrl) is (given.strip().rstrip("/") != used)
    assert not isinstance(url, CorrectedUrl) or given.strip() == url.given


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("http://llm.example/v1", "must be https, or set UPSTREAM_ALLOW_PLAIN_HTTP=1"),
        ("http://8.8.8.8/v1", "must be https"),
        ("http://134744072/v1", "must be https"),
        ("http://0x08080808/v1", "must be https"),
        ("http://ollama.example.com:11434", "must be https"),
        ("llm.example:11434", "must be a URL"),
        ("localhost:port", "must be a URL"),
        ("http:127.0.0.1", "must be a URL"),
        ("//127.0.0.1/v1", "must be a URL"),
        ("https://host.example/v1?key=secret", "must be a URL"),
        ("http://user:secret@127.0.0.1/v1", "must hold no user"),
    ],
)
def test_base_url_of_an_api_that_cannot_be_called_is_refused(url: str, remedy: str) -> None:
    """With the remedy and without the value."""
    with pytest.raises(ValueError, match=remedy) as caught:
        check_api_url(url)
    assert "secret" not in str(caught.value)


def test_plain_http_to_an_api_elsewhere_can_be_allowed() -> None:
    """For a network that is trusted."""
    assert "http://llm.example/v1" == check_api_url("http://llm.example", allow_plain_http=True)


@pytest.mark.parametrize(
    ("url", "own"),
    [
        ("http://localhost:11434/v1", True),
        ("http://127.9.9.9/v1", True),
        ("http://10.0.0.5/v1", True),
        ("http://172.17.0.1/v1", True),
        ("http://100.101.102.103/v1", True),
        ("http://[::1]/v1", True),
        ("http://host.docker.internal/v1", True),
        ("http://nas.home.arpa/v1", True),
        ("http://ollama/v1", True),
        ("https://api.openai.com/v1", False),
        ("https://1.1.1.1/v1", False),
        ("https://local.example/v1", False),
    ],
)
def test_own_network_is_known_by_its_name_or_address(url: str, own: bool) -> None:
    """Loopback, addresses that are not global, names without dots and those of local domains."""
    assert own is is_own_network(url)
