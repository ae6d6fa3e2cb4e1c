"""The fixtures of a store, for the browser's tests too."""

from __future__ import annotations

from tests.integration.conftest import anchors, keyring, world

__all__ = ["anchors", "keyring", "world"]
