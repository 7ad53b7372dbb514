"""Stories of many shapes, and what models put around them, as public reports of models and servers show it."""

# ruff: noqa: RUF001 - punctuation and scripts of the world

import html
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias


@dataclass(frozen=True, slots=True)
class Story:
    """A story as it is asked for: a title, an empty line, the text."""

    name: str
    language_code: str
    title: str
    text: str

    @classmethod
    def read(cls, path: Path) -> "Story":
        """Returns the story of a file `name.language.txt`."""
        name, language_code, _ = path.name.split(".")
        title, _, text = path.read_text().partition("\n\n")
        return cls(name, language_code, title, text.strip())


STORIES: Final = tuple(map(Story.read, sorted((Path(__file__).parent / "stories_of_many_shapes").glob("*.txt"))))

Wrapper: TypeAlias = Callable[[str, str], str]
"""Returns an answer with a title and a text."""

_THOUGHTS: Final = (
    "Okay, the user wants a bedtime story for a child of five. I should keep it gentle.\n\n"
    "Title ideas:\n- The Brave Cloud\n"
    "- A Night by the Pond\n\nPlan:\n1. Introduce the hero.\n2. A small problem.\n3. Everybody sleeps.\n\n"
    "I need to make sure that "
    "the story is about 300 words. Let me write it now."
)
_SHORT: Final = "The child is five. A calm ending."


def _plain(title: str, text: str) -> str:
    return f"{title}\n\n{text}"


def _around(before: str, behind: str) -> Wrapper:
    return lambda title, text: f"{before}{_plain(title, text)}{behind}"


THOUGHTS: Final[dict[str, Wrapper]] = {
    "think": _around(f"<think>\n{_THOUGHTS}\n</think>\n\n", ""),
    "think_never_opened": _around(f"{_THOUGHTS}\n</think>\n\n", ""),
    "think_attributes": _around(f'<Thinking budget="9">{_SHORT}</Thinking>\n', ""),
    "think_nested": _around(f"<think>{_SHORT}<think>deeper</think> and on\n</think>", ""),
    "think_twice": _around(f"<think>{_SHORT}</think>\n<think>{_SHORT}</think>\n\n", ""),
    "reflection": _around(f"<reasoning>{_SHORT}</reasoning>\n<reflection>Good.</reflection>\n\n", ""),
    "ant_thinking": _around(f"<antThinking>{_SHORT}</antThinking>", ""),
    "scratchpad": _around(f"<scratchpad>\n{_SHORT}\n</scratchpad>\n", ""),
    "mistral": _around(f"[THINK]{_THOUGHTS}[/THINK]", "</s>"),
    "kimi": _around(f"◁think▷{_THOUGHTS}◁/think▷", ""),
    "seed": _around(
        f"<seed:think>{_SHORT}<seed:cot_budget_reflect>9</seed:cot_budget_reflect></seed:think>", "<seed:eos>"
    ),
    "cohere": _around(f"<|START_THINKING|>{_SHORT}<|END_THINKING|><|START_RESPONSE|>", "<|END_RESPONSE|>"),
    "open_thinker": _around(
        f"<|begin_of_thought|>\n{_SHORT}\n<|end_of_thought|>\n<|begin_of_solution|>\n", "\n<|end_of_solution|>"
    ),
    "gemma": _around(f"<|turn>model\n<|channel>thought\n{_SHORT}\n<channel|>", "<turn|>"),
    "harmony": _around(
        f"<|channel|>analysis<|message|>{_THOUGHTS}<|end|><|start|>assistant<|channel|>final<|message|>", "<|return|>"
    ),
    "harmony_whole": _around(
        f"<|start|>assistant<|channel|>analysis<|message|>{_SHORT}<|end|>"
        "<|start|>assistant<|channel|>commentary<|message|>A word first.<|end|>"
        "<|start|>assistant<|channel|>final<|message|>",
        "<|return|>",
    ),
    "harmony_stripped": _around(f"analysis{_THOUGHTS}assistantfinal", ""),
    "fence": _around(f"```thinking\n{_THOUGHTS}\n```\n\n", ""),
    "details": _around(
        f"<details type='reasoning'>\n<summary>Thought for 3 seconds</summary>\n{_SHORT}\n</details>\n\n", ""
    ),
    "untagged": _around(f"{_THOUGHTS}\n\n", ""),
    "untagged_we": _around(
        "We need to write a bedtime story. The user gave a child's name. Must output title first.\n\n"
        "Length: about 300 words. We'll write it in a gentle tone.\n\n",
        "",
    ),
    "untagged_heading": _around(
        "**Crafting the Narrative**\n\nI'm currently focusing on a calm plot that the child will love.\n\n"
        "**Refining the Story**\n\nI'm now working on the ending, which should be soft.\n\n\n",
        "",
    ),
    "untagged_process": _around(
        "Thinking Process:\n\n1. **Analyze the Request:** a bedtime story.\n2. **Drafting:** keep it short.\n\n", ""
    ),
    "untagged_quoted": _around("> Okay, the user wants a story.\n> I should keep it short.\n\n", ""),
    "untagged_react": _around("Thought: I should write a calm story.\nAction: write\nFinal Answer: ", ""),
    "untagged_answer": _around("**Thinking**\nThe user wants a story.\n\n**Answer**\n", ""),
    "harmony_kind": _around(
        "<|start|>assistant<|channel|>analysis<|message|>Hm.<|end|>"
        "<|start|>assistant<|channel|>final <|constrain|>text<|message|>",
        "",
    ),
    "untagged_russian": _around(
        "Итак, пользователь просит сказку на ночь. Мне нужно написать её простым языком.\n\n"
        "Сказка должна быть доброй.\n\n",
        "",
    ),
    "untagged_chinese": _around("好的，用户想要一个睡前故事。我需要写得温柔一些。\n\n首先，确定标题。\n\n", ""),
    "untagged_german": _around("Okay, der Nutzer möchte eine Geschichte. Ich muss sie ruhig schreiben.\n\n", ""),
    "untagged_spanish": _around("Bien, el usuario quiere un cuento. Necesito escribir algo tranquilo.\n\n", ""),
}

TOKENS: Final[dict[str, Wrapper]] = {
    "im_end": _around("", "<|im_end|>"),
    "chat_ml": _around("<|im_start|>assistant\n", "<|im_end|>\n<|im_start|>user\nOne more, please.<|im_end|>"),
    "llama": _around(
        "<|begin_of_text|><|start_header_id|>assistant<|end_header_id|>\n\n",
        "<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nAnother one",
    ),
    "llama_4": _around("<|header_start|>assistant<|header_end|>\n\n", "<|eot|>"),
    "llama_stripped": _around("", "assistant\n\nWould you like more?"),
    "llama_stripped_front": _around("assistant\n\n", "\n\nassistant\n\nHere is another story."),
    "mistral": _around("<s> [INST] Write a story. [/INST] ", "</s> [INST] More! [/INST] No."),
    "llama_2": _around("[INST] <<SYS>>\nBe kind.\n<</SYS>>\nWrite. [/INST]\n", "</s>"),
    "instruction_end": _around("", " [/INST] Sure, another one."),
    "deep_seek": _around("<｜begin▁of▁sentence｜><｜User｜>Write.<｜Assistant｜>", "<｜end▁of▁sentence｜>"),
    "gemma": _around("<start_of_turn>model\n", "<end_of_turn>\n<start_of_turn>user\nMore"),
    "phi": _around("<|assistant|>\n", "<|end|>\n<|user|>\nMore"),
    "glm": _around("<|begin_of_box|>", "<|end_of_box|>"),
    "granite": _around("<|start_of_role|>assistant<|end_of_role|>", "<|end_of_text|>"),
    "kimi": _around("<|im_assistant|>assistant<|im_middle|>", "<|im_end|>"),
    "exaone": _around("[|assistant|]", "[|endofturn|]\n[|user|]More"),
    "minimax": _around("]~b]ai\n", "[e~["),
    "command": _around("<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>", "<|END_OF_TURN_TOKEN|>"),
    "padding": _around("<bos><pad>", "<eos><pad><pad>"),
    "cut_token": _around("", "<|im_en"),
    "end_of_text": _around("<|endoftext|>", "<|endoftext|>Human: more\n\nAssistant: no"),
    "bytes": lambda title, text: _plain(title, text).replace("\n", "<0x0A>"),
    "sentence_piece": lambda title, text: _plain(title, text).replace(" ", "▁"),
    "second_turn": _around("", "\n\nUser: Write another story.\n\nAssistant: Gladly! Once there was a dog."),
    "second_turn_bold": _around("", "\n\n**Human:** Write another story.\n\n**Assistant:** Gladly!"),
    "instruction": _around(
        "", "\n\n### Instruction:\nWrite another story.\n\n### Response:\nThe Dog\n\nOnce there was a dog."
    ),
}

LABELS: Final[dict[str, Wrapper]] = {
    "title_label": lambda title, text: f"Title: {title}\n\n{text}",
    "title_bold": lambda title, text: f"**Title:** {title}\n\n**Story:**\n\n{text}",
    "story_title": lambda title, text: f"Story Title: {title}\n\nStory:\n{text}",
    "heading": lambda title, text: f"# {title}\n\n---\n\n{text}\n\n---",
    "labels_alone": lambda title, text: f"**Title**\n\n**{title}**\n\n**Story**\n\n{text}",
    "ages": lambda title, text: f"**{title}**\n\n*(For ages 4-6)*\n\nReading time: 5 minutes\n\n{text}",
    "word_count": lambda title, text: f"# {title}\n\n{text}\n\n(Word count: 312)",
    "word_count_plain": lambda title, text: f"# {title}\n\n{text}\n\n**Word count:** 312 words",
    "assistant": lambda title, text: f"Assistant: {title}\n\n{text}",
    "here_is_the_story": lambda title, text: f"# {title}\n\nHere's the story:\n\n{text}",
    "numbered": lambda title, text: f"1. Title: {title}\n\n2. Story:\n\n{text}",
    "bedtime_story": lambda title, text: f"Bedtime Story: {title}\n\n{text}",
    "by": lambda title, text: f"{title}\nby ChatGPT\n\n{text}",
    "music": lambda title, text: f"**{title}**\n\n[Soft music plays]\n\n{text}\n\nThe End",
    "subtitle": lambda title, text: f"# {title}\n\n*A bedtime story for Mia*\n\n{text}",
    "table": lambda title, text: f"| Age | Length |\n|---|---|\n| 5 | 300 |\n\n# {title}\n\n{text}",
    "russian": lambda title, text: f"**Название:** {title}\n\n**Сказка:**\n\n{text}\n\nКонец",
    "german": lambda title, text: f"Titel: {title}\n\nGeschichte:\n\n{text}\n\nEnde",
    "yaml": lambda title, text: f"title: {title}\nstory: |\n{text}",
    "tags": lambda title, text: f"<title>{title}</title>\n<story>\n{text}\n</story>",
    "answer_tag": lambda title, text: f"<answer>\n{title}\n\n{text}\n</answer>",
    "fence": lambda title, text: f"```markdown\n# {title}\n\n{text}\n```",
    "fence_note": lambda title, text: f"```\n{title}\n\n{text}\n```\n\nThis one has a calm ending.",
}

PREAMBLES: Final[dict[str, Wrapper]] = {
    "cozy": lambda title, text: (
        f"Absolutely! Snuggle in, here's a cozy bedtime story for Mia.\n\n**{title}**\n\n{text}"
    ),
    "colon": _around("Sure! Here is a bedtime story for Mia:\n\n", ""),
    "rule": _around("Here's a gentle story, just for Mia.\n\n---\n\n", ""),
    "idea": lambda title, text: f"What a lovely idea! I adore the sea.\n\n# {title}\n\n{text}",
    "two": lambda title, text: (
        f"Of course! I'd be delighted to write this story for Mia.\n\n"
        f"I hope she enjoys it. Here you go!\n\n## {title}\n\n{text}"
    ),
    "quoted": lambda title, text: f"I'd love to tell you a story about the sea, called:\n\n“{title}”\n\n{text}",
    "title_label": lambda title, text: f"Great choice. This one is calm and kind.\n\nTitle: {title}\n\n{text}",
    "alone": lambda title, text: f"Sure thing!\n\n**{title}**\n\n{text}",
    "named": lambda title, text: f"Certainly! Here's a bedtime story titled “{title}”:\n\n{text}",
    "prompt": lambda title, text: f"Prompt: Write a story.\n\nResponse:\n{title}\n\n{text}",
    "echo": lambda title, text: f"System: Be kind.\nUser: Write a story.\nAssistant: {title}\n\n{text}",
    "direction": lambda title, text: f"*clears throat*\n\n**{title}**\n\n{text}",
    "plan": lambda title, text: f"Age: 5\nTheme: sea\n\n# {title}\n\n{text}",
    "russian": lambda title, text: f"Конечно! Вот добрая сказка для Ани.\n\n**{title}**\n\n{text}",
    "german": lambda title, text: f"Sehr gerne! Hier ist eine Gutenachtgeschichte für Mia:\n\n**{title}**\n\n{text}",
    "spanish": lambda title, text: f"¡Por supuesto! Aquí tienes un cuento para dormir.\n\n**{title}**\n\n{text}",
    "french": lambda title, text: f"Bien sûr ! Voici une histoire pour Mia :\n\n**{title}**\n\n{text}",
    "chinese": lambda title, text: f"好的，这是一个睡前故事：\n\n**《{title}》**\n\n{text}",
    "japanese": lambda title, text: f"もちろんです！こちらがお話です。\n\n# {title}\n\n{text}",
    "arabic": lambda title, text: f"بالطبع! إليك قصة قصيرة.\n\n**{title}**\n\n{text}",
}

POSTAMBLES: Final[dict[str, Wrapper]] = {
    name: _around("", f"\n\n{behind}")
    for name, behind in {
        "let_me_know": "Let me know if you'd like any changes!",
        "rule": "---\n\nI hope Mia enjoys this story! Would you like another one?",
        "enjoys": "I hope Mia enjoys it. Feel free to ask for a longer version.",
        "would_you": "Would you like me to write a sequel, or to change the ending?",
        "offers": "Would you like me to:\n1. Make it longer?\n2. Add a friend?\n3. Change the ending?",
        "note": "Note: This story has about 300 words and a calm tone.",
        "note_bold": "**Note:** The names can be changed.",
        "authors_note": "*Author's note: written for a child of five.*",
        "sources": "Sources:\n[1] https://example.com/bears\n[2] https://example.org/sea",
        "references": "**References**\n\n1. Smith, A. (2020). Bears.\n2. Jones, B. Sea tales.\n3. Lee, C.\n4. Ray, D.",
        "addresses": "[1] https://example.com/a\n[2] https://example.com/b\n[3] https://example.com/c\n[4] https://x.com/d",
        "footnotes": "[^1]: A note on bears.\n[^2]: A note on seas.",
        "questions": "**Discussion Questions:**\n\n1. Who slept?\n2. Why?\n3. What did you like?\n4. What comes next?",
        "emoji": "🌙 Let me know if you want another story! 😊",
        "the_end": "The End\n\n---\n\nI can also make it shorter if you like.",
        "this_story": "This story is designed to help Mia fall asleep.",
        "russian": "Надеюсь, сказка понравится Ане! Если хотите, я могу написать продолжение.",
        "german": "Ich hoffe, die Geschichte gefällt Mia! Lass mich wissen, wenn du Änderungen möchtest.",
        "spanish": "¡Espero que a Mia le guste el cuento! ¿Quieres que escriba otro?",
        "french": "J'espère que cette histoire plaira à Mia ! N'hésitez pas à me demander une suite.",
        "chinese": "希望你喜欢这个故事！如果需要修改，请告诉我。",
        "farewell": "Sleep tight, Mia! Let me know if you'd like another.",
        "the_end_and_more": "The end. Sweet dreams!",
        "question": "How was that story? Is there anything else you'd like?",
        "hashtags": "#bedtime #story",
        "made_by": "Story generated by an AI.",
        "as_requested": "I kept the story short and gentle, as requested.",
        "italian": "Vuoi che scriva un'altra storia?",
        "korean": "이야기가 마음에 드셨나요?",
        "table": "| Word | Meaning |\n|---|---|\n| dusk | evening |",
    }.items()
}

ESCAPES: Final[dict[str, Wrapper]] = {
    "line_feeds": lambda title, text: _plain(title, text).replace("\n", "\\n"),
    "json_text": lambda title, text: json.dumps(_plain(title, text)),
    "json_inside": lambda title, text: json.dumps(_plain(title, text))[1:-1],
    "entities": lambda title, text: html.escape(_plain(title, text)).replace("\n\n", "\n&nbsp;\n"),
    "entities_twice": lambda title, text: html.escape(html.escape(_plain(title, text))),
    "numeric": lambda title, text: "".join(
        f"&#{ord(c)};" if ord(c) > 126 or c == "'" else c for c in _plain(title, text)
    ),
    "markdown": lambda title, text: f"{title}\n\n" + text.replace(".", "\\.").replace("!", "\\!").replace("[", "\\["),
    "hard_breaks": lambda title, text: _plain(title, text).replace("\n", "  \n"),
    "html": lambda title, text: (
        f"<!DOCTYPE html>\n<html><head><title>{html.escape(title)}</title></head><body>\n"
        f"<h1>{html.escape(title)}</h1>\n"
        + "".join(
            f'<p class="x">{html.escape(paragraph)}</p>\n'.replace("\n", "<br/>\n", paragraph.count("\n"))
            for paragraph in text.split("\n\n")
        )
        + "</body></html>"
    ),
}

STRUCTURED: Final[dict[str, Wrapper]] = {
    "object": lambda title, text: json.dumps({"title": title, "story": text}, ensure_ascii=False),
    "object_ascii": lambda title, text: json.dumps({"story_title": title, "content": text}, indent=2),
    "fence": lambda title, text: f"```json\n{json.dumps({'title': title, 'text': text}, indent=1)}\n```",
    "preamble": lambda title, text: (
        f"Here is the story in JSON format:\n\n```json\n{json.dumps({'title': title, 'story': text})}\n"
        "```\n\nLet me know!"
    ),
    "moral": lambda title, text: json.dumps({"title": title, "story": text, "moral": "Be kind.", "age": "4-6"}),
    "reversed": lambda title, text: json.dumps({"moral": "Be kind.", "story": text, "title": title}),
    "paragraphs": lambda title, text: json.dumps({"title": title, "paragraphs": text.split("\n\n")}),
    "pages": lambda title, text: json.dumps(
        {"title": title, "pages": [{"page": n, "text": part} for n, part in enumerate(text.split("\n\n"))]}
    ),
    "nested": lambda title, text: json.dumps({"response": {"title": title, "body": text}}),
    "array": lambda title, text: json.dumps([{"title": title, "story": text}]),
    "key_is_title": lambda title, text: json.dumps({title: text}),
    "raw_lines": lambda title, text: '{{"title": "{}",\n"story": "{}"}}'.format(title, text.replace('"', '\\"')),
    "python": lambda title, text: str({"title": title, "story": text}),
    "thoughts": lambda title, text: f"<think>{_SHORT}</think>\n\n" + json.dumps({"title": title, "story": text}),
    "thought_key": lambda title, text: json.dumps({"thoughts": f"{_THOUGHTS} " * 3, "title": title, "story": text}),
    "completion": lambda title, text: json.dumps(
        {"choices": [{"message": {"role": "assistant", "content": _plain(title, text)}}]}
    ),
    "cut": lambda title, text: json.dumps({"title": title, "story": text})[:-2],
}

CITATIONS: Final[dict[str, Wrapper]] = {
    "attached": lambda title, text: _plain(title, _each_sentence(text, "[1][2]")),
    "single": lambda title, text: _plain(title, _each_sentence(text, "[3]")),
    "open_ai": lambda title, text: _plain(title, _each_sentence(text, "【4:0†source】")),
    "source": lambda title, text: _plain(title, _each_sentence(text, " (source: example.com)")),
    "caret": lambda title, text: _plain(title, _each_sentence(text, "[^1]")),
    "link": lambda title, text: _plain(title, _each_sentence(text, " ([example.com](https://example.com/?q=1))")),
    "list": lambda title, text: (
        _plain(title, _each_sentence(text, "[1]"))
        + "\n\nCitations:\n[1] Bears - example.com\n[2] Seas - example.org\n[3] C\n[4] D"
    ),
    "list_unmarked": lambda title, text: (
        _plain(title, _each_sentence(text, "[1]")) + "\n\n[1] Bears and honey\n[2] Seas"
    ),
}


def _each_sentence(text: str, mark: str) -> str:
    """Marks the end of each paragraph that ends with a full stop."""
    return "\n".join(f"{line}{mark}" if line.endswith((".", "。", "।")) else line for line in text.split("\n"))


WRAPPERS: Final[dict[str, Wrapper]] = {
    f"{kind}-{name}": wrapper
    for kind, wrappers in {
        "thoughts": THOUGHTS,
        "tokens": TOKENS,
        "labels": LABELS,
        "preamble": PREAMBLES,
        "postamble": POSTAMBLES,
        "escapes": ESCAPES,
        "structured": STRUCTURED,
        "citations": CITATIONS,
    }.items()
    for name, wrapper in wrappers.items()
}
