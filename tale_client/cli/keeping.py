"""What `tale children` and `tale heroes` have in common."""

from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Generic, Protocol

import click
from google.protobuf.message import Message

from tale_client.cli.facts import as_json as json_of
from tale_client.cli.options import client_of, json_option, target_option, yes_option
from tale_client.cli.people import ProfileT, described, is_id
from tale_client.cli.running import perform, run
from tale_client.cli.terminal import one_line
from tale_client.cli.wording import typed
from tale_client.client import AsyncTaleClient

profile_argument = click.argument("given", metavar="NAME|ID")


class Update(Protocol[ProfileT]):
    """A client's method that changes some fields."""

    async def __call__(self, client: AsyncTaleClient, profile: ProfileT, /, *, fields: Sequence[str]) -> ProfileT: ...


@dataclass(frozen=True, slots=True)
class Keeping(Generic[ProfileT]):
    """How one kind of profile is kept: the client's methods for it, and its words."""

    what: str
    """Such as "child"."""
    command: str
    """Such as "children"."""
    example: str
    """Command that keeps one."""
    create: Callable[[AsyncTaleClient, ProfileT], Coroutine[Any, Any, ProfileT]]
    get: Callable[[AsyncTaleClient, str], Coroutine[Any, Any, ProfileT]]
    listed: Callable[[AsyncTaleClient], AsyncGenerator[ProfileT, None]]
    update: Update[ProfileT]
    delete: Callable[[AsyncTaleClient, str], Coroutine[Any, Any, None]]
    page: Callable[[Sequence[ProfileT]], Message]
    """A list's answer with these in it."""
    removed: Message
    """A removal's answer."""

    def agreed(self, given: str, question: str, target: str) -> str:
        """The id, as of `id_of`, of the one that `question` is about; looked up before it is asked."""

        async def work() -> str:
            async with client_of(target) as client:
                return await self.id_of(client, given)

        found = perform(work())
        click.confirm(question, abort=True, err=True)
        return found

    async def id_of(self, client: AsyncTaleClient, given: str) -> str:
        """The id of the one that was named by id or by name; ClickException if it is not just one."""
        if is_id(given):
            return given
        async with aclosing(self.listed(client)) as profiles:
            found = [profile.id async for profile in profiles if profile.name.casefold() == given.casefold()]
        name = one_line(given)
        if not found:
            said = f"No {self.what} is kept under the name {name}: `tale {self.command} list`."
            raise click.ClickException(typed(said))
        if len(found) > 1:
            raise click.ClickException(f"More than one {self.what} is named {name}; take an id: {', '.join(found)}.")
        return found[0]

    def add(self, profile: ProfileT, *, as_json: bool, target: str) -> None:
        """Keeps one; the command's end."""

        async def work() -> int:
            async with client_of(target) as client:
                kept = await self.create(client, profile)
            _say_kept(kept, as_json=as_json)
            return 0

        run(work())

    def change(self, given: str, profile: ProfileT, *, clear: Sequence[str], as_json: bool, target: str) -> None:
        """Changes one: the fields that are set in `profile` and those to clear; the command's end."""
        fields: list[str] = [field.name for field, _ in profile.ListFields()]
        if both := set(fields) & set(clear):
            raise click.UsageError(f"Either give or clear: {', '.join(sorted(both))}.")
        if not fields and not clear:
            raise click.UsageError("Nothing to change: say what; --help lists it.")

        async def work() -> int:
            async with client_of(target) as client:
                profile.id = await self.id_of(client, given)
                kept = await self.update(client, profile, fields=[*fields, *clear])
            _say_kept(kept, as_json=as_json)
            return 0

        run(work())

    def group(self, about: str) -> click.Group:
        """`list`, `show` and `remove`, to which the others are added."""
        group = click.Group(self.command, help=about)

        @group.command("list", help="List all, newest first.")
        @json_option
        @target_option
        def list_command(*, as_json: bool, target: str) -> None:
            run(self._list(as_json=as_json, target=target))

        @group.command("show", help=f"Show a kept {self.what}.")
        @profile_argument
        @json_option
        @target_option
        def show_command(given: str, *, as_json: bool, target: str) -> None:
            run(self._show(given, as_json=as_json, target=target))

        @group.command("remove", help=f"Remove a kept {self.what}. The stories stay.")
        @profile_argument
        @yes_option
        @json_option
        @target_option
        def remove_command(given: str, *, yes: bool, as_json: bool, target: str) -> None:
            if not yes:
                said = f"Remove the {self.what} {one_line(given)}? The stories stay."
                given = self.agreed(given, said, target)
            run(self._remove(given, as_json=as_json, target=target))

        return group

    async def _list(self, *, as_json: bool, target: str) -> int:
        async with client_of(target) as client, aclosing(self.listed(client)) as profiles:
            found = [profile async for profile in profiles]
        if as_json:
            click.echo(json_of(self.page(found)))
        elif not found:
            click.echo(f"None yet. Keep one: {self.example}", err=True)
        for profile in () if as_json else found:
            click.echo(_line(profile))
        return 0

    async def _show(self, given: str, *, as_json: bool, target: str) -> int:
        async with client_of(target) as client:
            profile = await self.get(client, await self.id_of(client, given))
        click.echo(json_of(profile) if as_json else _line(profile))
        return 0

    async def _remove(self, given: str, *, as_json: bool, target: str) -> int:
        async with client_of(target) as client:
            await self.delete(client, await self.id_of(client, given))
        click.echo(json_of(self.removed) if as_json else f"The {self.what} is removed; the stories stay.")
        return 0


def _line(profile: ProfileT) -> str:
    return f"{profile.id}  {described(profile)}"


def _say_kept(profile: ProfileT, *, as_json: bool) -> None:
    click.echo(json_of(profile) if as_json else f"Kept: {_line(profile)}")
