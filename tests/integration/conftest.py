"""Fixtures of the tests that need a store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from crypto.keyring import Keyring
from crypto.pki.issue import new_root
from crypto.smime.anchors import TrustAnchors
from tests import store_world
from tests.imap_edge import Access, access
from tests.smtp_edge import Post, make_pki, post


@pytest.fixture(scope="session")
def keyring(tmp_path_factory: pytest.TempPathFactory) -> Keyring:
    """A keyring of the run: 4,096 bucket keys take a moment to make."""
    return Keyring.create(tmp_path_factory.mktemp("keyring"))


@pytest.fixture
def anchors() -> TrustAnchors:
    """A root that nobody in these tests has a certificate of; one a test, for it learns what is revoked."""
    return TrustAnchors([new_root(store_world.NOON).certificate])


@pytest.fixture
async def world(database: Any, keyring: Keyring, anchors: TrustAnchors) -> AsyncIterator[store_world.World]:
    """Three mailboxes and both sides of the store, checked at the end."""
    async with store_world.world(database, keyring, anchors) as made:
        yield made


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make_pki` makes, for the tests of one file."""
    return make_pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture
async def imap(world: store_world.World, pki: Path, anchors: TrustAnchors) -> AsyncIterator[Access]:
    """IMAP on loopback before the store."""
    async with access(world, pki, anchors) as running:
        yield running


@pytest.fixture
async def submission(world: store_world.World, pki: Path, anchors: TrustAnchors) -> AsyncIterator[Post]:
    """Submission on loopback before the store."""
    async with post(world, pki, anchors) as running:
        yield running
