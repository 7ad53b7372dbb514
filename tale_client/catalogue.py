"""What can be asked of the cluster: providers, voices, models, status, circuits."""

from contextlib import aclosing

from tale.common.v1 import status_pb2
from tale.gateway.v1 import gateway_pb2
from tale.story.v1 import story_pb2
from tale.voice.v1 import voice_pb2
from tale_client.calls import PAGE_SIZE, Calls
from tale_client.rpcs import GET_SYSTEM_STATUS, LIST_MODELS, LIST_PROVIDERS, LIST_VOICES, RESET_CIRCUIT


class CatalogueCalls(Calls):
    """Who can write, who can speak, and how they are. Lists are given whole; `stale`: a part of one is an older one."""

    async def list_providers(self) -> voice_pb2.ListProvidersResponse:
        """Speech providers, in the order in which they would be tried."""
        return await self._unary(LIST_PROVIDERS, voice_pb2.ListProvidersRequest())

    async def list_voices(self, *, provider: str = "", language_code: str = "") -> voice_pb2.ListVoicesResponse:
        """Voices of a provider (empty: of all that are set up) that speak a language (BCP-47; empty: any)."""
        request = voice_pb2.ListVoicesRequest(provider=provider, language_code=language_code, page_size=PAGE_SIZE)
        whole = voice_pb2.ListVoicesResponse()
        async with aclosing(self._pages(LIST_VOICES, request)) as found:
            async for page in found:
                whole.voices.extend(page.voices)
                whole.stale |= page.stale
        return whole

    async def list_models(self) -> story_pb2.ListModelsResponse:
        """Models that can be asked to write."""
        request = story_pb2.ListModelsRequest(page_size=PAGE_SIZE)
        whole = story_pb2.ListModelsResponse()
        async with aclosing(self._pages(LIST_MODELS, request)) as found:
            async for page in found:
                whole.models.extend(page.models)
                whole.stale |= page.stale
        return whole

    async def system_status(self) -> gateway_pb2.GetSystemStatusResponse:
        """Every service of the cluster, and what is embedded."""
        return await self._unary(GET_SYSTEM_STATUS, gateway_pb2.GetSystemStatusRequest())

    async def reset_circuit(self, name: str, *, service: str = "") -> status_pb2.CircuitStatus:
        """Closes a circuit breaker by hand and gives it as it is then; `system_status` has the circuits of services.

        `service` is needed only where several services have a circuit of that name. Of replicas it is the one that the
        call reaches.
        """
        response = await self._unary(RESET_CIRCUIT, gateway_pb2.ResetCircuitRequest(service=service, name=name))
        return response.circuit
