"""Fixtures that tests of several folders share."""

from support.postgres import database, postgres
from support.supabase_lite import supabase_lite

__all__ = ["database", "postgres", "supabase_lite"]
