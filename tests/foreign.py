"""A server of another make that a test runs: one process of its own, on loopback, with all it keeps in one folder."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

START_SECONDS = 60


class Foreign:
    """`place` is its folder, gone when it is stopped; its log is the file `log` there."""

    place: Path
    process: subprocess.Popen[bytes] | None = None

    def run(self, command: Sequence[str], answers: Callable[[], None], away: tuple[type[Exception], ...]) -> None:
        """Start it and wait until `answers` raises none of `away` any more."""
        self.process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                answers()
            except away:
                assert self.process.poll() is None, self.log()
                assert time.monotonic() < deadline, self.log()
                time.sleep(0.05)
            else:
                return

    def stop(self) -> None:
        """SIGTERM to its master, which ends its own; then nothing of it is left."""
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(START_SECONDS)
        shutil.rmtree(self.place)

    def log(self) -> str:
        """The end of its log, for a failure's message."""
        path = self.place / "log"
        return path.read_text(errors="replace")[-3_000:] if path.exists() else "no log"
