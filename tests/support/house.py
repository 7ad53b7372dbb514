"""All four services in the test's own process, over a folder of its own, with the mock voice."""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import grpc

import gateway.bootstrap
import storage_service.bootstrap
import story_service.bootstrap
from gateway.settings import GatewaySettings
from servicekit.app import App
from standins.watcher import Watcher, gateway_stub
from storage_service.settings import StorageSettings
from story_service.settings import StorySettings
from support.cutting_proxy import CuttingProxy, cutting_proxy
from support.servers import Running, running
from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2
from tale.storage.v1 import storage_pb2_grpc
from voice_service.bootstrap import assemble
from voice_service.providers.mock.provider import MockJournal, MockVoiceProvider
from voice_service.providers.mock.script import MockFault, MockScript
from voice_service.settings import Tuning, VoiceServiceSettings


@dataclass(slots=True)
class House:
    """A running cluster: the gateway's channel and stub, the storage behind it, and the mock voice's journal."""

    channel: grpc.aio.Channel
    stub: Any
    storage: Any
    journal: MockJournal
    servers: dict[str, Running]
    proxies: dict[str, CuttingProxy]
    gateway_settings: GatewaySettings

    @asynccontextmanager
    async def another_gateway(self, **settings: Any) -> AsyncIterator["House"]:
        """The same cluster by a further gateway, which may have settings of its own."""
        async with _gateway(self.gateway_settings.model_copy(update=settings)) as door:
            servers = {**self.servers, "gateway": door}
            yield replace(self, channel=door.channel, stub=gateway_stub(door.channel), servers=servers)

    @property
    def url(self) -> str:
        """The gateway's page, with `web_listen` among its settings."""
        app: Any = self.servers["gateway"].server._app
        return str(app._web.url)

    async def calls(self, code: str) -> dict[str, int]:
        """How many calls of each method have ended with `code`, in all services; health watches do not count."""
        found: Counter[str] = Counter()
        async with aiohttp.ClientSession() as session:
            for server in self.servers.values():
                async with session.get(f"http://{server.server.ops_address}/metrics") as answer:
                    text = await answer.text()
                for line in text.splitlines():
                    if line.startswith("grpc_server_handled_total") and f'grpc_code="{code}"' in line:
                        labels, _, value = line.rpartition(" ")
                        if "grpc.health" not in labels:
                            found[labels] += int(float(value))
        return dict(found)

    async def tell(self, wish: common_pb2.StorySpec, request_id: str = "") -> Watcher:
        """Tells a story to its end."""
        watcher = Watcher()
        await watcher.tell(self.channel, wish, request_id)
        if watcher.error is not None:
            raise watcher.error
        return watcher

    async def create(self, wish: common_pb2.StorySpec, request_id: str = "") -> common_pb2.Story:
        """Asks for a story and does not wait for it."""
        request = gateway_pb2.CreateStoryRequest(request_id=request_id, spec=wish)
        answer: gateway_pb2.CreateStoryResponse = await self.stub.CreateStory(request, timeout=20)
        return answer.story

    async def get(self, story_id: str) -> common_pb2.Story:
        """The story as kept, in full view."""
        request = gateway_pb2.GetStoryRequest(story_id=story_id, view=common_pb2.STORY_VIEW_FULL)
        answer: gateway_pb2.GetStoryResponse = await self.stub.GetStory(request, timeout=20)
        return answer.story

    async def status(self) -> gateway_pb2.GetSystemStatusResponse:
        """What the gateway says of the cluster."""
        answer: gateway_pb2.GetSystemStatusResponse = await self.stub.GetSystemStatus(
            gateway_pb2.GetSystemStatusRequest(), timeout=20
        )
        return answer

    async def cancel(self, story_id: str) -> common_pb2.Story:
        """Cancels a story."""
        request = gateway_pb2.CancelStoryRequest(story_id=story_id)
        answer: gateway_pb2.CancelStoryResponse = await self.stub.CancelStory(request, timeout=20)
        return answer.story

    async def watch(self, story_id: str) -> Watcher:
        """Watches a story from the beginning to its end."""
        watcher = Watcher(story_id=story_id)
        await watcher.watch(self.channel)
        if watcher.error is not None:
            raise watcher.error
        return watcher

    async def read_audio(self, story_id: str, offset: int = 0) -> tuple[common_pb2.StoryAudio, bytes]:
        """The kept audio's header and its bytes from `offset`."""
        request = gateway_pb2.ReadStoryAudioRequest(story_id=story_id, offset=offset)
        header, data = common_pb2.StoryAudio(), bytearray()
        async for response in self.stub.ReadStoryAudio(request, timeout=20):
            if response.WhichOneof("piece") == "header":
                header = response.header
            else:
                assert offset + len(data) == response.chunk.offset
                data += response.chunk.chunk
        return header, bytes(data)


def _free(folder: Path) -> dict[str, Any]:
    return {"listen": "127.0.0.1:0", "ops_listen": "127.0.0.1:0", "data_dir": folder, "drain_seconds": 2}


@asynccontextmanager
async def _gateway(settings: GatewaySettings) -> AsyncIterator[Running]:
    async with running(gateway.bootstrap.build(settings), service="gateway", settings=settings) as door:
        yield door


def storage_settings(folder: Path, **changes: Any) -> StorageSettings:
    """The settings of a house's storage, to start it alone."""
    return StorageSettings(**_free(folder), **changes)


@asynccontextmanager
async def house(
    folder: Path,
    *,
    words_per_second: float | None = None,
    realtime_factor: float = 0,
    faults: Sequence[MockFault] = (),
    fallback: Sequence[str] = (),
    cuts: Mapping[str, Sequence[int]] | None = None,
    voice: Mapping[str, Any] | None = None,
    story: App | None = None,
    speech: Callable[[str], App] | None = None,
    storage: Mapping[str, Any] | None = None,
    gate: bool = False,
    **gateway_settings: Any,
) -> AsyncIterator[House]:
    """A cluster in this process.

    `cuts` puts a proxy between the gateway and the services named: connection N breaks after the N-th number of bytes.
    `story` stands in for the story service; `speech` makes what stands in for the voice service, given the target of
    the storage service. `storage` are settings of the storage service. With `gate` the proxy "storage" lies between
    storage and all other services.
    """
    script = MockScript(realtime_factor=realtime_factor, faults=tuple(faults))
    mock = MockVoiceProvider(script)
    free = _free(folder)
    storage_app = storage_service.bootstrap.build_app(storage_settings(folder, **(storage or {})))
    story_app = story or story_service.bootstrap.build(StorySettings(offline_words_per_second=words_per_second, **free))
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(running(storage_app, service="storage", drain_seconds=2))
        proxies: dict[str, CuttingProxy] = {}
        target = f"dns:///{store.address}"
        if gate:
            proxies["storage"] = await stack.enter_async_context(cutting_proxy(store.address, ()))
            target = f"dns:///{proxies['storage'].target}"
        voice_settings = VoiceServiceSettings(
            **{
                **free,
                "default_provider": "mock",
                "provider_fallback": tuple(fallback),
                "storage_target": target,
                **(voice or {}),
            }
        )
        voice_app = (
            assemble(voice_settings, [mock], tuning=Tuning(retry_delay=0.01)) if speech is None else speech(target)
        )
        servers = {"storage": store}
        for name, app in (("story", story_app), ("voice", voice_app)):
            servers[name] = await stack.enter_async_context(running(app, service=name, drain_seconds=2))
        targets: dict[str, Any] = {f"{name}_target": f"dns:///{server.address}" for name, server in servers.items()}
        targets["storage_target"] = target
        for name, positions in (cuts or {}).items():
            proxy = await stack.enter_async_context(cutting_proxy(servers[name].address, positions))
            proxies[name] = proxy
            targets[f"{name}_target"] = f"dns:///{proxy.target}"
        settings = GatewaySettings(**{**free, **targets, "pickup_interval_seconds": 0.2, **gateway_settings})
        door = await stack.enter_async_context(_gateway(settings))
        servers["gateway"] = door
        stub: Any = gateway_stub(door.channel)
        storage_stub: Any = storage_pb2_grpc.StorageServiceStub(store.channel)
        yield House(door.channel, stub, storage_stub, mock.journal, servers, proxies, settings)
