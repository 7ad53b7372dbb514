"""ProfileService, which is not offered yet."""

from typing import Any, NoReturn, TypeAlias

import grpc

from servicekit.errors import unimplemented
from tale.profile.v1 import profile_pb2, profile_pb2_grpc

_Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]


class ProfileServicer(profile_pb2_grpc.ProfileServiceServicer):
    """Answers every call with UNIMPLEMENTED, so that the service can be listed and asked for."""

    async def CreateChild(self, request: profile_pb2.CreateChildRequest, context: _Context) -> NoReturn:  # noqa: N802 - the contract's name
        """Not yet."""
        _refuse(request, context)

    async def GetChild(self, request: profile_pb2.GetChildRequest, context: _Context) -> NoReturn:  # noqa: N802 - the contract's name
        """Not yet."""
        _refuse(request, context)

    async def ListChildren(self, request: profile_pb2.ListChildrenRequest, context: _Context) -> NoReturn:  # noqa: N802 - the contract's name
        """Not yet."""
        _refuse(request, context)

    async def UpdateChild(self, request: profile_pb2.UpdateChildRequest, context: _Context) -> NoReturn:  # noqa: N802 - the contract's name
        """Not yet."""
        _refuse(request, context)

    async def DeleteChild(self, request: profile_pb2.DeleteChildRequest, context: _Context) -> NoReturn:  # noqa: N802 - the contract's name
        """Not yet."""
        _refuse(request, context)

    async def CreateHero(self, request: profile_pb2.CreateHeroRequest, context: _Context) -> NoReturn:  # noqa: N802 - the contract's name
        """Not yet."""
        _refuse(request, context)

    async def GetHero(self, request: profile_pb2.GetHeroRequest, context: _Context) -> NoReturn:  # noqa: N802 - the contract's name
        """Not yet."""
        _refuse(request, context)

    async def ListHeroes(self, request: profile_pb2.ListHeroesRequest, context: _Context) -> NoReturn:  # noqa: N802 - the contract's name
        """Not yet."""
        _refuse(request, context)

    async def UpdateHero(self, request: profile_pb2.UpdateHeroRequest, context: _Context) -> NoReturn:  # noqa: N802 - the contract's name
        """Not yet."""
        _refuse(request, context)

    async def DeleteHero(self, request: profile_pb2.DeleteHeroRequest, context: _Context) -> NoReturn:  # noqa: N802 - the contract's name
        """Not yet."""
        _refuse(request, context)


def _refuse(request: object, context: _Context) -> NoReturn:
    del request, context
    raise unimplemented("Profiles are not available in this version yet; give the child inline.")
