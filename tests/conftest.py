"""Fixtures that tests of several folders share."""

from support.moto_s3 import moto_s3
from support.postgres import database, postgres
from support.supabase_lite import supabase_lite

__all__ = ["database", "moto_s3", "postgres", "supabase_lite"]
