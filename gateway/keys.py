"""Makes, lists and revokes API keys: `tale keys`, or `python -m gateway.keys` in a container."""

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from gateway.door.keys import KeyFile, KeyFileError, Role
from gateway.settings import GatewaySettings
from servicekit.settings import ConfigurationError, load

_MOST_DAYS: Final = 36_500


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code."""
    given = _parser().parse_args(arguments)
    try:
        keys = KeyFile(given.file or load(GatewaySettings).api_keys_file)
        match given.command:
            case "create":
                _create(keys, given)
            case "revoke":
                sys.stdout.write(f"Revoked. The key of {keys.revoke(given.id).owner} is refused from now on.\n")
            case _:
                _list(keys)
    except (KeyFileError, ConfigurationError) as error:
        sys.stderr.write(f"Error: {error}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("keys", description="API keys of the gateway (GATEWAY_AUTH=api_key).")
    parser.add_argument("--file", type=Path, help="file of the keys (default: GATEWAY_API_KEYS_FILE)")
    commands = parser.add_subparsers(dest="command", required=True)
    create = commands.add_parser("create", help="make a key, and print it once")
    create.add_argument("owner", help="owner of what its calls make")
    create.add_argument("--operator", action="store_true", help="also for the state of the cluster")
    create.add_argument("--child", action="append", default=[], metavar="ID", help="only for this child; repeatable")
    create.add_argument("--days", type=_days, metavar="N", help=f"valid for 1 to {_MOST_DAYS} days (default: always)")
    commands.add_parser("list", help="list the keys, which cannot be read from the file")
    commands.add_parser("revoke", help="remove a key").add_argument("id", help="its id, from the list")
    return parser


def _days(number: str) -> datetime:
    if not number.isdecimal() or not 1 <= int(number) <= _MOST_DAYS:
        raise argparse.ArgumentTypeError(f"must be from 1 to {_MOST_DAYS}")
    return datetime.now(UTC).replace(microsecond=0) + timedelta(days=int(number))


def _create(keys: KeyFile, given: argparse.Namespace) -> None:
    role: Role = "operator" if given.operator else "user"
    key, _ = keys.create(given.owner, role=role, children=tuple(given.child), expire_time=given.days)
    sys.stderr.write("The key is shown this once. Send it as `authorization: Bearer …`, or set TALE_TOKEN.\n")
    sys.stdout.write(f"{key}\n")


def _local(time: datetime) -> str:
    return time.astimezone().strftime("%Y-%m-%d %H:%M %Z")


def _list(keys: KeyFile) -> None:
    rows = [("ID", "OWNER", "ROLE", "CHILDREN", "CREATED", "EXPIRES")]
    for key in keys.list():
        expiry = _local(key.expire_time) if key.expire_time else "never"
        created = _local(key.create_time) if key.create_time else "unknown"
        rows.append((key.id, key.owner, key.role, ",".join(key.children) or "all", created, expiry))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write(f"{line.rstrip()}\n")


if __name__ == "__main__":
    sys.exit(main())
