"""How long a forgotten story is remembered."""

from voice_service.cache.forgotten import MAX_FORGOTTEN, ForgottenStories


def test_a_story_is_remembered_for_its_time() -> None:
    """From when it was last forgotten; others are not concerned."""
    now = [0.0]
    stories = ForgottenStories(10.0, clock=lambda: now[0])
    stories.add(["one", "two"])
    now[0] = 6.0
    stories.add(["one"])

    assert (True, True, False) == ("one" in stories, "two" in stories, "three" in stories)
    now[0] = 12.0
    assert (True, False) == ("one" in stories, "two" in stories)
    stories.add([])
    assert 1 == len(stories)


def test_memory_is_bounded() -> None:
    """Those that were forgotten first make room."""
    stories = ForgottenStories(10.0, clock=lambda: 0.0)
    stories.add(str(number) for number in range(MAX_FORGOTTEN + 2))

    assert MAX_FORGOTTEN == len(stories)
    assert (False, True) == ("1" in stories, "2" in stories)
