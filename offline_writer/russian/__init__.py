"""Russian: the stock of prose, and what turns a brief into an arc of it."""

from offline_writer.russian.language import Russian

__all__ = ["Russian"]
