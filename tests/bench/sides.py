"""The two servers of a comparison: ours as `caducee init` makes it, and the peer where its scripts are at hand.

The peer is Postfix with Dovecot and encryption at rest; BENCH_PEER names the folder of its `peer_up.sh` and
`peer_down.sh`. Without it only ours is measured, and a line says so.
"""

from __future__ import annotations

import contextlib
import email.policy
import email.utils
import json
import os
import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from email.message import EmailMessage
from pathlib import Path

from crypto.pki import development
from crypto.smime.sign import sign_detached
from server.base import clock
from tests.bench.generator import Target
from tests.serving import DOMAIN, Served

USERS = 20
SIZES = (3_000, 150_000)
OVERHEAD = 2_900  # headers, boundaries and the signature with its certificate


@contextlib.contextmanager
def ours(sizes: Sequence[int] = SIZES, users: int = USERS) -> Iterator[Target]:
    """A Caducée of its own on free ports, with users whose certificates it trusts; fsync, TLS and verification on."""
    with tempfile.TemporaryDirectory(prefix="caducee-bench-") as place:
        served = Served(Path(place) / "home")
        addresses = [f"u{n}@{DOMAIN}" for n in range(users)]
        served.make([[address, "PER", f"Essai {n}", "", "", ""] for n, address in enumerate(addresses)])
        served.start()
        assert served.process is not None
        target = Target(
            "caducee",
            served.ports["submission"],
            served.ports["imap_tls"],
            [(address, served.passwords[address], address) for address in addresses],
            [served.process.pid],
        )
        target.messages = {size: [signed(served.home, address, size) for address in addresses] for size in sizes}
        try:
            yield target
        finally:
            served.stop()


@contextlib.contextmanager
def peer(messages: dict[int, list[bytes]]) -> Iterator[Target | None]:
    """The peer, carrying the same signed messages (it does not look at the signatures)."""
    scripts = os.environ.get("BENCH_PEER")
    if not scripts:
        sys.stderr.write("BENCH_PEER is not set: the peer is not measured.\n")
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="bp-", dir="/var/tmp") as place:  # the peer's sockets need a short path
        subprocess.run([Path(scripts) / "peer_up.sh", place], check=True, stdout=subprocess.DEVNULL)
        try:
            about = json.loads((Path(place) / "target.json").read_text())
            users = [
                (about["user_fmt"].format(n), about["password"], about["rcpt_fmt"].format(n)) for n in range(USERS)
            ]
            roots = [int(pid) for pid in (Path(place) / "pids").read_text().split()]
            yield Target("postfix-dovecot", about["submission_port"], about["imaps_port"], users, roots, messages)
        finally:
            subprocess.run([Path(scripts) / "peer_down.sh", place], check=True, stdout=subprocess.DEVNULL)


def signed(home: Path, address: str, size: int) -> bytes:
    """A message of about `size` octets with a PDF-like attachment, S/MIME-signed by its sender (RSA 2048)."""
    attachment = random.Random(size).randbytes(max(100, (size - OVERHEAD) * 3 // 4))
    content = EmailMessage(policy=email.policy.SMTP)
    content.set_content("Bonjour, voici l'ordonnance.\n")
    content.add_attachment(attachment, maintype="application", subtype="pdf", filename="ordonnance.pdf")
    headers = {"From": address, "To": "undisclosed-recipients:;", "Subject": "Ordonnance"}
    now = clock.now()
    headers["Date"] = email.utils.format_datetime(now)
    signer = development.signer(home / "pki", address, f"Essai {address.partition('@')[0]}", "10000000017", now)
    message = sign_detached(content.as_bytes(), headers, signer, now)
    return re.sub(rb"(?m)^\.", b"..", message)
