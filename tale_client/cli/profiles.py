"""Commands for saved children and heroes: `tale children`, `tale heroes`."""

from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeAlias, TypeVar

import click
from google.protobuf.message import Message

from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2
from tale.profile.v1 import profile_pb2
from tale_client.cli import completing
from tale_client.cli.completing import Completion
from tale_client.cli.connection import target_option
from tale_client.cli.finding import check_no_story, only_profile
from tale_client.cli.options import GENDERS, Choice, child_options, hero_options, is_id, json_option, take, yes_option
from tale_client.cli.runner import request
from tale_client.cli.terminal import one_line
from tale_client.cli.wording import as_json as json_of
from tale_client.cli.wording import short_ids
from tale_client.client import AsyncTaleClient
from tale_client.errors import TaleError

ProfileT = TypeVar("ProfileT", common_pb2.Child, common_pb2.Hero)

_NOT_CLEARABLE: Final = frozenset({"id", "name", "create_time", "update_time", "revision"})
_UPDATE: Final = "Options that are left out change nothing. A new list replaces the earlier one."
_Command: TypeAlias = Callable[..., Any]


class Update(Protocol[ProfileT]):
    """A method of the client that changes fields of a profile."""

    async def __call__(self, client: AsyncTaleClient, profile: ProfileT, /, *, fields: Sequence[str]) -> ProfileT: ...


@dataclass(frozen=True, slots=True)
class ProfileCommands(Generic[ProfileT]):
    """What the commands for one kind of profile share: the client's methods for it, and its words."""

    what: str
    """Such as "child"."""
    command: str
    """Such as "children"."""
    example: str
    """Command that adds one."""
    create: Callable[[AsyncTaleClient, ProfileT], Coroutine[Any, Any, ProfileT]]
    get: Callable[[AsyncTaleClient, str], Coroutine[Any, Any, ProfileT]]
    listed: Callable[[AsyncTaleClient], AsyncGenerator[ProfileT, None]]
    update: Update[ProfileT]
    delete: Callable[[AsyncTaleClient, str], Coroutine[Any, Any, None]]
    page: Callable[[Sequence[ProfileT]], Message]
    """Makes the response of a list."""
    deleted: Message
    """Response of a deletion."""
    message: type[ProfileT]
    options: Callable[[_Command], _Command]
    """Adds the options that describe a profile."""
    known: Completion
    """Completes the names of saved ones."""

    @property
    def argument(self) -> Callable[[_Command], _Command]:
        """Adds the argument that names a profile."""
        return click.argument("given", metavar="NAME|ID", shell_complete=self.known)

    def confirmed_id(self, given: str, question: str, target: str) -> str:
        """Looks up the profile, asks for confirmation, and returns its id."""
        found = request(target, lambda client: self.id_of(client, given))
        click.confirm(question, abort=True, err=True)
        return found

    async def id_of(self, client: AsyncTaleClient, given: str) -> str:
        """Returns the id of the profile that `given` means; see `find`."""
        return (await self.find(client, given)).id

    async def find(self, client: AsyncTaleClient, given: str) -> ProfileT:
        """Returns the profile with the name, id or digits `given`; CommandError unless it is exactly one."""
        if not is_id(given):
            saved = {each.id: each for each in await self._all(client)}
            return saved[
                only_profile(self.what, self.command, given, [(each.id, each.name) for each in saved.values()])
            ]
        try:
            return await self.get(client, given)
        except TaleError:
            await check_no_story(client, given, self.what)
            raise

    def group(self, about: str) -> click.Group:
        """Returns the command with `list`, `show`, `add`, `update` and `remove`."""
        group = click.Group(self.command, help=about)
        self._add_readers(group)
        self._add_writers(group)
        return group

    def _add_readers(self, group: click.Group) -> None:
        @group.command("list", help=f"List saved {self.command}, newest first.")
        @json_option
        @target_option
        def list_command(*, as_json: bool, target: str) -> None:
            found = request(target, self._all)
            if as_json:
                click.echo(json_of(self.page(found)))
            elif not found:
                click.echo(f"No {self.command} saved. Add one: {self.example}", err=True)
            short = short_ids(each.id for each in found)
            for profile in () if as_json else found:
                click.echo(f"{short[profile.id]}  {_line(profile)}")

        @group.command("show", help=f"Show a saved {self.what}.")
        @self.argument
        @json_option
        @target_option
        def show_command(given: str, *, as_json: bool, target: str) -> None:
            profile = request(target, lambda client: self.find(client, given))
            click.echo(json_of(profile) if as_json else f"{profile.id}  {_line(profile)}")

    def _add_writers(self, group: click.Group) -> None:
        clearable = [field.name for field in self.message.DESCRIPTOR.fields if field.name not in _NOT_CLEARABLE]

        @group.command("add", help=f"Save a {self.what}.")
        @click.option("--name", required=True, help="Name in stories.")
        @self.options
        @json_option
        @target_option
        def add_command(*, as_json: bool, target: str, **described: Any) -> None:
            saved = request(target, lambda client: self.create(client, take(self.message, described)))
            click.echo(json_of(saved) if as_json else f"Saved: {saved.id[-8:]}  {_line(saved)}")

        @group.command("update", help=f"Change a saved {self.what}. {_UPDATE}")
        @self.argument
        @click.option("--name", default="", help="Name in stories.")
        @self.options
        @click.option("--clear", multiple=True, type=Choice(clearable), help="Clear this field. Repeatable.")
        @json_option
        @target_option
        def update_command(given: str, *, clear: tuple[str, ...], as_json: bool, target: str, **described: Any) -> None:
            saved = request(target, self._change(given, take(self.message, described), clear))
            click.echo(json_of(saved) if as_json else f"Saved: {saved.id[-8:]}  {_line(saved)}")

        @group.command("remove", help=f"Delete a saved {self.what}, but no stories.")
        @self.argument
        @yes_option
        @json_option
        @target_option
        def remove_command(given: str, *, yes: bool, as_json: bool, target: str) -> None:
            if not yes:
                question = f"Delete the {self.what} {one_line(given)}? The stories stay."
                given = self.confirmed_id(given, question, target)

            async def call(client: AsyncTaleClient) -> None:
                await self.delete(client, await self.id_of(client, given))

            request(target, call)
            click.echo(json_of(self.deleted) if as_json else f"The {self.what} is deleted. The stories stay.")

    def _change(
        self, given: str, profile: ProfileT, clear: Sequence[str]
    ) -> Callable[[AsyncTaleClient], Coroutine[Any, Any, ProfileT]]:
        """Returns a call that changes the fields that are set in `profile` and clears those of `clear`."""
        fields: list[str] = [field.name for field, _ in profile.ListFields()]
        if both := set(fields) & set(clear):
            raise click.UsageError(f"Set or clear, not both: {', '.join(sorted(both))}.")
        if not fields and not clear:
            raise click.UsageError("Nothing to change. Add an option; --help lists them.")

        async def call(client: AsyncTaleClient) -> ProfileT:
            profile.id = await self.id_of(client, given)
            return await self.update(client, profile, fields=[*fields, *clear])

        return call

    async def _all(self, client: AsyncTaleClient) -> list[ProfileT]:
        async with aclosing(self.listed(client)) as profiles:
            return [profile async for profile in profiles]


def _line(profile: common_pb2.Child | common_pb2.Hero) -> str:
    genders = {value: name for name, value in GENDERS.items()}
    parts: list[str] = []
    for field, value in profile.ListFields():
        if field.name == "gender":
            parts.append(genders.get(value, ""))
        elif field.name == "name" or field.name not in _NOT_CLEARABLE:
            parts.append(", ".join(value) if field.is_repeated else str(value))
    return one_line("; ".join(part for part in parts if part))


CHILDREN: Final[ProfileCommands[common_pb2.Child]] = ProfileCommands(
    what="child",
    command="children",
    example="tale children add --name Mia --age 6",
    create=AsyncTaleClient.create_child,
    get=AsyncTaleClient.get_child,
    listed=AsyncTaleClient.list_children,
    update=AsyncTaleClient.update_child,
    delete=AsyncTaleClient.delete_child,
    page=lambda found: profile_pb2.ListChildrenResponse(children=found),
    deleted=profile_pb2.DeleteChildResponse(),
    message=common_pb2.Child,
    options=child_options,
    known=completing.children,
)

children_command: Final = CHILDREN.group("Save children for `tale tell --child NAME`.")


@click.command("feed")
@CHILDREN.argument
@json_option
@target_option
def feed_command(given: str, *, as_json: bool, target: str) -> None:
    """Print the URL of a podcast feed with a saved child's stories, for any player of podcasts.

    The URL needs no key: all that have it can hear the stories.
    """

    async def call(client: AsyncTaleClient) -> str:
        return await client.get_feed_url(await CHILDREN.id_of(client, given))

    url = request(target, call)
    click.echo(json_of(gateway_pb2.GetFeedUrlResponse(url=url)) if as_json else url)


def _saved_hero_options(command: _Command) -> _Command:
    language = click.option(
        "--language", "language_code", default="", metavar="CODE", help="Language of the description, such as en or ru."
    )
    return hero_options(language(command))


HEROES: Final[ProfileCommands[common_pb2.Hero]] = ProfileCommands(
    what="hero",
    command="heroes",
    example='tale heroes add --name "Captain Wonder" --trait brave',
    create=AsyncTaleClient.create_hero,
    get=AsyncTaleClient.get_hero,
    listed=AsyncTaleClient.list_heroes,
    update=AsyncTaleClient.update_hero,
    delete=AsyncTaleClient.delete_hero,
    page=lambda found: profile_pb2.ListHeroesResponse(heroes=found),
    deleted=profile_pb2.DeleteHeroResponse(),
    message=common_pb2.Hero,
    options=_saved_hero_options,
    known=completing.heroes,
)

heroes_command: Final = HEROES.group("Save heroes for `tale tell --hero NAME`.")
