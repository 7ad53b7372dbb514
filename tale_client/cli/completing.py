"""Completes stories, profiles, voices and models in the shell, where the gateway can be reached at once."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from typing import Final, TypeAlias

import click
from click.shell_completion import CompletionItem

from tale.common.v1 import common_pb2
from tale_client.cli.connection import quiet_client
from tale_client.cli.terminal import one_line
from tale_client.cli.wording import short_ids
from tale_client.client import AsyncTaleClient
from tale_client.errors import TaleError

LAST: Final = "last"
"""The word for the newest story."""
_SECONDS: Final = 1.0
_MOST: Final = 50

Values: TypeAlias = AsyncGenerator[tuple[str, str], None]
"""Values and what is said about each."""
Completion: TypeAlias = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def completion(source: Callable[[AsyncTaleClient], Values]) -> Completion:
    """Returns a completion with the first values of `source` that fit; with what there is after a second."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        del param
        items: list[CompletionItem] = []

        async def collect() -> None:
            client = quiet_client(ctx.params.get("target") or "", ctx, _SECONDS)
            async with asyncio.timeout(_SECONDS), client, aclosing(source(client)) as values:
                async for value, about in values:
                    if value.casefold().startswith(incomplete.casefold()):
                        items.append(CompletionItem(one_line(value), help=one_line(about)))
                    if len(items) == _MOST:
                        return

        with suppress(TaleError, TimeoutError, OSError):
            asyncio.run(collect())
        return items

    return complete


async def _stories(client: AsyncTaleClient) -> Values:
    found: list[common_pb2.StorySummary] = []
    async with aclosing(client.list_stories(page_size=_MOST)) as summaries:
        async for summary in summaries:
            found.append(summary)
            if len(found) == _MOST:
                break
    short = short_ids(each.id for each in found)
    if found:
        yield LAST, found[0].title
    for each in found:
        yield short[each.id], f"{each.child_name}: {each.title}"
    for each in found:
        if each.title:
            yield each.title, each.child_name


def _profiles(
    listed: Callable[[AsyncTaleClient], AsyncGenerator[common_pb2.Child | common_pb2.Hero, None]],
) -> Completion:
    async def source(client: AsyncTaleClient) -> Values:
        async with aclosing(listed(client)) as profiles:
            async for each in profiles:
                yield each.name, each.id[-8:]

    return completion(source)


async def _voices(client: AsyncTaleClient) -> Values:
    for each in (await client.list_voices()).voices:
        yield each.voice_id, f"{each.provider} {', '.join(each.language_codes[:3])}"


async def _providers(client: AsyncTaleClient) -> Values:
    for each in (await client.list_providers()).providers:
        yield each.provider_name, "" if each.available else each.unavailable_reason


async def _models(client: AsyncTaleClient) -> Values:
    for each in (await client.list_models()).models:
        yield each.id, ""


async def _languages(client: AsyncTaleClient) -> Values:
    providers = (await client.list_providers()).providers
    for code in sorted({code for each in providers if each.available for code in each.language_codes}):
        yield code, ""


async def _circuits(client: AsyncTaleClient) -> Values:
    for service in (await client.system_status()).services:
        for each in service.circuits:
            yield each.name, service.service


stories: Final = completion(_stories)
children: Final = _profiles(AsyncTaleClient.list_children)
heroes: Final = _profiles(AsyncTaleClient.list_heroes)
voices: Final = completion(_voices)
providers: Final = completion(_providers)
models: Final = completion(_models)
languages: Final = completion(_languages)
circuits: Final = completion(_circuits)
