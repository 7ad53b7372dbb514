"""Answers that are whole and no story."""

import pytest

from story_service.answer.refusals import Refusal, refusal_in
from story_service.errors import UnfitError

_CERTAIN = [
    "I'm sorry, but I can't help with that request.",
    "I’m sorry, I cannot write that story.",
    "  **I am sorry, but as an AI I am unable to do this.**\n\nPlease ask for another.",
    "Unfortunately, I can't write this story.",
    "I apologize, but I'm not able to create content of this kind.",
    "As an AI language model, I cannot write such stories.",
    "I can't create this story because it goes against my guidelines.",
    "# A Story for Mia\n\nI'm sorry, but I can't write a story about this topic.",
    "Mia and the Knife\n\nI’m sorry. I won’t be able to write this, since I cannot create content of this kind.",
    "Простите, но я не могу помочь вам с этой просьбой.",
    "Извините, но я не могу написать такую сказку.",
    "К сожалению, я не могу выполнить этот запрос.",
    "Вибачте, але я не можу написати цю казку.",
    "Es tut mir leid, aber dabei kann ich nicht helfen.",
    "Leider kann ich diese Geschichte nicht schreiben.",
    "Je suis désolé, mais je ne peux pas vous aider avec cette demande.",
    "Lo siento, pero no puedo ayudar con eso.",
    "Desculpe, mas não posso escrever essa história.",
    "Mi dispiace, ma non posso scrivere questa storia.",
    "Het spijt me, maar ik kan dit verhaal niet schrijven.",
    "Przepraszam, ale nie mogę napisać tej historii.",
    "Üzgünüm, bu hikayeyi yazamam.",
    "Tyvärr kan jag inte skriva den här berättelsen.",
    "申し訳ありませんが、そのご要望にはお応えできません。",
    "申し訳ございませんが、この物語を書くことはできません。",
    "죄송하지만 이 요청은 도와드릴 수 없습니다.",
    "很抱歉，我无法完成这个请求。",
    "对不起，我不能写这样的故事。",
    "عذراً، لا يمكنني كتابة هذه القصة.",
    "אני מצטער, אבל אני לא יכול לכתוב את הסיפור הזה.",
    "क्षमा करें, मैं यह कहानी नहीं लिख सकता।",
]

_POSSIBLE = [
    "Sorry, I can't do that.",
    "I cannot assist with that.",
    "I can't help with that.",
    "Я не могу выполнить эту просьбу.",
    "As an AI language model, I do not write such things.",
    "I'd be happy to write a different story instead!",
    "How about a story about a bunny instead?",
    "Ich schreibe gerne eine andere Geschichte.",
    "代わりに別のお話はいかがでしょうか。",
    "\"I'm sorry, but I can't help with that.\"",
]

_STORIES = [
    "",
    "The Fox\n\n\"I'm sorry, but I can't help you with that story,\" said the owl.",
    "The Fox\n\n“I'm sorry, but I can't write that story. I can't help you. I am only an owl",
    "I'm Sorry, Said the Frog\n\nOnce there was a frog.",
    '"I can\'t sleep," said Mia.',
    "I cannot sleep. The moon is too bright, and the owl is singing.",
    "I Can't Wait for Summer",
    "Sorry, Little Bear",
    "Извини, мышонок\n\nЖил-был кот.",
    "Сказка\n\n— Прости, я не могу рассказать тебе сказку, — сказала сова.",
    "As an owl flew by, the moon rose.",
    "Es war einmal ein Fuchs, der nicht schlafen konnte.",
    "„Es tut mir leid, ich kann dir diese Geschichte nicht erzählen“, sagte die Eule.",
    "« Je suis désolé, je ne peux pas t'aider », dit le hibou.",
    "「ごめんなさい、そのお話は書けません」とフクロウが言いました。",
    "Once upon a time there was a fox who was sorry that he could not help.",
]


@pytest.mark.parametrize("answer", _CERTAIN)
def test_refusals_are_certain_in_every_language(answer: str) -> None:
    """Behind a title or not, dressed or not."""
    assert refusal_in(answer) is Refusal.CERTAIN


@pytest.mark.parametrize("answer", _POSSIBLE)
def test_short_refusals_and_redirections_are_possible(answer: str) -> None:
    """They are refusals where no story follows."""
    assert refusal_in(answer) is not Refusal.NONE


@pytest.mark.parametrize("answer", _STORIES)
def test_stories_are_no_refusals(answer: str) -> None:
    """Whatever their heroes cannot do."""
    assert refusal_in(answer) is Refusal.NONE


def test_unfit_answer_says_nothing_of_the_providers_health() -> None:
    """One wish does not take a model away from everybody; another model may do better."""
    treatment = UnfitError("too short", provider="fake", request_id="").treatment

    assert (False, True, True) == (treatment.break_circuit, treatment.fail_over, treatment.retry)
