"""S/MIME against `openssl cms` in the same run: ms of CPU an operation, one JSON line a size.

Ours is the call inside of a warm process (the path to the anchor cached, as all day in a worker); theirs is a process
each that reads its files, and beside it stands what one costs that does nothing (`openssl version`). RSA of 2,048 bits,
SHA-256, AES-256-GCM, detached signatures; the lowest of several rounds.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa

from crypto.pki.issue import new_root, professional
from crypto.smime.anchors import TrustAnchors
from crypto.smime.envelope import decrypt, encrypt
from crypto.smime.sign import sign
from crypto.smime.signed_data import Kind, SignedData
from crypto.smime.verdict import Status
from crypto.smime.verify import verify
from server.base import clock
from tests.programs import need
from tests.signers import DOCTOR, certificate

SIZES = {"3 KB": 3_000, "150 KB": 150_000, "10 MB": 10_000_000}
ROUNDS = 7
OURS_SECONDS = 0.2  # of each round: short operations are repeated


def ours(work: Callable[[], object]) -> float:
    """ms of CPU of one operation in this process."""
    work()
    found = []
    for _ in range(ROUNDS):
        started, count = time.process_time(), 0
        while count == 0 or time.process_time() - started < OURS_SECONDS:
            work()
            count += 1
        found.append((time.process_time() - started) / count)
    return round(min(found) * 1000, 3)


def theirs(place: Path, *arguments: str) -> float:
    """ms of CPU of one process, user and system."""
    found = []
    for _ in range(ROUNDS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([need("openssl"), *arguments], cwd=place, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode:
            sys.exit(done.stderr.decode())
        found.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return round(min(found) * 1000, 2)


def measure(place: Path, octets: int) -> dict[str, float]:
    now = clock.now()
    root = new_root(now)
    signer, anchors = professional(root, DOCTOR, "A", "10000000017", now), TrustAnchors([root.certificate])
    reader = certificate("B", key=rsa.generate_private_key(65537, 2048), self_signed=True)
    content = b"Content-Type: application/octet-stream\r\n\r\n" + os.urandom(octets)
    signature, sealed = sign(content, signer, now), encrypt(content, [reader.certificate])
    later = now + timedelta(minutes=1)

    def verified() -> None:
        verdict = verify(SignedData(Kind.DETACHED, content, signature), [DOCTOR], anchors, later)
        if verdict.status is not Status.PASSED:
            sys.exit(verdict.reason)

    signer.save(place, "signer")
    reader.save(place, "reader")
    for name, data in {
        "root.pem": root.certificate_pem(), "content": content, "signature": signature, "sealed": sealed,
    }.items():  # fmt: skip
        (place / name).write_bytes(data)
    der = ("-binary", "-outform", "DER", "-out", "out")
    seal = ("-aes-256-gcm", "-recip", "reader.pem", "-keyopt", "rsa_padding_mode:oaep")
    return {
        "verify": ours(verified),
        "sign": ours(lambda: sign(content, signer, now)),
        "encrypt": ours(lambda: encrypt(content, [reader.certificate])),
        "decrypt": ours(lambda: decrypt(sealed, [reader])),
        "openssl_nothing": theirs(place, "version"),
        "openssl_verify": theirs(
            place, "cms", "-verify", "-binary", "-inform", "DER", "-in", "signature", "-content", "content", "-CAfile",
            "root.pem", "-out", "out",
        ),
        "openssl_sign": theirs(
            place, "cms", "-sign", "-in", "content", "-signer", "signer.pem", "-inkey", "signer.key", *der
        ),
        "openssl_encrypt": theirs(place, "cms", "-encrypt", "-in", "content", *der, *seal),
        "openssl_decrypt": theirs(
            place, "cms", "-decrypt", "-binary", "-inform", "DER", "-in", "sealed", "-recip", "reader.pem", "-inkey",
            "reader.key", "-out", "out",
        ),
    }  # fmt: skip


def main() -> None:
    for name, octets in SIZES.items():
        with tempfile.TemporaryDirectory() as place:
            print(json.dumps({"bench": "smime", "unit": "ms of CPU", "size": name, **measure(Path(place), octets)}))
