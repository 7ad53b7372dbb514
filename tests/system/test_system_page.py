"""The page in a browser, over a cluster of real processes with the embedded writer and voice."""

import asyncio
import os
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import Page, expect
from support.browser import browser, fill, heard, overflows, tell, until, violations, written
from support.house import house

from gateway.door.keys import KeyFile
from standins.processes import Cluster, cluster, free_ports
from standins.watcher import gateway_stub
from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2

pytestmark = pytest.mark.system

SCREENS: Final = ("", "library", "family", "system")
REACHED: Final = "Number(document.querySelector('.player input').value)"
HOSTILE: Final = "<img src=x onerror=alert(1)>"


@dataclass(slots=True)
class Home:
    """A cluster with a page, and a finished story."""

    cluster: Cluster
    url: str
    story_id: str = ""

    async def story(self, story_id: str) -> common_pb2.Story:
        """The story as stored, in full view."""
        async with self.cluster.channel() as channel:
            request = gateway_pb2.GetStoryRequest(story_id=story_id, view=common_pb2.STORY_VIEW_FULL)
            answer: gateway_pb2.GetStoryResponse = await gateway_stub(channel).GetStory(request, timeout=20)
            return answer.story

    async def tell(self, **wish: Any) -> str:
        """Tells a story of one minute to its end; returns its id."""
        story_id = ""
        async with self.cluster.channel() as channel:
            request = gateway_pb2.TellStoryRequest(spec=common_pb2.StorySpec(length_minutes=1, **wish))
            async for response in gateway_stub(channel).TellStory(request, timeout=180):
                story_id = response.event.story_id
        return story_id

    async def count(self) -> int:
        """Number of stories."""
        async with self.cluster.channel() as channel:
            answer = await gateway_stub(channel).ListStories(gateway_pb2.ListStoriesRequest(page_size=100), timeout=20)
            return len(answer.stories)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def home(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Home]:
    """The cluster of this module, and a story of one minute for Mia."""
    folder = tmp_path_factory.mktemp("page")
    listen = f"127.0.0.1:{free_ports(1)[0]}"
    async with cluster(folder, GATEWAY_WEB_LISTEN=listen, STORY_OFFLINE_WORDS_PER_SECOND="12") as it:
        found = Home(it, f"http://{listen}")
        child = common_pb2.Child(name="Mia", age=6, interests=["dragons"])
        found.story_id = await found.tell(child=child, wish="a lighthouse that is afraid of the dark")
        yield found


@pytest_asyncio.fixture(loop_scope="session")
async def page(home: Home, tmp_path: Path) -> AsyncIterator[Page]:
    """A browser at the page."""
    async with browser(tmp_path) as it:
        await it.goto(home.url)
        yield it


def spoken(story: common_pb2.Story) -> list[tuple[float, int, bool]]:
    """When each word of a story is heard: its time, its first code point with quotes, whether it is in the title."""
    found = []
    for segment in story.audio.segments:
        in_title = segment.text.start == segment.text.end
        text = story.title if in_title else story.content
        for word in segment.words:
            start = max(text.rfind(space, 0, word.text.start) for space in " \n") + 1
            found.append((word.start.ToMicroseconds() / 1e6, start, in_title))
    return found


async def test_page_tells_a_story_from_the_first_click_to_the_last_word(home: Home, page: Page) -> None:
    before = await home.count()
    await fill(page)
    await page.get_by_role("button", name="Tell the story").dblclick()
    await page.wait_for_url("**/#/story/**")
    story_id = page.url.partition("#/story/")[2].partition("?")[0]
    await expect(page.locator(".prose .word").first).to_be_visible()
    lengths = {len(await written(page))}
    await expect(page.locator(".word.now")).to_be_visible()
    samples = set()
    # Three times as fast as it is read aloud; where the audio is not made yet, the browser waits for it.
    await page.evaluate("document.querySelector('audio').playbackRate = 3")
    while not await page.locator(".rating").count():
        lengths.add(len(await written(page)))
        if (now := await heard(page)) is not None:
            samples.add(tuple(now))
        await asyncio.sleep(0.1)
    assert len(lengths) > 2, "the text did not grow"
    await until(page, "document.querySelector('audio').ended")
    story = await home.story(story_id)
    assert " ".join(story.content.split()) == await written(page)
    times = spoken(story)
    await expect(page.locator(".word.now")).to_have_text(story.content.split()[-1])
    assert len({start for _, start, _ in samples}) > 10, "the marked word did not move"
    late = 0.35
    for time, start, in_title in samples:
        near = {(at, title) for when, at, title in times if time - late <= when <= time + late}
        last = max((each for each in times if each[0] <= time), default=times[0])
        assert (start, in_title) in near | {last[1:]}, f"{start} at {time}"
    assert before + 1 == await home.count(), "a double click made two stories"


async def test_page_goes_to_the_word_that_is_clicked(home: Home, page: Page) -> None:
    await page.goto(f"{home.url}/#/story/{home.story_id}")
    await expect(page.locator(".rating")).to_be_visible()
    times = spoken(await home.story(home.story_id))
    wanted, start, _ = next(each for each in times if each[0] > 12 and not each[2])
    word = page.locator(".prose .word.told").nth(
        await page.evaluate(
            "start => [...document.querySelectorAll('.prose .word')].findIndex((each) => each.word.start === start)",
            start,
        )
    )
    await word.click()
    await expect(word).to_have_class(re.compile("now"))
    reached = await page.evaluate("document.querySelector('audio').currentTime")
    assert wanted == pytest.approx(reached, abs=1.5)
    await page.get_by_role("button", name="Pause").click()
    assert await page.evaluate("document.querySelector('audio').paused")


async def test_page_goes_to_an_earlier_word_while_the_story_is_made(home: Home, page: Page) -> None:
    await tell(page, home.url, wish="a patient whale", minutes=10)
    await until(page, f"{REACHED} > 8")
    # The second segment is the first of the text.
    await page.locator(".prose .word.told").first.click()
    await until(page, f"{REACHED} < 6 && !document.querySelector('audio').paused")
    await expect(page.locator(".word.now")).to_be_visible()
    _, start, in_title = await heard(page) or (0.0, -1, True)
    assert 0 <= start < 100
    assert not in_title
    await page.get_by_role("button", name="Cancel the story").click()
    await expect(page.locator(".state.cancelled")).to_be_visible()


async def test_page_shows_what_a_story_waits_for(home: Home, page: Page) -> None:
    await home.cluster.terminate("story")
    await tell(page, home.url, wish="a sleepy bell")
    await expect(page.locator(".waiting")).to_contain_text("story service")
    await page.goto(f"{home.url}/#/system")
    await expect(page.get_by_role("region", name="In progress")).to_contain_text("story service")
    await page.go_back()
    await home.cluster.start("story")
    await expect(page.locator(".waiting")).to_be_hidden()
    await expect(page.locator(".rating")).to_be_visible()


async def test_page_continues_after_the_gateway_restarts(home: Home, page: Page) -> None:
    story_id = await tell(page, home.url, wish="a very long train", minutes=2)
    await expect(page.locator(".word.now")).to_be_visible()
    await until(page, f"{REACHED} > 8")
    await home.cluster.terminate("gateway")
    await home.cluster.start("gateway")
    # What was heard is not heard again, but for the segment that the audio broke in.
    audio = "document.querySelector('audio')"
    await until(page, f"/offset=[1-9]|#file/.test({audio}.src) && {audio}.readyState > 2")
    assert await page.evaluate(REACHED) > 4
    await expect(page.locator(".rating")).to_be_visible(timeout=150_000)
    story = await home.story(story_id)
    assert common_pb2.STORY_STATE_READY == story.state
    assert " ".join(story.content.split()) == await written(page)
    await page.evaluate("document.querySelector('audio').playbackRate = 8")
    last = story.content.split()[-1]
    await expect(page.locator(".word.now")).to_have_text(last, timeout=120_000)


async def test_page_cancels_a_story(home: Home, page: Page) -> None:
    story_id = await tell(page, home.url, wish="a slow snail", minutes=10)
    await page.get_by_role("button", name="Cancel the story").click()
    await expect(page.locator(".state.cancelled")).to_have_text("Cancelled")
    assert common_pb2.STORY_STATE_CANCELLED == (await home.story(story_id)).state


async def test_page_shows_a_refusal_at_its_field(page: Page) -> None:
    await page.get_by_role("button", name="Tell the story").click()
    # The name is missing.
    await expect(page.get_by_role("alert")).to_be_visible()
    await fill(page)
    await page.get_by_label("Age", exact=True).fill("40")
    await page.get_by_role("button", name="Tell the story").click()
    age = page.get_by_label("Age", exact=True)
    await expect(age).to_be_focused()
    await expect(age).to_have_attribute("aria-invalid", "true")
    await expect(page.locator("[data-path='spec.child.age'] .error")).to_have_text(re.compile("18"))


async def test_page_shows_names_as_text(home: Home, page: Page) -> None:
    await tell(page, home.url, HOSTILE)
    await expect(page.locator(".rating")).to_be_visible()
    await expect(page.locator(".facts")).to_contain_text(HOSTILE)
    await page.goto(f"{home.url}/#/library")
    await expect(page.locator(".card .facts").first).to_contain_text(HOSTILE)
    assert 0 == await page.locator("img[src=x]").count()


async def test_page_library_finds_rates_narrates_and_continues(home: Home, page: Page) -> None:
    await page.goto(f"{home.url}/#/library")
    await page.get_by_label("Search").fill("lighthouse")
    cards = page.locator(".cards .card")
    await expect(cards).to_have_count(1)
    await page.get_by_label("Search").fill("rhinoceros")
    await expect(page.locator(".empty", has_text="No story matches.")).to_be_visible()
    await page.get_by_label("Search").fill("lighthouse")
    await cards.first.get_by_role("link").click()
    await expect(page.locator(".rating")).to_be_visible()
    await page.get_by_label("9", exact=True).check()
    await expect(page.get_by_role("status")).to_have_text("Rated 9 of 10.")
    assert 9 == (await home.story(home.story_id)).rating
    audio_id = (await home.story(home.story_id)).audio.audio_id
    voices = page.get_by_label("Voice")
    await expect(voices.locator("option").nth(2)).to_be_attached()
    await voices.select_option(index=2)
    await page.get_by_role("button", name="Narrate again").click()
    async with asyncio.timeout(60):
        while audio_id == (await home.story(home.story_id)).audio.audio_id:  # noqa: ASYNC110 - the voice may be quick
            await asyncio.sleep(0.1)
    await expect(page.locator(".rating")).to_be_visible()
    await page.get_by_role("link", name="Tell a sequel").click()
    await expect(page.locator(".chip")).to_contain_text("Continues")
    await page.get_by_label("Length").fill("1")
    await page.get_by_role("button", name="Tell the story").click()
    await page.wait_for_url("**/#/story/**")
    sequel = page.url.partition("#/story/")[2].partition("?")[0]
    assert home.story_id == (await home.story(sequel)).parent_story_id
    await page.get_by_role("button", name="Cancel the story").click()
    await page.get_by_role("button", name="Delete", exact=True).click()
    await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await page.wait_for_url("**/#/library")


@pytest.mark.parametrize(
    ("label", "beginning"),
    [("Text", None), ("Audio", None), ("E-book (EPUB)", b"PK"), ("Read-along page", b"<!doctype html>")],
)
async def test_page_downloads_a_story(home: Home, page: Page, label: str, beginning: bytes | None) -> None:
    await page.goto(f"{home.url}/#/story/{home.story_id}")
    async with page.expect_download() as waiting:
        await page.get_by_role("button", name=label, exact=True).click()
    data = await asyncio.to_thread(Path(await (await waiting.value).path()).read_bytes)
    assert len(data) > 400
    if beginning is not None:
        assert data.lower().startswith(beginning.lower())


async def test_page_saves_changes_and_erases_a_child(home: Home, page: Page) -> None:
    await page.goto(f"{home.url}/#/family")
    await page.get_by_role("button", name="New child").click()
    box = page.get_by_role("dialog")
    await box.get_by_label("First name").fill("Noa")
    await box.get_by_label("Age", exact=True).fill("5")
    await box.get_by_role("button", name="Save").click()
    card = page.locator(".profiles .card", has_text="Noa")
    await expect(card).to_contain_text("5 years")
    await card.get_by_role("button", name="Edit").click()
    await box.get_by_label("Likes").fill("owls, rain")
    await box.get_by_role("button", name="Save").click()
    await expect(card).to_contain_text("owls, rain")
    await card.get_by_role("button", name="Podcast feed").click()
    address = await box.get_by_label("Address").input_value()
    async with aiohttp.ClientSession() as session, session.get(address) as answer:
        assert 200 == answer.status
        assert "<rss" in await answer.text()
    await box.get_by_role("button", name="Close").click()
    await card.get_by_role("button", name="Erase").click()
    await expect(box).to_contain_text("every story that was made for it")
    await box.get_by_role("button", name="Erase").click()
    await expect(box).to_contain_text("Receipt")
    await box.get_by_role("button", name="Close").last.click()
    await expect(card).to_have_count(0)


async def test_page_saves_a_hero(home: Home, page: Page) -> None:
    await page.goto(f"{home.url}/#/family")
    await page.get_by_role("button", name="New hero").click()
    box = page.get_by_role("dialog")
    await box.get_by_label("Name of the hero").fill("Captain Thimble")
    await box.get_by_label("Looks").fill("a small brass hat")
    await box.get_by_role("button", name="Save").click()
    await expect(page.locator(".profiles .card", has_text="Captain Thimble")).to_contain_text("a small brass hat")
    await page.goto(f"{home.url}/#/")
    await page.get_by_label("Child and hero").check()
    await expect(page.get_by_text("Captain Thimble")).to_be_visible()


async def test_page_shows_operators_the_cluster(home: Home, page: Page) -> None:
    await page.get_by_role("link", name="System").click()
    await expect(page.get_by_text("Every service accepts calls.")).to_be_visible()
    await expect(page.get_by_role("region", name="Services").locator(".card")).to_have_count(4)
    await expect(page.get_by_role("region", name="Embedded parts")).to_contain_text("OPENROUTER_API_KEY")
    await expect(page.get_by_role("region", name="Usage of 30 days").get_by_role("table").first).to_contain_text(
        "offline"
    )
    async with home.cluster.channel() as channel:
        spec = common_pb2.StorySpec(child=common_pb2.Child(name="Ida"), wish="a slow tortoise", length_minutes=10)
        made = await gateway_stub(channel).CreateStory(gateway_pb2.CreateStoryRequest(spec=spec), timeout=20)
        running = page.get_by_role("region", name="In progress").get_by_role("link")
        await expect(running.first).to_have_attribute("href", f"#/story/{made.story.id}")
        await gateway_stub(channel).CancelStory(gateway_pb2.CancelStoryRequest(story_id=made.story.id), timeout=20)
    await expect(page.get_by_text("No story is being made.")).to_be_visible()


async def test_page_asks_for_a_key_and_keeps_it_out_of_addresses(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    key, _ = KeyFile(file).create("parent")
    settings: dict[str, Any] = {"auth": "api_key", "api_keys_file": file, "web_listen": "127.0.0.1:0"}
    async with house(tmp_path / "data", **settings) as it, browser(tmp_path) as page:
        addresses: list[str] = []
        page.on("request", lambda request: addresses.append(request.url))
        await page.goto(it.url)
        box = page.get_by_role("dialog")
        await box.get_by_label("API key or token").fill("wrong")
        await box.get_by_role("button", name="Sign in").click()
        await expect(box).to_contain_text("unknown, revoked or expired")
        await box.get_by_label("API key or token").fill(key)
        await box.get_by_role("button", name="Sign in").click()
        await expect(page.get_by_label("Wish")).to_be_visible()
        assert key == await page.evaluate("sessionStorage.getItem('tale-key')")
        assert await page.evaluate("localStorage.getItem('tale-key')") is None
        await tell(page, it.url)
        await expect(page.locator(".rating")).to_be_visible()
        # A parent is no operator.
        assert 0 == await page.get_by_role("link", name="System").count()
        assert not [address for address in addresses if key in address]
        await page.get_by_role("button", name="Sign out").click()
        await expect(box).to_be_visible()


async def test_page_can_be_used_by_keyboard_alone(page: Page) -> None:
    async def tab_to(label: str) -> None:
        for _ in range(60):
            await page.keyboard.press("Tab")
            name = "e => (e.labels?.[0] ?? e).innerText.trim() || e.ariaLabel"
            if (await page.evaluate(f"({name})(document.activeElement)")).startswith(label):
                return
        pytest.fail(f"{label} is not reached by Tab")

    await expect(page.get_by_label("Wish")).to_be_visible()
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")  # to the content
    await tab_to("Wish")
    await page.keyboard.type("a quiet hedgehog")
    await tab_to("First name")
    await page.keyboard.type("Ben")
    await tab_to("Length")
    await page.keyboard.press("Home")
    await tab_to("Tell the story")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/#/story/**")
    await expect(page.get_by_role("heading", level=1)).to_be_focused()
    await expect(page.get_by_role("button", name="Pause")).to_be_visible()
    await tab_to("Pause")
    await page.keyboard.press("Space")
    assert await page.evaluate("document.querySelector('audio').paused")
    await expect(page.locator(".rating")).to_be_visible()
    await tab_to("1")
    await page.keyboard.press("ArrowRight")
    await expect(page.get_by_role("status")).to_have_text(re.compile(r"Rated \d of 10"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_page_has_no_accessibility_violations(home: Home, tmp_path: Path, scheme: str) -> None:
    async with browser(tmp_path, color_scheme=scheme) as page:
        for screen in (*SCREENS, f"story/{home.story_id}"):
            await page.goto(f"{home.url}/#/{screen}")
            await expect(page.locator("main[aria-busy=false] h1")).to_be_visible()
            if screen.startswith("story"):
                await expect(page.locator(".rating")).to_be_visible()
            assert [] == await violations(page), screen


async def test_page_fits_a_phone_in_russian(home: Home, tmp_path: Path) -> None:
    async with browser(tmp_path, width=360, height=740, locale="ru-RU") as page:
        headings = ("О чём будет сегодняшняя сказка?", "Библиотека", "Дети и герои", "Система")
        for screen, heading in zip(SCREENS, headings, strict=True):
            await page.goto(f"{home.url}/#/{screen}")
            await expect(page.get_by_role("heading", level=1)).to_have_text(heading)
            await expect(page.locator("main[aria-busy=false]")).to_be_visible()
            assert not await overflows(page), screen
        await page.goto(f"{home.url}/#/story/{home.story_id}")
        await expect(page.locator(".rating")).to_be_visible()
        assert not await overflows(page)
        await page.get_by_label("Язык страницы").select_option("en")
        await expect(page.get_by_role("link", name="Library")).to_be_visible()


def total(folder: Path) -> int:
    """Bytes of the five pictures."""
    names = ("telling", "library", "operator", "phone", "dark")
    return sum((folder / f"page-{name}.png").stat().st_size for name in names)


async def test_page_pictures(home: Home, tmp_path: Path) -> None:
    folder = Path(os.environ.get("PICTURES", tmp_path))
    await asyncio.gather(
        home.tell(child=common_pb2.Child(name="Noa"), wish="an owl that collects rain"),
        home.tell(child=common_pb2.Child(name="Соня"), wish="поезд на луну", language_code="ru"),
        home.tell(child=common_pb2.Child(name="Leo"), wish="a lost button"),
    )
    async with browser(tmp_path / "light") as page:
        await tell(page, home.url, minutes=2)
        await until(page, "document.querySelector('audio').currentTime > 9")
        await page.mouse.move(0, 0)
        await page.screenshot(path=folder / "page-telling.png")
        await page.goto(f"{home.url}/#/library")
        await expect(page.locator(".card").first).to_be_visible()
        await page.screenshot(path=folder / "page-library.png")
        await page.goto(f"{home.url}/#/system")
        await expect(page.get_by_role("table").first).to_be_visible()
        await expect(page.get_by_role("region", name="In progress").get_by_role("link")).to_be_visible()
        await page.screenshot(path=folder / "page-operator.png")
    async with browser(tmp_path / "dark", width=390, height=780, color_scheme="dark", locale="ru-RU") as page:
        await page.goto(f"{home.url}/#/")
        await expect(page.get_by_label("Пожелание")).to_be_visible()
        await page.screenshot(path=folder / "page-phone.png")
        await page.goto(f"{home.url}/#/story/{home.story_id}")
        await expect(page.locator(".rating")).to_be_visible()
        await page.get_by_role("button", name="Слушать").click()
        await until(page, "document.querySelector('audio').currentTime > 6")
        await page.screenshot(path=folder / "page-dark.png")
    assert 0 < await asyncio.to_thread(total, folder) < 700_000
