"""Composes the manifest of a narration into the one audio file of its story."""

import asyncio
import re
from collections import Counter
from contextlib import aclosing
from typing import Final

from servicekit.errors import DomainError, wrong_state
from servicekit.waiting import Finisher
from storage_service.audio.noted import NotedObjects
from storage_service.audio.segments import SegmentLibrary
from storage_service.errors import audio_too_large
from storage_service.messages import narrated_audio
from storage_service.ports import ObjectStore, StoryStore
from storage_service.records import Digest, Manifest, ObjectKey, ObjectKind, StoredAudio
from tale.common.v1 import common_pb2

_INCOMPLETE: Final = "The narration cannot be finished: "


class AudioFinisher:
    """Finishes narrations of at most `max_bytes`."""

    def __init__(
        self,
        stories: StoryStore,
        segments: SegmentLibrary,
        objects: NotedObjects,
        files: ObjectStore,
        *,
        max_bytes: int,
    ) -> None:
        self._stories = stories
        self._segments = segments
        self._objects = objects
        self._files = files
        self._max_bytes = max_bytes
        self._finisher = Finisher()
        # Bounded by the calls that the server takes.
        self._flights: dict[tuple[str, int, str], asyncio.Task[common_pb2.StoryAudio]] = {}

    async def finish(self, story_id: str, lease_token: int, audio_id: str) -> common_pb2.StoryAudio:
        """Composes a narration and makes it the audio of its story; the audio as stored, without segments.

        Raises STORY_NOT_FOUND, LEASE_LOST, WRONG_STATE (the manifest does not cover the whole text), AUDIO_TOO_LARGE,
        and SEGMENT_LOST where bytes of segments are missing or damaged: all such segments are dropped then. A call that
        is repeated while the first still composes joins it.
        """
        key = (story_id, lease_token, audio_id)
        task = self._flights.get(key)
        if task is None:
            task = self._flights[key] = self._finisher.start(self._finish(*key))
            task.add_done_callback(lambda _: self._flights.pop(key))
        return await asyncio.shield(task)

    async def _finish(self, story_id: str, lease_token: int, audio_id: str) -> common_pb2.StoryAudio:
        found = await self._stories.manifest(story_id, lease_token, audio_id)
        if isinstance(found, StoredAudio):
            return found.audio
        _check_whole(found)
        if sum(part.size for part in found.parts) > self._max_bytes:
            raise audio_too_large(self._max_bytes)
        async with self._objects.new(ObjectKind.AUDIO) as key:
            digest = await self._compose(key, found)
            attached = await self._stories.attach_audio(story_id, lease_token, _audio(found, digest), key)
        await self._objects.drop(attached.dropped)
        return attached.audio

    async def _compose(self, key: ObjectKey, manifest: Manifest) -> Digest:
        """Writes the segments one after the other; SEGMENT_LOST, once all of them have been read."""
        failure: DomainError | None = None
        begun, size = False, sum(part.size for part in manifest.parts)
        async with self._files.upload(key, content_type=manifest.header.content_type) as upload:
            for part in manifest.parts:
                try:
                    async with aclosing(self._segments.read(part)) as blocks:
                        async for block in blocks:
                            await upload.write(block if begun else true_sizes(block, size))
                            begun = True
                except DomainError as error:
                    if error.reason != "SEGMENT_LOST":
                        raise
                    failure = failure or error
            if failure is not None:
                raise failure
            return await upload.publish()


_WAVE: Final = re.compile(rb"RIFF\xff{4}(WAVEfmt .{20}data)\xff{4}", re.DOTALL)
_HEADER_BYTES: Final = 44


def true_sizes(beginning: bytes, size: int) -> bytes:
    """Returns the beginning of a file of `size` bytes with its sizes, where it is WAVE that was streamed without them.

    Sizes of 4 GiB or more have no place there; readers read to the end then.
    """
    header = _WAVE.match(beginning)
    if header is None or size - 8 > 0xFFFFFFFE:
        return beginning
    whole, sound = (size - 8).to_bytes(4, "little"), (size - _HEADER_BYTES).to_bytes(4, "little")
    return b"RIFF" + whole + header[1] + sound + beginning[_HEADER_BYTES:]


def _check_whole(manifest: Manifest) -> None:
    text_end = audio_end = 0
    for segment in manifest.segments:
        if (segment.text.start, segment.audio.start) != (text_end, audio_end):
            raise wrong_state(f"{_INCOMPLETE}its segments leave a gap.", segment=str(segment.index))
        text_end, audio_end = segment.text.end, segment.audio.end
    if not manifest.content_complete:
        raise wrong_state(f"{_INCOMPLETE}the text is not whole yet.")
    if not manifest.segments or text_end != manifest.content_length:
        raise wrong_state(
            f"{_INCOMPLETE}its segments cover {text_end} of {manifest.content_length} characters.",
            characters=str(text_end),
        )


def _audio(manifest: Manifest, digest: Digest) -> common_pb2.StoryAudio:
    audio = narrated_audio(manifest.header, manifest.segments[-1], size=digest.size, sha256=digest.sha256)
    spoken_by = Counter(segment.provider for segment in manifest.segments)
    audio.metadata.update({"segments_by_provider": dict(sorted(spoken_by.items()))})
    audio.embedded = any(segment.embedded for segment in manifest.segments)
    return audio
