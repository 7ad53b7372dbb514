"""The stub of `buf/validate/validate.proto`: that of protovalidate 1 where it is installed, else the vendored one.

A process can load only one: two of different versions clash in the descriptor pool.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tale.buf import validate_pb2
else:
    try:
        from buf.validate import validate_pb2
    except ImportError:
        from tale.buf import validate_pb2

__all__ = ["validate_pb2"]
