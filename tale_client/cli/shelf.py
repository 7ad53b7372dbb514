"""The folder that stories are written to."""

import asyncio
import hashlib
import re
import unicodedata
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from tale.common.v1 import common_pb2
from tale_client.aio import in_thread
from tale_client.cli.facts import facts
from tale_client.cli.terminal import one_line, printable
from tale_client.files import PartialFile

SUFFIXES: Final = {
    "audio/mpeg": ".mp3",
    "audio/wav": ".wav",
    "audio/x-wav": ".wav",
    "audio/ogg": ".ogg",
}
_SLUG_LENGTH: Final = 60
_NAMES_TRIED: Final = 1000
_READ_AT_MOST: Final = 1024 * 1024


def slug(story: common_pb2.Story) -> str:
    """A file name out of the title: a-z, 0-9 and "-"; out of the id where the title has none of those."""
    plain = unicodedata.normalize("NFKD", story.title).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9]+", "-", plain.replace("'", "")).strip("-")
    # A few letters that happen to be ASCII are no name for a title in another script.
    letters = sum(char.isalnum() for char in story.title)
    if len(words) * 2 <= letters or not words:
        words = "story-" + re.sub(r"[^a-z0-9]+", "-", story.id.lower())
    return words[:_SLUG_LENGTH].strip("-")


def markdown(story: common_pb2.Story) -> str:
    """The story as a document: title, text, facts."""
    title = one_line(story.title) or "Untitled"
    known = "\n".join(f"- {label}: {value}" for label, value in facts(story))
    return f"# {title}\n\n{printable(story.content).strip()}\n\n---\n\n{known}\n"


def audio_suffix(audio: common_pb2.StoryAudio) -> str:
    """Suffix of a file with that audio."""
    return SUFFIXES.get(audio.content_type.partition(";")[0].strip(), ".audio")


class Shelf:
    """Keeps `<slug>.md` and `<slug>.mp3` in `folder`; a name that another story has gets a number. OSError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def put_text(self, story: common_pb2.Story) -> Path:
        """Writes the document and gives its place; over that of the same story, never over another one's."""
        place = await asyncio.to_thread(self._reserve, story)
        try:
            async with PartialFile(self.folder, ".md", in_thread) as file:
                await file.write(markdown(story).encode())
                await file.commit(place)
        except BaseException:
            await asyncio.to_thread(self._give_back, place)
            raise
        return place

    @staticmethod
    def _give_back(place: Path) -> None:
        if place.exists() and place.stat().st_size == 0:
            place.unlink()

    def _reserve(self, story: common_pb2.Story) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        name = slug(story)
        for number in range(1, _NAMES_TRIED):
            place = self.folder / f"{name if number == 1 else f'{name}-{number}'}.md"
            try:
                # Exclusive, so that two who tell at once do not meet in one file.
                place.open("x").close()
            except FileExistsError:
                if self._is_of(place, story):
                    return place
                continue
            if any(place.with_suffix(suffix).exists() for suffix in SUFFIXES.values()):
                place.unlink()
                continue
            return place
        raise FileExistsError(17, "too many stories of that name", str(self.folder / name))

    @staticmethod
    def _is_of(place: Path, story: common_pb2.Story) -> bool:
        with place.open(encoding="utf-8", errors="replace") as file:
            return f"\n- Story: {story.id}\n" in file.read(_READ_AT_MOST)


class AudioIntake:
    """Audio that arrives while a story is told; kept only if it is whole and right."""

    def __init__(self, file: PartialFile) -> None:
        self._file = file
        self._audio_id = ""
        self._size = 0
        self._hash = hashlib.sha256()

    async def begin(self, audio_id: str) -> None:
        """An audio begins, at byte 0; what another one left goes."""
        self._audio_id, self._size, self._hash = audio_id, 0, hashlib.sha256()
        await self._file.clear()

    async def take(self, chunk: bytes) -> None:
        """More of it."""
        self._size += len(chunk)
        self._hash.update(chunk)
        await self._file.write(chunk)

    async def keep(
        self,
        audio: common_pb2.StoryAudio,
        place: Path,
        fetch: Callable[[Path], Awaitable[object]],
    ) -> None:
        """Puts it at `place` if it is `audio`; otherwise `fetch` gets it once more, verified."""
        came = (self._audio_id, self._size, self._hash.digest())
        if came == (audio.audio_id, audio.size_bytes, audio.sha256):
            await self._file.commit(place)
        else:
            await fetch(place)
