"""Python client of the tale gateway.

    from tale.common.v1 import common_pb2
    from tale_client import AsyncTaleClient

    async with AsyncTaleClient() as client:
        spec = common_pb2.StorySpec(child=common_pb2.Child(name="Mia", age=6), wish="a dragon who cannot sleep")
        async for event in client.tell(spec):
            print(event.text.delta, end="")

`TaleClient` does the same without an event loop. Every failed call raises `TaleError`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from tale_client.calls import ReconnectPolicy, RetryPolicy
    from tale_client.client import AsyncTaleClient, TaleClient
    from tale_client.errors import TaleError, Violation

__all__ = ["AsyncTaleClient", "ReconnectPolicy", "RetryPolicy", "TaleClient", "TaleError", "Violation"]

_MODULES: Final = {
    "AsyncTaleClient": "tale_client.client",
    "ReconnectPolicy": "tale_client.calls",
    "RetryPolicy": "tale_client.calls",
    "TaleClient": "tale_client.client",
    "TaleError": "tale_client.errors",
    "Violation": "tale_client.errors",
}


def __getattr__(name: str) -> Any:
    # gRPC takes 0.15 s to import, and `tale --help` does not need it.
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
