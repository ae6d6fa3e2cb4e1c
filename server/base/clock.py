"""The only place that reads a clock. Protocol cores take time as an argument; shells call these."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def now() -> datetime:
    """The present moment, aware, UTC."""
    return datetime.now(UTC)


def monotonic() -> float:
    """Seconds that never go back, for delays and deadlines."""
    return time.monotonic()
