"""Answers: the title and the story between what is neither."""

from typing import Final

from support.answers import WRAPPERS
from support.openrouter_fake import story
from support.story_models import TEXT, TITLE

from compatibility.harness import Case

_SHOWN: Final = {
    "thoughts-think_never_opened": "thoughts that end with `</think>` and never began",
    "thoughts-harmony_whole": "harmony: `<|channel|>analysis…`, `commentary`, `final`",
    "thoughts-untagged": "thoughts without any mark: “Okay, the user wants …”",
    "tokens-chat_ml": "`<|im_start|>`, `<|im_end|>` and a second turn",
    "tokens-second_turn": "“User: …” and “Assistant: …” behind the story",
    "labels-ages": "“(For ages 4-6)” and “Reading time: 5 minutes” behind the title",
    "preamble-cozy": "“Absolutely! … here's a cozy bedtime story”, then the title in bold",
    "postamble-offers": "“Would you like me to:” and a list behind the story",
    "postamble-sources": "“Sources:” and addresses behind the story",
    "escapes-line_feeds": "line feeds as `\\n` in letters",
    "escapes-entities_twice": "entities, escaped twice: `&amp;quot;`",
    "structured-fence": "JSON in a block of code",
    "structured-paragraphs": "JSON with a list of paragraphs",
    "citations-attached": "`[1][2]` behind each sentence",
}

CASES: Final[tuple[Case, ...]] = (
    Case(
        kind="Around the story",
        sends="the title as a heading, `# …`",
        answers=[story(f"# {TITLE}\n\n{TEXT}")],
        calls=1,
    ),
    *(
        Case(kind="Around the story", sends=sends, answers=[story(WRAPPERS[name](TITLE, TEXT))], calls=1)
        for name, sends in _SHOWN.items()
    ),
    *(
        Case(
            kind="Around the story",
            sends=f"a last sentence of the story itself: “{end}”",
            answers=[story(f"{TITLE}\n\n{TEXT}\n\n{end}")],
            text=f"{TEXT}\n\n{end}",
            calls=1,
        )
        for end in (
            "I have the shell still, and I can make it sing.",
            "If you want to hear it, just close your eyes.",
            "Wenn du willst, kannst du ihn noch heute hören.",
        )
    ),
    Case(
        kind="Around the story",
        sends="a story that begins: “Sorry, I can't help you, said the owl”",
        answers=[story(f"{TITLE}\n\nSorry, I can't help you with this story, said the owl.\n\n{TEXT}")],
        text=f"Sorry, I can't help you with this story, said the owl.\n\n{TEXT}",
        calls=1,
    ),
    Case(
        kind="Around the story",
        sends="a title that speaks of a story: “**The Tale of the Brave Fox**”",
        answers=[story(f"**The Tale of the Brave Fox**\n\n{TEXT}")],
        title="The Tale of the Brave Fox",
        calls=1,
    ),
)
