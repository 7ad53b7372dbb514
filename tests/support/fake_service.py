"""A service that has only a health check, for the tests of the supervisor."""

import asyncio
import os
import signal
import sys

import grpc


class _Health(grpc.GenericRpcHandler):
    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        if str(handler_call_details.method) != "/grpc.health.v1.Health/Check":
            return None

        async def check(_: bytes, __: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
            return b"\x08\x01"

        return grpc.unary_unary_rpc_method_handler(check)


async def serve(name: str) -> None:
    """Serves until SIGTERM. FAKE_FAIL names a service that does not start, FAKE_STUBBORN one that ignores SIGTERM."""
    if os.environ.get("FAKE_FAIL") == name:
        sys.stdout.write("first line\nthis variable is wrong: fix it\n")
        sys.exit(3)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, (lambda: None) if os.environ.get("FAKE_STUBBORN") == name else stopped.set)
    server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
    server.add_generic_rpc_handlers((_Health(),))
    server.add_insecure_port(os.environ[f"{name.upper()}_LISTEN"])
    await server.start()
    sys.stdout.write("serving\n")
    await stopped.wait()
    await server.stop(None)
    sys.stdout.write("stopped\n")


def run(name: str) -> None:
    """Runs the service of that name in this process."""
    asyncio.run(serve(name))
