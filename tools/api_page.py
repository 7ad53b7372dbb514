"""Renders docs/api.md from the contracts: every RPC and message, the public ones first."""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from google.protobuf import descriptor_pb2 as pb

from tools.api_rules import field_rules, is_required

ROOT: Final = Path(__file__).resolve().parent.parent
EXAMPLES: Final = Path(__file__).with_name("api_examples.json")
_GATEWAY: Final = "tale.gateway.v1.GatewayService"
_PROFILES: Final = "tale.profile.v1.ProfileService"
_VOICE: Final = "tale.voice.v1.VoiceService"
_STORY: Final = "tale.story.v1.StoryService"
PUBLIC: Final[Mapping[str, Sequence[str] | None]] = {
    _GATEWAY: None,
    _PROFILES: None,
    _VOICE: ("ListProviders", "ListVoices", "Transcribe"),
    _STORY: ("ListModels",),
}
"""Services that the gateway offers, with those RPCs that it offers; None: all."""

_SCALARS: Final = {number: name.removeprefix("TYPE_").lower() for name, number in pb.FieldDescriptorProto.Type.items()}
_SERVICE, _MESSAGE, _ENUM = 6, 4, 5
"""Numbers of the fields of FileDescriptorProto, which the paths of comments consist of."""

_INTRODUCTION: Final = """\
# API reference

Generated from the contracts in `protos/` by `make docs`.

Call an RPC of the gateway with its example (`grpcurl -plaintext` takes the same data):

    .venv/bin/buf curl --protocol grpc --http2-prior-knowledge -d 'EXAMPLE' http://127.0.0.1:50051/SERVICE/RPC

An example of several JSON objects is a stream of requests. Ids in the examples stand for ids of your own. Text in
italics is a rule (`buf.validate` in the contract): a request that violates rules fails with INVALID_ARGUMENT /
VALIDATION_FAILED and all violations. No text may contain a NUL character, and an enum must have a value that is listed.
Every RPC can also fail with INTERNAL, and with an UNAVAILABLE reason while a service or store that it needs is away.
[errors.md](errors.md) explains each reason.
"""


@dataclass(frozen=True)
class Rpc:
    """One RPC with its comment split into text and reasons."""

    service: str
    proto: pb.MethodDescriptorProto
    comment: str
    reasons: tuple[str, ...]

    @property
    def path(self) -> str:
        """Returns the name that gRPC calls it by, without the leading slash."""
        return f"{self.service}/{self.proto.name}"

    @property
    def public(self) -> bool:
        """Returns whether the gateway offers it."""
        offered = PUBLIC.get(self.service, ())
        return offered is None or self.proto.name in offered


class Contracts:
    """All services and types of `protos/tale`, by full name, with their comments."""

    def __init__(self, files: Sequence[pb.FileDescriptorProto]) -> None:
        self.rpcs: dict[str, list[Rpc]] = {}
        self.messages: dict[str, pb.DescriptorProto] = {}
        self.enums: dict[str, pb.EnumDescriptorProto] = {}
        self._comments: dict[str, str] = {}
        for file in files:
            if file.package.startswith("tale."):
                self._add(file)

    def comment(self, name: str) -> str:
        """Returns the comment of a service, message, enum, field or value by its full name."""
        return self._comments.get(name, "")

    def methods(self) -> Iterator[Rpc]:
        """Returns all RPCs."""
        for rpcs in self.rpcs.values():
            yield from rpcs

    def _add(self, file: pb.FileDescriptorProto) -> None:
        said = {tuple(place.path): " ".join(place.leading_comments.split()) for place in file.source_code_info.location}
        for number, service in enumerate(file.service):
            name = f"{file.package}.{service.name}"
            self._comments[name] = said.get((_SERVICE, number), "")
            self.rpcs[name] = []
            for index, method in enumerate(service.method):
                comment, _, reasons = said.get((_SERVICE, number, 2, index), "").partition(" Errors: ")
                named = tuple(re.findall(r"[A-Z][A-Z_]+", reasons))
                self.rpcs[name].append(Rpc(name, method, comment, named))
        for number, message in enumerate(file.message_type):
            name = f"{file.package}.{message.name}"
            self.messages[name] = message
            self._comments[name] = said.get((_MESSAGE, number), "")
            for index, field in enumerate(message.field):
                self._comments[f"{name}.{field.name}"] = said.get((_MESSAGE, number, 2, index), "")
        for number, enum in enumerate(file.enum_type):
            name = f"{file.package}.{enum.name}"
            self.enums[name] = enum
            self._comments[name] = said.get((_ENUM, number), "")
            for index, value in enumerate(enum.value):
                self._comments[f"{name}.{value.name}"] = said.get((_ENUM, number, 2, index), "")


def load_contracts() -> Contracts:
    """Returns the contracts as buf reads them."""
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "image.binpb"
        buf = Path(sys.executable).parent / "buf"
        subprocess.run([str(buf), "build", "--as-file-descriptor-set", "-o", str(image)], cwd=ROOT, check=True)
        return Contracts(pb.FileDescriptorSet.FromString(image.read_bytes()).file)


def load_examples() -> dict[str, list[Any]]:
    """Returns the requests of an example call by the path of the RPC."""
    examples: dict[str, list[Any]] = json.loads(EXAMPLES.read_text(encoding="utf-8"))
    return examples


def api_page() -> str:
    """Returns docs/api.md."""
    return "\n".join(_Page(load_contracts(), load_examples()).lines()) + "\n"


class _Page:
    def __init__(self, contracts: Contracts, examples: Mapping[str, list[Any]]) -> None:
        self._contracts = contracts
        self._examples = examples
        rpcs = list(contracts.methods())
        self._wire = {name.removeprefix(".") for rpc in rpcs for name in (rpc.proto.input_type, rpc.proto.output_type)}
        self._public_types = self._reachable([rpc for rpc in rpcs if rpc.public])

    def lines(self) -> Iterator[str]:
        public = {name: [rpc for rpc in self._contracts.rpcs[name] if rpc.public] for name in PUBLIC}
        internal = {name: [rpc for rpc in rpcs if not rpc.public] for name, rpcs in self._contracts.rpcs.items()}
        internal = {name: rpcs for name, rpcs in internal.items() if rpcs}
        types = [name for name in (*self._contracts.messages, *self._contracts.enums) if name not in self._wire]
        shared = sorted((name for name in types if name in self._public_types), key=_short)
        inner = sorted((name for name in types if name not in self._public_types), key=_short)
        yield from (_INTRODUCTION, "## Contents", "", "At the gateway:", "")
        yield from (self._contents(name, rpcs) for name, rpcs in public.items())
        yield from ("", "Inside the cluster:", "")
        yield from (self._contents(name, rpcs) for name, rpcs in internal.items())
        yield from ("", f"[Types of the gateway](#types-of-the-gateway): {self._links(shared)}.", "")
        yield f"[Types inside the cluster](#types-inside-the-cluster): {self._links(inner)}."
        yield from ("", "## At the gateway")
        for name, rpcs in public.items():
            yield from self._service(name, rpcs)
        yield from ("", "## Types of the gateway")
        for name in shared:
            yield from self._any_type(name)
        yield from ("", "## Inside the cluster", "", "Only services of the cluster call these.")
        for name, rpcs in internal.items():
            yield from self._service(name, rpcs)
        yield from ("", "## Types inside the cluster")
        for name in inner:
            yield from self._any_type(name)

    def _contents(self, name: str, rpcs: Sequence[Rpc]) -> str:
        links = ", ".join(f"[{rpc.proto.name}](#{rpc.path})" for rpc in rpcs)
        return f"- `{name}`: {links}"

    def _links(self, names: Sequence[str]) -> str:
        return ", ".join(_link(name) for name in names)

    def _service(self, name: str, rpcs: Sequence[Rpc]) -> Iterator[str]:
        yield from ("", f"### {name}", "")
        # Of a service that is offered in part the comment stands where its own server offers it.
        in_part = rpcs[0].public and len(rpcs) < len(self._contracts.rpcs[name])
        yield "The RPCs of this service that the gateway offers." if in_part else self._contracts.comment(name)
        for rpc in rpcs:
            yield from self._rpc(rpc)

    def _rpc(self, rpc: Rpc) -> Iterator[str]:
        takes, gives = (name.removeprefix(".") for name in (rpc.proto.input_type, rpc.proto.output_type))
        yield from ("", f'<a id="{rpc.path}"></a>', f"#### {rpc.proto.name}", "", rpc.comment)
        if rpc.reasons:
            yield from ("", "Errors: " + ", ".join(f"[{reason}](errors.md#{reason})" for reason in rpc.reasons) + ".")
        yield from ("", "```json")
        yield from (json.dumps(request, ensure_ascii=False) for request in self._examples[rpc.path])
        yield "```"
        yield from self._message(takes, "Stream of requests" if rpc.proto.client_streaming else "Request")
        yield from self._message(gives, "Stream of responses" if rpc.proto.server_streaming else "Response")

    def _message(self, name: str, role: str) -> Iterator[str]:
        message = self._contracts.messages[name]
        yield from ("", f'<a id="{name}"></a>')
        if not message.field:
            yield f"{role}: `{message.name}`, which has no fields."
            return
        yield from (f"{role}: `{message.name}`", "")
        yield from self._fields(name, message)

    def _any_type(self, name: str) -> Iterator[str]:
        yield from ("", f'<a id="{name}"></a>', f"### {_short(name)}", "", self._contracts.comment(name))
        if name in self._contracts.enums:
            yield from ("", "| value | |", "|---|---|")
            for value in self._contracts.enums[name].value:
                yield f"| `{value.name}` = {value.number} | {self._contracts.comment(f'{name}.{value.name}')} |"
        elif self._contracts.messages[name].field:
            yield ""
            yield from self._fields(name, self._contracts.messages[name])

    def _fields(self, name: str, message: pb.DescriptorProto) -> Iterator[str]:
        yield from ("| field | type | |", "|---|---|---|")
        for field in message.field:
            enum = self._contracts.enums.get(field.type_name.removeprefix("."))
            said = (self._contracts.comment(f"{name}.{field.name}"), field_rules(message, field, enum))
            yield f"| `{field.name}` | {_type(message, field)} | {' '.join(each for each in said if each)} |"

    def _reachable(self, rpcs: Sequence[Rpc]) -> set[str]:
        """Returns every type that requests and responses of `rpcs` consist of."""
        found = set[str]()
        waiting = [name.removeprefix(".") for rpc in rpcs for name in (rpc.proto.input_type, rpc.proto.output_type)]
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                fields = self._contracts.messages[name].field if name in self._contracts.messages else ()
                waiting += [field.type_name.removeprefix(".") for field in fields if field.type_name]
        return found


def _type(message: pb.DescriptorProto, field: pb.FieldDescriptorProto) -> str:
    name = _link(field.type_name.removeprefix(".")) if field.type_name else _SCALARS[field.type]
    for nested in message.nested_type:
        if nested.options.map_entry and field.type_name.endswith("." + nested.name):
            key, value = nested.field
            return f"map of {_SCALARS[key.type]} to {_SCALARS[value.type]}"
    if field.label == pb.FieldDescriptorProto.LABEL_REPEATED:
        return f"list of {name}"
    if field.HasField("oneof_index") and not field.proto3_optional:
        oneof = message.oneof_decl[field.oneof_index]
        return f"{name}, {'exactly ' if is_required(oneof) else ''}one of `{oneof.name}`"
    return f"optional {name}" if field.proto3_optional else name


def _link(name: str) -> str:
    return f"[{_short(name)}](#{name})" if name.startswith("tale.") else _short(name)


def _short(name: str) -> str:
    return name.rpartition(".")[2]
