"""The secret of the outbound queue: what wraps the private halves of its keys of the day, for `sender` alone."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from crypto.errors import CryptoError
from crypto.keyfile import KEY_BYTES, create_private, from_text, read_json, to_text

FILE_NAME = "queue.json"
FORMAT = 1


@dataclass(frozen=True, slots=True)
class QueueSecret:
    """What wraps the private halves."""

    key: bytes = field(repr=False)

    @classmethod
    def take(cls, folder: Path) -> QueueSecret:
        """Read `queue.json`, made when there is none yet. Raises CryptoError when it is not one."""
        path = folder / FILE_NAME
        if not path.exists():
            try:
                text = json.dumps({"format": FORMAT, "key": to_text(os.urandom(KEY_BYTES))})
                create_private(path, text.encode())
            except FileExistsError:  # another worker was quicker
                pass
        stored = read_json(path)
        try:
            if stored["format"] != FORMAT:
                raise ValueError
            return cls(from_text(stored["key"]))
        except (KeyError, ValueError):
            raise CryptoError(f"{path}: not the secret of the queue") from None
