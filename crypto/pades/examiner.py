"""Documents examined in a process of their own: bounded in size, memory and time, whatever they are.

The process is started for the first document that seems signed, serves several, and is left when its work is done. One
that dies, or takes too long, is ended; its document gets a verdict that says so, and the next one a new process.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
import sys
from pathlib import Path
from types import TracebackType
from typing import Final

from crypto.errors import CryptoError
from crypto.pades.facts import Examined, Signature
from crypto.pades.verdict import Reason

# A signature names the octets it covers, outside of any compressed stream (ISO 32000-1 §12.8.1).
MARK: Final = b"/ByteRange"
SECONDS: Final = 30.0  # of one document, the start of the process included
ANSWER_BYTES: Final = 16 * 1024 * 1024  # what `examine` lets through, in base64

# A sealed process may read our packages and not the folder they stand in: the import system is told where this one is.
_START: Final = """
import importlib.util as machinery, sys
spec = machinery.spec_from_file_location("crypto", sys.argv[1] + "/__init__.py")
sys.modules["crypto"] = machinery.module_from_spec(spec)
from crypto.pades.examine import main
main()
"""
UNREADABLE: Final = Examined((Signature(fault=Reason.UNREADABLE),))


class Examiner:
    """`async with Examiner() as examiner`; one document at a time."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> Examiner:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def examine(self, pdf: bytes) -> Examined:
        """What stands in it; at once, without a process, for what bears no signature."""
        if MARK not in pdf:
            return Examined()
        async with self._turn:
            try:
                async with asyncio.timeout(self._seconds):
                    return await self._ask(pdf)
            except (TimeoutError, OSError, asyncio.IncompleteReadError, CryptoError):
                await self.close()
                return UNREADABLE
            except BaseException:  # cancelled: its answer must not become the next document's
                await self.close()
                raise

    async def _ask(self, pdf: bytes) -> Examined:
        if self._process is None:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-I",
                "-c",
                _START,
                str(Path(__file__).parents[1]),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env={},
            )
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None  # noqa: S101 -- both are pipes
        assert stdout is not None  # noqa: S101
        stdin.write(struct.pack(">Q", len(pdf)))
        stdin.write(pdf)
        await stdin.drain()
        (size,) = struct.unpack(">I", await stdout.readexactly(4))
        if size > ANSWER_BYTES:
            raise CryptoError("the answer is too large")
        return Examined.from_bytes(await stdout.readexactly(size))

    async def close(self) -> None:
        """End the process, if there is one."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
