"""Has the SDKs of providers imported one after the other."""

from threading import Lock
from typing import Final

SDK_LOADING: Final = Lock()
"""Held by a thread that imports an SDK: two that import packages with circles in them may see half of a module."""
