"""docs/other-languages.md: Node with its packages from the registry, and Go with those of Debian."""

import os
import re
import shutil
from pathlib import Path

import pytest
from support.examples import ROOT, copied, run
from support.house import House, house

from tale.gateway.v1 import gateway_pb2

pytestmark = pytest.mark.system

PAGE = (ROOT / "docs" / "other-languages.md").read_text()
PACKAGES = Path("/usr/share/gocode")
NEEDED = "golang-go golang-google-grpc-dev golang-google-protobuf-dev protoc-gen-go protoc-gen-go-grpc"
# grpc-go before 1.41 has neither NewClient nor credentials/insecure, and that of Debian reads messages of an old kind.
OLD_CONNECTION = """package main

import (
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

type codec struct{}

func (codec) Name() string                         { return "proto" }
func (codec) Marshal(v interface{}) ([]byte, error) { return proto.Marshal(v.(proto.Message)) }
func (codec) Unmarshal(data []byte, v interface{}) error {
	return proto.Unmarshal(data, v.(proto.Message))
}

func connect(target string) (*grpc.ClientConn, error) {
	return grpc.Dial(target, grpc.WithInsecure(), grpc.WithDefaultCallOptions(grpc.ForceCodec(codec{})))
}
"""


async def test_the_commands_for_node_work(tmp_path: Path) -> None:
    """As they stand, the installation included."""
    folder = copied("node", tmp_path)
    (commands,) = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    async with house(tmp_path / "data") as home:
        printed = await run(commands, folder=tmp_path, target=home.servers["gateway"].address, seconds=300)
        await check(home, printed, folder)


async def test_the_go_example_makes_a_story(tmp_path: Path) -> None:
    """Generated and built with the packages of Debian, on which one function of the example has to be another."""
    if shutil.which("protoc-gen-go-grpc") is None:
        pytest.fail(f"apt-get install {NEEDED}")
    folder = copied("go", tmp_path)
    (folder / "connection.go").write_text(OLD_CONNECTION)
    (tmp_path / "path" / "src" / "example").mkdir(parents=True)
    (tmp_path / "path" / "src" / "example" / "story").symlink_to(folder)
    go = {"GO111MODULE": "off", "GOPATH": f"{tmp_path / 'path'}{os.pathsep}{PACKAGES}", "GOFLAGS": ""}
    async with house(tmp_path / "data") as home:
        commands = "cd docs/examples/go; buf generate; go vet example/story; go run example/story"
        target = home.servers["gateway"].address
        printed = await run(commands, folder=tmp_path, target=target, seconds=300, **go)
        await check(home, printed, folder)


async def check(home: House, printed: str, folder: Path) -> None:
    """The story that is stored was printed, and its audio is in the file."""
    (summary,) = (await home.stub.ListStories(gateway_pb2.ListStoriesRequest(), timeout=20)).stories
    _, kept = await home.read_audio(summary.id)
    assert (await home.get(summary.id)).content in printed
    assert kept == (folder / "story.mp3").read_bytes()
    assert f"story.mp3 has {len(kept)} bytes." in printed
