"""Links between the documents: each leads somewhere, and each document is reachable from the index."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
DOCS: Final = ROOT / "docs"
PAGES: Final = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])


def _text(page: Path) -> str:
    """Returns a page without its code, in which brackets are no links."""
    return re.sub(r"^```.*?^```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def _links(page: Path) -> Iterator[tuple[Path, str]]:
    """Returns the file and the anchor of each relative link of a page."""
    for target in re.findall(r"\]\(([^)\s]+)\)", _text(page)):
        if "://" not in target and not target.startswith("mailto:"):
            name, _, anchor = target.partition("#")
            yield ((page.parent / name).resolve() if name else page), anchor


def _anchors(page: Path) -> set[str]:
    """Returns the anchors of a page: its headings as GitHub names them, and those written as HTML."""
    text = page.read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    named = {re.sub(r"[^\w\- ]", "", re.sub(r"[`*]", "", heading)).lower().replace(" ", "-") for heading in headings}
    return named | set(re.findall(r'<a id="([^"]+)">', text))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_a_page_resolve(page: Path) -> None:
    """Every relative link names a file of the repository and, where it has one, an anchor in it."""
    broken = [
        f"{target.relative_to(ROOT)}#{anchor}"
        for target, anchor in _links(page)
        if not target.exists() or (anchor and anchor not in _anchors(target))
    ]
    assert [] == broken


def test_every_document_is_reachable_from_the_index() -> None:
    """From docs/README.md, over any number of links."""
    found, waiting = set[Path](), [DOCS / "README.md"]
    while waiting:
        page = waiting.pop()
        if page not in found:
            found.add(page)
            waiting += [target for target, _ in _links(page) if target.suffix == ".md" and target.exists()]
    assert [] == [str(page.relative_to(ROOT)) for page in DOCS.rglob("*.md") if page not in found]


def test_the_architecture_names_files_that_exist() -> None:
    """Every path in docs/architecture.md, which says where a change is made."""
    named = re.findall(r"`([a-z_]+/[\w./]*)`", (DOCS / "architecture.md").read_text(encoding="utf-8"))
    assert len(named) > 40
    assert [] == [path for path in named if not (ROOT / path).exists() and path not in {"wire/", "door/"}]


@pytest.mark.parametrize("service", ["gateway", "story_service", "voice_service", "storage_service"])
def test_the_architecture_names_every_wing(service: str) -> None:
    """A folder of a service with code in it has a line of its own."""
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    wings = sorted({path.parent.name for path in (ROOT / service).glob("*/*.py")})
    assert wings
    assert [] == [wing for wing in wings if f"| `{service}/{wing}/` |" not in text]
