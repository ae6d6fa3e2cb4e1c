"""What accept costs without sockets: understood, verified, sealed, committed with fsync. One JSON line a measure.

CPU is given apart for Python (this process) and PostgreSQL (its process tree), in milliseconds a message.
`--profile` prints where Python spends its time.
"""

from __future__ import annotations

import asyncio
import cProfile
import email.policy
import email.utils
import json
import pstats
import random
import sys
import tempfile
import time
from email.message import EmailMessage
from pathlib import Path

import asyncpg
import uvloop

from crypto.edge import EdgeKeys
from crypto.keyring import Keyring
from crypto.pki.issue import Issued, new_root, professional
from crypto.smime.anchors import TrustAnchors
from crypto.smime.sign import sign_detached
from server.base import clock
from server.base.sections import Database
from server.base.settings import Settings
from server.db.embedded import EmbeddedPostgres
from server.db.migrate import upgrade
from server.db.pool import connect
from server.mailbox.check import check
from server.mailbox.create import create
from server.mailbox.model import NewMailbox, OwnerKind
from server.mailbox.routes import routes
from server.transport.accept import Acceptor
from server.transport.envelope import Envelope, Recipient, Source, SourceKind
from tests.bench.meter import cpu_seconds

DOMAIN = "msg.exemple.fr"
CONNECTIONS = 10
SHAPES = ((3_000, 1, 4_000), (3_000, 20, 4_000), (150_000, 20, 600))  # octets, mailboxes, messages
OVERHEAD = 2_900  # headers, boundaries and the signature with its certificate
WARMING = 100


def signed(signer: Issued, address: str, size: int) -> bytes:
    """A message of about `size` octets with an attachment, signed by its sender."""
    content = EmailMessage(policy=email.policy.SMTP)
    content.set_content("Bonjour, voici l'ordonnance.\n")
    attachment = random.Random(size).randbytes(max(100, (size - OVERHEAD) * 3 // 4))
    content.add_attachment(attachment, maintype="application", subtype="pdf", filename="ordonnance.pdf")
    headers = {"From": address, "To": f"u0@{DOMAIN}", "Subject": "Ordonnance"}
    headers["Date"] = email.utils.format_datetime(clock.now())
    return sign_detached(content.as_bytes(), headers, signer, clock.now())


async def measure(home: Path, size: int, mailboxes: int, count: int) -> dict[str, object]:
    """Deliver `count` messages of `size` octets to `mailboxes`, ten at a time."""
    async with EmbeddedPostgres(home) as postgres:
        await upgrade(postgres.dsn(), home / "keys")
        edge, ring = EdgeKeys.new(), Keyring.create(home / "ring")
        settings = Settings(home=home, domain=DOMAIN, database=Database(dsn=postgres.dsn()))
        addresses = [f"u{n}@{DOMAIN}" for n in range(mailboxes)]
        admin = await asyncpg.connect(postgres.dsn())
        await create(admin, ring, edge, [NewMailbox(address, OwnerKind.PER, address) for address in addresses])
        root = new_root(clock.now())
        message = signed(professional(root, addresses[0], "Essai", "10000000017", clock.now()), addresses[0], size)
        pool = await connect(settings, "submission")
        acceptor = Acceptor(pool, edge, TrustAnchors([root.certificate]), settings)
        await acceptor.start()
        found = await routes(pool, edge, addresses)
        source = Source(SourceKind.SUBMISSION, addresses[0], "poste.cabinet.example ([192.0.2.1])")
        envelopes = [
            Envelope(addresses[0], (Recipient(address, found[address]),), source, clock.now(), "bench")
            for address in addresses
        ]
        assert postgres.pid is not None
        tree = [postgres.pid]
        statuses: set[str] = set()

        async def send(numbers: range) -> None:
            for number in numbers:
                one = b"Message-ID: <%d@bench.example>\r\n" % number + message
                accepted = await acceptor.accept(envelopes[number % mailboxes], one)
                assert accepted.verdict is not None
                assert not accepted.repeated
                statuses.add(accepted.verdict.status)
                acceptor.arrived(accepted)

        await asyncio.gather(*(send(range(n, WARMING, CONNECTIONS)) for n in range(CONNECTIONS)))
        profile = cProfile.Profile() if "--profile" in sys.argv else None
        database, python, begun = cpu_seconds(tree), time.process_time(), time.perf_counter()
        if profile:
            profile.enable()
        await asyncio.gather(*(send(range(WARMING + n, WARMING + count, CONNECTIONS)) for n in range(CONNECTIONS)))
        if profile:
            profile.disable()
            pstats.Stats(profile, stream=sys.stderr).sort_stats("tottime").print_stats(30)
        elapsed, python = time.perf_counter() - begun, time.process_time() - python
        database = cpu_seconds(tree) - database
        await acceptor.close()
        await pool.close()
        problems = await check(admin, ring, edge)
        await admin.close()
    assert problems == []
    return {
        "measure": "accept",
        "octets": len(message),
        "mailboxes": mailboxes,
        "messages": count,
        "per_second": round(count / elapsed),
        "python_ms": round(1000 * python / count, 3),
        "postgresql_ms": round(1000 * database / count, 3),
        "verdicts": sorted(statuses),
    }


def main() -> None:
    for size, mailboxes, count in SHAPES:
        with tempfile.TemporaryDirectory(prefix="caducee-bench-") as place:
            print(json.dumps(uvloop.run(measure(Path(place), size, mailboxes, count))), flush=True)


if __name__ == "__main__":
    main()
