"""The keyring: who holds it can open every mailbox. Readers have it, edges never.

    keys/ring/master.json     the master key, or what its service closed (two versions while it is being changed)
    keys/ring/keyring.json    4,096 bucket keys and the identity key, each wrapped by a version of the master key
    keys/ring-retired.json    generations of bucket keys that only old backups of the database still need

Invariants:
- Mailbox private keys stand in the database, wrapped by the key of their bucket, which is never there: a backup of the
  database alone opens nothing.
- Erasing a person = `renew` their bucket, wrap its other owners again, `destroy` the old generation. All 4,096 exist
  from the start, so that a process that has sealed itself off from `keys/` lacks none.
- A file is replaced whole and synced before any key in it is used; writers take `keys/ring/lock`.
- An opened keyring is a copy in memory. `refresh` takes what was written since, which costs two looks at file names
  when it is nothing; what is wrapped by a generation that this copy lacks makes it look by itself. So a process needs
  to read `keys/ring` for as long as it lives, and nothing else of `keys/`.
- What is retired is in no running process: the command line opens it, to read an old backup.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
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
from crypto.master import InFile, MasterService, service
from crypto.sealing import KEY_BYTES, SEEDS_BYTES, WRAP_OVERHEAD, MailboxKey, unwrap, wrap

FORMAT: Final = 1
# Erasing one person wraps the keys of a bucket's other owners again: 4,096 buckets keep that to 250 in a million.
BUCKETS: Final = 4_096
_WRAPPED_KEY = KEY_BYTES + WRAP_OVERHEAD
_GENERATION_BYTES = 4
_MASTER_FILE = "master.json"
_KEYRING_FILE = "keyring.json"

# A wrapped key, and the version of the master key that wrapped it.
_Wrapped = tuple[int, bytes]
# Bucket → generation → key.
_Retired = dict[int, dict[int, _Wrapped]]


class Keyring:
    """Opened keys in memory. Its repr tells none."""

    def __init__(
        self,
        folder: Path,
        masters: dict[int, bytes],
        current: int,
        identity: _Wrapped,
        buckets: list[dict[int, _Wrapped]],
        *,
        seen: tuple[tuple[int, int], ...] = (),
        retired: _Retired | None = None,
        kept_by: MasterService | None = None,
    ) -> None:
        self._service = kept_by or InFile()
        self._folder = folder
        self._masters = masters
        self._current = current
        self._identity = identity
        self._buckets = buckets
        self._seen = seen
        self._retired = retired  # None: not opened
        self.identity_key: bytes = self._open(identity, b"identity")

    @classmethod
    def create(cls, folder: Path) -> Keyring:
        """Make a keyring in `folder`, made 0700 with the one above. Raises FileExistsError when one is there."""
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
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
    def recover(cls, folder: Path, document: bytes) -> Keyring:
        """Make a lost keyring again from what `recovery` gave, under a new master key.

        Raises FileExistsError when one is there, `CryptoError` when it is no such document.
        """
        try:
            stored = json.loads(document)
            identity = from_text(stored["identity"])
            newest = [(int(generation), from_text(key)) for generation, key in stored["buckets"]]
        except (KeyError, ValueError, TypeError):
            raise CryptoError("not what a keyring is made again from") from None
        keyring = cls.create(folder)
        with keyring._changing():
            master = keyring._masters[keyring._current]
            keyring._identity = (keyring._current, wrap(master, identity, b"identity"))
            keyring._buckets = [
                {g: (keyring._current, wrap(master, key, _context(n, g)))} for n, (g, key) in enumerate(newest)
            ]
            keyring._save_keyring()
        return cls.open(folder)

    def recovery(self) -> bytes:
        """The newest keys in clear, for the escrow alone: older ones may be destroyed later, and are left out."""
        newest = [(max(bucket), to_text(self._bucket_key(n, max(bucket)))) for n, bucket in enumerate(self._buckets)]
        return json.dumps({"identity": to_text(self.identity_key), "buckets": newest}).encode()

    @classmethod
    def open(cls, folder: Path, *, retired: bool = False) -> Keyring:
        """Read all of it into memory; with `retired` also what only old backups need.

        Raises `KeyMissing` without the files, `CryptoError` when they are not ours.
        """
        with _locked(folder, shared=True):
            return cls._read(folder, retired)

    @classmethod
    def _read(cls, folder: Path, retired: bool, known: Mapping[int, bytes] | None = None) -> Keyring:
        """`known`: versions of the master that are open already; a sealed process may not reach their service."""
        master, keyring = read_json(folder / _MASTER_FILE), read_json(folder / _KEYRING_FILE)
        try:
            if (master["format"], keyring["format"]) != (FORMAT, FORMAT):
                raise CryptoError(f"{folder}: this keyring's format is not known here")
            keeper = service(master.get("service", {"kind": "file"}))
            closed = {int(version): base64.b64decode(key, validate=True) for version, key in master["versions"].items()}
            current = int(master["current"])
            buckets = [_bucket_of_json(bucket) for bucket in keyring["buckets"]]
            identity = _wrapped_of_json(keyring["identity"])
        except (KeyError, ValueError, TypeError, AttributeError):
            raise CryptoError(f"{folder}: not a keyring of ours") from None
        if len(buckets) != BUCKETS or not all(buckets) or current not in closed:
            raise CryptoError(f"{folder}: this keyring is not whole")
        masters = {version: (known or {}).get(version) or keeper.open(one) for version, one in closed.items()}
        put_away = _read_retired(folder) if retired else None
        return cls(folder, masters, current, identity, buckets, seen=_seen(folder), retired=put_away, kept_by=keeper)

    def refresh(self) -> bool:
        """Take what was written since; whether there was anything. Raises as `open`."""
        if _seen(self._folder) == self._seen:
            return False
        with _locked(self._folder, shared=True):
            self._take(Keyring._read(self._folder, self._retired is not None, self._masters))
        return True

    @staticmethod
    def bucket_of(owner_id: int) -> int:
        """The bucket (0 to 4,095) whose key wraps this owner's."""
        return owner_id % BUCKETS

    @property
    def version(self) -> int:
        """The number of the master key."""
        return self._current

    def wrap_owned(self, owner_id: int, secret: bytes) -> bytes:
        """An owner's secret as the database keeps it: generation of its bucket (4 bytes), and the secret wrapped."""
        bucket = self.bucket_of(owner_id)
        generation = self.generation(bucket)
        key = self._bucket_key(bucket, generation)
        return generation.to_bytes(_GENERATION_BYTES, "big") + wrap(key, secret, _owner_context(owner_id))

    def unwrap_owned(self, owner_id: int, wrapped: bytes) -> bytes:
        """What `wrap_owned` was given. Raises `IntegrityError`; `KeyMissing` when its bucket key was destroyed."""
        if len(wrapped) <= _GENERATION_BYTES:
            raise IntegrityError("this wrapped mailbox key does not open")
        generation = generation_of(wrapped)
        try:
            key = self._bucket_key(self.bucket_of(owner_id), generation)
        except KeyMissing:
            if not self.refresh():
                raise
            key = self._bucket_key(self.bucket_of(owner_id), generation)
        return unwrap(key, wrapped[_GENERATION_BYTES:], _owner_context(owner_id))

    def wrap_private(self, owner_id: int, key: MailboxKey) -> bytes:
        """The private key as the database keeps it (130 bytes)."""
        return self.wrap_owned(owner_id, key.seeds())

    def unwrap_private(self, owner_id: int, wrapped: bytes) -> MailboxKey:
        """What `wrap_private` was given. Raises as `unwrap_owned`."""
        return MailboxKey.from_seeds(self.unwrap_owned(owner_id, wrapped)[:SEEDS_BYTES])

    def generation(self, bucket: int) -> int:
        """The generation of the bucket's key that new wraps use."""
        return max(self._buckets[bucket])

    def newest(self) -> list[int]:
        """The generation of each bucket's key that new wraps use."""
        return [max(bucket) for bucket in self._buckets]

    def holds(self, bucket: int, generation: int) -> bool:
        """Whether this key is here and was not destroyed."""
        return 0 <= bucket < BUCKETS and generation in {*self._buckets[bucket], *(self._retired or {}).get(bucket, {})}

    def generations(self) -> set[tuple[int, int]]:
        """Every (bucket, generation) that is older than its bucket's newest and not retired."""
        return {(n, g) for n, bucket in enumerate(self._buckets) for g in bucket if g != max(bucket)}

    def renew(self, buckets: Iterable[int]) -> None:
        """Make these buckets a new key each, durable before this returns. The older ones still open."""
        with self._changing():
            for bucket in buckets:
                generation = self.generation(bucket) + 1
                secret = wrap(self._masters[self._current], os.urandom(KEY_BYTES), _context(bucket, generation))
                self._buckets[bucket][generation] = (self._current, secret)
            self._save_keyring()

    def retire(self, generations: Iterable[tuple[int, int]], now: datetime) -> None:
        """Put older generations aside, for old backups of the database alone. The caller saw that nothing else needs
        them. Raises `CryptoError` for a current one, `KeyMissing`."""
        chosen = list(generations)
        with self._changing():
            retired = _read_retired(self._folder)
            for bucket, generation in chosen:
                retired.setdefault(bucket, {})[generation] = self._taken(bucket, generation)
            # First where they go, then where they were: a power cut leaves them in both places.
            self._save_retired(retired, now)
            self._save_keyring()

    def destroy(self, generations: Iterable[tuple[int, int]]) -> None:
        """Forget older generations for ever, retired or not; `renew_master` makes what old disk blocks hold useless.

        Raises `CryptoError` for a current one, `KeyMissing`.
        """
        chosen = list(generations)
        with self._changing():
            retired = _read_retired(self._folder)
            for bucket, generation in chosen:
                if retired.get(bucket, {}).pop(generation, None) is None or generation in self._buckets[bucket]:
                    self._taken(bucket, generation)
            self._save_keyring()
            if (file := _retired_file(self._folder)).exists():
                self._save_retired({n: bucket for n, bucket in retired.items() if bucket}, _retired_at(file))

    def retired(self) -> tuple[set[tuple[int, int]], datetime | None]:
        """Every (bucket, generation) that is retired, and since when at the latest no running process had needed it."""
        found = {(n, g) for n, bucket in _read_retired(self._folder).items() for g in bucket}
        return found, _retired_at(_retired_file(self._folder)) if found else None

    def renew_master(self, kept_by: MasterService | None = None) -> None:
        """Make a new master key, wrap all by it, destroy the old ones: what old disk blocks hold then opens no more.

        Copies of `keys/` made before open no more either. `kept_by`: where it is from now on.
        """
        with self._changing():
            self._service = kept_by or self._service
            version = max(self._masters) + 1
            fresh = os.urandom(KEY_BYTES)
            identity = (version, wrap(fresh, self.identity_key, b"identity"))
            buckets = [self._wrapped_by(fresh, version, n, bucket) for n, bucket in enumerate(self._buckets)]
            retired = {
                n: self._wrapped_by(fresh, version, n, bucket) for n, bucket in _read_retired(self._folder).items()
            }
            # Both masters are on disk while the rest is replaced: a power cut in between loses nothing.
            self._masters[version] = fresh
            self._current = version
            self._replace(self._folder / _MASTER_FILE, self._master_text())
            if retired:
                self._save_retired(retired, _retired_at(_retired_file(self._folder)))
            self._identity, self._buckets = identity, buckets
            self._save_keyring()
            self._masters = {version: fresh}
            self._replace(self._folder / _MASTER_FILE, self._master_text())

    def __repr__(self) -> str:
        return f"Keyring({str(self._folder)!r}, hidden)"

    def __reduce__(self) -> str:
        raise TypeError("a keyring is never pickled")

    def _bucket_key(self, bucket: int, generation: int) -> bytes:
        wrapped = self._buckets[bucket].get(generation) or (self._retired or {}).get(bucket, {}).get(generation)
        if wrapped is None:
            raise KeyMissing(f"bucket {bucket} has no key of generation {generation} here")
        return self._open(wrapped, _context(bucket, generation))

    def _open(self, wrapped: _Wrapped, context: bytes) -> bytes:
        version, secret = wrapped
        master = self._masters.get(version)
        if master is None:
            raise KeyMissing(f"master key version {version} is not here")
        return unwrap(master, secret, context)

    def _wrapped_by(
        self, master: bytes, version: int, bucket: int, keys: Mapping[int, _Wrapped]
    ) -> dict[int, _Wrapped]:
        contexts = {generation: _context(bucket, generation) for generation in keys}
        return {g: (version, wrap(master, self._open(keys[g], contexts[g]), contexts[g])) for g in keys}

    def _taken(self, bucket: int, generation: int) -> _Wrapped:
        """An older generation, taken out of those in use."""
        if generation == self.generation(bucket):
            raise CryptoError("the current key of a bucket is renewed before it is put away")
        taken = self._buckets[bucket].pop(generation, None)
        if taken is None:
            raise KeyMissing(f"bucket {bucket} has no key of generation {generation}")
        return taken

    def _take(self, newest: Keyring) -> None:
        self._masters, self._current = newest._masters, newest._current
        self._identity, self._buckets = newest._identity, newest._buckets
        self._seen, self._retired, self._service = newest._seen, newest._retired, newest._service

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Under the lock, on what the disk holds now, so that two writers never undo each other."""
        with _locked(self._folder):
            self._take(Keyring._read(self._folder, self._retired is not None, self._masters))
            yield
            self._seen = _seen(self._folder)

    def _save_keyring(self) -> None:
        self._replace(self._folder / _KEYRING_FILE, self._keyring_text())

    def _save_retired(self, retired: _Retired, now: datetime | None) -> None:
        if self._retired is not None:
            self._retired = retired
        document = {
            "format": FORMAT,
            "retired_at": now.isoformat() if now else None,
            "buckets": {str(n): _json_of_bucket(bucket) for n, bucket in retired.items()},
        }
        file = _retired_file(self._folder)
        if file.exists():
            self._replace(file, json.dumps(document, separators=(",", ":")).encode())
        else:
            create_private(file, json.dumps(document, separators=(",", ":")).encode())

    def _replace(self, path: Path, text: bytes) -> None:
        """Write the new file, then zero the old one's blocks: what was destroyed shall not stay in free space."""
        old = path.with_name(f".{path.name}.old")
        if old.exists():  # a power cut came between: before the replacement (the same file still) or after it
            if old.samefile(path):
                old.unlink()
            else:
                overwrite_and_remove(old)
        os.link(path, old)
        write_private(path, text)
        overwrite_and_remove(old)

    def _master_text(self) -> bytes:
        versions = {str(version): to_text(self._service.close(key)) for version, key in self._masters.items()}
        text = {"format": FORMAT, "current": self._current, "versions": versions, "service": self._service.place()}
        return json.dumps(text, indent=1).encode()

    def _keyring_text(self) -> bytes:
        buckets = [_json_of_bucket(bucket) for bucket in self._buckets]
        return json.dumps(
            {"format": FORMAT, "identity": _json_of_wrapped(self._identity), "buckets": buckets}, separators=(",", ":")
        ).encode()


def generation_of(wrapped: bytes) -> int:
    """Which generation of its bucket's key wrapped what the database keeps of an owner."""
    return int.from_bytes(wrapped[:_GENERATION_BYTES], "big")


def _seen(folder: Path) -> tuple[tuple[int, int], ...]:
    """What tells one version of the two files from another: they are never written in place."""
    try:
        found = [(folder / name).stat() for name in (_MASTER_FILE, _KEYRING_FILE)]
    except OSError:
        return ()
    return tuple((status.st_ino, status.st_mtime_ns) for status in found)


def _retired_file(folder: Path) -> Path:
    """Outside the folder, which running processes may read."""
    return folder.with_name(f"{folder.name}-retired.json")


def _read_retired(folder: Path) -> _Retired:
    """Raises `CryptoError` when the file is not ours."""
    file = _retired_file(folder)
    if not file.exists():
        return {}
    try:
        return {int(n): _bucket_of_json(bucket) for n, bucket in read_json(file)["buckets"].items()}
    except (KeyError, ValueError, TypeError, AttributeError):
        raise CryptoError(f"{file}: not what was retired of a keyring of ours") from None


def _retired_at(file: Path) -> datetime | None:
    try:
        return datetime.fromisoformat(read_json(file)["retired_at"])
    except (KeyError, ValueError, TypeError):
        return None


def _context(bucket: int, generation: int) -> bytes:
    return b"caducee bucket key 1\0" + bucket.to_bytes(4, "big") + generation.to_bytes(4, "big")


def _owner_context(owner_id: int) -> bytes:
    return b"caducee mailbox private key 1\0" + owner_id.to_bytes(8, "big")


def _json_of_wrapped(wrapped: _Wrapped) -> list[int | str]:
    return [wrapped[0], to_text(wrapped[1])]


def _wrapped_of_json(value: Any) -> _Wrapped:
    version, text = value
    return int(version), from_text(text, _WRAPPED_KEY)


def _json_of_bucket(bucket: Mapping[int, _Wrapped]) -> dict[str, list[int | str]]:
    return {str(generation): _json_of_wrapped(wrapped) for generation, wrapped in bucket.items()}


def _bucket_of_json(value: dict[str, Any]) -> dict[int, _Wrapped]:
    return {int(generation): _wrapped_of_json(wrapped) for generation, wrapped in value.items()}


@contextmanager
def _locked(folder: Path, *, shared: bool = False) -> Iterator[None]:
    """Alone, or with other readers: a writer zeroes what it has replaced, which nobody shall be reading then."""
    try:
        flags = os.O_RDONLY if shared else os.O_RDWR | os.O_CREAT
        descriptor = os.open(folder / "lock", flags | os.O_CLOEXEC, PRIVATE_MODE)
    except FileNotFoundError:
        raise KeyMissing(f"{folder}: there is no keyring") from None
    except PermissionError:
        raise CryptoError(f"{folder}: the keyring cannot be read here") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
