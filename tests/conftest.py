"""Fixtures that tests of several folders share."""

from hypothesis import settings
from support.moto_s3 import moto_s3
from support.postgres import database, postgres
from support.supabase_lite import supabase_lite

__all__ = ["database", "moto_s3", "postgres", "supabase_lite"]

# How long an example takes is the machine's business: a deadline would fail for nothing on a busy one.
settings.register_profile("tale", deadline=None)
settings.load_profile("tale")
