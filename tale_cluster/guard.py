"""Runs a module and stops it when its supervisor ends: `python -m tale_cluster.guard MODULE`.

Standard input is a pipe whose other end the supervisor holds and never writes to. When the supervisor ends, even by
kill -9, the kernel closes that end and the guard sends SIGTERM. This needs no code between fork and exec and works on
every POSIX system.
"""

import os
import runpy
import signal
import sys
import threading
import time
from typing import Final

GRACE_SECONDS: Final = 5.0
"""Seconds between SIGTERM and SIGKILL after the supervisor has ended."""


def main() -> None:
    """Runs the module of the command line as `__main__`, in this process."""
    module = sys.argv.pop(1)
    threading.Thread(target=_follow_supervisor, name="guard", daemon=True).start()
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _follow_supervisor() -> None:
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    if os.getpid() == os.getpgrp():
        os.killpg(0, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
