"""The newest keys, out and back: `keys/mailboxes.export`, or where an operator wants it.

    line 1      {"format": 1, "made_at": …, "generations": of each bucket's key, "escrow": base64 or null}
    each line   [owner id, fingerprint of the public key, wrapped private key]

- An old backup of the database holds mailbox keys wrapped by bucket keys that may be destroyed. After it was restored,
  `bring_back` puts the newest wrapping in their place; a mailbox that was destroyed since is not in an export made
  since, and stays unreadable. Every destruction makes a new export, and an older one is refused: it would take
  mailboxes made since for destroyed ones.
- For who lost `keys/` altogether the first line holds the keyring and the edges' secrets, sealed to the escrow
  (`crypto.escrow`).
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg

from crypto.errors import CryptoError
from crypto.keyfile import to_text, write_private
from crypto.keyring import Keyring
from crypto.sealing import MailboxKey
from server.mailbox.create import close
from server.mailbox.keylife import queries
from server.mailbox.keylife.renewal import PAGE

FORMAT = 1
FILE_NAME = "mailboxes.export"
_FINGERPRINT = 8

_Pair = tuple[int, bytes]


@dataclass(frozen=True, slots=True)
class Exported:
    """Every pair of every living mailbox: (owner, fingerprint of its public key) → wrapped private key."""

    made_at: datetime
    generations: list[int] = field(repr=False)
    pairs: dict[_Pair, bytes] = field(repr=False)
    escrow: bytes | None = field(repr=False, default=None)

    def write(self, path: Path, escrow: bytes | None) -> None:
        """Replace `path` by it, mode 0600; `escrow` is what it seals there of the rest of `keys/`. Raises OSError."""
        head = {
            "format": FORMAT,
            "made_at": self.made_at.isoformat(),
            "generations": self.generations,
            "escrow": to_text(escrow) if escrow else None,
        }
        rows = [[owner, print_.hex(), to_text(wrapped)] for (owner, print_), wrapped in self.pairs.items()]
        write_private(path, "\n".join(json.dumps(line, separators=(",", ":")) for line in [head, *rows]).encode())

    @classmethod
    def read(cls, path: Path) -> Exported:
        """Raises CryptoError when it is not one."""
        try:
            with path.open("rb") as file:
                head: dict[str, Any] = json.loads(file.readline())
                if head["format"] != FORMAT:
                    raise ValueError
                rows = [json.loads(line) for line in file]
            pairs = {(int(owner), bytes.fromhex(known)): b64decode(wrapped) for owner, known, wrapped in rows}
            generations = [int(one) for one in head["generations"]]
            sealed = b64decode(head["escrow"]) if head["escrow"] else None
            return cls(datetime.fromisoformat(head["made_at"]), generations, pairs, sealed)
        except OSError as error:
            raise CryptoError(f"{path}: cannot be read ({error.strerror})") from None
        except (ValueError, TypeError, KeyError):
            raise CryptoError(f"{path}: not an export of ours") from None


@dataclass(frozen=True, slots=True)
class BroughtBack:
    """What became of a restored database: keys put in place, mailboxes closed since they were destroyed after the
    backup, and mailboxes whose keys are not to be had."""

    replaced: int
    destroyed: Sequence[int]
    lost: Sequence[int]


async def exported(connection: asyncpg.Connection, keyring: Keyring, now: datetime) -> Exported:
    """The newest keys of every mailbox. Wrap them by the newest bucket keys first: an older one may be destroyed."""
    last, end = 0, int(await connection.fetchval(queries.LAST_OWNER))
    pairs: dict[_Pair, bytes] = {}
    while last < end:
        for row in await connection.fetch(queries.EXPORTED, last, last + PAGE):
            # By the newest generation, whatever the database still has.
            secret = keyring.unwrap_owned(row["owner_id"], row["wrapped"])
            pairs[row["owner_id"], _fingerprint(row["public_key"])] = keyring.wrap_owned(row["owner_id"], secret)
        last += PAGE
    return Exported(now, keyring.newest(), pairs)


async def bring_back(connection: asyncpg.Connection, keyring: Keyring, export: Exported, now: datetime) -> BroughtBack:
    """Make a restored database readable with today's keyring, as far as it shall be. Idempotent.

    Raises CryptoError: something was destroyed after this export was made.
    """
    if not all(keyring.holds(bucket, generation) for bucket, generation in enumerate(export.generations)):
        raise CryptoError("keys were destroyed after this export was made: take the one that was made then")
    replaced, last = 0, 0
    living = {owner for owner, _ in export.pairs}
    destroyed: list[int] = []
    lost: list[int] = []
    while rows := await connection.fetch(queries.OWNERS_TO_OPEN, last, PAGE):
        last = rows[-1]["owner_id"]
        shut = [row for row in rows if not _opens(keyring, row)]
        known = [row for row in shut if (row["owner_id"], _fingerprint(row["public_key"])) in export.pairs]
        await connection.execute(
            queries.PUT_OWNERS,
            [row["owner_id"] for row in known],
            [row["wrapped"] for row in known],
            [export.pairs[row["owner_id"], _fingerprint(row["public_key"])] for row in known],
        )
        replaced += len(known)
        for row in shut:
            if row["owner_id"] not in living:
                destroyed.append(row["owner_id"])
            elif row not in known:
                lost.append(row["owner_id"])
    for row in [row for row in await connection.fetch(queries.PAIRS_TO_OPEN) if not _opens(keyring, row)]:
        wrapped = export.pairs.get((row["owner_id"], _fingerprint(row["public_key"])))
        if wrapped is not None:
            place = [row["owner_id"]], [row["key_id"]], [row["wrapped"]], [wrapped]
            await connection.execute(queries.PUT_PAIRS, *place)
            replaced += 1
    for owner_id in destroyed:
        await close(connection, owner_id)
        async with connection.transaction():
            await connection.execute(queries.RENEWING)
            await connection.execute(queries.DESTROY_KEYS, owner_id)
            await connection.execute(queries.DROP_PAIRS, owner_id)
            await connection.execute(queries.ADD_PAIR, owner_id, "destroyed", b"", b"", now)
    return BroughtBack(replaced, destroyed, lost)


def _opens(keyring: Keyring, row: asyncpg.Record) -> bool:
    try:
        private: MailboxKey = keyring.unwrap_private(row["owner_id"], row["wrapped"])
    except CryptoError:
        return False
    return bool(private.public() == row["public_key"])


def _fingerprint(public_key: bytes) -> bytes:
    return hashlib.sha256(public_key).digest()[:_FINGERPRINT]
