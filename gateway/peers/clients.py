"""Calls the peer services: unary methods with a deadline and retries, streams with an idle timeout."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

import grpc
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_before_delay, wait_random_exponential

from servicekit.errors import DomainError, unavailable
from servicekit.status import connection_broke, from_rpc_error
from servicekit.validation import max_length
from servicekit.waiting import IdleTimeout
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2
from tale.voice.v1 import voice_pb2

if TYPE_CHECKING:
    from tale.storage.v1 import storage_pb2_grpc
    from tale.story.v1 import story_pb2_grpc
    from tale.voice.v1 import voice_pb2_grpc

CALL_SECONDS: Final = 10.0
"""Deadline of a unary call in seconds, unless another is given."""

STREAM_SECONDS: Final = 86_400.0
"""Deadline of a call of a run, which ends it itself: waiting for a place or a provider is no work of the run."""
STREAM_IDLE_SECONDS: Final = 120.0
"""Seconds of silence after which a stream of a peer service counts as lost. Providers are given up earlier."""

# Asyncio stubs have types of their own in the type stubs alone.
StorageStub: TypeAlias = "storage_pb2_grpc.StorageServiceAsyncStub"
VoiceStub: TypeAlias = "voice_pb2_grpc.VoiceServiceAsyncStub"

Q = TypeVar("Q")
A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class Peers:
    """The stubs of the peer services. Unary methods are called with `invoke`."""

    storage: StorageStub
    story: "story_pb2_grpc.StoryServiceAsyncStub"
    voice: VoiceStub


async def invoke(
    call: "grpc.aio.UnaryUnaryMultiCallable[Q, A]",
    request: Q,
    *,
    timeout: float = CALL_SECONDS,
    repeatable: bool = False,
    wait_for_ready: bool = False,
) -> A:
    """Returns the response of a unary method within `timeout` seconds.

    With `wait_for_ready` it waits for a service that is starting. A `repeatable` call does too, and is repeated when
    the connection breaks; any call is repeated if an overloaded service did not begin it. Raises
    `grpc.aio.AioRpcError`, and UPSTREAM_UNAVAILABLE when no response came in time.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    wait = repeatable or wait_for_ready
    attempts = AsyncRetrying(
        retry=retry_if_exception(
            lambda error: (
                isinstance(error, grpc.aio.AioRpcError)
                and ((repeatable and connection_broke(error)) or _overloaded_for(error) is not None)
            )
        ),
        wait=_pause,
        stop=stop_before_delay(timeout),
        reraise=True,
    )
    try:
        async for attempt in attempts:
            with attempt:
                left = max(0.0, deadline - loop.time())
                return await call(request, timeout=left, wait_for_ready=wait)
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            raise unavailable("UPSTREAM_UNAVAILABLE", "A service that this call needs does not respond.") from error
        raise
    raise AssertionError("unreachable: the last attempt returns or raises")


_BACKOFF: Final = wait_random_exponential(multiplier=0.05, max=1.0)


def _pause(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome is not None else None
    return max(_BACKOFF(state), _overloaded_for(error) or 0.0)


def _overloaded_for(error: BaseException | None) -> float | None:
    """Returns the seconds after which an overloaded service wants to be called again; None for any other failure."""
    if not isinstance(error, grpc.aio.AioRpcError) or error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
        return None
    known = from_rpc_error(error)
    return known.retry_after or 0.0 if known.reason == "OVERLOADED" else None


async def read_story(
    storage: StorageStub, story_id: str, *, full: bool = False, timeout: float = CALL_SECONDS
) -> storage_pb2.StoryRecord:
    """Returns the record of a story of the present owner; segments, attempts and raw responses only if `full`."""
    view = common_pb2.STORY_VIEW_FULL if full else common_pb2.STORY_VIEW_BASIC
    request = storage_pb2.GetStoryRequest(story_id=story_id, view=view)
    return (await invoke(storage.GetStory, request, timeout=timeout, repeatable=True)).record


MOST_HEARD: Final = 20
"""Number of earlier stories from which a new one differs."""
HEARD_SECONDS: Final = 5.0
"""Seconds that the text of a story waits for the list of what its child heard."""
_BEGUN: Final = (
    common_pb2.STORY_STATE_WRITING, common_pb2.STORY_STATE_NARRATING, common_pb2.STORY_STATE_READY,
    common_pb2.STORY_STATE_READY_WITHOUT_AUDIO, common_pb2.STORY_STATE_FAILED, common_pb2.STORY_STATE_CANCELLED,
)  # fmt: skip
_STOPPED: Final = frozenset({common_pb2.STORY_STATE_FAILED, common_pb2.STORY_STATE_CANCELLED})
_TITLE: Final = max_length(common_pb2.StoryOutline, "title")


async def read_heard(storage: StorageStub, story: common_pb2.Story) -> Sequence[common_pb2.StoryOutline]:
    """Returns the outlines of the stories that the child of `story` heard last, newest first, by its id or its name.

    One that was written without an outline has its title alone. Others in progress count, but not those that stopped
    without a text.
    """
    chosen = common_pb2.StoryFilter(child_id=story.child_id, states=_BEGUN)
    if not story.child_id:
        chosen.child_name = story.child.name
    if not (chosen.child_id or chosen.child_name):
        return []
    # Twice as many, since some are left out.
    request = storage_pb2.ListStoriesRequest(filter=chosen, page_size=2 * MOST_HEARD)
    page = await invoke(storage.ListStories, request, timeout=HEARD_SECONDS, repeatable=True)
    heard = []
    for each in page.stories:
        if each.id == story.id or (each.state in _STOPPED and not each.excerpt):
            continue
        if title := each.title or each.outline.title:
            each.outline.title = title[:_TITLE]
            heard.append(each.outline)
    return heard[:MOST_HEARD]


BEGINNING: Final = 1_000
"""Most characters of a text by which its script is judged."""
READABLE_SECONDS: Final = 2.0
"""Seconds that a call waits for the voice service to say that a text cannot be read."""
_REFUSED: Final = frozenset({"PROVIDER_NOT_FOUND", "LANGUAGE_UNSUPPORTED"})


async def refuse_unreadable(voice: VoiceStub, story: common_pb2.Story, wanted: common_pb2.VoiceSelection) -> None:
    """Returns unless a story that is to be narrated cannot be, before anything is paid for it.

    Raises PROVIDER_NOT_FOUND and LANGUAGE_UNSUPPORTED. A voice service that does not say so in time refuses nothing.
    """
    text = f"{story.title}\n{story.content}".strip()[:BEGINNING]
    request = voice_pb2.ListProvidersRequest(voice=wanted, language_code=story.language_code, text=text)
    try:
        await voice.ListProviders(request, timeout=READABLE_SECONDS)
    except grpc.aio.AioRpcError as error:
        known = from_rpc_error(error)
        if known.reason in _REFUSED:
            raise known from error


T = TypeVar("T")


async def read_alive(
    stream: AsyncIterable[T], *, idle_seconds: float = STREAM_IDLE_SECONDS, owing: Callable[[], bool] | None = None
) -> AsyncGenerator[T, None]:
    """Yields the messages of `stream`. Time spent by the reader does not count as silence.

    Raises TimeoutError after `idle_seconds` of silence; with `owing`, only if it then returns True: a service that has
    nothing to do sends nothing.
    """
    messages = aiter(stream)
    async with IdleTimeout(idle_seconds, owing=owing) as idle:
        while True:
            idle.begin()
            try:
                message = await anext(messages)
            except StopAsyncIteration:
                return
            idle.end()
            yield message


def broken(what: str) -> DomainError:
    """Returns the error of a stream that breaks its contract. The attempt has failed; what is stored stays."""
    return DomainError("STREAM_BROKEN", what, retry_after=0.2)
