"""Commands that follow a story: `tale tell`, `tale watch`, `tale narrate`, `tale retry`."""

from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any, Final, NoReturn

import click

from tale.common.v1 import common_pb2
from tale_client.aio import in_thread
from tale_client.calls import new_request_id
from tale_client.cli import completing
from tale_client.cli.connection import PATIENT_SECONDS, client_of, target_option
from tale_client.cli.finding import find_story, story_argument
from tale_client.cli.options import (
    KINDS,
    Choice,
    add_spoken_wish,
    check_characters,
    check_folder,
    check_recording,
    child_option,
    child_options,
    hero_option,
    hero_options,
    json_option,
    language_option,
    out_option,
    play_option,
    take,
    take_voice,
    voice_options,
)
from tale_client.cli.output_folder import OutputFolder, earlier_place
from tale_client.cli.profiles import CHILDREN, HEROES
from tale_client.cli.runner import run
from tale_client.cli.story_view import StoryView, interrupted
from tale_client.cli.terminal import one_line
from tale_client.cli.wording import suggested
from tale_client.client import AsyncTaleClient

MORALS: Final = (
    "kindness",
    "honesty",
    "bravery",
    "friendship",
    "perseverance",
    "empathy",
    "respect",
    "responsibility",
)


def _check_moral(ctx: click.Context, param: click.Parameter, given: str) -> str:
    del ctx, param
    if given not in MORALS and (hint := suggested(given, MORALS, cutoff=0.8)):
        click.echo(f"Note: --moral {one_line(given)}.{hint}", err=True)
    return given


@click.command("tell")
@click.option(
    "--name", default="", help="First name of a child who is described here. Either --name or --child is required."
)
@child_options
@child_option(help="A saved child instead of --name; see `tale children`.")
@hero_option(help="A saved hero; see `tale heroes`.")
@click.option("--hero-name", default="", metavar="NAME", help="Name of a hero who is described here.")
@partial(hero_options, prefix="hero-")
@click.option(
    "--kind",
    type=Choice(list(KINDS)),
    help="Main character; combined: the child meets the hero.  [default: combined with a hero, else child]",
)
@click.option("--wish", default="", help='What happens in the story: "a dragon who cannot sleep".')
@click.option(
    "--ask",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    callback=check_recording,
    help="A recording of the wish instead of --wish (wav, mp3, m4a, ogg, webm, flac). Without --language the story is"
    " in the language of the recording.",
)
@click.option(
    "--moral",
    default="",
    callback=_check_moral,
    shell_complete=lambda _context, _option, begun: [each for each in MORALS if each.startswith(begun)],
    help=f"What the story teaches: {', '.join(MORALS)}, or other words.",
)
@click.option(
    "--theme", default="", help='The setting or subject of the story: "the moon"; --wish says what happens in it.'
)
@click.option("--avoid", multiple=True, metavar="WORDS", help='What must not appear: "spiders", "a storm". Repeatable.')
@click.option(
    "--note",
    "audience_note",
    default="",
    help='Facts about the child for the writer alone, never quoted: "her dog died last week".',
)
@click.option(
    "--parent",
    "parent_story_id",
    default="",
    metavar="STORY",
    shell_complete=completing.stories,
    help="Stored story that this one continues.",
)
@click.option("--minutes", "length_minutes", type=int, help="Length when read aloud, 1 to 30 minutes.  [default: 5]")
@language_option("language_code", help="Language of the story, such as en or ru.  [default: en]")
@click.option(
    "--model",
    default="",
    shell_complete=completing.models,
    help='Model, as `tale models` shows it; "offline" is the embedded writer.',
)
@click.option(
    "--fallback-model",
    "fallback_models",
    multiple=True,
    shell_complete=completing.models,
    help="Model to use when the first one fails. Repeatable.",
)
@click.option("--temperature", type=float, help="Sampling temperature, 0 to 2.")
@click.option("--seed", type=int, help="Seed for repeatable stories, where the model supports it.")
@click.option("--max-tokens", type=int, metavar="N", help="Maximum number of tokens in one answer of a model.")
@click.option("--max-cost", "max_cost_usd", type=float, metavar="USD", help="Maximum cost of the text in US dollars.")
@voice_options
@click.option("--no-narrate", is_flag=True, help="Create the text only.")
@click.option(
    "--request-id", default="", metavar="ID", help="Idempotency key: the same id returns the same story again."
)
@play_option
@out_option
@json_option
@target_option
def tell_command(
    *,
    child: str,
    hero: str,
    ask: Path | None,
    target: str,
    play: bool,
    out: Path,
    request_id: str,
    no_narrate: bool,
    as_json: bool,
    **asked: Any,
) -> None:
    """Create a story.

    The text appears on standard output while it is being written. Notes and progress go to standard error. The text and
    its facts are written to OUT/<title>.md, the audio to OUT/<title>.mp3 (or .wav, .ogg). A file of another story is
    never overwritten.

    With --play the story is heard from its first sentence on, and the command ends when it has been heard. Where there
    is no audio device, a note says so and everything else is as without --play.

    \b
    Exit codes:
        0  the story is ready
        1  the story failed or was cancelled, or the gateway does not answer
        2  wrong usage, or a value was refused
        3  the text is stored, but the narration failed (`tale narrate ID` tries again)
      130  interrupted; the cluster continues the story

    \b
    Examples:
        tale tell --name Mia --age 6 --gender female --interest dragons --interest "the sea" --moral kindness
        tale tell --child Mia --hero-name "Captain Wonder" --hero-trait brave --theme "the moon"
        tale tell --child Mia --wish "the sea" --avoid storms --note "her dog died last week"
        tale tell --child Mia --ask wish.wav
    """  # noqa: D301 - click wants the control character itself
    described_child, described_hero = take(common_pb2.Child, asked), take(common_pb2.Hero, asked, "hero_")
    check_characters(described_child, described_hero, saved_child=child, saved_hero=hero, kind=asked["kind"])
    if ask and asked["wish"]:
        raise click.UsageError("Give the wish once: --wish TEXT, or --ask FILE for a recording.")
    if play and (asked["audio_format"] == "ogg" or no_narrate):
        raise click.UsageError("--play plays a narration, mp3 or wav. Leave --no-narrate and --format ogg out.")
    request_id = request_id or new_request_id()
    if hero or described_hero.name:
        asked["kind"] = asked["kind"] or "combined"
    asked |= {"child": described_child, "hero": described_hero if described_hero.name else None}
    asked |= {"voice": take_voice(asked), "narrate": False if no_narrate else None}
    spec = take(common_pb2.StorySpec, asked)
    view = _view(out, as_json=as_json, play=play)

    async def work() -> int:
        async with client_of(target, patience=PATIENT_SECONDS, line=view.line) as client:
            if spec.parent_story_id:
                spec.parent_story_id = await find_story(client, spec.parent_story_id)
            if child:
                spec.child_id = await CHILDREN.id_of(client, child)
            if hero:
                spec.hero_id = await HEROES.id_of(client, hero)
            if ask:
                await add_spoken_wish(client, ask, spec)
            return await view.follow(client, client.tell(spec, request_id=request_id, include_audio=True))

    _run(view, work(), request_id)


@click.command("watch")
@story_argument
@play_option
@out_option
@json_option
@target_option
def watch_command(given: str, *, play: bool, out: Path, as_json: bool, target: str) -> None:
    """Follow the story STORY from its beginning to its end, and write its files as `tale tell` does."""
    view = _view(out, as_json=as_json, play=play)

    async def follow(client: AsyncTaleClient, story_id: str) -> int:
        return await view.follow(client, client.watch(story_id, include_audio=True))

    _run(view, _of_story(view, target, given, follow))


@click.command("narrate")
@story_argument
@voice_options
@click.option("--keep", is_flag=True, help="Keep the audio of the earlier voice, as OUT/<title> (<voice>).mp3.")
@out_option
@json_option
@target_option
def narrate_command(given: str, *, keep: bool, out: Path, as_json: bool, target: str, **asked: Any) -> None:
    """Narrate the stored story STORY again, for example in another voice, and write its files.

    The earlier audio stays stored until the new audio is complete, which replaces it. With --keep it is written to a
    file of its own before the narration begins. If the narration fails, the exit code is 3.
    """
    view, voice = _view(out, as_json=as_json), take_voice(asked)

    async def narrate(client: AsyncTaleClient, story_id: str) -> int:
        if keep:
            view.files += await _keep_audio(client, story_id, out)
        before = await client.narrate_story(story_id, voice)
        shown = len(before.content)
        # The text is complete and known: only the narration is new.
        events = client.watch(
            story_id,
            include_audio=True,
            text_offset=shown,
            audio_id=before.audio.audio_id,
            audio_offset=before.audio.size_bytes,
        )
        return await view.follow(client, events, before=before, shown=shown)

    _run(view, _of_story(view, target, given, narrate))


async def _keep_audio(client: AsyncTaleClient, story_id: str, out: Path) -> list[Path]:
    """Writes the present audio to a file of its own, which is returned; there may be none."""
    story = await client.get_story(story_id)
    if not story.HasField("audio"):
        return []
    document = await OutputFolder(out).write_text(story)
    place = await in_thread(earlier_place, document, story.audio)
    await client.save_audio(story_id, place, audio_id=story.audio.audio_id)
    return [place]


@click.command("retry")
@story_argument
@out_option
@json_option
@target_option
def retry_command(given: str, *, out: Path, as_json: bool, target: str) -> None:
    """Continue the FAILED story STORY from what is stored, and follow it."""
    view = _view(out, as_json=as_json)

    async def retry(client: AsyncTaleClient, story_id: str) -> int:
        before = await client.retry_story(story_id)
        return await view.follow(client, client.watch(story_id, include_audio=True), before=before)

    _run(view, _of_story(view, target, given, retry))


def _view(out: Path, *, as_json: bool, play: bool = False) -> StoryView:
    check_folder(out)
    return StoryView(out, json=as_json, play=play)


async def _of_story(
    view: StoryView, target: str, given: str, follow: Callable[[AsyncTaleClient, str], Coroutine[Any, Any, int]]
) -> int:
    """Runs `follow` for the story that `given` means."""
    async with client_of(target, patience=PATIENT_SECONDS, line=view.line) as client:
        view.story_id = await find_story(client, given)
        return await follow(client, view.story_id)


def _run(view: StoryView, work: Coroutine[Any, Any, int], request_id: str = "") -> NoReturn:
    run(
        work,
        interrupted=lambda: () if view.is_over else interrupted(view.story_id, request_id),
        followed=lambda: view.story_id,
    )
