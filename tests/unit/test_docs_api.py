"""What docs/api.md says beside the contracts: an example for each RPC, and reasons that exist."""

from importlib import import_module
from pathlib import Path
from typing import Final

import pytest
from google.protobuf.json_format import ParseDict
from google.protobuf.message_factory import GetMessageClass

from servicekit.reasons import REASONS
from servicekit.validation import violations
from tools.api_page import ROOT, load_contracts, load_examples

EXAMPLES: Final = load_examples()
RPCS: Final = {rpc.path: rpc for rpc in load_contracts().methods()}


def test_every_rpc_has_an_example() -> None:
    """No RPC is without one, and no example names an RPC that is gone."""
    assert sorted(RPCS) == sorted(EXAMPLES)


@pytest.mark.parametrize("path", sorted(RPCS))
def test_an_example_violates_no_rule(path: str) -> None:
    """Each JSON object is a valid request of the RPC; a stream has several, any other RPC one."""
    service, _, name = path.partition("/")
    package = service.rpartition(".")[0]
    files = [place.stem for place in (ROOT / "protos" / Path(*package.split("."))).glob("*.proto")]
    modules = [import_module(f"{package}.{stem}_pb2") for stem in files]
    (descriptor,) = [
        each for module in modules for each in module.DESCRIPTOR.services_by_name.values() if each.full_name == service
    ]
    request = GetMessageClass(descriptor.methods_by_name[name].input_type)
    for example in EXAMPLES[path]:
        assert [] == violations(ParseDict(example, request()))
    assert descriptor.methods_by_name[name].client_streaming or 1 == len(EXAMPLES[path])


@pytest.mark.parametrize("path", sorted(path for path, rpc in RPCS.items() if rpc.reasons))
def test_the_errors_of_an_rpc_are_reasons_of_the_table(path: str) -> None:
    """Each reason after "Errors:" in the comment of an RPC is one that an error may have."""
    assert [] == [reason for reason in RPCS[path].reasons if reason not in REASONS or REASONS[reason].code == "OK"]
