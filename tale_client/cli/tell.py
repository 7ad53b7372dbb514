"""`tale tell`."""

from pathlib import Path
from typing import Any

import click

from tale.common.v1 import common_pb2
from tale_client.calls import new_request_id
from tale_client.cli.options import client_of, json_option, target_option, voice_of, voice_options
from tale_client.cli.performance import Performance, close, goes_on
from tale_client.cli.running import run
from tale_client.cli.shelf import Shelf

GENDERS = {"female": common_pb2.GENDER_FEMALE, "male": common_pb2.GENDER_MALE}


@click.command("tell")
@click.option("--name", required=True, help="The child's first name, as the story says it.")
@click.option("--age", type=int, help="The child's age in years.")
@click.option("--gender", type=click.Choice(list(GENDERS)), help="How the story speaks of the child.")
@click.option("--interest", "interests", multiple=True, metavar="TEXT", help="Something the child likes. Repeatable.")
@click.option("--wish", default="", help='What it should be about: "a dragon who cannot sleep".')
@click.option(
    "--moral",
    default="",
    help="What it shows: kindness, honesty, bravery, friendship, perseverance, empathy, respect, responsibility, or"
    " words of your own.",
)
@click.option("--theme", default="", help="Where or among what it plays.")
@click.option("--minutes", type=int, help="Length in minutes of telling, 1 to 30.  [default: 5]")
@click.option("--language", default="", metavar="CODE", help="Language of the story, such as en or ru.  [default: en]")
@click.option("--model", default="", help='Model that writes; "offline" is the embedded writer.')
@click.option("--fallback-model", "fallback_models", multiple=True, help="Tried when the first fails. Repeatable.")
@click.option("--temperature", type=float, help="Sampling temperature, 0 to 2.")
@click.option("--seed", type=int, help="Makes the embedded writer, and models that honour it, repeatable.")
@click.option("--max-cost", type=float, metavar="USD", help="Most that the text may cost.")
@voice_options
@click.option("--no-narrate", is_flag=True, help="Text only.")
@click.option(
    "--request-id", default="", metavar="ID", help="Asking again under the same id gives the same story, not another."
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("out"),
    show_default=True,
    help="Folder for the files.",
)
@json_option
@target_option
def tell_command(*, target: str, out: Path, request_id: str, as_json: bool, **asked: Any) -> None:
    r"""Tell a new story.

    The text appears on standard output while it is written; notes and progress go to standard error. OUT/<title>.md
    gets the text with what is known of it, OUT/<title>.mp3 the audio, checked against its checksum. A file of another
    story is never overwritten.

    \b
    Exit codes:
        0  the story is ready
        1  it FAILED or was cancelled, or nobody could be asked
        2  wrong usage
        3  the text is kept, but the narration failed (`tale narrate ID` tries again)
      130  interrupted; the story goes on in the cluster

    \b
    Example:
        tale tell --name Mia --age 6 --gender female --interest dragons --interest "the sea" --moral kindness
    """
    request_id = request_id or new_request_id()
    spec = spec_of(**asked)
    performances: list[Performance] = []
    run(
        perform(spec, target=target, out=out, request_id=request_id, as_json=as_json, performances=performances),
        interrupted=lambda: goes_on(performances[0].story_id if performances else "", request_id),
    )


async def perform(
    spec: common_pb2.StorySpec,
    *,
    target: str,
    out: Path,
    request_id: str,
    as_json: bool,
    performances: list[Performance],
) -> int:
    """Tells one story; the exit code. The performance is added to `performances` as soon as there is one."""
    async with client_of(target) as client:
        performance = Performance(client, Shelf(out), quiet=as_json)
        performances.append(performance)
        story = await performance.give(client.tell(spec, request_id=request_id, include_audio=True))
    return close(story, performance.kept, json_too=as_json)


def spec_of(
    *,
    name: str,
    age: int | None = None,
    gender: str | None = None,
    interests: tuple[str, ...] = (),
    wish: str = "",
    moral: str = "",
    theme: str = "",
    minutes: int | None = None,
    language: str = "",
    model: str = "",
    fallback_models: tuple[str, ...] = (),
    temperature: float | None = None,
    seed: int | None = None,
    max_cost: float | None = None,
    voice_provider: str = "",
    voice_id: str = "",
    no_narrate: bool = False,
) -> common_pb2.StorySpec:
    """What the options ask for. What was not said stays unset, so that the server decides."""
    return common_pb2.StorySpec(
        child=common_pb2.Child(
            name=name, age=age, gender=GENDERS.get(gender or "", common_pb2.GENDER_UNSPECIFIED), interests=interests
        ),
        wish=wish,
        moral=moral,
        theme=theme,
        length_minutes=minutes,
        language_code=language,
        model=model,
        fallback_models=fallback_models,
        temperature=temperature,
        seed=seed,
        max_cost_usd=max_cost,
        narrate=False if no_narrate else None,
        voice=voice_of(voice_provider, voice_id),
    )
