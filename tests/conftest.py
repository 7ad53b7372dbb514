"""Fixtures that tests of several folders share, and what `sampled` means."""

import os
from collections import Counter

import pytest
from hypothesis import settings
from support.moto_s3 import moto_s3
from support.postgres import database, postgres
from support.supabase_lite import supabase_lite

__all__ = ["database", "moto_s3", "postgres", "supabase_lite"]

# How long an example takes is the machine's business: a deadline would fail for nothing on a busy one.
# The same examples in every run, so that a change is judged by what it changes; `make test-long` looks for new ones.
settings.register_profile("random", deadline=None)
settings.register_profile("tale", deadline=None, derandomize=True, database=None)
settings.load_profile("tale")


# Gateways in tests have the page where the test asks for it: all would have the same port.
os.environ["GATEWAY_WEB_LISTEN"] = ""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Has every nth case of a test run that is `sampled`, and marks the others as `long`."""
    seen = Counter[str]()
    for item in items:
        test = item.nodeid.partition("[")[0]
        for mark in item.iter_markers("sampled"):
            if seen[test] % mark.args[0]:
                item.add_marker("long")
        seen[test] += 1
