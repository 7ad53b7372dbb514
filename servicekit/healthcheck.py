"""`python -m servicekit.healthcheck HOST:PORT`: exit code 0 when the service with that operators' address takes calls.

For containers, which have no curl. It is started every few seconds, so it imports next to nothing.
"""

import socket
import sys
from typing import Final

_SECONDS: Final = 2.0
_REQUEST: Final = b"GET /readyz HTTP/1.0\r\n\r\n"


def status_line(address: str) -> str:
    """Returns the first line of the answer to `/readyz` at "host:port"; OSError (TimeoutError too) without one."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host.strip("[]"), int(port)), timeout=_SECONDS) as connection:
        connection.sendall(_REQUEST)
        with connection.makefile("rb") as answer:
            return answer.readline(256).decode("ascii", "replace").strip()


def main() -> None:
    """Checks once and prints the result for the container engine."""
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m servicekit.healthcheck HOST:PORT")
    try:
        line = status_line(sys.argv[1])
    except OSError as error:
        line = str(error)
    sys.stdout.write(f"{line}\n")
    raise SystemExit(0 if line.split()[1:2] == ["200"] else 1)


if __name__ == "__main__":
    main()
