"""Links of the gateway: files of a story, its audio with ranges and while it is made, books, and feeds."""

import asyncio
import io
import json
import re
import sys
import zipfile
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree as ET

import aiohttp
import feedparser
import grpc
import lameenc  # type: ignore[import-not-found]
import pytest
import pytest_asyncio
import structlog
from pydantic import SecretStr
from support.house import House, house

from gateway.door.keys import KeyFile
from gateway.door.web.books import Book, epub
from gateway.door.web.links import ExpiredLinkError, InvalidLinkError, Link, Links
from gateway.door.web.media import part_of
from gateway.settings import GatewaySettings
from servicekit.authentication import ServiceToken
from servicekit.ids import new_id
from servicekit.status import from_rpc_error
from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2
from tale.profile.v1 import profile_pb2, profile_pb2_grpc

EPUBCHECK = Path(__file__).parents[1] / "upstreams/node_modules/@likecoin/epubcheck-ts/bin/epubcheck.js"
AUDIO, TEXT, EPUB, READ_ALONG = (
    getattr(gateway_pb2, f"DOWNLOAD_FORMAT_{name}") for name in ("AUDIO", "TEXT", "EPUB", "READ_ALONG")
)
SECRET = SecretStr("the secret of links in tests")
WEB: dict[str, Any] = {"web_listen": "127.0.0.1:0", "link_secret": SECRET}


def wish(child_id: str = "", **fields: Any) -> common_pb2.StorySpec:
    """A short story for a stored child, or for Mia."""
    child = None if child_id else common_pb2.Child(name="Mia", age=6)
    return common_pb2.StorySpec(child_id=child_id, child=child, length_minutes=1, **fields)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def home(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """A cluster with a page, without authentication."""
    async with house(tmp_path_factory.mktemp("data"), **WEB) as it:
        yield it


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def story(home: House) -> common_pb2.Story:
    """A finished story, in full view."""
    done = await home.tell(wish())
    return await home.get(done.story_id)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """A player's connections."""
    async with aiohttp.ClientSession() as session:
        yield session


async def link(home: House, story_id: str, kind: Any, **options: Any) -> str:
    """The URL of a file."""
    request = gateway_pb2.GetDownloadUrlRequest(story_id=story_id, format=kind, **options)
    answer: gateway_pb2.GetDownloadUrlResponse = await home.stub.GetDownloadUrl(request, timeout=10)
    return answer.url


async def fetched(http: aiohttp.ClientSession, url: str) -> tuple[bytes, str]:
    """The bytes of a file and its name."""
    async with http.get(url) as answer:
        assert 200 == answer.status, await answer.text()
        name = unquote(answer.headers["content-disposition"].partition("filename*=UTF-8''")[2])
        return await answer.read(), name


async def narration(home: House, story_id: str) -> str:
    """The id of the narration of a story that is being made."""
    call = home.stub.WatchStory(gateway_pb2.WatchStoryRequest(story_id=story_id), timeout=20)
    async for response in call:
        if response.event.HasField("audio_header"):
            call.cancel()
            return str(response.event.audio_header.audio_id)
    pytest.fail("there is no narration")


async def refusal(call: Any) -> str:
    """The reason of a call that must fail."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return from_rpc_error(raised.value).reason


async def test_audio_is_the_stored_file(home: House, story: common_pb2.Story, http: aiohttp.ClientSession) -> None:
    """By link, and by GetAudioUrl where the store has no URLs."""
    _, sound = await home.read_audio(story.id)
    data, name = await fetched(http, await link(home, story.id, AUDIO))
    assert sound == data
    assert f"{story.title}.mp3" == name
    answer = await home.stub.GetAudioUrl(gateway_pb2.GetAudioUrlRequest(story_id=story.id), timeout=10)
    assert sound == (await fetched(http, answer.url))[0]


@pytest.mark.parametrize("asked", ["bytes=0-0", "bytes=10-99", "bytes=100-", "bytes=-7", "bytes=0-99999999"])
async def test_audio_has_ranges(home: House, story: common_pb2.Story, http: aiohttp.ClientSession, asked: str) -> None:
    """A player seeks, and a phone resumes."""
    _, sound = await home.read_audio(story.id)
    start, end = part_of({"range": asked}, len(sound), "")
    async with http.get(await link(home, story.id, AUDIO), headers={"range": asked}) as answer:
        assert sound[start:end] == await answer.read()
        whole = len(sound) == end - start
        assert (200 if whole else 206) == answer.status
        assert whole or f"bytes {start}-{end - 1}/{len(sound)}" == answer.headers["content-range"]


async def test_audio_is_asked_about(home: House, story: common_pb2.Story, http: aiohttp.ClientSession) -> None:
    """HEAD, what is known already, and what is beyond the end."""
    url, size = await link(home, story.id, AUDIO), story.audio.size_bytes
    async with http.head(url) as answer:
        assert str(size) == answer.headers["content-length"]
        assert "bytes" == answer.headers["accept-ranges"]
        assert "audio/mpeg" == answer.headers["content-type"]
        tag = answer.headers["etag"]
    async with http.get(url, headers={"if-none-match": tag}) as answer:
        assert 304 == answer.status
    async with http.get(url, headers={"range": f"bytes={size}-"}) as answer:
        assert 416 == answer.status
        assert f"bytes */{size}" == answer.headers["content-range"]
    async with http.get(url, headers={"range": "bytes=1-2", "if-range": '"another"'}) as answer:
        assert 200 == answer.status


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ("", (0, 10)),
        ("bytes=2-5", (2, 6)),
        ("bytes=2-2", (2, 3)),
        ("bytes=5-2", (0, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-30", (0, 10)),
        ("bytes=-0", (10, 10)),
        ("bytes=10-", (10, 10)),
        ("bytes=9-200", (9, 10)),
        ("bytes=0-1,4-5", (0, 10)),
        ("bytes=-", (0, 10)),
        ("bytes=\u0661-\u0662", (0, 10)),
        ("lines=1-2", (0, 10)),
    ],
)
def test_part_is_what_a_range_says(asked: str, part: tuple[int, int]) -> None:
    """What is no single range of bytes is the whole."""
    assert part == part_of({"range": asked}, 10, "")


async def test_audio_is_heard_while_it_is_made(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    """The response begins before the story has ended, and ends with it."""
    async with house(tmp_path, words_per_second=40, **WEB) as it:
        made = await it.create(wish())
        async with http.get(await link(it, made.id, AUDIO)) as answer:
            assert 200 == answer.status
            assert "audio/mpeg" == answer.headers["content-type"]
            assert "content-length" not in answer.headers
            first = await answer.content.readany()
            assert common_pb2.STORY_STATE_READY != (await it.get(made.id)).state
            heard = first + await answer.read()
        _, sound = await it.read_audio(made.id)
        assert sound == heard


async def test_audio_continues_from_a_byte_while_it_is_made(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    """A player that lost its connection, or goes to another sentence, gets the rest; also once it is a file."""
    async with house(tmp_path, words_per_second=40, **WEB) as it:
        made = await it.create(wish())
        url = await link(it, made.id, AUDIO)
        async with http.get(url) as answer:
            had = len(await answer.content.readexactly(2000))
        audio_id = await narration(it, made.id)
        query = f"?audio_id={audio_id}&offset={had}"
        async with http.get(url + query) as answer:
            assert 200 == answer.status
            assert "content-length" not in answer.headers
            rest = await answer.read()
        _, sound = await it.read_audio(made.id)
        assert sound[had:] == rest
        assert sound[had:] == (await fetched(http, url + query))[0]
        async with http.get(url + query, headers={"range": "bytes=5-9"}) as answer:
            assert f"bytes 5-9/{len(rest)}" == answer.headers["content-range"]
            assert rest[5:10] == await answer.read()


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("offset=-1", 400),
        ("offset=\u0661", 400),
        ("offset=9999999999999999", 400),
        ("offset=99999999", 416),
        ("audio_id=01981d2c-6a1b-7c3e-9f00-5b1f3f0c2a11&offset=5", 404),
    ],
)
async def test_audio_refuses_a_wrong_byte(
    home: House, story: common_pb2.Story, http: aiohttp.ClientSession, query: str, status: int
) -> None:
    """Of a finished narration."""
    async with http.get(f"{await link(home, story.id, AUDIO)}?{query}") as answer:
        assert status == answer.status


async def test_audio_in_the_making_refuses_another_narration(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    """Its bytes would follow what was heard of the other; a byte alone does not say of which narration."""
    async with house(tmp_path, words_per_second=40, **WEB) as it:
        made = await it.create(wish())
        url = await link(it, made.id, AUDIO)
        for query, status in (("offset=5", 400), (f"audio_id={new_id()}&offset=5", 404), ("audio_id=x", 400)):
            async with http.get(f"{url}?{query}") as answer:
                assert status == answer.status
        await it.stub.CancelStory(gateway_pb2.CancelStoryRequest(story_id=made.id), timeout=10)


async def test_text_has_the_title_as_its_name(home: House, http: aiohttp.ClientSession) -> None:
    """In any letters."""
    told = await home.tell(wish(language_code="ru", narrate=False))
    kept = await home.get(told.story_id)
    data, name = await fetched(http, await link(home, kept.id, TEXT))
    assert f"{kept.title}\n\n{kept.content}\n" == data.decode()
    assert f"{kept.title}.txt" == name
    assert not name.isascii()


async def test_epub_has_text_audio_and_their_times(
    home: House, story: common_pb2.Story, http: aiohttp.ClientSession
) -> None:
    """Each part of the overlay is a piece of text and the time at which it is heard."""
    data, name = await fetched(http, await link(home, story.id, EPUB))
    assert f"{story.title}.epub" == name
    _, sound = await home.read_audio(story.id)
    with zipfile.ZipFile(io.BytesIO(data)) as book:
        assert None is book.testzip()
        assert "mimetype" == book.namelist()[0]
        assert b"mimetypeapplication/epub+zip" == data[30:58]
        assert sound == book.read("OPS/audio.mp3")
        files = {
            each: ET.fromstring(book.read(f"OPS/{each}"))  # noqa: S314 - the gateway's own
            for each in ("story.xhtml", "story.smil", "package.opf")
        }
    html = "{http://www.w3.org/1999/xhtml}"
    paragraphs = ["".join(each.itertext()) for each in files["story.xhtml"].iter(f"{html}p")]
    assert [line for line in story.content.split("\n") if line.strip()] == paragraphs
    ids = {each.get("id") for each in files["story.xhtml"].iter(f"{html}span")}
    smil = "{http://www.w3.org/ns/SMIL}"
    assert [f"story.xhtml#{each}" for each in sorted(ids, key=lambda each: int(str(each)[1:]))] == [
        each.get("src") for each in files["story.smil"].iter(f"{smil}text")
    ]
    times = [float(str(each.get("clipBegin"))[:-1]) for each in files["story.smil"].iter(f"{smil}audio")]
    assert sorted(times) == times
    assert times[-1] < story.audio.duration.ToTimedelta().total_seconds()


@pytest.mark.parametrize(
    ("language", "content", "direction"),
    [
        ("en", "Mia & the dragon.\n\nThe end \u0003.", ""),
        ("ru", "Жила-была девочка.\nКонец.", ""),
        ("ar", "كان يا ما كان.\nالنهاية.", "rtl"),
    ],
)
async def test_epub_is_valid(tmp_path: Path, language: str, content: str, direction: str) -> None:
    """By a checker that others maintain; segments without times of words share their paragraphs."""
    told = common_pb2.Story(id=new_id(), title=f"<{content[:4]}>", content=content, language_code=language)
    told.update_time.GetCurrentTime()
    told.audio.content_type, told.audio.size_bytes = "audio/mpeg", 1
    told.audio.duration.FromSeconds(4)
    title, text = told.audio.segments.add(), told.audio.segments.add()
    title.duration.FromSeconds(1)
    text.text.end = len(content)
    text.start.FromSeconds(1)
    text.duration.FromSeconds(3)
    encoder = lameenc.Encoder()
    encoder.set_in_sample_rate(44_100)
    encoder.set_channels(1)
    sound = bytes(encoder.encode(b"\0" * 44_100)) + bytes(encoder.flush())

    async def pieces() -> AsyncIterator[bytes]:
        yield sound

    made = await epub(Book(told), pieces())
    file = tmp_path / "book.epub"
    file.write_bytes(b"".join([piece async for piece in made.pieces()]))
    checked = await asyncio.create_subprocess_exec(
        *(Path(sys.executable).with_name("node"), EPUBCHECK, file, "--fail-on-warnings"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    report, _ = await checked.communicate()
    assert 0 == checked.returncode, report.decode()
    with zipfile.ZipFile(file) as book:
        assert (f'page-progression-direction="{direction}"' in book.read("OPS/package.opf").decode()) == bool(direction)
        paragraphs = len([line for line in content.split("\n") if line])
        assert 1 + paragraphs == book.read("OPS/story.smil").decode().count("<par ")


async def test_epub_without_audio_is_text(home: House, http: aiohttp.ClientSession) -> None:
    """And a book that reads along needs audio."""
    told = await home.tell(wish(narrate=False))
    data, _ = await fetched(http, await link(home, told.story_id, EPUB))
    with zipfile.ZipFile(io.BytesIO(data)) as book:
        assert "OPS/story.smil" not in book.namelist()
        assert b"media-overlay" not in book.read("OPS/package.opf")
    assert "AUDIO_NOT_FOUND" == await refusal(link(home, told.story_id, READ_ALONG))
    assert "AUDIO_NOT_FOUND" == await refusal(link(home, told.story_id, AUDIO))


async def test_read_along_is_one_file(home: House, story: common_pb2.Story, http: aiohttp.ClientSession) -> None:
    """It asks no one for anything, and is not run in the origin of the page."""
    url = await link(home, story.id, READ_ALONG)
    data, name = await fetched(http, url)
    assert f"{story.title}.html" == name
    page = data.decode()
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    assert page.count("data-at=") > 20
    sound = page.partition(";base64,")[2].partition('"')[0]
    assert story.audio.size_bytes == len(sound) * 3 // 4 - sound.count("=")
    async with http.head(url) as answer:
        assert answer.headers["content-security-policy"].startswith("sandbox")
        assert answer.headers["content-disposition"].startswith("attachment")


async def test_feed_is_a_podcast(home: House, http: aiohttp.ClientSession) -> None:
    """Newest first, with everything that a player needs; it stays the same until a story changes."""
    profiles: Any = profile_pb2_grpc.ProfileServiceStub(home.channel)
    request = profile_pb2.CreateChildRequest(child=common_pb2.Child(name="Ann & <Mia>", age=6))
    child = (await profiles.CreateChild(request, timeout=10)).child
    for given in ({}, {"narrate": False}, {}):
        await home.tell(wish(child.id, **given))
    url = (await home.stub.GetFeedUrl(gateway_pb2.GetFeedUrlRequest(child_id=child.id), timeout=10)).url
    async with http.get(url) as answer:
        assert "application/rss+xml" in answer.headers["content-type"]
        body, tag = await answer.read(), answer.headers["etag"]
    feed = feedparser.parse(body)
    assert not feed.bozo
    assert "Stories for Ann & <Mia>" == feed.feed.title
    assert "en" == feed.feed.language
    assert 2 == len(feed.entries)
    assert feed.entries[0].published_parsed >= feed.entries[1].published_parsed
    for entry in feed.entries:
        kept = await home.get(entry.id)
        (enclosure,) = entry.enclosures
        assert kept.title == entry.title
        assert ("audio/mpeg", str(kept.audio.size_bytes)) == (enclosure.type, enclosure.length)
        assert kept.audio.size_bytes == len((await fetched(http, enclosure.href))[0])
        assert kept.audio.duration.ToTimedelta() - timedelta(seconds=int(entry.itunes_duration)) < timedelta(seconds=1)
    async with http.get(url, headers={"if-none-match": tag}) as answer:
        assert 304 == answer.status
    # A child that is erased has no feed, and its stories have no files.
    await home.stub.EraseChild(gateway_pb2.EraseChildRequest(child_id=child.id), timeout=20)
    for gone in (url, feed.entries[0].enclosures[0].href):
        async with http.get(gone) as answer:
            assert 404 == answer.status


async def test_links_end(home: House, http: aiohttp.ClientSession) -> None:
    """With their time, with the story, and where something in them was changed."""
    told = await home.tell(wish(narrate=False))
    url = await link(home, told.story_id, TEXT)
    for wrong in (
        url.replace("/media/", "/media/x"),
        url.replace("/media/", "/feed/") + ".xml",
        home.url + "/feed/x.xml",
    ):
        async with http.get(wrong) as answer:
            assert 404 == answer.status
    links = Links(ServiceToken(SECRET), lambda: home.url)
    async with http.get(links.url(Link("local", "TEXT", told.story_id, expires=1), "old.txt")) as answer:
        assert 410 == answer.status
    await home.stub.DeleteStory(gateway_pb2.DeleteStoryRequest(story_id=told.story_id), timeout=10)
    async with http.get(url) as answer:
        assert 404 == answer.status
    assert "STORY_NOT_FOUND" == await refusal(link(home, told.story_id, TEXT))


def test_secrets_of_links_can_rotate() -> None:
    """The first signs, each is accepted; what another signed is not."""
    old, new = "an old secret of links", "a new secret of links"
    one = Link("mia", "TEXT", "id", expires=4_000_000_000)

    def links(secret: str) -> Links:
        return Links(ServiceToken(SecretStr(secret)), lambda: "http://x")

    token = links(old).url(one, "a").split("/")[-2]
    assert one == links(f"{new}, {old}").read(token)
    assert token != links(f"{new}, {old}").url(one, "a").split("/")[-2]
    with pytest.raises(InvalidLinkError):
        links(new).read(token)
    with pytest.raises(ExpiredLinkError):
        links(old).read(links(old).url(Link("mia", "TEXT", "id", expires=1), "a").split("/")[-2])


async def test_links_are_for_their_owner_and_child(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    """A key gives links to what it may read alone; the link itself needs no key."""
    keys = KeyFile(tmp_path / "keys.json")
    mia, ann = (keys.create(owner)[0] for owner in ("mia", "ann"))
    settings = {**WEB, "auth": "api_key", "api_keys_file": tmp_path / "keys.json"}
    async with house(tmp_path / "data", **settings) as it:

        def headers(key: str) -> tuple[tuple[str, str], ...]:
            return (("authorization", f"Bearer {key}"),)

        profiles: Any = profile_pb2_grpc.ProfileServiceStub(it.channel)
        children = [
            (await profiles.CreateChild(profile_pb2.CreateChildRequest(child=each), metadata=headers(mia))).child
            for each in (common_pb2.Child(name="One"), common_pb2.Child(name="Two"))
        ]
        bound, _ = keys.create("mia", children=(children[0].id,))
        request = gateway_pb2.TellStoryRequest(spec=wish(children[1].id, narrate=False))
        events = [each.event async for each in it.stub.TellStory(request, metadata=headers(mia))]
        story_id = events[-1].story_id
        file = gateway_pb2.GetDownloadUrlRequest(story_id=story_id, format=TEXT)
        for key in (ann, bound):
            assert "STORY_NOT_FOUND" == await refusal(it.stub.GetDownloadUrl(file, metadata=headers(key)))
            feed = gateway_pb2.GetFeedUrlRequest(child_id=children[1].id)
            assert "CHILD_NOT_FOUND" == await refusal(it.stub.GetFeedUrl(feed, metadata=headers(key)))
        with structlog.testing.capture_logs() as logged:
            url = (await it.stub.GetDownloadUrl(file, metadata=headers(mia))).url
            await fetched(http, url)
        assert urlsplit(url).path.split("/")[2] not in json.dumps(logged, default=str)
        # The token is no key, in neither place.
        token = url.split("/")[-2]
        for metadata in (headers(token), (("x-tale-link", f"{token} mia "),)):
            call = it.stub.GetStory(gateway_pb2.GetStoryRequest(story_id=story_id), metadata=metadata)
            assert (await refusal(call)).startswith(("TOKEN", "INVALID_CONFIGURATION"))


async def test_without_a_page_there_are_no_links(tmp_path: Path) -> None:
    """The refusal names the setting."""
    async with house(tmp_path) as it:
        told = await it.tell(wish(narrate=False))
        assert "PAGE_OFF" == await refusal(link(it, told.story_id, TEXT))


def test_secret_of_links_is_kept_in_a_file(tmp_path: Path) -> None:
    """It is made once."""
    settings = GatewaySettings(link_secret_file=tmp_path / "secret")
    again = GatewaySettings(link_secret_file=tmp_path / "secret")
    assert settings.link_token is not None
    assert str(settings.link_token) == str(again.link_token)
    with pytest.raises(ValueError, match="GATEWAY_LINK_SECRET must have at least 16 characters"):
        GatewaySettings(link_secret=SecretStr("short"))
