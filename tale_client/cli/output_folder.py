"""Writes stories into a folder: the text with its facts, and the audio."""

import asyncio
import glob
import hashlib
import unicodedata
from pathlib import Path
from typing import Final

from pathvalidate import sanitize_filename

from tale.common.v1 import common_pb2
from tale_client.aio import in_thread
from tale_client.cli.terminal import one_line, printable
from tale_client.cli.wording import facts
from tale_client.transport import PartialFile

SUFFIXES: Final = {
    "audio/mpeg": ".mp3",
    "audio/wav": ".wav",
    "audio/x-wav": ".wav",
    "audio/ogg": ".ogg",
}
_APOSTROPHES: Final = dict.fromkeys(map(ord, "'\u2019\u02bc"))
_MAX_NAME_BYTES: Final = 100
_MAX_VOICE_BYTES: Final = 40
_MAX_NAMES: Final = 1000
_MAX_BYTES_SEARCHED: Final = 1024 * 1024


def slug(story: common_pb2.Story) -> str:
    """Returns a file name from the title, in its own script: letters and digits in lower case, with "-" between words.

    It is in normal form C, is valid on every system and has at most 100 bytes. Without a letter or digit in the title
    it is made of the id.
    """
    title = unicodedata.normalize("NFC", story.title).lower().translate(_APOSTROPHES)
    # Marks are parts of letters in many scripts.
    plain = "".join(char if unicodedata.category(char)[0] in "LMN" else " " for char in title)
    name = "-".join(plain.split()) or f"story-{story.id.lower()}"
    # It replaces the names that Windows reserves, and cuts between characters.
    return sanitize_filename(name, max_len=_MAX_NAME_BYTES, platform="universal").strip("-")


def markdown(story: common_pb2.Story) -> str:
    """Returns the story as a document: title, text, facts."""
    title = one_line(story.title) or "Untitled"
    known = "\n".join(f"- {label}: {value}" for label, value in facts(story))
    return f"# {title}\n\n{printable(story.content).strip()}\n\n---\n\n{known}\n"


def audio_suffix(audio: common_pb2.StoryAudio) -> str:
    """Returns the suffix of a file with that audio."""
    return SUFFIXES.get(audio.content_type.partition(";")[0].strip(), ".audio")


def audio_files(document: Path) -> list[Path]:
    """Returns the files with audio beside a document: that of the story, and those of earlier voices."""
    suffixes = sorted(set(SUFFIXES.values()))
    present = [audio for suffix in suffixes if (audio := document.with_suffix(suffix)).exists()]
    earlier = document.parent.glob(f"{glob.escape(document.stem)} (*).*")
    return [*present, *sorted(audio for audio in earlier if audio.suffix in suffixes)]


def earlier_place(document: Path, audio: common_pb2.StoryAudio) -> Path:
    """Returns where the audio of an earlier voice goes, beside its document: a new file, or the one that holds it."""
    voice = sanitize_filename(audio.voice_id or audio.provider, max_len=_MAX_VOICE_BYTES, platform="universal")
    for number in range(1, _MAX_NAMES):
        label = voice if number == 1 else f"{voice} {number}"
        place = document.with_name(f"{document.stem} ({label}){audio_suffix(audio)}")
        if not place.exists() or _sha256(place) == audio.sha256:
            return place
    raise FileExistsError(17, "too many voices of this story", str(document))


def _sha256(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


class OutputFolder:
    """Names `<slug>.md` and `<slug>.mp3` in a folder, with a number where another story has the name. OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path

    async def write_text(self, story: common_pb2.Story) -> Path:
        """Writes the document and returns its path; replaces that of the same story, never that of another."""
        place = await asyncio.to_thread(self._reserve, story)
        try:
            async with PartialFile(self.path, ".md", in_thread) as file:
                await file.write(markdown(story).encode())
                await file.commit(place)
        except BaseException:
            await asyncio.to_thread(self._release, place)
            raise
        return place

    @staticmethod
    def _release(place: Path) -> None:
        if place.exists() and place.stat().st_size == 0:
            place.unlink()

    def _reserve(self, story: common_pb2.Story) -> Path:
        self.path.mkdir(parents=True, exist_ok=True)
        name = slug(story)
        for number in range(1, _MAX_NAMES):
            place = self.path / f"{name if number == 1 else f'{name}-{number}'}.md"
            try:
                # Exclusive, so that two commands at the same time do not use one file.
                place.open("x").close()
            except FileExistsError:
                if self._holds(place, story):
                    return place
                continue
            if any(place.with_suffix(suffix).exists() for suffix in SUFFIXES.values()):
                place.unlink()
                continue
            return place
        raise FileExistsError(17, "too many stories with this name", str(self.path / name))

    @staticmethod
    def _holds(place: Path, story: common_pb2.Story) -> bool:
        with place.open(encoding="utf-8", errors="replace") as file:
            return f"\n- Story: {story.id}\n" in file.read(_MAX_BYTES_SEARCHED)


class AudioDraft:
    """Audio that arrives while a story is made; it becomes a file only if it is complete and correct."""

    def __init__(self, file: PartialFile) -> None:
        self._file = file
        self._audio_id = ""
        self._size = 0
        self._hash = hashlib.sha256()

    async def begin(self, audio_id: str) -> None:
        """Starts the audio `audio_id` at byte 0 and drops what another one left."""
        self._audio_id, self._size, self._hash = audio_id, 0, hashlib.sha256()
        await self._file.clear()

    async def add(self, chunk: bytes) -> None:
        """Appends `chunk`."""
        self._size += len(chunk)
        self._hash.update(chunk)
        await self._file.write(chunk)

    async def commit(self, audio: common_pb2.StoryAudio, place: Path) -> bool:
        """Moves the file to `place` if it is `audio`; returns False if it is not."""
        draft = (self._audio_id, self._size, self._hash.digest())
        if draft != (audio.audio_id, audio.size_bytes, audio.sha256):
            return False
        await self._file.commit(place)
        return True
