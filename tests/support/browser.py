"""Debian's Chromium, driven by Playwright, and what a reader sees on the page."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.async_api import Page, async_playwright, expect

ARGUMENTS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
MISSING: Final = (
    "There is no Chromium: `apt-get install --no-install-recommends chromium fonts-noto-core` (Debian), "
    "or put a `chromium` on PATH."
)
AXE: Final = Path(__file__).resolve().parents[1] / "upstreams" / "node_modules" / "axe-core" / "axe.min.js"
SECONDS: Final = 60_000.0
"""Milliseconds that a step of a story may take on a busy machine."""

expect.set_options(timeout=SECONDS)


@asynccontextmanager
async def browser(folder: Path, *, width: int = 1200, height: int = 900, **options: Any) -> AsyncIterator[Page]:
    """A page of a new browser; `options` are those of Playwright's contexts. An error in the page fails the test."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.fail(MISSING)
    faults: list[str] = []
    async with async_playwright() as playwright:
        context = await playwright.chromium.launch_persistent_context(
            folder / "chromium",
            executable_path=chromium,
            args=[*ARGUMENTS],
            viewport={"width": width, "height": height},
            **{"locale": "en-GB", "reduced_motion": "reduce", **options},
        )
        page = context.pages[0]
        page.set_default_timeout(SECONDS)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda said: faults.append(said.text) if "Content Security" in said.text else None)
        try:
            yield page
        finally:
            await context.close()
    assert [] == faults


async def fill(page: Page, name: str = "Mia", *, wish: str = "a dragon who cannot sleep", minutes: int = 1) -> None:
    """Fills in the form for a story."""
    await page.get_by_label("Wish").fill(wish)
    await page.get_by_label("First name").fill(name)
    await page.get_by_label("Age", exact=True).fill("6")
    await page.get_by_label("Likes").first.fill("dragons, the sea")
    await page.get_by_label("Length").fill(str(minutes))


async def tell(page: Page, url: str, name: str = "Mia", **given: Any) -> str:
    """Asks for a story; returns its id when its page is open."""
    await page.goto(f"{url}/#/")
    await fill(page, name, **given)
    await page.get_by_role("button", name="Tell the story").click()
    await page.wait_for_url("**/#/story/**")
    return page.url.partition("#/story/")[2].partition("?")[0]


async def heard(page: Page) -> tuple[float, int, bool] | None:
    """The time of the audio, and the marked word: its first code point, and whether it is in the title."""
    found: tuple[float, int, bool] | None = await page.evaluate(
        """async () => {
          await new Promise(requestAnimationFrame);  // in which the page has marked its word
          const word = document.querySelector('.word.now');
          return word && [document.querySelector('audio').currentTime, word.word.start, Boolean(word.closest('h1'))];
        }"""
    )
    return found


async def written(page: Page) -> str:
    """The text as shown, its white space made single spaces."""
    parts = await page.locator(".prose p").all_inner_texts()
    return " ".join(" ".join(parts).split())


async def violations(page: Page) -> list[str]:
    """What axe finds on the page as it is."""
    if not await page.evaluate("Boolean(window.axe)"):
        # As Playwright's own code: the policy of the page allows no script that is not a file of it.
        await page.evaluate(AXE.read_text())
    found: list[str] = await page.evaluate(
        """async () => (await axe.run(document, { resultTypes: ['violations'] })).violations.flatMap(
          ({ id, nodes }) => nodes.map((node) => `${id}: ${node.html.slice(0, 200)} ${node.failureSummary}`))"""
    )
    return found


async def until(page: Page, holds: str) -> None:
    """Waits until an expression holds. Playwright's own wait is refused by the policy of the page."""
    async with asyncio.timeout(SECONDS / 1000):
        while not await page.evaluate(holds):  # noqa: ASYNC110 - the page sends no event
            await asyncio.sleep(0.1)


async def overflows(page: Page) -> bool:
    """Whether the page can be scrolled sideways."""
    return bool(await page.evaluate("document.documentElement.scrollWidth > innerWidth"))
