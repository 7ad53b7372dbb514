"""Composes the manifest of a narration into the one audio file of its story."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from servicekit.errors import wrong_state
from storage_service.audio.noted import NotedObjects
from storage_service.audio.segments import SegmentLibrary
from storage_service.errors import audio_too_large, segment_lost
from storage_service.ports import BlobLostError, Composer, StoryStore
from storage_service.records import Blob, Digest, Manifest, ObjectKind, StoredAudio
from tale.common.v1 import common_pb2

_INCOMPLETE: Final = "The narration cannot be finished: "


class AudioFinisher:
    """Finishes narrations of at most `max_bytes`."""

    def __init__(
        self,
        stories: StoryStore,
        segments: SegmentLibrary,
        objects: NotedObjects,
        composer: Composer,
        *,
        max_bytes: int,
    ) -> None:
        self._stories = stories
        self._segments = segments
        self._objects = objects
        self._composer = composer
        self._max_bytes = max_bytes

    async def finish(self, story_id: str, lease_token: int, audio_id: str) -> common_pb2.StoryAudio:
        """Composes a narration and makes it the audio of its story; the audio as stored, without segments.

        Raises STORY_NOT_FOUND, LEASE_LOST, WRONG_STATE (the manifest does not cover the whole text), AUDIO_TOO_LARGE,
        and SEGMENT_LOST where bytes of a segment are missing or damaged: the segment is dropped then.
        """
        found = await self._stories.manifest(story_id, lease_token, audio_id)
        if isinstance(found, StoredAudio):
            return found.audio
        _check_whole(found)
        blobs = _blobs(found)
        if sum(blob.size for blob in blobs) > self._max_bytes:
            raise audio_too_large(self._max_bytes)
        async with self._objects.new(ObjectKind.AUDIO) as key:
            try:
                digest = await self._composer.compose(key, blobs, content_type=found.header.content_type)
            except BlobLostError as error:
                lost = next(part.segment_key for part in found.parts if part.blob == error.blob)
                raise await self._segments.lost(lost, error.blob.key) from error
            attached = await self._stories.attach_audio(story_id, lease_token, _audio(found, digest), key)
        await self._objects.drop(attached.dropped)
        return attached.audio


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


def _blobs(manifest: Manifest) -> Sequence[Blob]:
    blobs: list[Blob] = []
    for part in manifest.parts:
        if part.blob is None:
            raise segment_lost(part.segment_key)
        blobs.append(part.blob)
    return blobs


def _audio(manifest: Manifest, digest: Digest) -> common_pb2.StoryAudio:
    header = manifest.header
    audio = common_pb2.StoryAudio(
        audio_id=header.audio_id,
        content_type=header.content_type,
        size_bytes=digest.size,
        sha256=digest.sha256,
        provider=header.provider,
        voice_id=header.voice_id,
        model_id=header.model_id,
        audio_format=header.audio_format,
    )
    audio.duration.FromMicroseconds(sum(segment.duration.ToMicroseconds() for segment in manifest.segments))
    spoken_by = Counter(segment.provider for segment in manifest.segments)
    audio.metadata.update({"segments_by_provider": dict(sorted(spoken_by.items()))})
    return audio
