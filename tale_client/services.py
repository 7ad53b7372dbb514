"""Calls that concern saved children and heroes, and the services: voices, models, transcription, status."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Final

from google.protobuf.field_mask_pb2 import FieldMask

from tale.common.v1 import common_pb2, status_pb2
from tale.gateway.v1 import gateway_pb2
from tale.profile.v1 import profile_pb2
from tale.story.v1 import story_pb2
from tale.voice.v1 import voice_pb2
from tale_client.calls import PAGE_SIZE, Calls, new_request_id
from tale_client.errors import TaleError, Violation, own_error
from tale_client.transport import Rpc

CREATE_CHILD: Final = Rpc(profile_pb2.CreateChildRequest, profile_pb2.CreateChildResponse)
GET_CHILD: Final = Rpc(profile_pb2.GetChildRequest, profile_pb2.GetChildResponse)
LIST_CHILDREN: Final = Rpc(profile_pb2.ListChildrenRequest, profile_pb2.ListChildrenResponse)
UPDATE_CHILD: Final = Rpc(profile_pb2.UpdateChildRequest, profile_pb2.UpdateChildResponse)
DELETE_CHILD: Final = Rpc(profile_pb2.DeleteChildRequest, profile_pb2.DeleteChildResponse)
ERASE_CHILD: Final = Rpc(gateway_pb2.EraseChildRequest, gateway_pb2.EraseChildResponse)
CREATE_HERO: Final = Rpc(profile_pb2.CreateHeroRequest, profile_pb2.CreateHeroResponse)
GET_HERO: Final = Rpc(profile_pb2.GetHeroRequest, profile_pb2.GetHeroResponse)
LIST_HEROES: Final = Rpc(profile_pb2.ListHeroesRequest, profile_pb2.ListHeroesResponse)
UPDATE_HERO: Final = Rpc(profile_pb2.UpdateHeroRequest, profile_pb2.UpdateHeroResponse)
DELETE_HERO: Final = Rpc(profile_pb2.DeleteHeroRequest, profile_pb2.DeleteHeroResponse)


class ProfileCalls(Calls):
    """Children and heroes.

    An update changes the named `fields`, or all fields that are set in the message if none is named. A named field that
    is not set is cleared. A revision in the message must be the stored one (REVISION_MISMATCH); then the call is not
    repeated, because a repetition would find the revision that the first call made.
    """

    async def create_child(self, child: common_pb2.Child, *, request_id: str = "") -> common_pb2.Child:
        """Saves a child, whose id can be used in a StorySpec, and returns it."""
        request = profile_pb2.CreateChildRequest(request_id=request_id or new_request_id(), child=child)
        return (await self._unary(CREATE_CHILD, request)).child

    async def get_child(self, child_id: str) -> common_pb2.Child:
        """Returns a saved child."""
        return (await self._unary(GET_CHILD, profile_pb2.GetChildRequest(child_id=child_id))).child

    async def list_children(self, *, page_size: int = PAGE_SIZE) -> AsyncGenerator[common_pb2.Child, None]:
        """Yields the saved children, newest first, page after page."""
        request = profile_pb2.ListChildrenRequest(page_size=page_size)
        async with aclosing(self._pages(LIST_CHILDREN, request)) as found:
            async for page in found:
                for child in page.children:
                    yield child

    async def update_child(self, child: common_pb2.Child, *, fields: Sequence[str] = ()) -> common_pb2.Child:
        """Changes the child with the id of `child` and returns it; fields: name, age, gender, interests."""
        request = profile_pb2.UpdateChildRequest(child=child, update_mask=_mask(fields))
        return (await self._unary(UPDATE_CHILD, request, repeatable=not child.revision)).child

    async def delete_child(self, child_id: str) -> None:
        """Deletes a child. Its stories stay; see `erase_child`."""
        await self._delete(DELETE_CHILD, profile_pb2.DeleteChildRequest(child_id=child_id))

    async def erase_child(self, child_id: str) -> gateway_pb2.EraseChildResponse:
        """Deletes a child with its stories, audio, attempts and segments, and returns their counts.

        The counts are 0 if the first response was lost, because a repetition finds nothing to delete.
        """
        erased = await self._delete(ERASE_CHILD, gateway_pb2.EraseChildRequest(child_id=child_id))
        return erased or gateway_pb2.EraseChildResponse()

    async def create_hero(self, hero: common_pb2.Hero, *, request_id: str = "") -> common_pb2.Hero:
        """Saves a hero, whose id can be used in a StorySpec, and returns it."""
        request = profile_pb2.CreateHeroRequest(request_id=request_id or new_request_id(), hero=hero)
        return (await self._unary(CREATE_HERO, request)).hero

    async def get_hero(self, hero_id: str) -> common_pb2.Hero:
        """Returns a saved hero."""
        return (await self._unary(GET_HERO, profile_pb2.GetHeroRequest(hero_id=hero_id))).hero

    async def list_heroes(self, *, page_size: int = PAGE_SIZE) -> AsyncGenerator[common_pb2.Hero, None]:
        """Yields the saved heroes, newest first, page after page."""
        request = profile_pb2.ListHeroesRequest(page_size=page_size)
        async with aclosing(self._pages(LIST_HEROES, request)) as found:
            async for page in found:
                for hero in page.heroes:
                    yield hero

    async def update_hero(self, hero: common_pb2.Hero, *, fields: Sequence[str] = ()) -> common_pb2.Hero:
        """Changes the hero with the id of `hero` and returns it; fields: name, gender, appearance and so on."""
        request = profile_pb2.UpdateHeroRequest(hero=hero, update_mask=_mask(fields))
        return (await self._unary(UPDATE_HERO, request, repeatable=not hero.revision)).hero

    async def delete_hero(self, hero_id: str) -> None:
        """Deletes a hero. Its stories stay."""
        await self._delete(DELETE_HERO, profile_pb2.DeleteHeroRequest(hero_id=hero_id))


def _mask(fields: Sequence[str]) -> FieldMask | None:
    return FieldMask(paths=fields) if fields else None


GET_SYSTEM_STATUS: Final = Rpc(gateway_pb2.GetSystemStatusRequest, gateway_pb2.GetSystemStatusResponse)
GET_USAGE: Final = Rpc(gateway_pb2.GetUsageRequest, gateway_pb2.GetUsageResponse)
LIST_MODELS: Final = Rpc(story_pb2.ListModelsRequest, story_pb2.ListModelsResponse)
LIST_PROVIDERS: Final = Rpc(voice_pb2.ListProvidersRequest, voice_pb2.ListProvidersResponse)
LIST_VOICES: Final = Rpc(voice_pb2.ListVoicesRequest, voice_pb2.ListVoicesResponse)
RESET_CIRCUIT: Final = Rpc(gateway_pb2.ResetCircuitRequest, gateway_pb2.ResetCircuitResponse)
TRANSCRIBE: Final = Rpc(voice_pb2.TranscribeRequest, voice_pb2.TranscribeResponse)

CONTENT_TYPES: Final = {
    ".wav": "audio/wav",
    ".mp3": "audio/mpeg",
    ".m4a": "audio/mp4",
    ".mp4": "video/mp4",
    ".ogg": "audio/ogg",
    ".oga": "audio/ogg",
    ".opus": "audio/ogg",
    ".webm": "audio/webm",
    ".flac": "audio/flac",
}
"""Media types of recordings by the suffix of the file."""

_CHUNK_BYTES: Final = 64 * 1024
_MAX_BYTES: Final = 256 << 20
"""More than any server accepts; limits what is read from an endless file."""
_TRANSCRIBE_SECONDS: Final = 150.0
"""Default timeout of a transcription; the server's own limit is two minutes by default."""


class ServiceCalls(Calls):
    """What the services offer, and their state. Lists are returned whole; `stale`: a part of one is out of date."""

    async def list_providers(self) -> voice_pb2.ListProvidersResponse:
        """Returns the voice providers in their order of use."""
        return await self._unary(LIST_PROVIDERS, voice_pb2.ListProvidersRequest())

    async def list_voices(self, *, provider: str = "", language_code: str = "") -> voice_pb2.ListVoicesResponse:
        """Returns the voices of a provider (empty: of all configured ones) for a language (BCP-47; empty: any)."""
        request = voice_pb2.ListVoicesRequest(provider=provider, language_code=language_code, page_size=PAGE_SIZE)
        whole = voice_pb2.ListVoicesResponse()
        async with aclosing(self._pages(LIST_VOICES, request)) as found:
            async for page in found:
                whole.voices.extend(page.voices)
                whole.stale |= page.stale
        return whole

    async def list_models(self) -> story_pb2.ListModelsResponse:
        """Returns the models that can write stories."""
        request = story_pb2.ListModelsRequest(page_size=PAGE_SIZE)
        whole = story_pb2.ListModelsResponse()
        async with aclosing(self._pages(LIST_MODELS, request)) as found:
            async for page in found:
                whole.models.extend(page.models)
                whole.stale |= page.stale
        return whole

    async def transcribe(
        self,
        recording: bytes | Path | str,
        *,
        content_type: str = "",
        language_code: str = "",
        timeout: float = _TRANSCRIBE_SECONDS,
    ) -> voice_pb2.TranscribeResponse:
        """Returns the words of a recording: its bytes, or the path of its file.

        `content_type`: media type, such as "audio/wav"; by default it follows the suffix of the file. `language_code`:
        spoken language (BCP-47); empty: it is detected. `timeout`: seconds, with upload and repetitions.

        Raises OSError, and TaleError with INVALID_CONFIGURATION where the cluster has no transcription,
        RECORDING_TOO_LARGE, or NO_SPEECH where the recording has no words.
        """
        if isinstance(recording, bytes):
            data = recording
        else:
            place = Path(recording)
            content_type = content_type or CONTENT_TYPES.get(place.suffix.lower(), "")
            data = await self._transport.offload(_read, place)
        if not content_type:
            raise _unknown_content_type()
        config = voice_pb2.TranscribeConfig(content_type=content_type, language_code=language_code)
        requests = [voice_pb2.TranscribeRequest(config=config)]
        requests += [
            voice_pb2.TranscribeRequest(chunk=data[start : start + _CHUNK_BYTES])
            for start in range(0, len(data), _CHUNK_BYTES)
        ]
        return await self._upload(TRANSCRIBE, requests, timeout=timeout)

    async def system_status(self) -> gateway_pb2.GetSystemStatusResponse:
        """Returns the state of every service and its embedded parts."""
        return await self._unary(GET_SYSTEM_STATUS, gateway_pb2.GetSystemStatusRequest())

    async def reset_circuit(self, name: str, *, service: str = "") -> status_pb2.CircuitStatus:
        """Closes a circuit breaker and returns its new state; `system_status` lists the circuits.

        `service` is needed only if several services have a circuit with this name. If a service has replicas, the one
        that the call reaches is changed.
        """
        response = await self._unary(RESET_CIRCUIT, gateway_pb2.ResetCircuitRequest(service=service, name=name))
        return response.circuit

    async def usage(self, days: int = 30, *, all_owners: bool = False) -> gateway_pb2.GetUsageResponse:
        """Returns the stories, characters, tokens and US dollars of each of the last `days` (UTC), newest first.

        `all_owners`: not of this caller alone; for operators.
        """
        return await self._unary(GET_USAGE, gateway_pb2.GetUsageRequest(days=days, all_owners=all_owners))


def _read(place: Path) -> bytes:
    with place.open("rb") as file:
        data = file.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise own_error("RECORDING_TOO_LARGE", f"The recording is larger than {_MAX_BYTES >> 20} MiB.")
    return data


def _unknown_content_type() -> TaleError:
    known = ", ".join(sorted(set(CONTENT_TYPES.values())))
    message = f"must be given if the file name has no known suffix: one of {known}"
    return own_error(
        "VALIDATION_FAILED",
        f"content_type {message}",
        violations=[Violation("config.content_type", message)],
    )
