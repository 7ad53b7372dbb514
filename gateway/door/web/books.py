"""Makes books of a story with its audio: EPUB 3 with media overlays, and one HTML file that reads along."""

import asyncio
import base64
import re
import tempfile
import unicodedata
import zipfile
from bisect import bisect_right
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain, count
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from tale.common.v1 import common_pb2

if TYPE_CHECKING:
    from jinja2 import Environment

_EPUB_AUDIO: Final = {"audio/mpeg": "audio.mp3", "audio/ogg": "audio.ogg"}
"""Media types that every EPUB reader plays, and the name of the file."""
_PIECE: Final = 64 * 1024
_BASE64_PIECE: Final = 3 * 16 * 1024
_NOT_XML: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LATIN: Final = frozenset({"L"})
_RIGHT_TO_LEFT: Final = frozenset({"R", "AL"})


@dataclass(frozen=True, slots=True)
class Fragment:
    """A piece of text; with its place in the audio, in seconds, where it is heard on its own."""

    text: str
    id: str = ""
    begin: float = 0.0
    end: float = 0.0


class Book:
    """A story as a template shows it: fragments of the title, and of each paragraph. Make it on a thread."""

    def __init__(self, story: common_pb2.Story) -> None:
        """`story` is in FULL view."""
        self.id = story.id
        self.title = for_xml(story.title) or "—"
        self.language = story.language_code
        self.right_to_left = _reads_right_to_left(story.content)
        self.content_type = story.audio.content_type
        self.audio = _EPUB_AUDIO.get(story.audio.content_type, "")
        self.seconds = _seconds(story.audio.duration)
        self.modified = story.update_time.ToDatetime().strftime("%Y-%m-%dT%H:%M:%SZ")
        ids = (f"w{number}" for number in count(1))
        content = for_xml(story.content)
        titles, texts = _marks(story.audio.segments, len(self.title))
        self.heading = list(_fragments(self.title, 0, titles, ids))
        self.paragraphs = [list(_fragments(line, start, texts, ids)) for start, line in _lines(content) if line.strip()]
        self.timed = [each for each in chain(self.heading, *self.paragraphs) if each.id]

    @property
    def heard(self) -> bool:
        """Whether an EPUB can have its audio."""
        return bool(self.audio and self.timed)


@dataclass(slots=True)
class BookFile:
    """A book in a file without a name, which ends once it was sent."""

    file: IO[bytes]
    size: int

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yields its bytes."""
        with self.file:
            while piece := await asyncio.to_thread(self.file.read, _PIECE):
                yield piece


async def epub(book: Book, audio: AsyncIterator[bytes] | None) -> BookFile:
    """Returns the story as an EPUB 3 publication; the audio goes through a file, not through the memory."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the book's file
    try:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as book_file:
            await asyncio.to_thread(_write_texts, book_file, book)
            if audio is not None:
                # What is compressed already is stored as it is.
                with book_file.open(zipfile.ZipInfo(f"OPS/{book.audio}"), "w", force_zip64=False) as entry:
                    async for piece in audio:
                        await asyncio.to_thread(entry.write, piece)
        size = file.tell()
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return BookFile(file, size)


def for_xml(text: str) -> str:
    """Returns the text without the characters that XML cannot have."""
    return _NOT_XML.sub("\ufffd", text)


def rendered(template: str, **values: object) -> str:
    """Returns what a template makes of the values. Call it on a thread."""
    return _templates().get_template(template).render(values)


@cache
def _templates() -> "Environment":
    from jinja2 import Environment, FileSystemLoader  # noqa: PLC0415 - 60 ms of each start, for what few ask for

    folder = FileSystemLoader(Path(__file__).parent / "templates")
    return Environment(loader=folder, autoescape=True, trim_blocks=True, lstrip_blocks=True)


def _write_texts(file: zipfile.ZipFile, book: Book) -> None:
    file.writestr(zipfile.ZipInfo("mimetype"), "application/epub+zip", compress_type=zipfile.ZIP_STORED)
    names = {"META-INF/container.xml": "container.xml", "OPS/package.opf": "package.opf", "OPS/nav.xhtml": "nav.xhtml"}
    names |= {"OPS/story.xhtml": "story.xhtml", "OPS/style.css": "style.css"}
    if book.heard:
        names["OPS/story.smil"] = "story.smil"
    for name, template in names.items():
        info = zipfile.ZipInfo(name)
        info.compress_type = zipfile.ZIP_DEFLATED
        file.writestr(info, rendered(template, book=book))


async def read_along(book: Book, audio: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yields an HTML file with text and audio, in which the word that is heard is shown."""
    page = await asyncio.to_thread(rendered, "read_along.html", book=book)
    # The last one: the text may say it, too.
    before, marker, after = page.rpartition(";base64,")
    yield (before + marker).encode()
    left = b""
    async for piece in audio:
        left += piece
        whole = len(left) - len(left) % _BASE64_PIECE
        yield base64.b64encode(left[:whole])
        left = left[whole:]
    yield base64.b64encode(left)
    yield after.encode()


_Mark = tuple[int, int, float, float]


def _marks(segments: Sequence[common_pb2.Segment], title_length: int) -> tuple[list[_Mark], list[_Mark]]:
    """Returns what is heard when, of the title and of the text: the words, or segments whose words have no times."""
    titles: list[_Mark] = []
    texts: list[_Mark] = []
    for segment in segments:
        is_title = segment.text.end <= segment.text.start
        marks = titles if is_title else texts
        if segment.words:
            marks += ((w.text.start, w.text.end, _seconds(w.start), _seconds(w.end)) for w in segment.words)
        else:
            start, end = (0, title_length) if is_title else (segment.text.start, segment.text.end)
            begin = _seconds(segment.start)
            marks.append((start, end, begin, begin + _seconds(segment.duration)))
    return _in_order(titles), _in_order(texts)


def _in_order(marks: list[_Mark]) -> list[_Mark]:
    """Returns the marks that follow each other in text and time."""
    kept: list[_Mark] = []
    for start, end, begin, finish in sorted(marks):
        if end > start and finish > begin and (not kept or (start >= kept[-1][1] and begin >= kept[-1][2])):
            kept.append((start, end, begin, finish))
    return kept


def _fragments(line: str, offset: int, marks: Sequence[_Mark], ids: Iterator[str]) -> Iterator[Fragment]:
    """Yields the fragments of a line that begins at `offset`; of a mark that is longer, its share."""
    at = 0
    for place in range(bisect_right(marks, offset, key=_end), len(marks)):
        start, end, begin, finish = marks[place]
        if start >= offset + len(line):
            break
        first, last = max(start - offset, at), min(end - offset, len(line))
        if last <= first or not line[first:last].strip():
            continue
        if first > at:
            yield Fragment(line[at:first])
        a_character = (finish - begin) / (end - start)
        starts, ends = (begin + a_character * (each + offset - start) for each in (first, last))
        yield Fragment(line[first:last], next(ids), round(starts, 3), round(ends, 3))
        at = last
    if at < len(line):
        yield Fragment(line[at:])


def _end(mark: _Mark) -> int:
    return mark[1]


def _lines(content: str) -> Iterator[tuple[int, str]]:
    offset = 0
    for line in content.split("\n"):
        yield offset, line
        offset += len(line) + 1


def _reads_right_to_left(text: str) -> bool:
    """Returns the direction of the first letter that has one."""
    kinds = (unicodedata.bidirectional(character) for character in text)
    return next((kind for kind in kinds if kind in _LATIN | _RIGHT_TO_LEFT), "L") in _RIGHT_TO_LEFT


def _seconds(duration: Any) -> float:
    return float(duration.ToNanoseconds()) / 1e9
