"""Verdicts by the shape of an answer: of models, of guard models, and of moderation endpoints."""

from typing import Any

import pytest

from story_service.safety.model import read_verdict
from story_service.safety.moderation import _verdict
from story_service.safety.ports import Verdict


@pytest.mark.parametrize(
    ("answer", "category"),
    [
        ('{"unsuitable": false, "category": "none"}', ""),
        ('{"unsuitable": true, "category": "violence"}', "violence"),
        ('{"unsuitable": false, "category": "violence"}', "violence"),
        ('```json\n{"unsuitable": true, "category": "Self Harm"}\n```', "self-harm"),
        ('Here it is: {"Unsuitable": "yes", "category": "weapons"} I hope this helps.', "weapons"),
        ('{"safe": true}', ""),
        ('{"safe": false, "categories": ["S1"]}', "S1"),
        ('{"flagged": true}', "other"),
        ('{"verdict": "unsafe", "category": "hate"}', "hate"),
        ('{"safety": "safe"}', ""),
        ('{"unsuitable": false} {"unsuitable": true, "category": "drugs"}', "drugs"),
        ('{"unsuitable": true, "category": "Mia and the poison"}', "other"),
        ("safe", ""),
        ("\n\nsafe", ""),
        ("**Safe.**", ""),
        ("No", ""),
        ("unsafe\nS1,S10", "S1"),
        ("Unsafe: violence", "violence"),
        ("Yes.", "other"),
        ("Safety: Unsafe\nCategories: Violent", "other"),
        ("Safety: Safe\nCategories: None", ""),
        ("Verdict: not safe (frightening)", "frightening"),
    ],
)
def test_verdict_is_read_by_its_shape(answer: str, category: str) -> None:
    """The category is one of those that are known, never what the model made up."""
    assert Verdict(category) == read_verdict(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "I'm sorry, but I can't help with that.",
        "It is a lovely story.",
        "safe, but the wolf dies",
        "No, it is not safe",
        "The passage is safe.",
        '{"unsuitable": "perhaps"}',
        '{"unsuitable": null, "category": "none"}',
        '{"unsuitable": tr',
        "{}",
        "[]",
        "42",
    ],
)
def test_answer_without_a_clear_verdict_has_none(answer: str) -> None:
    """Then the check fails; it never passes."""
    assert read_verdict(answer) is None


@pytest.mark.parametrize(
    ("result", "category"),
    [
        ({"flagged": False, "categories": {"violence": False}}, ""),
        ({"flagged": True, "categories": {"violence": True, "hate": True}, "category_scores": {"hate": 0.9}}, "hate"),
        ({"flagged": True}, "unspecified"),
        ({"flagged": True, "categories": {}}, "unspecified"),
        ({"flagged": True, "categories": {"violence": False}}, "unspecified"),
        ({"flagged": True, "categories": None}, "unspecified"),
        ({"flagged": True, "categories": {"Mia met a wolf": True}}, "unspecified"),
        ({"flagged": True, "categories": {"violence/graphic": True}, "category_scores": "none"}, "violence/graphic"),
        ({"flagged": False, "categories": {"violence": True}}, "violence"),
        ({"categories": {"dangerous_and_criminal_content": True}}, "dangerous_and_criminal_content"),
        ({"categories": {"sexual": False}}, ""),
    ],
)
def test_result_of_a_moderation_is_read(result: dict[str, Any], category: str) -> None:
    """The worst category by its score; a flag without one counts too."""
    assert Verdict(category) == _verdict([result])


@pytest.mark.parametrize(
    "results", [None, [], {}, "safe", [None], [{}], [{"flagged": "no"}], [{"flagged": None}], [{"flagged": False}, 7]]
)
def test_result_that_cannot_be_read_is_no_verdict(results: object) -> None:
    """Then the check fails."""
    assert _verdict(results) is None


def test_any_flagged_result_refuses() -> None:
    """Some servers cut a text and judge its parts."""
    assert Verdict("hate") == _verdict([{"flagged": False}, {"flagged": True, "categories": {"hate": True}}])
