"""Fixtures of the tests that need a store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from crypto.keyring import Keyring
from crypto.pki.issue import new_root
from crypto.smime.anchors import TrustAnchors
from tests import store_world


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
