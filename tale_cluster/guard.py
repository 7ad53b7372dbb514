"""`python -m tale_cluster.guard MODULE`: runs MODULE, but never longer than whoever started it.

Standard input is a pipe whose other end the supervisor holds and never writes to. When the supervisor ends, by whatever
means (kill -9 too), the kernel closes that end and the service is told to go. This needs no code between fork and exec
and works on every POSIX system.
"""

import os
import runpy
import signal
import sys
import threading
import time
from typing import Final

GRACE_SECONDS: Final = 5.0
"""Seconds that an orphan gets to end by itself."""


def main() -> None:
    """Runs the module that the command line names as `__main__`, in this process."""
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
