"""Signed documents: what a signature and its verdict cost, in ms of CPU of this process."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime

from crypto.pades.examine import examine
from crypto.pades.judge import judge
from crypto.pades.sign import file_signer, sign
from crypto.pades.verdict import Level
from crypto.pki.issue import new_root, professional
from crypto.pki.profile import KeyKind
from crypto.smime.anchors import TrustAnchors
from tests.documents import document

ROUNDS = 20


def main() -> None:
    now = datetime.now(UTC)
    root = new_root(now)
    anchors = TrustAnchors([root.certificate])
    for kind in (KeyKind.RSA_2048, KeyKind.P256):
        signer = file_signer(professional(root, "a@b.test", "Aline MARTIN", "10000000017", now, kind=kind))
        for pages in (1, 200):
            pdf = document("Amoxicilline 1 g " * 20, pages)
            signed = asyncio.run(sign(pdf, signer, Level.B))
            facts = examine(signed)
            facets = {"key": kind.value, "bytes": len(signed)}
            _tell("pades sign", facets, lambda pdf=pdf, signer=signer: asyncio.run(sign(pdf, signer, Level.B)))  # type: ignore[misc]
            _tell("pades examine", facets, lambda signed=signed: examine(signed))  # type: ignore[misc]
            _tell("pades judge", facets, lambda facts=facts: judge(facts, anchors, anchors, datetime.now(UTC)))  # type: ignore[misc]


def _tell(measure: str, facets: dict[str, object], work: Callable[[], object]) -> None:
    work()
    began = time.process_time()
    for _ in range(ROUNDS):
        work()
    cpu = round((time.process_time() - began) * 1000 / ROUNDS, 2)
    sys.stdout.write(json.dumps({"measure": measure, **facets, "cpu_ms": cpu}) + "\n")
    sys.stdout.flush()
