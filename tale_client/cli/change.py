"""Commands that change a story: `tale cancel`, `tale rate`, `tale delete`."""

import click

from tale.gateway.v1 import gateway_pb2
from tale_client.cli.ending import standing
from tale_client.cli.facts import as_json as json_of
from tale_client.cli.options import client_of, json_option, story_argument, target_option, yes_option
from tale_client.cli.running import perform, run
from tale_client.cli.terminal import one_line
from tale_client.cli.wording import typed


@click.command("cancel")
@story_argument
@json_option
@target_option
def cancel_command(story_id: str, *, as_json: bool, target: str) -> None:
    """Stop the story ID, which is being made. What there is of it is kept."""
    run(_cancel(story_id, as_json=as_json, target=target))


@click.command("rate")
@story_argument
@click.argument("rating", type=int)
@json_option
@target_option
def rate_command(story_id: str, rating: int, *, as_json: bool, target: str) -> None:
    """Say how the story ID was liked: RATING is 1 to 10."""
    run(_rate(story_id, rating, as_json=as_json, target=target))


@click.command("delete")
@story_argument
@yes_option
@json_option
@target_option
def delete_command(story_id: str, *, yes: bool, as_json: bool, target: str) -> None:
    """Remove the story ID with its audio. It can not be brought back."""
    if not yes:
        title = perform(_title(story_id, target))
        click.confirm(f"Remove the story {story_id} ({title}) with its audio for good?", abort=True, err=True)
    run(_delete(story_id, as_json=as_json, target=target))


async def _title(story_id: str, target: str) -> str:
    async with client_of(target) as client:
        return one_line((await client.get_story(story_id)).title) or "no title yet"


async def _cancel(story_id: str, *, as_json: bool, target: str) -> int:
    async with client_of(target) as client:
        story = await client.cancel_story(story_id)
    click.echo(json_of(story) if as_json else typed(standing(story)))
    return 0


async def _rate(story_id: str, rating: int, *, as_json: bool, target: str) -> int:
    async with client_of(target) as client:
        story = await client.rate_story(story_id, rating)
    click.echo(json_of(story) if as_json else f"The story is rated {story.rating} of 10.")
    return 0


async def _delete(story_id: str, *, as_json: bool, target: str) -> int:
    async with client_of(target) as client:
        await client.delete_story(story_id)
    click.echo(json_of(gateway_pb2.DeleteStoryResponse()) if as_json else "The story is removed.")
    return 0
