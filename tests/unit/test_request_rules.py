"""The rules of requests, as they stand in the .proto files."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from annotated_types import Le
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st
from protovalidate import Validator, Violation

from gateway.runs.live_story import WORDS_A_MINUTE
from offline_writer.brief import WORDS_PER_MINUTE
from servicekit.errors import DomainError, FieldViolation
from servicekit.ids import is_id, is_language, is_provider, is_token, new_id
from servicekit.validation import max_length, validate, violations
from story_service.settings import StorySettings
from tale.buf import validate_pb2
from tale.common.v1 import common_pb2, status_pb2
from tale.gateway.v1 import gateway_pb2
from tale.profile.v1 import profile_pb2
from tale.storage.v1 import segment_pb2, storage_pb2
from tale.story.v1 import story_pb2
from tale.voice.v1 import voice_pb2

ROOT = Path(__file__).parents[2]
FILES = (common_pb2, status_pb2, gateway_pb2, profile_pb2, segment_pb2, storage_pb2, story_pb2, voice_pb2)
ID = "01932c07-9f5e-7c31-8d5b-0123456789ab"
Spec = common_pb2.StorySpec
Child = common_pb2.Child
MIA = Child(name="Mia")


def fields(request: Message) -> list[str]:
    """The fields of `request` that break a rule."""
    return [violation.field for violation in violations(request)]


def texts(request: Message) -> dict[str, str]:
    """What is wrong with each field."""
    return {violation.field: violation.description for violation in violations(request)}


def spec_fields(spec: common_pb2.StorySpec) -> list[str]:
    """The fields of a spec that break a rule."""
    return fields(gateway_pb2.CreateStoryRequest(spec=spec))


def messages(kind: Descriptor, seen: set[str]) -> Iterator[Descriptor]:
    """A message and all within it."""
    if kind.full_name not in seen and kind.file.package.startswith("tale."):
        seen.add(kind.full_name)
        yield kind
        for field in kind.fields:
            if field.message_type is not None:
                yield from messages(field.message_type, seen)


def requests() -> Iterator[Descriptor]:
    """The request of every RPC."""
    for file in FILES:
        for service in file.DESCRIPTOR.services_by_name.values():
            yield from (method.input_type for method in service.methods)


def all_messages() -> list[Descriptor]:
    """Every message that a request can hold."""
    seen: set[str] = set()
    return [message for request in requests() for message in messages(request, seen)]


# How violations are worded.


def test_all_violations_are_raised_at_once() -> None:
    """One error names every field with a remedy, in the order of the fields."""
    request = gateway_pb2.TellStoryRequest(
        request_id="a b",
        spec=Spec(child=Child(name=" ", age=19, interests=["", "x" * 101]), moral="a\0b", length_minutes=31),
        text_offset=-1,
        audio_offset=5,
    )
    with pytest.raises(DomainError) as caught:
        validate(request)
    assert "VALIDATION_FAILED" == caught.value.reason
    assert (
        FieldViolation("audio_id", "must be given together with audio_offset"),
        FieldViolation("request_id", "must have 1 to 128 characters of A-Z a-z 0-9 . _ : -"),
        FieldViolation("spec.child.name", "must have a visible character"),
        FieldViolation("spec.child.age", "must be from 1 to 18"),
        FieldViolation("spec.child.interests[0]", "must be given"),
        FieldViolation("spec.child.interests[1]", "must have at most 100 characters"),
        FieldViolation("spec.moral", "must not contain NUL"),
        FieldViolation("spec.length_minutes", "must be from 1 to 30"),
        FieldViolation("text_offset", "must not be negative"),
    ) == caught.value.violations


@pytest.mark.parametrize(
    ("request_", "field", "text"),
    [
        (gateway_pb2.GetStoryRequest(), "story_id", "must be given"),
        (gateway_pb2.GetStoryRequest(story_id="x"), "story_id", "must be a UUIDv7 in lower-case text"),
        (gateway_pb2.CreateStoryRequest(), "spec", "must be given"),
        (
            gateway_pb2.CreateStoryRequest(spec=Spec()),
            "spec.child",
            "must be given (with a name), or child_id in its place",
        ),
        (
            gateway_pb2.TellStoryRequest(spec=Spec(wish="an owl")),
            "spec.child",
            "must be given (with a name), or child_id in its place",
        ),
        (gateway_pb2.CreateStoryRequest(spec=Spec(child_id="")), "spec.child_id", "must be given"),
        (
            gateway_pb2.CreateStoryRequest(spec=Spec(child=MIA, kind=common_pb2.STORY_KIND_HERO)),
            "spec.hero",
            "must be given for this kind (with a name), or hero_id in its place",
        ),
        (
            gateway_pb2.CreateStoryRequest(spec=Spec(child=Child(name="Mia", interests=["a"] * 21))),
            "spec.child.interests",
            "must have at most 20 entries",
        ),
        (gateway_pb2.ListStoriesRequest(page_size=101), "page_size", "must be from 0 to 100"),
        (
            gateway_pb2.ListStoriesRequest(filter=common_pb2.StoryFilter(created_after=Timestamp(seconds=-1))),
            "filter.created_after",
            "must be from 1970-01-01T00:00:00Z to 9999-12-31T23:59:59.999999999Z",
        ),
        (
            gateway_pb2.ListStoriesRequest(filter=common_pb2.StoryFilter(states=[common_pb2.STORY_STATE_UNSPECIFIED])),
            "filter.states[0]",
            "must not be unspecified",
        ),
        (
            gateway_pb2.GetStoryRequest(story_id=ID, view=9),  # type: ignore[arg-type] # of a later version
            "view",
            "must be a value that this version knows",
        ),
        (
            gateway_pb2.ResetCircuitRequest(service="tale", name="x"),
            "service",
            "must be one of story, voice, storage",
        ),
        (gateway_pb2.GetAudioUrlRequest(story_id=ID, expiry=Duration()), "expiry", "must be from 1s to 604800s"),
        (
            storage_pb2.UpdateStoryRequest(story_id=ID),
            "change",
            "must be given (rating or cancel or retry or narrate)",
        ),
        (segment_pb2.FindSegmentsRequest(), "lookups", "must have 1 or more entries"),
        (
            storage_pb2.RetryChange(request_id="a"),
            "fingerprint",
            "must be given together with request_id",
        ),
        (storage_pb2.RetryChange(fingerprint=b"x"), "fingerprint", "must be 32 bytes"),
    ],
)
def test_violation_names_the_field_and_the_remedy(request_: Message, field: str, text: str) -> None:
    """In plain words, without the value."""
    assert {field: text} == texts(request_)


def test_violations_of_a_huge_list_are_bounded() -> None:
    """A request has room for a million of them; the first entries show what is wrong."""
    spec = Spec(child=Child(name="Mia", interests=[""] * 100_000), wish="w" * 2001)
    found = spec_fields(spec)
    assert 34 == len(found)
    assert {"spec.child.interests", "spec.child.interests[0]", "spec.child.interests[31]", "spec.wish"} <= set(found)


@pytest.mark.parametrize(
    ("request_", "wrong"),
    [
        (
            gateway_pb2.ListStoriesRequest(
                filter=common_pb2.StoryFilter(states=[common_pb2.STORY_STATE_READY] * 100_000)
            ),
            {"filter.states"},
        ),
        (
            storage_pb2.FollowStoriesRequest(positions=[storage_pb2.StoryPosition(story_id=ID)] * 1_001),
            {"positions"},
        ),
        (
            gateway_pb2.CreateStoryRequest(spec=Spec(child=Child(name="Mia", interests=["a"] * 100_000))),
            {"spec.child.interests"},
        ),
        (
            storage_pb2.CheckpointStoriesRequest(
                lease_duration=Duration(seconds=1),
                checkpoints=[
                    storage_pb2.StoryCheckpoint(story_id=ID, lease_token=1, embedded_parts=["voice"] * count)
                    for count in (1, 100_000)
                ],
            ),
            {"checkpoints[1].embedded_parts"},
        ),
    ],
)
def test_list_that_is_too_long_is_not_walked_through(
    monkeypatch: pytest.MonkeyPatch, request_: Message, wrong: set[str]
) -> None:
    """To walk through a million entries takes a second."""
    walked: list[int] = []

    class Watched:
        def collect_violations(self, message: Message, *, fail_fast: bool = False) -> list[Violation]:
            walked.append(message.ByteSize())
            return Validator().collect_violations(message, fail_fast=fail_fast)

    monkeypatch.setattr("servicekit.validation._VALIDATOR", Watched())
    assert wrong == set(fields(request_))
    assert max(walked) < 2_000


@pytest.mark.parametrize("kind", [gateway_pb2.CreateStoryRequest, gateway_pb2.TellStoryRequest])
def test_spec_is_bounded_in_all(kind: type[Any]) -> None:
    """It is stored with the fields of later versions, which no other rule bounds."""
    request = kind(spec=Spec(child=MIA))
    request.spec.MergeFromString(b"\xb8\x3e\x01" * (40 << 10))
    assert {} == texts(request)
    request.spec.MergeFromString(b"\xb8\x3e\x01" * (40 << 10))
    assert {"spec": "must have at most 131072 bytes in all"} == texts(request)


def _filled(message: Message, entries: int, depth: int) -> Message:
    """`message` with so many entries in each list and map, and in those within, as deep as that."""
    for field in message.DESCRIPTOR.fields:
        inner, value = field.message_type, getattr(message, field.name)
        if inner is not None and inner.GetOptions().map_entry:
            key, entry = inner.fields_by_name["key"], inner.fields_by_name["value"].message_type
            for at in range(entries):
                name = f"key {at}" if key.cpp_type == FieldDescriptor.CPPTYPE_STRING else at
                if entry is None:
                    value[name] = type(value[name])()
                else:
                    value[name].SetInParent()
        elif field.is_repeated and inner is None:
            value.extend(
                [field.default_value or ("" if field.cpp_type == FieldDescriptor.CPPTYPE_STRING else 0)] * entries
            )
        elif inner is not None and depth:
            for each in [value.add() for _ in range(entries)] if field.is_repeated else [value]:
                each.SetInParent()
                _filled(each, entries, depth - 1)
    return message


@pytest.mark.parametrize("request_", list(requests()), ids=lambda kind: kind.full_name)
@pytest.mark.parametrize("entries", [2, 40])
def test_rules_are_said_of_requests_with_every_kind_of_field(request_: Descriptor, entries: int) -> None:
    """Lists, maps and messages within, some with more entries than are looked at; the request stays as it is."""
    request = _filled(GetMessageClass(request_)(), entries, 3 if entries < 40 else 2)
    before = request.SerializeToString(deterministic=True)

    assert len(violations(request)) >= (request_.name == "CheckpointStoriesRequest")
    assert before == request.SerializeToString(deterministic=True)


def test_checkpoint_with_metadata_says_what_is_wrong() -> None:
    """A map is no list."""
    attempt = common_pb2.Attempt(metadata={f"key {at}": "x" for at in range(99)})
    attempt.response.update({"choices": [{"message": {"content": "x"}}] * 99})
    request = storage_pb2.CheckpointStoriesRequest(checkpoints=[storage_pb2.StoryCheckpoint(attempts=[attempt])])

    assert {"checkpoints[0].story_id", "checkpoints[0].attempts[0].attempt_id"} <= set(fields(request))


def test_violation_far_down_a_list_is_found() -> None:
    """Though all violations are looked for only among the first entries."""
    positions = [storage_pb2.StoryPosition(story_id=ID if index != 500 else "x") for index in range(1_000)]
    assert ["positions[500].story_id"] == fields(storage_pb2.FollowStoriesRequest(positions=positions))


# What the rules are.


def test_a_name_is_all_that_a_spec_needs() -> None:
    """Everything else has a default."""
    assert [] == spec_fields(Spec(child=MIA))


def test_all_that_is_wrong_with_a_spec_is_said_at_once() -> None:
    """Not the first violation but every one, each under its path."""
    spec = Spec(
        child=Child(name=" ", age=0, gender=9, interests=["", "x" * 101]),  # type: ignore[arg-type]
        wish="w" * 2001,
        kind=7,  # type: ignore[arg-type]
        language_code="not a tag",
        length_minutes=0,
        parent_story_id="../etc",
        model="a\tb",
        fallback_models=["ok/fine", ""],
        temperature=3,
        max_cost_usd=-1,
        max_tokens=0,
        avoid=["spiders", "\u200b", "x" * 101],
        audience_note="n" * 1001,
        voice=common_pb2.VoiceSelection(
            provider="../x",
            settings=common_pb2.VoiceSettings(speed=9),
            audio_format=9,  # type: ignore[arg-type] # of a later version
        ),
    )
    assert [
        "spec.child.name",
        "spec.child.age",
        "spec.child.gender",
        "spec.child.interests[0]",
        "spec.child.interests[1]",
        "spec.wish",
        "spec.kind",
        "spec.language_code",
        "spec.length_minutes",
        "spec.parent_story_id",
        "spec.model",
        "spec.fallback_models[1]",
        "spec.temperature",
        "spec.max_cost_usd",
        "spec.voice.provider",
        "spec.voice.settings.speed",
        "spec.voice.audio_format",
        "spec.max_tokens",
        "spec.avoid[1]",
        "spec.avoid[2]",
        "spec.audience_note",
    ] == spec_fields(spec)


def test_stored_children_heroes_and_parents_are_named_by_ids() -> None:
    """Whether there is such a child, hero or parent, storage knows."""
    kind = common_pb2.STORY_KIND_COMBINED
    assert [] == spec_fields(Spec(child_id=new_id(), hero_id=new_id(), kind=kind, parent_story_id=new_id()))
    assert ["spec.child_id", "spec.hero_id"] == spec_fields(Spec(child_id="c", hero_id="h", kind=kind))


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -0.1])
def test_no_number_is_in_no_range(number: float) -> None:
    """NaN and infinity are no temperature, no speed and no cost."""
    spec = Spec(child=MIA, temperature=number, max_cost_usd=number)
    spec.voice.settings.speed = number
    assert ["spec.temperature", "spec.max_cost_usd", "spec.voice.settings.speed"] == spec_fields(spec)


@pytest.mark.parametrize("name", ["", " ", "\n\t", "\u00a0", "\u2003\u3000", "\u200b\u200d", "\ufeff", "\u00ad"])
def test_blank_name_is_no_name(name: str) -> None:
    """Spaces, controls and invisible marks of all scripts show nothing."""
    assert ["spec.child.name"] == spec_fields(Spec(child=Child(name=name)))


@pytest.mark.parametrize("name", ["M", " Mia ", "Юля", "小明", "O\u2019Hara", "🦊", "न\u200dम"])
def test_names_of_all_scripts_are_names(name: str) -> None:
    """One visible character is enough."""
    assert [] == spec_fields(Spec(child=Child(name=name)))


def test_lengths_are_in_code_points() -> None:
    """Not in bytes or UTF-16 units."""
    assert [] == spec_fields(Spec(child=Child(name="🦊" * 100)))
    assert ["spec.child.name"] == spec_fields(Spec(child=Child(name="🦊" * 101)))


# One rule where there were several.


@pytest.mark.parametrize("revision", [0, -1])
def test_expected_revision_is_at_least_1(revision: int) -> None:
    """At the gateway as in storage; unset stands for any revision."""
    rate = gateway_pb2.RateStoryRequest(story_id=ID, rating=5, expected_revision=revision)
    update = storage_pb2.UpdateStoryRequest(story_id=ID, rating=5, expected_revision=revision)
    assert {"expected_revision": "must be at least 1"} == texts(rate) == texts(update)
    rate.ClearField("expected_revision")
    assert {} == texts(rate)


def test_min_rating_is_at_most_max_rating() -> None:
    """At the gateway as in storage."""
    wanted = common_pb2.StoryFilter(min_rating=6, max_rating=5)
    wrong = {"filter.min_rating": "must not be above max_rating"}
    assert wrong == texts(gateway_pb2.ListStoriesRequest(filter=wanted))
    assert wrong == texts(storage_pb2.ListStoriesRequest(filter=wanted))
    wanted.max_rating = 6
    assert {} == texts(storage_pb2.ListStoriesRequest(filter=wanted))


LANGUAGES = {
    **dict.fromkeys(["en", "pt-BR", "zh-Hant-TW", "sr-Latn", "de-1996", "en-u-ca-gregory", "fil"], True),
    **dict.fromkeys(["e", "english", "en_GB", "en-", "-en", "en--GB", "é", "en\n", "en-" + "a1-" * 11 + "a"], False),
}


@pytest.mark.parametrize(("code", "fine"), LANGUAGES.items())
def test_language_has_one_rule(code: str, *, fine: bool) -> None:
    """A BCP-47 tag, extensions included, in every request."""
    wrong = [] if fine else ["language_code"]
    assert wrong == fields(voice_pb2.ListVoicesRequest(language_code=code))
    assert wrong == fields(voice_pb2.SpeechConfig(language_code=code))
    assert wrong == fields(voice_pb2.TranscribeConfig(content_type="audio/wav", language_code=code))
    assert wrong == fields(common_pb2.StoryFilter(language_code=code))
    assert wrong == fields(common_pb2.Hero(name="Robin", language_code=code))
    assert wrong == fields(Spec(child=MIA, language_code=code))
    assert wrong == fields(common_pb2.Story(length_minutes=1, language_code=code))
    assert fine is is_language(code)


def test_audio_ids_are_uuids_in_every_request() -> None:
    """Of a direct caller of the voice service, too."""
    assert ["audio_id"] == fields(voice_pb2.SpeechConfig(audio_id="mine"))
    assert ["audio_id"] == fields(storage_pb2.ReadAudioRequest(story_id=ID, audio_id="mine"))
    assert ["audio_id"] == fields(gateway_pb2.ReadStoryAudioRequest(story_id=ID, audio_id="mine"))


def test_states_of_a_filter_are_named_once() -> None:
    """At the gateway as in storage."""
    ready = common_pb2.STORY_STATE_READY
    wanted = common_pb2.StoryFilter(states=[ready, ready])
    assert {"filter.states": "must have each entry once"} == texts(gateway_pb2.ListStoriesRequest(filter=wanted))


def test_address_of_audio_expires_within_7_days() -> None:
    """To the nanosecond, at the gateway as in storage."""
    week, more = Duration(seconds=604_800), Duration(seconds=604_800, nanos=1)
    assert [] == fields(gateway_pb2.GetAudioUrlRequest(story_id=ID, expiry=week))
    assert ["expiry"] == fields(gateway_pb2.GetAudioUrlRequest(story_id=ID, expiry=more))
    assert ["expiry"] == fields(storage_pb2.GetAudioUrlRequest(story_id=ID, expiry=more))


@pytest.mark.parametrize(
    "model",
    [
        *("offline", "openai/gpt-4o", "vendor/name:free", "~vendor/latest", "@preset/x", "openrouter:a/b", "GPT_4O"),
        *("llama3.2:3b", "hf.co/a/b-GGUF:Q4_K_M", "/models/My Model (v2).gguf", "модель", "chat:llama3.2:3b"),
        *("m" * 200, "chat:" + "m" * 200, "openrouter:" + "m" * 200),
    ],
)
def test_models_of_all_servers_are_accepted(model: str) -> None:
    """Any printable id; whether there is such a model, the story service knows."""
    assert [] == spec_fields(Spec(child=MIA, model=model, fallback_models=[model]))


@pytest.mark.parametrize(
    "model", [" a", "a ", "a\n", "a\nb", "a\x00b", "a\x7fb", "\u00a0", "m" * 201, "chat:" + "m" * 201]
)
def test_what_no_model_is_called_is_refused(model: str) -> None:
    """Control characters, blanks at its ends, and more than 200 characters."""
    assert ["spec.model"] == spec_fields(Spec(child=MIA, model=model))


def test_a_story_has_at_most_65536_characters() -> None:
    """The limit of the text is that of what is continued, and that of the database."""
    assert 65_536 == max_length(story_pb2.GenerateStoryRequest, "written_so_far")
    assert 65_536 == max_length(common_pb2.Story, "content")
    schemas = [*ROOT.glob("supabase/migrations/*.sql"), *ROOT.glob("storage_service/embedded/migrations/*.sql")]
    limits = re.findall(r"content_length (?:<= |BETWEEN 0 AND )(\d+)", "".join(each.read_text() for each in schemas))
    assert ["65536", "65536"] == limits


def test_a_minute_has_150_words() -> None:
    """For the gateway's progress as for the writers."""
    assert WORDS_A_MINUTE == WORDS_PER_MINUTE


def test_tokens_of_an_answer_have_one_limit() -> None:
    """As a setting and in a request."""
    (limit,) = [each.le for each in StorySettings.model_fields["max_tokens"].metadata if isinstance(each, Le)]
    rules = Spec.DESCRIPTOR.fields_by_name["max_tokens"].GetOptions().Extensions[validate_pb2.field]
    assert rules.int32.lte == limit


# That the rules themselves are sound.


@pytest.mark.parametrize("message", all_messages(), ids=lambda message: message.full_name)
def test_rules_of_every_message_can_be_evaluated(message: Descriptor) -> None:
    """A CEL expression or a rule of another type would fail when the first request comes."""
    violations(GetMessageClass(message)())


@pytest.mark.parametrize("message", all_messages(), ids=lambda message: message.full_name)
def test_rule_of_a_message_names_its_field(message: Descriptor) -> None:
    """The id of such a rule is the path of the field that a caller has to correct."""
    for rule in message.GetOptions().Extensions[validate_pb2.message].cel:
        assert rule.message
        at: Any = message
        for name in rule.id.split("."):
            at = at.fields_by_name[name].message_type


def rules_of(field: FieldDescriptor) -> Iterator[validate_pb2.FieldRules]:
    """The rules of a field, and those of its entries."""
    rules = field.GetOptions().Extensions[validate_pb2.field]
    yield rules
    if rules.HasField("repeated"):
        yield rules.repeated.items


def test_nul_alone_is_what_text_must_not_contain() -> None:
    """The text of that violation says so."""
    found = {
        rules.string.not_contains
        for message in all_messages()
        for field in message.fields
        for rules in rules_of(field)
        if rules.string.HasField("not_contains")
    }
    assert {"\0"} == found


def test_every_public_field_has_a_rule() -> None:
    """A text, number or list that a caller sends is bounded beside its field."""
    seen: set[str] = set()
    public = [
        message
        for file in (gateway_pb2, profile_pb2)
        for service in file.DESCRIPTOR.services_by_name.values()
        for method in service.methods
        for message in messages(method.input_type, seen)
    ]
    plain = {
        field.full_name
        for message in public
        for field in message.fields
        if field.message_type is None
        and field.type != FieldDescriptor.TYPE_BOOL
        and not field.GetOptions().HasExtension(validate_pb2.field)
    }
    assert {"tale.common.v1.StorySpec.seed"} == plain


def walked_fields(kind: Descriptor) -> Iterator[FieldDescriptor]:
    """The fields of a message, and of all within it, that are looked at."""
    for field in kind.fields:
        if field.GetOptions().Extensions[validate_pb2.field].ignore != validate_pb2.IGNORE_ALWAYS:
            yield field
            if field.message_type is not None and field.message_type.file.package.startswith("tale."):
                yield from walked_fields(field.message_type)


def test_every_list_is_bounded() -> None:
    """Or is not looked at. A map has a value for each key, and no rules for these."""
    unbounded = {
        field.full_name
        for request in requests()
        for field in walked_fields(request)
        if field.is_repeated
        and not (field.message_type is not None and field.message_type.GetOptions().map_entry)
        and not field.GetOptions().Extensions[validate_pb2.field].repeated.HasField("max_items")
    }
    assert set() == unbounded


def test_raw_responses_are_not_walked_through() -> None:
    """A Struct of 144 KB takes 11 ms, and nothing in it has a rule."""
    walked = {
        field.full_name
        for message in all_messages()
        for field in message.fields
        if field.message_type is not None
        and field.message_type.full_name == "google.protobuf.Struct"
        and field.GetOptions().Extensions[validate_pb2.field].ignore != validate_pb2.IGNORE_ALWAYS
    }
    assert set() == walked


@given(st.text(max_size=300))
def test_no_text_makes_validation_fail_to_answer(text: str) -> None:
    """Whatever is written into a field, the check ends in a verdict."""
    clean = text.encode("utf-8", "ignore").decode()
    spec = Spec(child=Child(name=clean, interests=[clean]), wish=clean, model=clean, language_code=clean)
    assert set(spec_fields(spec)) <= {
        "spec.child.name",
        "spec.child.interests[0]",
        "spec.wish",
        "spec.model",
        "spec.language_code",
    }


@given(st.text(max_size=130) | st.from_regex(r"[A-Za-z0-9._:-]{1,130}", fullmatch=True))
def test_tokens_mean_the_same_in_metadata(text: str) -> None:
    """servicekit.ids judges a request id that comes as metadata."""
    token = text.encode("utf-8", "ignore").decode() or "-"
    request = gateway_pb2.CreateStoryRequest(request_id=token, spec=Spec(child=MIA))
    assert is_token(token) is not bool(violations(request))


@given(st.text(max_size=40) | st.from_regex(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"))
def test_ids_mean_the_same_in_the_store(text: str) -> None:
    """servicekit.ids judges an id that comes from a file or a database."""
    given_id = text.encode("utf-8", "ignore").decode() or "-"
    assert is_id(given_id) is not bool(violations(gateway_pb2.GetStoryRequest(story_id=given_id)))


@given(st.text(max_size=70) | st.from_regex(r"[A-Za-z0-9._-]{1,66}", fullmatch=True))
def test_names_of_providers_mean_the_same_at_start(text: str) -> None:
    """servicekit.ids judges the name of a provider that an installed package brings."""
    name = text.encode("utf-8", "ignore").decode() or "-"
    spec = Spec(child=MIA, voice=common_pb2.VoiceSelection(provider=name))
    assert is_provider(name) is not bool(spec_fields(spec))
