"""The words of the project: terms that have a plain replacement are in no code, setting, document or contract."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
CODE: Final = (
    "gateway",
    "story_service",
    "voice_service",
    "storage_service",
    "servicekit",
    "tale_client",
    "tale_cluster",
    "tools",
    "benchmarks",
    "standins",
)
"""Packages whose comments, docstrings and messages are read; the texts of `offline_writer` are prose."""

INSTEAD: Final = {
    r"can not": "cannot",
    r"knobs?": "setting",
    r"mends?|mended|mending": "fix, remedy",
    r"siblings?": "peer service",
    r"legs?": "writing attempt, narration attempt",
    r"nobody|somebody|anybody|everybody|whoever": "a caller, no gateway, every provider",
    r"anew": "again",
    r"kept": "stored",
    r"told": "returned, reported, narrated",
    r"asked again": "called again, retried",
    r"goes on|go on|went on|going on": "continues",
    r"in the making": "in progress",
    r"look-?outs?": "poller",
    r"speech providers?|providers? of speech": "voice provider",
    r"we|ours|ourselves|our own": "the service, this project",
}
"""What is not written (as a regular expression over whole words), and what is written instead."""


def _python(path: Path) -> Iterator[tuple[int, str]]:
    """Returns comments and texts of a module with their lines: what people read."""
    source = path.read_text(encoding="utf-8")
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.lineno, node.value


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Returns the lines of a document; of a contract the comments."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if path.suffix != ".proto" or line.lstrip().startswith("//"):
            yield number, line


def _texts() -> Iterator[tuple[Path, int, str]]:
    for folder in CODE:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield from ((path, number, text) for number, text in _python(path))
        # What models say is in their words.
        for path in sorted(path for path in (ROOT / folder).rglob("*.toml") if path.name != "wording.toml"):
            yield from ((path, number, text) for number, text in _lines(path))
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "protos" / "tale").rglob("*.proto")]
    for path in sorted([*documents, ROOT / "Makefile", ROOT / "docker-compose.yml", ROOT / ".env.example"]):
        yield from ((path, number, text) for number, text in _lines(path))


def _findings() -> Iterator[str]:
    words = {re.compile(rf"\b(?:{word})\b", re.IGNORECASE): instead for word, instead in INSTEAD.items()}
    any_of_them = re.compile(rf"\b(?:{'|'.join(INSTEAD)})\b", re.IGNORECASE)
    for path, number, text in _texts():
        if any_of_them.search(text):
            name = path.relative_to(ROOT)
            for word, instead in words.items():
                for match in word.finditer(text):
                    yield f"{name}:{number}: {match[0]!r}, write {instead!r}"


def test_words_are_plain() -> None:
    """Each finding has the file, the line and what to write instead."""
    assert [] == list(_findings())
