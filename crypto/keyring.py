"""The keyring: who holds it can open every mailbox. Readers have it, edges never.

    keys/master.json    versions of the master key (later: a PKCS#11 token or a KMS in its place)
    keys/keyring.json   4,096 bucket keys and the identity key, each wrapped by a version of the master key

Invariants:
- Mailbox private keys stand in the database, wrapped by the key of their bucket, which is never there: a backup of the
  database alone opens nothing.
- Erasing a person = `renew` their bucket, wrap its other owners again, `destroy` the old generation. All 4,096 exist
  from the start, so that a process that has sealed itself off from `keys/` lacks none.
- A file is replaced whole and synced before any key in it is used; writers take `keys/lock`.
- An opened keyring is a copy in memory: after `renew` or `destroy`, processes that hold an older copy are restarted.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from crypto.errors import CryptoError, IntegrityError, KeyMissing
from crypto.keyfile import (
    PRIVATE_MODE,
    create_private,
    from_text,
    overwrite_and_remove,
    read_json,
    to_text,
    write_private,
)
from crypto.sealing import KEY_BYTES, WRAP_OVERHEAD, MailboxKey, unwrap, wrap

FORMAT: Final = 1
# Erasing one person wraps the keys of a bucket's other owners again: 4,096 buckets keep that to 250 in a million.
BUCKETS: Final = 4_096
_WRAPPED_KEY = KEY_BYTES + WRAP_OVERHEAD
_GENERATION_BYTES = 4
_MASTER_FILE = "master.json"
_KEYRING_FILE = "keyring.json"

# A wrapped key, and the version of the master key that wrapped it.
_Wrapped = tuple[int, bytes]


class Keyring:
    """Opened keys in memory. Its repr tells none."""

    def __init__(
        self,
        folder: Path,
        masters: dict[int, bytes],
        current: int,
        identity: _Wrapped,
        buckets: list[dict[int, _Wrapped]],
    ) -> None:
        self._folder = folder
        self._masters = masters
        self._current = current
        self._identity = identity
        self._buckets = buckets
        self.identity_key: bytes = self._open(identity, b"identity")

    @classmethod
    def create(cls, folder: Path) -> Keyring:
        """Make a keyring in `folder` (made 0700 if missing). Raises FileExistsError when one is there."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(folder):
            if (folder / _KEYRING_FILE).exists():
                raise FileExistsError(f"{folder / _KEYRING_FILE}: there is a keyring already")
            master = os.urandom(KEY_BYTES)
            identity = (1, wrap(master, os.urandom(KEY_BYTES), b"identity"))
            buckets = [{1: (1, wrap(master, os.urandom(KEY_BYTES), _context(n, 1)))} for n in range(BUCKETS)]
            keyring = cls(folder, {1: master}, 1, identity, buckets)
            # The master first: a keyring without it would be useless, a master without keyring is made use of by none.
            create_private(folder / _MASTER_FILE, keyring._master_text())
            create_private(folder / _KEYRING_FILE, keyring._keyring_text())
        return keyring

    @classmethod
    def open(cls, folder: Path) -> Keyring:
        """Read all of it into memory. Raises `KeyMissing` without the files, `CryptoError` when they are not ours."""
        master, keyring = read_json(folder / _MASTER_FILE), read_json(folder / _KEYRING_FILE)
        try:
            if (master["format"], keyring["format"]) != (FORMAT, FORMAT):
                raise CryptoError(f"{folder}: this keyring's format is not known here")
            masters = {int(version): from_text(key) for version, key in master["versions"].items()}
            current = int(master["current"])
            buckets = [_bucket_of_json(bucket) for bucket in keyring["buckets"]]
            identity = _wrapped_of_json(keyring["identity"])
        except (KeyError, ValueError, TypeError, AttributeError):
            raise CryptoError(f"{folder}: not a keyring of ours") from None
        if len(buckets) != BUCKETS or not all(buckets) or current not in masters:
            raise CryptoError(f"{folder}: this keyring is not whole")
        return cls(folder, masters, current, identity, buckets)

    @staticmethod
    def bucket_of(owner_id: int) -> int:
        """The bucket (0 to 4,095) whose key wraps this owner's."""
        return owner_id % BUCKETS

    def wrap_private(self, owner_id: int, key: MailboxKey) -> bytes:
        """The private key as the database keeps it: generation of its bucket (4 bytes), wrapped seeds; 130 bytes."""
        bucket = self.bucket_of(owner_id)
        generation = self.generation(bucket)
        secret = self._bucket_key(bucket, generation)
        return generation.to_bytes(_GENERATION_BYTES, "big") + wrap(secret, key.seeds(), _owner_context(owner_id))

    def unwrap_private(self, owner_id: int, wrapped: bytes) -> MailboxKey:
        """What `wrap_private` was given. Raises `IntegrityError`; `KeyMissing` when its bucket key was destroyed."""
        if len(wrapped) <= _GENERATION_BYTES:
            raise IntegrityError("this wrapped mailbox key does not open")
        generation = int.from_bytes(wrapped[:_GENERATION_BYTES], "big")
        secret = self._bucket_key(self.bucket_of(owner_id), generation)
        return MailboxKey.from_seeds(unwrap(secret, wrapped[_GENERATION_BYTES:], _owner_context(owner_id)))

    def generation(self, bucket: int) -> int:
        """The generation of the bucket's key that new wraps use."""
        return max(self._buckets[bucket])

    def renew(self, bucket: int) -> int:
        """Make the bucket a new key, durable before this returns; gives its generation. The older ones still open."""
        with self._changing():
            generation = self.generation(bucket) + 1
            secret = wrap(self._masters[self._current], os.urandom(KEY_BYTES), _context(bucket, generation))
            self._buckets[bucket][generation] = (self._current, secret)
            self._save_keyring()
        return generation

    def destroy(self, bucket: int, generation: int) -> None:
        """Forget a renewed bucket's old key, for ever. Raises `CryptoError` for the current generation."""
        with self._changing():
            if generation == self.generation(bucket):
                raise CryptoError("the current key of a bucket is renewed before it is destroyed")
            if self._buckets[bucket].pop(generation, None) is None:
                raise KeyMissing(f"bucket {bucket} has no key of generation {generation}")
            self._save_keyring()

    def renew_master(self) -> None:
        """Make a new master key, wrap all by it, destroy the old ones: what old disk blocks hold then opens no more."""
        with self._changing():
            version = max(self._masters) + 1
            fresh = os.urandom(KEY_BYTES)
            identity = (version, wrap(fresh, self.identity_key, b"identity"))
            buckets = [
                {g: (version, wrap(fresh, self._bucket_key(n, g), _context(n, g))) for g in bucket}
                for n, bucket in enumerate(self._buckets)
            ]
            # Both masters are on disk while the keyring is replaced: a power cut in between loses nothing.
            self._masters[version] = fresh
            self._current = version
            self._replace(_MASTER_FILE, self._master_text())
            self._identity, self._buckets = identity, buckets
            self._save_keyring()
            self._masters = {version: fresh}
            self._replace(_MASTER_FILE, self._master_text())

    def __repr__(self) -> str:
        return f"Keyring({str(self._folder)!r}, hidden)"

    def __reduce__(self) -> str:
        raise TypeError("a keyring is never pickled")

    def _bucket_key(self, bucket: int, generation: int) -> bytes:
        wrapped = self._buckets[bucket].get(generation)
        if wrapped is None:
            raise KeyMissing(f"bucket {bucket} has no key of generation {generation} here")
        return self._open(wrapped, _context(bucket, generation))

    def _open(self, wrapped: _Wrapped, context: bytes) -> bytes:
        version, secret = wrapped
        master = self._masters.get(version)
        if master is None:
            raise KeyMissing(f"master key version {version} is not here")
        return unwrap(master, secret, context)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Under the lock, on what the disk holds now, so that two writers never undo each other."""
        with _locked(self._folder):
            newest = Keyring.open(self._folder)
            self._masters, self._current = newest._masters, newest._current
            self._identity, self._buckets = newest._identity, newest._buckets
            yield

    def _save_keyring(self) -> None:
        self._replace(_KEYRING_FILE, self._keyring_text())

    def _replace(self, name: str, text: bytes) -> None:
        """Write the new file, then zero the old one's blocks: what was destroyed shall not stay in free space."""
        path, old = self._folder / name, self._folder / f".{name}.old"
        if old.exists():  # a power cut came between: before the replacement (the same file still) or after it
            if old.samefile(path):
                old.unlink()
            else:
                overwrite_and_remove(old)
        os.link(path, old)
        write_private(path, text)
        overwrite_and_remove(old)

    def _master_text(self) -> bytes:
        versions = {str(version): to_text(key) for version, key in self._masters.items()}
        return json.dumps({"format": FORMAT, "current": self._current, "versions": versions}, indent=1).encode()

    def _keyring_text(self) -> bytes:
        buckets = [{str(g): _json_of_wrapped(w) for g, w in bucket.items()} for bucket in self._buckets]
        return json.dumps(
            {"format": FORMAT, "identity": _json_of_wrapped(self._identity), "buckets": buckets}, separators=(",", ":")
        ).encode()


def _context(bucket: int, generation: int) -> bytes:
    return b"caducee bucket key 1\0" + bucket.to_bytes(4, "big") + generation.to_bytes(4, "big")


def _owner_context(owner_id: int) -> bytes:
    return b"caducee mailbox private key 1\0" + owner_id.to_bytes(8, "big")


def _json_of_wrapped(wrapped: _Wrapped) -> list[int | str]:
    return [wrapped[0], to_text(wrapped[1])]


def _wrapped_of_json(value: Any) -> _Wrapped:
    version, text = value
    return int(version), from_text(text, _WRAPPED_KEY)


def _bucket_of_json(value: dict[str, Any]) -> dict[int, _Wrapped]:
    return {int(generation): _wrapped_of_json(wrapped) for generation, wrapped in value.items()}


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_MODE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
