"""The commands that start the services: `tale up`, `tale demo`."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any, Final, NoReturn

import click
from grpc import ssl_channel_credentials

from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2
from tale_client.cli.cluster import embedded
from tale_client.cli.connection import CONNECT_SECONDS
from tale_client.cli.options import GENDERS, Choice, check_folder, json_option, split_commas
from tale_client.cli.runner import CommandError, run
from tale_client.cli.story_view import StoryView
from tale_client.cli.terminal import printable
from tale_client.cli.wording import typed
from tale_client.client import AsyncTaleClient
from tale_client.errors import TaleError
from tale_cluster.layout import (
    AUTH_VARIABLE,
    CERTIFICATE_VARIABLE,
    GATEWAY,
    SERVICES,
    STORAGE,
    STORY,
    VOICE,
    Layout,
    Service,
)
from tale_cluster.supervisor import ClusterError, Supervisor

LOG_NAME: Final = "demo.log"
_POLLS: Final = 50
_POLL_SECONDS: Final = 0.1
QUIET: Final = "servicekit.access=WARNING,servicekit.audit=WARNING,voice_service.wire.servicer=WARNING"
"""Log levels that leave out the lines of single calls."""
_COLOURS: Final = {GATEWAY: "cyan", STORY: "green", VOICE: "magenta", STORAGE: "yellow"}
_MIA: Final = "Mia"
_option: Final = partial(click.option, show_default=True, show_envvar=True)


_file_option: Final = click.option(
    "--file", type=click.Path(dir_okay=False), help="File of the keys.  [default: GATEWAY_API_KEYS_FILE]"
)


@click.group("keys")
@_file_option
def keys_command(*, file: str | None) -> None:
    """Make, list and revoke API keys of the gateway.

    They are in the file GATEWAY_API_KEYS_FILE (./data/api-keys.json), or in that of --file.
    """
    del file


@keys_command.command("create")
@click.argument("owner")
@click.option("--operator", is_flag=True, help="Also for the state of the cluster.")
@click.option("--child", multiple=True, metavar="ID", help="Only for this child. Repeatable.")
@click.option("--days", type=click.IntRange(1, 36_500), help="Days for which it is valid.  [default: always]")
@_file_option
def create_key_command(
    owner: str, *, operator: bool, child: tuple[str, ...], days: int | None, file: str | None
) -> None:
    """Make a key for OWNER, and print it once."""
    options = ["--operator"] * operator + [f"--child={each}" for each in child] + [f"--days={days}"] * bool(days)
    _keys(file, "create", *options, "--", owner)


@keys_command.command("list")
@_file_option
def list_keys_command(*, file: str | None) -> None:
    """List the keys, which cannot be read from the file."""
    _keys(file, "list")


@keys_command.command("revoke")
@click.argument("identity", metavar="ID")
@_file_option
def revoke_key_command(identity: str, *, file: str | None) -> None:
    """Remove the key with the id ID of the list."""
    _keys(file, "revoke", "--", identity)


def _keys(file: str | None, *arguments: str) -> NoReturn:
    """Runs the gateway's own program with `--file`, which may stand before or after the command."""
    parent = click.get_current_context().parent
    named = file or (parent.params.get("file") if parent is not None else None)
    before = [f"--file={named}"] if named else []
    sys.exit(subprocess.call([sys.executable, "-m", "gateway.keys", *before, *arguments]))  # noqa: S603 - its own program


@click.command("up")
@click.option(
    "--wait", type=float, default=60.0, show_default=True, help="Maximum time for a service to start, in seconds."
)
def up_command(*, wait: float) -> None:
    """Run the gateway, story, voice and storage services in this terminal until Ctrl-C.

    The services read their settings from the environment. GATEWAY_LISTEN, STORY_LISTEN, VOICE_LISTEN and
    STORAGE_LISTEN are their addresses (127.0.0.1:50051 to 50054), and GATEWAY_WEB_LISTEN is that of the page
    (127.0.0.1:8080). TALE_DATA_DIR is the folder where stories are stored
    (./data). With OPENROUTER_API_KEY or CHAT_BASE_URL a language model replaces the embedded writer, with
    ELEVENLABS_API_KEY or SPEECH_BASE_URL another voice the embedded one.

    A service that stops is started again, each time after a longer wait. After five restarts in a row, or when a
    service does not start at all, the command stops all services and exits with code 1.

    Ctrl-C stops all services after their running calls have ended. A second Ctrl-C stops them at once. The log of each
    call is shown only when LOG_LEVEL or LOG_LEVELS is set, for example LOG_LEVEL=INFO.
    """
    data = _data_folder()
    data.mkdir(parents=True, exist_ok=True)
    run(_up(wait, data))


async def _up(wait: float, data: Path) -> int:
    environ = dict(os.environ)
    environ.setdefault("LOG_FORMAT", "console")
    if not environ.get("LOG_LEVEL") and not environ.get("LOG_LEVELS"):
        environ["LOG_LEVELS"] = QUIET
    if not environ.get("GATEWAY_LINK_SECRET") and not environ.get("GATEWAY_LINK_SECRET_FILE"):
        # Feeds and other links outlive a restart.
        environ["GATEWAY_LINK_SECRET_FILE"] = str(data / "link-secret")
    layout = Layout.from_environment(environ)
    cluster = Supervisor(layout, environ, sink=_show, report=_report, start_timeout=wait)
    try:
        with _cluster_errors():
            async with cluster:
                await cluster.start()
                await _announce(layout, environ)
                await cluster.watch()
    except asyncio.CancelledError:
        # Ctrl-C and SIGTERM are how this command ends; a second one cancels the clean stop.
        task = asyncio.current_task()
        if task is None or task.cancelling() > 1:
            raise
        _report("Stopped.")
    return 0


async def _announce(layout: Layout, environ: Mapping[str, str]) -> None:
    certificate = environ.get(CERTIFICATE_VARIABLE)
    _report("The cluster is up.")
    for service in SERVICES:
        place = layout[service]
        _report(f"  {service.name:8} {place.address:22} health and metrics: http://{place.ops_listen}")
    if layout.page:
        _report(f"The page: {layout.page}")
    target = layout[GATEWAY].address
    if environ.get(AUTH_VARIABLE, "none") != "none":
        # A call without a key would be a refusal in the audit log.
        _report(typed("Each caller needs a key or token in TALE_TOKEN. Make a key: tale keys create NAME"))
    else:
        await _report_embedded(target, certificate)
    here = "" if target == "127.0.0.1:50051" else f" --target {target}"
    here += f" --tls-ca {certificate}" if certificate else ""
    _report(typed(f"Create a story from another terminal: tale tell{here} --name Mia --age 6"))
    _report("Stop: Ctrl-C")


async def _report_embedded(target: str, certificate: str | None) -> None:
    try:
        async with _client_of(target, certificate) as client:
            status = await _settled_status(client)
    except TaleError as error:
        _report(f"Could not read the status of the cluster: {printable(error.message)}")
    else:
        for line in embedded(status.embedded_parts):
            _report(line)


def _client_of(target: str, certificate: str | None) -> AsyncTaleClient:
    """Returns a client that trusts the gateway's own certificate alone."""
    credentials = ssl_channel_credentials(Path(certificate).read_bytes()) if certificate else None
    return AsyncTaleClient(target, credentials=credentials, connect_timeout=CONNECT_SECONDS)


async def _settled_status(client: AsyncTaleClient) -> gateway_pb2.GetSystemStatusResponse:
    """Returns the status when every service is healthy, or the last status after 5 seconds.

    The gateway may have tried a service before it listened, and then waits for up to a second before it tries again.
    """
    status = await client.system_status()
    for _ in range(_POLLS):
        if status.healthy:
            break
        await asyncio.sleep(_POLL_SECONDS)
        status = await client.system_status()
    return status


def _show(service: Service, line: str) -> None:
    click.echo(_prefix(service.name, _COLOURS[service]) + printable(line))


def _report(line: str) -> None:
    click.echo(_prefix("tale", "bright_white") + line)


def _prefix(name: str, colour: str) -> str:
    return click.style(f"{name:8}│ ", fg=colour)


@click.command("demo", context_settings={"auto_envvar_prefix": "TALE_DEMO"})
@_option("--name", default=_MIA, help="The child's first name.")
@_option("--age", type=click.IntRange(1, 18), default=6, help="The child's age in years, 1 to 18.")
@_option("--gender", type=Choice(list(GENDERS)), help="The child's gender in the story.")
@_option("--interests", default="dragons, the sea", help="What the child likes, separated by commas.")
@click.option("--interest", "more", multiple=True, metavar="TEXT", help="Instead of --interests. Repeatable.")
@_option("--moral", default="kindness", help="What the story teaches.")
@_option(
    "--theme", default="", show_default=False, help="The setting or subject of the story; --wish says what happens."
)
@_option(
    "--wish",
    default="",
    show_default=False,
    help="What happens in the story. If it is not given, the wish in the story is invented.",
)
@_option("--minutes", type=click.IntRange(1, 30), default=3, help="Length when read aloud, 1 to 30 minutes.")
@_option("--language", default="en", help="Language of the story.")
@_option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("out"), help="Folder for the files.")
@json_option
def demo_command(
    *,
    name: str,
    age: int,
    gender: str | None,
    interests: str,
    more: tuple[str, ...],
    minutes: int,
    language: str,
    out: Path,
    as_json: bool,
    **asked: Any,
) -> None:
    """Start the services on free ports, create one story, and stop the services.

    No key is needed. With OPENROUTER_API_KEY or CHAT_BASE_URL, ELEVENLABS_API_KEY or SPEECH_BASE_URL and the like in
    the environment the real parts are used instead of the embedded ones. Stories are stored in TALE_DATA_DIR (./data);
    the logs of the services are in demo.log in that folder. The exit codes are those of `tale tell`.
    """
    if not name.strip():
        raise click.UsageError("--name is empty. Give the child's first name.")
    check_folder(out)
    data = _data_folder()
    child = common_pb2.Child(
        name=name,
        age=age,
        gender=GENDERS.get(gender or ("female" if name == _MIA else ""), common_pb2.GENDER_UNSPECIFIED),
        interests=split_commas(more or [interests]),
    )
    spec = common_pb2.StorySpec(child=child, length_minutes=minutes, language_code=language, **asked)
    view = StoryView(out, json=as_json)
    run(
        _demo(view, spec, data, as_json=as_json),
        interrupted=lambda: _interrupted(view.story_id),
        followed=lambda: view.story_id,
    )


async def _demo(view: StoryView, spec: common_pb2.StorySpec, data: Path, *, as_json: bool) -> int:
    layout = Layout.on_free_ports()
    with _open_log(data) as log, _cluster_errors():

        def write(service: Service, line: str) -> None:
            log.write(f"{service.name:8}| {printable(line)}\n")

        click.echo("Starting the gateway, story, voice and storage services …", err=True)
        async with Supervisor(layout, os.environ, sink=write, report=partial(click.echo, err=True)) as cluster:
            await cluster.start()
            async with AsyncTaleClient(layout[GATEWAY].address) as client:
                click.echo("", err=True)
                code = await view.follow(client, client.tell(spec, include_audio=True))
                status = await client.system_status()
            for line in ("", *embedded(status.embedded_parts), ""):
                click.echo(line, err=as_json)
    if not spec.wish:
        click.echo("No wish was given: a wish in the story is invented. Give one with --wish.", err=as_json)
    for line in _next_steps(view, data):
        click.echo(typed(line), err=as_json)
    return code


def _next_steps(view: StoryView, data: Path) -> list[str]:
    return [
        *(f"Listen: open {file} with any player." for file in view.files[1:]),
        f"The services are stopped. The story is stored in {data} (log of the services: {data / LOG_NAME}).",
        f"To use it again, run `tale up` here, and in another terminal `tale show {view.story_id}`.",
    ]


def _interrupted(story_id: str) -> list[str]:
    if story_id:
        return ["", f"Stopped. The story is stored and continues at the next `tale up`: tale watch {story_id}"]
    return ["", "Stopped."]


def _data_folder() -> Path:
    """Returns the folder where stories are stored; UsageError when it is not writable."""
    folder = Path(os.environ.get("TALE_DATA_DIR") or "data")
    check_folder(folder, "TALE_DATA_DIR")
    return folder


def _open_log(data: Path) -> IO[str]:
    data.mkdir(parents=True, exist_ok=True)
    return (data / LOG_NAME).open("w", encoding="utf-8", buffering=1)


@contextmanager
def _cluster_errors() -> Iterator[None]:
    try:
        yield
    except ClusterError as error:
        raise CommandError(error.message.splitlines(), error.tail) from None
