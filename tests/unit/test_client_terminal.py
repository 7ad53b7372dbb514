"""Text on a terminal."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tale.common.v1 import common_pb2
from tale_client.cli.output_folder import markdown, slug
from tale_client.cli.terminal import Wrapper, cells, one_line, printable

ID = "0197a5a0-0000-7000-8000-000000000001"


def wrap(columns: int, *pieces: str) -> str:
    wrapper = Wrapper(columns)
    return "".join(wrapper.feed(piece) for piece in pieces) + wrapper.flush()


@given(pieces=st.lists(st.text("ab é　\n龍-\u0301", max_size=12), max_size=8), columns=st.integers(4, 20))
def test_wrapping_does_not_depend_on_the_pieces(pieces: list[str], columns: int) -> None:
    """The lines are the same for all pieces, none is too wide, and only blanks are lost."""
    text = "".join(pieces)
    wrapped = wrap(columns, *pieces)
    assert wrap(columns, text) == wrapped
    assert "".join(text.split()) == "".join(wrapped.split())
    assert all(cells(line) <= columns for line in wrapped.split("\n"))


def test_wrapping_breaks_between_words() -> None:
    """A word that does not fit starts the next line; paragraphs stay."""
    assert "one two\nthree\n\nfour" == wrap(9, "one two thr", "ee\n\nfour")


@pytest.mark.parametrize(
    ("given_", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07", "\ufffd]0;title\ufffd"),
        ("a\rb\x9bc\u202ed", "a\ufffdb\ufffdc\ufffdd"),
        ("line\r\nline\ttab", "line\nline\ttab"),
    ],
)
def test_printable_removes_control_characters(given_: str, shown: str) -> None:
    """Escape sequences, control characters and direction overrides are removed or replaced."""
    assert shown == printable(given_)


def test_one_line_joins_lines() -> None:
    """Line breaks become blanks."""
    assert "a b c" == one_line(" a\nb \r\n c\n")


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Mia’s Dragon & the Sea!", "mias-dragon-the-sea"),
        ("Zoë und der Bär", "zoë-und-der-bär"),
        ("../../etc/passwd", "etc-passwd"),
        ("Дракон v2", "дракон-v2"),
        ("Кот и\u0306 пёс", "кот-й-пёс"),
        ("बहादुर ड्रैगन", "बहादुर-ड्रैगन"),
        ("CON", "con_"),
        ("", f"story-{ID}"),
        ("...", f"story-{ID}"),
        ("a" * 500, "a" * 100),
        ("ё" * 500, "ё" * 50),
    ],
)
def test_slug_is_safe_for_any_title(title: str, name: str) -> None:
    """Letters and digits of any script; the id if the title has none."""
    assert name == slug(common_pb2.Story(id=ID, title=title))


@given(title=st.text(max_size=80))
def test_slug_is_never_a_path(title: str) -> None:
    """Every title gives a plain file name."""
    name = slug(common_pb2.Story(id=ID, title=title))
    assert unicodedata.is_normalized("NFC", name)
    assert all(char in "-_" or unicodedata.category(char)[0] in "LMN" for char in name)
    assert 0 < len(name.encode()) <= 100


def test_document_has_title_text_and_facts() -> None:
    """Title, text and facts, without control characters."""
    story = common_pb2.Story(
        id=ID,
        state=common_pb2.STORY_STATE_READY_WITHOUT_AUDIO,
        title="The\nOwl",
        content="Once.\n\nAnd \x1b[2Jagain.",
        child=common_pb2.Child(name="Mia", age=6),
        problems=[common_pb2.Problem(reason="AUDIO_GENERATION_FAILED", message="No voice.", remedy="Try again.")],
    )
    document = markdown(story)
    assert document.startswith("# The Owl\n\nOnce.\n\nAnd again.\n\n---\n\n")
    assert f"- Story: {ID}\n- State: READY_WITHOUT_AUDIO\n- Child: Mia, 6\n" in document
    assert "- Problem: No voice. Try again. [AUDIO_GENERATION_FAILED]\n" in document
