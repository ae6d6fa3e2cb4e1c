"""Breaks the one promise on purpose: with this folder on PYTHONPATH, `accept` returns before the COMMIT.

The kill test must fail under it; a test that cannot fail proves nothing.
"""

from __future__ import annotations

import asyncio
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

TARGET = "server.transport.accept"
LATE_SECONDS = 0.5  # how long the reply runs ahead of the transaction


class _Loader(importlib.abc.Loader):
    def __init__(self, real: importlib.abc.Loader) -> None:
        self._real = real

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._real.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._real.exec_module(module)
        real_accept = module.Acceptor.accept
        pending: set[asyncio.Task[Any]] = set()

        async def accept(acceptor: Any, envelope: Any, data: bytes) -> Any:
            async def later() -> None:
                await asyncio.sleep(LATE_SECONDS)
                await real_accept(acceptor, envelope, data)

            task = asyncio.create_task(later())
            pending.add(task)
            task.add_done_callback(pending.discard)
            outcomes = [module.Outcome(recipient, module.Done.DONE) for recipient in envelope.recipients]
            return module.Accepted(outcomes, False, None, ())

        module.Acceptor.accept = accept


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != TARGET:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


sys.meta_path.insert(0, _Finder())
