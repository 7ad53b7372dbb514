"""ProfileService on the wire, over the embedded store."""

from collections.abc import AsyncIterator, Awaitable
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from support.servers import running

from servicekit.errors import DomainError
from servicekit.ids import new_id
from servicekit.status import from_rpc_error
from standins.storage_kit import ManualClock
from storage_service.bootstrap import build_app
from storage_service.settings import StorageSettings
from tale.common.v1 import common_pb2
from tale.profile.v1 import profile_pb2, profile_pb2_grpc

Child, Hero = common_pb2.Child, common_pb2.Hero


@pytest.fixture(scope="module")
async def stub(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Any]:
    """The service over a folder; each test is an owner of its own."""
    settings = StorageSettings(
        listen="127.0.0.1:0", ops_listen="127.0.0.1:0", data_dir=tmp_path_factory.mktemp("data"), drain_seconds=1
    )
    app = build_app(settings, clock=ManualClock())
    async with running(app, service="storage", settings=settings) as it:
        yield profile_pb2_grpc.ProfileServiceStub(it.channel)


@pytest.fixture
def me(request: pytest.FixtureRequest) -> tuple[tuple[str, str], ...]:
    """Metadata of the caller."""
    return (("x-tale-owner", request.node.name[:40]),)


async def failure(call: Awaitable[object]) -> DomainError:
    """What a call fails with, as its caller sees it."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return from_rpc_error(caught.value)


async def test_a_child_lives_from_create_to_delete(stub: Any, me: Any) -> None:
    """Each call does what its name says, and gives the child as kept."""
    request = profile_pb2.CreateChildRequest(request_id="r-1", child=Child(name="Mia", age=6))
    child = (await stub.CreateChild(request, metadata=me)).child
    assert ("Mia", 6, 1) == (child.name, child.age, child.revision)
    assert child == (await stub.CreateChild(request, metadata=me)).child
    assert child == (await stub.GetChild(profile_pb2.GetChildRequest(child_id=child.id), metadata=me)).child
    change = profile_pb2.UpdateChildRequest(child=Child(id=child.id, interests=["owls"], revision=1))
    changed = (await stub.UpdateChild(change, metadata=me)).child
    assert ("Mia", ["owls"], 2) == (changed.name, list(changed.interests), changed.revision)
    late = await failure(stub.UpdateChild(change, metadata=me))
    assert (grpc.StatusCode.ABORTED, "REVISION_MISMATCH") == (late.code, late.reason)
    assert [changed] == list((await stub.ListChildren(profile_pb2.ListChildrenRequest(), metadata=me)).children)
    await stub.DeleteChild(profile_pb2.DeleteChildRequest(child_id=child.id), metadata=me)
    gone = await failure(stub.GetChild(profile_pb2.GetChildRequest(child_id=child.id), metadata=me))
    assert (grpc.StatusCode.NOT_FOUND, "CHILD_NOT_FOUND") == (gone.code, gone.reason)
    again = await failure(stub.CreateChild(request, metadata=me))
    assert (grpc.StatusCode.NOT_FOUND, "CHILD_DELETED") == (again.code, again.reason)


async def test_a_hero_lives_from_create_to_delete(stub: Any, me: Any) -> None:
    """Likewise."""
    request = profile_pb2.CreateHeroRequest(request_id="r-1", hero=Hero(name="Captain Fox", appearance="red"))
    hero = (await stub.CreateHero(request, metadata=me)).hero
    assert hero == (await stub.GetHero(profile_pb2.GetHeroRequest(hero_id=hero.id), metadata=me)).hero
    mask = FieldMask(paths=["appearance", "language_code"])
    change = profile_pb2.UpdateHeroRequest(hero=Hero(id=hero.id, name="no", language_code="ru"), update_mask=mask)
    changed = (await stub.UpdateHero(change, metadata=me)).hero
    assert ("Captain Fox", "", "ru", 2) == (
        changed.name,
        changed.appearance,
        changed.language_code,
        changed.revision,
    )
    assert [changed] == list((await stub.ListHeroes(profile_pb2.ListHeroesRequest(), metadata=me)).heroes)
    await stub.DeleteHero(profile_pb2.DeleteHeroRequest(hero_id=hero.id), metadata=me)
    gone = await failure(stub.GetHero(profile_pb2.GetHeroRequest(hero_id=hero.id), metadata=me))
    assert (grpc.StatusCode.NOT_FOUND, "HERO_NOT_FOUND") == (gone.code, gone.reason)
    again = await failure(stub.CreateHero(request, metadata=me))
    assert (grpc.StatusCode.NOT_FOUND, "HERO_DELETED") == (again.code, again.reason)


async def test_what_a_profile_holds_beyond_its_fields_is_not_stored(stub: Any, me: Any) -> None:
    """No rule bounds the fields of a later version, and a page of children must fit into a response."""
    unknown = b"\xba\x3e\x80\x80\x04" + b"x" * (64 << 10)
    child = Child.FromString(Child(name="Mia").SerializeToString() + unknown)
    await stub.CreateChild(profile_pb2.CreateChildRequest(child=child), metadata=me)
    page = await stub.ListChildren(profile_pb2.ListChildrenRequest(), metadata=me)
    assert page.children[0].name == "Mia"
    assert page.ByteSize() < 1_000


async def test_owners_do_not_see_each_other(stub: Any, me: Any) -> None:
    """What is somebody else's is not there."""
    child = (await stub.CreateChild(profile_pb2.CreateChildRequest(child=Child(name="Mia")), metadata=me)).child
    other = (("x-tale-owner", "mallory"),)
    error = await failure(stub.GetChild(profile_pb2.GetChildRequest(child_id=child.id), metadata=other))
    assert (grpc.StatusCode.NOT_FOUND, "CHILD_NOT_FOUND") == (error.code, error.reason)
    assert not (await stub.ListChildren(profile_pb2.ListChildrenRequest(), metadata=other)).children


async def test_a_request_id_stands_for_one_request(stub: Any, me: Any) -> None:
    """The fingerprint is of all but the id itself."""
    one = profile_pb2.CreateChildRequest(request_id="r-1", child=Child(name="Mia"))
    await stub.CreateChild(one, metadata=me)
    error = await failure(
        stub.CreateChild(profile_pb2.CreateChildRequest(request_id="r-1", child=Child(name="Ben")), metadata=me)
    )
    assert (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED") == (error.code, error.reason)


async def test_pages_go_on_by_token(stub: Any, me: Any) -> None:
    """Newest first, each once, and a token is good for its own listing alone."""
    made = []
    for number in range(5):
        new = profile_pb2.CreateChildRequest(child=Child(name=f"Mia {number}"))
        made.append((await stub.CreateChild(new, metadata=me)).child.id)
    seen: list[str] = []
    sizes = []
    request = profile_pb2.ListChildrenRequest(page_size=2)
    while True:
        page = await stub.ListChildren(request, metadata=me)
        seen += [child.id for child in page.children]
        sizes.append(len(page.children))
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert (made[::-1], [2, 2, 1]) == (seen, sizes)
    stray = await failure(stub.ListHeroes(profile_pb2.ListHeroesRequest(page_token=request.page_token), metadata=me))
    assert ["page_token"] == [violation.field for violation in stray.violations]


NOT_ONE = "?"
MASK = FieldMask(paths=["name", "revision", "*", "age"])


@pytest.mark.parametrize(
    ("rpc", "request_", "fields"),
    [
        ("CreateChild", profile_pb2.CreateChildRequest(), ["child"]),
        (
            "CreateChild",
            profile_pb2.CreateChildRequest(
                request_id="no spaces",
                child=Child(name=" ", age=19, gender=7, interests=["", "x" * 101]),  # type: ignore[arg-type]
            ),
            [
                "request_id",
                "child.name",
                "child.age",
                "child.gender",
                "child.interests[0]",
                "child.interests[1]",
            ],
        ),
        (
            "CreateHero",
            profile_pb2.CreateHeroRequest(
                hero=Hero(
                    name="x" * 101,
                    gender=7,  # type: ignore[arg-type]
                    appearance="x" * 1001,
                    personality_traits=["x"] * 21,
                    strengths=["a\0b"],
                    interests=[""],
                    language_code="not a tag",
                )
            ),
            [
                "hero.name",
                "hero.gender",
                "hero.appearance",
                "hero.personality_traits",
                "hero.strengths[0]",
                "hero.interests[0]",
                "hero.language_code",
            ],
        ),
        ("GetChild", profile_pb2.GetChildRequest(child_id="mia"), ["child_id"]),
        ("GetHero", profile_pb2.GetHeroRequest(), ["hero_id"]),
        ("DeleteChild", profile_pb2.DeleteChildRequest(), ["child_id"]),
        ("DeleteHero", profile_pb2.DeleteHeroRequest(hero_id=".."), ["hero_id"]),
        (
            "ListChildren",
            profile_pb2.ListChildrenRequest(page_size=101, page_token="x" * 513),
            ["page_size", "page_token"],
        ),
        ("ListHeroes", profile_pb2.ListHeroesRequest(page_size=-1), ["page_size"]),
        ("ListHeroes", profile_pb2.ListHeroesRequest(page_token=NOT_ONE), ["page_token"]),
        ("UpdateChild", profile_pb2.UpdateChildRequest(), ["child"]),
        (
            "UpdateChild",
            profile_pb2.UpdateChildRequest(child=Child(id="x", age=0, revision=-1), update_mask=MASK),
            [
                "update_mask.paths[1]",
                "update_mask.paths[2]",
                "child.id",
                "child.name",
                "child.age",
                "child.revision",
            ],
        ),
        (
            "UpdateHero",
            profile_pb2.UpdateHeroRequest(hero=Hero(id=new_id(), appearance="x" * 1001), update_mask=MASK),
            ["update_mask.paths[1]", "update_mask.paths[2]", "update_mask.paths[3]", "hero.name"],
        ),
        (
            "UpdateChild",
            profile_pb2.UpdateChildRequest(child=Child(id=new_id()), update_mask=FieldMask(paths=["x"] * 5)),
            ["update_mask.paths"],
        ),
        (
            "UpdateHero",
            profile_pb2.UpdateHeroRequest(hero=Hero(id=new_id()), update_mask=FieldMask(paths=["x"] * 100_000)),
            ["update_mask"],
        ),
    ],
)
async def test_all_that_is_wrong_is_said_at_once(stub: Any, rpc: str, request_: Any, fields: list[str]) -> None:
    """INVALID_ARGUMENT names every field, and what is not to be changed is not judged."""
    error = await failure(getattr(stub, rpc)(request_))
    assert (grpc.StatusCode.INVALID_ARGUMENT, "VALIDATION_FAILED") == (error.code, error.reason)
    assert fields == [violation.field for violation in error.violations]
