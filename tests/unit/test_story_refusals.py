"""Answers that are whole and no story."""

import pytest

from story_service.answer.refusals import is_refusal
from story_service.errors import UnfitError


@pytest.mark.parametrize(
    "answer",
    [
        "I'm sorry, but I can't help with that request.",
        "I’m sorry, I cannot write that story.",
        "  **I am sorry, but as an AI I am unable to do this.**\n\nPlease ask for another.",
        "Sorry, I can't do that.",
        "I cannot assist with that.",
        "Unfortunately, I can't write this.",
        "As an AI language model, I do not write such things.",
        "Простите, но я не могу помочь вам.",
        "Извините, но я не могу написать такую сказку.",
        "Я не могу выполнить эту просьбу.",
        "Es tut mir leid, aber dabei kann ich nicht helfen.",
        "Je suis désolé, mais je ne peux pas vous aider.",
        "Lo siento, pero no puedo ayudar con eso.",
        "很抱歉我无法完成这个请求。",
        "申し訳ありませんが、お応えできません。",
    ],
)
def test_refusals_are_known_by_their_first_line(answer: str) -> None:
    """In the languages that are asked for most, dressed or not."""
    assert is_refusal(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "The Fox\n\nI'm sorry, but I can't help you, said the owl.",
        "I'm Sorry, Said the Frog\n\nOnce there was a frog.",
        '"I can\'t sleep," said Mia.',
        "I Can't Wait for Summer",
        "Sorry, Little Bear",
        "Извини, мышонок\n\nЖил-был кот.",
        "As an owl flew by, the moon rose.",
        "Es war einmal ein Fuchs, der nicht schlafen konnte.",
        "Once upon a time there was a fox who was sorry that he could not help.",
    ],
)
def test_stories_are_no_refusals(answer: str) -> None:
    """Whatever their heroes cannot do."""
    assert not is_refusal(answer)


def test_unfit_answer_says_nothing_of_the_providers_health() -> None:
    """One wish does not take a model away from everybody; another model may do better."""
    treatment = UnfitError("too short", provider="fake", request_id="").treatment

    assert (False, True, True) == (treatment.break_circuit, treatment.fail_over, treatment.retry)
