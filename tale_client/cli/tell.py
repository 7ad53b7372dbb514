"""`tale tell`."""

from pathlib import Path
from typing import Any

import click

from tale.common.v1 import common_pb2
from tale_client.calls import new_request_id
from tale_client.cli.asking import KINDS, check_people, check_recording, inline_hero, listen, spec_of
from tale_client.cli.ending import close, goes_on
from tale_client.cli.options import check_out, client_of, json_option, out_option, target_option, voice_options
from tale_client.cli.people import child_options, hero_options
from tale_client.cli.performance import Performance
from tale_client.cli.profiles import CHILDREN, HEROES
from tale_client.cli.running import run
from tale_client.cli.shelf import Shelf


@click.command("tell")
@click.option("--name", default="", help="First name of a child who is described here, as the story says it.")
@child_options
@click.option("--child", default="", metavar="NAME|ID", help="A kept child in place of --name; see `tale children`.")
@click.option("--hero", default="", metavar="NAME|ID", help="A kept hero; see `tale heroes`.")
@click.option("--hero-name", default="", metavar="NAME", help="Name of a hero who is described here.")
@hero_options("hero-")
@click.option(
    "--kind",
    type=click.Choice(list(KINDS)),
    help="Whom it is about; combined: the child meets the hero.  [default: combined with a hero, else child]",
)
@click.option("--wish", default="", help='What it should be about: "a dragon who cannot sleep".')
@click.option(
    "--ask",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    callback=check_recording,
    help="A recording that says it in place of --wish (wav, mp3, m4a, ogg, webm, flac). Without --language the story is"
    " in the language that was heard.",
)
@click.option(
    "--moral",
    default="",
    help="What it shows: kindness, honesty, bravery, friendship, perseverance, empathy, respect, responsibility, or"
    " words of your own.",
)
@click.option("--theme", default="", help="Where or among what it plays.")
@click.option("--parent", default="", metavar="ID", help="Kept story that this one goes on from.")
@click.option("--minutes", type=int, help="Length in minutes of telling, 1 to 30.  [default: 5]")
@click.option("--language", default="", metavar="CODE", help="Language of the story, such as en or ru.  [default: en]")
@click.option("--model", default="", help='Model that writes; "offline" is the embedded writer.')
@click.option("--fallback-model", "fallback_models", multiple=True, help="Tried when the first fails. Repeatable.")
@click.option("--temperature", type=float, help="Sampling temperature, 0 to 2.")
@click.option("--seed", type=int, help="Makes the embedded writer, and models that honour it, repeatable.")
@click.option("--max-tokens", type=int, metavar="N", help="Most tokens that one answer of a model may have.")
@click.option("--max-cost", type=float, metavar="USD", help="Most that the text may cost.")
@voice_options
@click.option("--no-narrate", is_flag=True, help="Text only.")
@click.option(
    "--request-id", default="", metavar="ID", help="Asking again under the same id gives the same story, not another."
)
@out_option
@json_option
@target_option
def tell_command(
    *, child: str, hero: str, ask: Path | None, target: str, out: Path, request_id: str, as_json: bool, **asked: Any
) -> None:
    """Tell a new story.

    The text appears on standard output while it is written; notes and progress go to standard error. OUT/<title>.md
    gets the text with what is known of it, OUT/<title>.mp3 (or .wav, .ogg) the audio, checked against its checksum. A
    file of another story is never overwritten.

    \b
    Exit codes:
        0  the story is ready
        1  it FAILED or was cancelled, or nobody could be asked
        2  wrong usage, or something was asked for that can not be
        3  the text is kept, but the narration failed (`tale narrate ID` tries again)
      130  interrupted; the story goes on in the cluster

    \b
    Examples:
        tale tell --name Mia --age 6 --gender female --interest dragons --interest "the sea" --moral kindness
        tale tell --child Mia --hero-name "Captain Wonder" --hero-trait brave --theme "the moon"
        tale tell --child Mia --ask prompt.wav
    """  # noqa: D301 - click wants the control character itself
    check_people({**asked, "child": child, "hero": hero})
    if ask and asked["wish"]:
        raise click.UsageError("Say the wish once: --wish TEXT, or --ask FILE for a recording of it.")
    check_out(out)
    request_id = request_id or new_request_id()
    described = {name: value for name, value in asked.items() if not name.startswith("hero_")}
    if hero or asked["hero_name"]:
        described["kind"] = asked["kind"] or "combined"
    spec = spec_of(**described, hero=inline_hero(asked))
    performances: list[Performance] = []
    run(
        _tell(
            spec,
            child=child,
            hero=hero,
            ask=ask,
            target=target,
            out=out,
            request_id=request_id,
            as_json=as_json,
            performances=performances,
        ),
        interrupted=lambda: goes_on(performances[0].story_id if performances else "", request_id),
        followed=lambda: performances[0].story_id if performances else "",
    )


async def _tell(
    spec: common_pb2.StorySpec,
    *,
    child: str,
    hero: str,
    ask: Path | None,
    target: str,
    out: Path,
    request_id: str,
    as_json: bool,
    performances: list[Performance],
) -> int:
    async with client_of(target) as client:
        if child:
            spec.child_id = await CHILDREN.id_of(client, child)
        if hero:
            spec.hero_id = await HEROES.id_of(client, hero)
        if ask:
            await listen(client, ask, spec)
        performance = Performance(client, Shelf(out), quiet=as_json)
        performances.append(performance)
        story = await performance.give(client.tell(spec, request_id=request_id, include_audio=True))
    return close(story, performance.kept, json_too=as_json)
