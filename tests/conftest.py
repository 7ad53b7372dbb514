"""Fixtures that tests of several folders share."""

from support.supabase_lite import supabase_lite

__all__ = ["supabase_lite"]
