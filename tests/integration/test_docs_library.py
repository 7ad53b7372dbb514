"""The programs of docs/library.md run as they are, and print what the page promises."""

import asyncio
import re
import sys
from pathlib import Path
from typing import Final

import pytest

PAGE: Final = (Path(__file__).resolve().parents[2] / "docs" / "library.md").read_text(encoding="utf-8")
PROGRAMS: Final = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
_LOG_LINE: Final = re.compile(r"[\d-]+ [\d:]+ \[\w+ *\]")
PRINTED: Final = (
    """\
acme:speak failed: overload
acme:speak failed: overload
acme:speak is open
models [] stale True
{'acme:models': 'closed', 'acme:speak': 'closed'}
""",
    """\
call ['mock']
skipped [('elevenlabs', 'set ELEVENLABS_API_KEY')]
default mock
removed mock
""",
)


@pytest.mark.parametrize(("program", "printed"), list(zip(PROGRAMS, PRINTED, strict=True)), ids=["circuits", "voices"])
async def test_library_program_prints_what_it_says(program: str, printed: str) -> None:
    """Without the log lines, which have a level in brackets."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(30):
        out, err = await process.communicate()
    assert 0 == process.returncode, err.decode()
    assert printed == "".join(line for line in out.decode().splitlines(keepends=True) if not _LOG_LINE.match(line))
