"""What it costs to renew the keys of 100,000 mailboxes: new bucket keys and master, every mailbox's key wrapped anew.

One JSON line a measure: seconds of the whole, CPU a key of Python and of PostgreSQL (fsync on), bytes of log a key.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from pathlib import Path

import asyncpg

from crypto.keyring import Keyring
from crypto.sealing import MailboxKey
from server.base import clock
from server.db.embedded import EmbeddedPostgres
from server.db.migrate import upgrade
from server.mailbox.keylife import renewal
from server.mailbox.keylife.export import exported
from tests.bench.meter import cpu_seconds

MAILBOXES = 100_000


async def measure(home: Path) -> None:
    """Rotate, wrap all anew, export, on a database of its own."""
    async with EmbeddedPostgres(home) as postgres:
        await upgrade(postgres.dsn(), home / "keys")
        ring = Keyring.create(home / "ring")
        admin = await asyncpg.connect(postgres.dsn())
        key = MailboxKey.generate()  # one for all: what is measured does not depend on it
        rows = [(n, "spare", key.public(), ring.wrap_private(n, key)) for n in range(1, MAILBOXES + 1)]
        columns = ["owner_id", "state", "public_key", "wrapped_private_key"]
        await admin.copy_records_to_table("owner", records=rows, columns=columns)
        await admin.execute("VACUUM ANALYZE owner")
        assert postgres.pid is not None
        for name, work in (
            ("rotate", renewal.rotate(admin, ring)),
            ("rewrap", renewal.rewrap(admin, ring)),
            ("export", exported(admin, ring, clock.now())),
        ):
            begun, python, database = time.perf_counter(), time.process_time(), cpu_seconds([postgres.pid])
            log = await admin.fetchval("SELECT pg_current_wal_lsn()")
            await work
            written = await admin.fetchval("SELECT pg_current_wal_lsn() - $1::pg_lsn", log)
            line = {
                "measure": f"keys_{name}",
                "mailboxes": MAILBOXES,
                "seconds": round(time.perf_counter() - begun, 2),
                "python_us_a_key": round(1e6 * (time.process_time() - python) / MAILBOXES, 1),
                "postgresql_us_a_key": round(1e6 * (cpu_seconds([postgres.pid]) - database) / MAILBOXES, 1),
                "log_bytes_a_key": round(int(written) / MAILBOXES),
            }
            print(json.dumps(line), flush=True)
        assert {generation for _, generation in await renewal.needed(admin)} == {2}
        await admin.close()


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="caducee-bench-") as place:
        asyncio.run(measure(Path(place)))


if __name__ == "__main__":
    main()
