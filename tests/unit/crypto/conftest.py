"""A small trust space: one root, signers of each kind. Keys are made here, at each run."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from crypto.edge import Salts
from crypto.pki.issue import Issued, new_root, professional
from crypto.pki.profile import KeyKind
from crypto.smime.anchors import TrustAnchors

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
DOCTOR = "aline.martin@mss.example.test"
RPPS = "10000000017"


@pytest.fixture(scope="session")
def noon() -> datetime:
    return NOON


@pytest.fixture(scope="session")
def root() -> Issued:
    return new_root(NOON)


@pytest.fixture(scope="session")
def anchors(root: Issued) -> TrustAnchors:
    return TrustAnchors([root.certificate])


@pytest.fixture(scope="session")
def rsa_signer(root: Issued) -> Issued:
    return professional(root, DOCTOR, "Aline MARTIN", RPPS, NOON)


@pytest.fixture(scope="session")
def ec_signer(root: Issued) -> Issued:
    return professional(root, DOCTOR, "Aline MARTIN", RPPS, NOON, kind=KeyKind.P256)


@pytest.fixture(scope="session")
def salts() -> Salts:
    return Salts.new()
