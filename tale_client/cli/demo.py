"""`tale demo`."""

import os
from functools import partial
from pathlib import Path
from typing import IO, Any, Final

import click

from tale.common.v1 import common_pb2
from tale_client.cli.asking import spec_of
from tale_client.cli.ending import close
from tale_client.cli.options import check_out, data_folder, json_option
from tale_client.cli.people import GENDERS
from tale_client.cli.performance import Performance
from tale_client.cli.running import run
from tale_client.cli.shelf import Shelf
from tale_client.cli.status import embedded
from tale_client.cli.terminal import printable
from tale_client.cli.wording import typed
from tale_client.client import AsyncTaleClient
from tale_client.cluster.layout import GATEWAY, Layout, Service
from tale_client.cluster.supervisor import Supervisor

LOG_NAME = "demo.log"
_MIA: Final = "Mia"
_option: Final = partial(click.option, show_default=True, show_envvar=True)


@click.command("demo", context_settings={"auto_envvar_prefix": "TALE_DEMO"})
@_option("--name", default=_MIA, help="The child's first name.")
@_option("--age", type=click.IntRange(1, 18), default=6, help="The child's age in years.")
@_option("--gender", type=click.Choice(list(GENDERS)), help="How the story speaks of the child.")
@_option("--interests", default="dragons, the sea", help="What the child likes, separated by commas.")
@_option("--moral", default="kindness", help="What the story shows.")
@_option("--theme", default="", show_default=False, help="Where or among what it plays.")
@_option("--wish", default="", show_default=False, help="What it should be about.")
@_option("--minutes", type=click.IntRange(1, 30), default=3, help="Length in minutes, 1 to 30.")
@_option("--language", default="en", help="Language of the story.")
@_option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("out"), help="Folder for the files.")
@json_option
def demo_command(*, name: str, gender: str | None, interests: str, out: Path, as_json: bool, **asked: Any) -> None:
    """Start a cluster of its own on free ports, tell one story, and stop the cluster.

    No key is needed. With OPENROUTER_API_KEY, ELEVENLABS_API_KEY and the like in the environment the real parts are
    used instead of the embedded ones. Stories are kept in TALE_DATA_DIR (./data); the services' logs go to demo.log
    there. Exit codes as of `tale tell`.
    """
    if not name.strip():
        raise click.UsageError("--name is empty: give a name.")
    check_out(out)
    data = data_folder(os.environ)
    spec = spec_of(
        name=name,
        gender=gender or ("female" if name == _MIA else None),
        interests=tuple(part.strip() for part in interests.split(",") if part.strip()),
        **asked,
    )
    performances: list[Performance] = []
    run(
        _demo(spec, out, data, performances, as_json=as_json),
        interrupted=lambda: _interrupted(performances),
        followed=lambda: performances[0].story_id if performances else "",
    )


async def _demo(
    spec: common_pb2.StorySpec, out: Path, data: Path, performances: list[Performance], *, as_json: bool
) -> int:
    layout = Layout.on_free_ports()
    with _open_log(data) as log:

        def keep(service: Service, line: str) -> None:
            log.write(f"{service.name:8}| {printable(line)}\n")

        click.echo("Starting gateway, story, voice and storage …", err=True)
        async with Supervisor(layout, os.environ, sink=keep, report=_report) as cluster:
            await cluster.start()
            async with AsyncTaleClient(layout[GATEWAY].address) as client:
                performance = Performance(client, Shelf(out), quiet=as_json)
                performances.append(performance)
                click.echo("", err=True)
                story = await performance.give(client.tell(spec, include_audio=True))
                status = await client.system_status()
            code = close(story, performance.kept, json_too=as_json)
            for line in ("", *embedded(status.embedded_parts), ""):
                click.echo(line, err=as_json)
    for line in _next_steps(story, performance.kept, data):
        click.echo(typed(line), err=as_json)
    return code


def _report(line: str) -> None:
    click.echo(line, err=True)


def _next_steps(story: common_pb2.Story, kept: list[Path], data: Path) -> list[str]:
    lines = []
    if story.HasField("audio") and kept:
        lines.append(f"Listen: open {kept[-1]} with any player.")
    lines += [
        f"The cluster is stopped; the story is kept in {data} (log of the services: {data / LOG_NAME}).",
        f"Go on with it: `tale up` here, and in another terminal `tale show {story.id}` or `tale tell --name …`.",
    ]
    return lines


def _interrupted(performances: list[Performance]) -> list[str]:
    if performances and performances[0].story_id:
        story_id = performances[0].story_id
        return ["", f"Stopped. The story is kept and goes on with the next `tale up`: tale watch {story_id}"]
    return ["", "Stopped."]


def _open_log(data: Path) -> IO[str]:
    data.mkdir(parents=True, exist_ok=True)
    return (data / LOG_NAME).open("w", encoding="utf-8", buffering=1)
