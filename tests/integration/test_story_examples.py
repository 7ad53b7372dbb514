"""The example stories are those that the embedded writer writes now."""

from benchmarks.story_examples import FOLDER, pages


async def test_example_stories_are_current() -> None:
    """If not: `make examples`."""
    expected = await pages()
    present = {str(path.relative_to(FOLDER)): path.read_text("utf-8") for path in FOLDER.rglob("*.txt")}
    assert sorted(expected) == sorted(present)
    assert [] == [name for name, text in expected.items() if present[name] != text]
