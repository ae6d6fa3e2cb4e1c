"""Files that hold keys: owner only, written whole or not at all, still there after a power cut."""

from __future__ import annotations

import base64
import binascii
import json
import os
import secrets
import stat
from pathlib import Path
from typing import Any

from crypto.errors import CryptoError, KeyMissing

PRIVATE_MODE = 0o600
# The largest of ours is the keyring: 4,096 bucket keys, 0.4 MB, some MB if every bucket were in renewal.
KEY_FILE_BYTES = 8 * 1024 * 1024
KEY_BYTES = 32


def write_private(path: Path, data: bytes) -> None:
    """Replace `path` by `data`, mode 0600, atomically and durably (data and folder are synced). Raises OSError."""
    temporary = _written_beside(path, data)
    try:
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def create_private(path: Path, data: bytes) -> None:
    """As `write_private`, but never over a file: a key written over is mailboxes lost. Raises FileExistsError."""
    temporary = _written_beside(path, data)
    try:
        os.link(temporary, path)  # unlike rename, link refuses to replace
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def overwrite_and_remove(path: Path) -> None:
    """Zero a key file in place before its name goes.

    Only a best effort on flash and copy-on-write storage, where the old blocks outlive the file: what must be beyond
    recovery there is protected by changing the master key too. Raises OSError.
    """
    with path.open("r+b", buffering=0) as file:
        file.write(bytes(path.stat().st_size))
        os.fsync(file.fileno())
    path.unlink()
    _sync_folder(path.parent)


def read_private(path: Path) -> bytes:
    """The bytes of a key file. Raises `KeyMissing` when it is not there, `CryptoError` when others may read it."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_mode & (stat.S_IROTH | stat.S_IWOTH):
                raise CryptoError(f"{path}: a key file must be a plain file closed to others (chmod 600)")
            data = file.read(KEY_FILE_BYTES + 1)
    except FileNotFoundError:
        raise KeyMissing(f"{path}: no such key file") from None
    except OSError as error:
        raise CryptoError(f"{path}: cannot be read ({error.strerror})") from None
    if len(data) > KEY_FILE_BYTES:
        raise CryptoError(f"{path}: too large for a key file")
    return data


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object of a key file. Raises as `read_private`, and `CryptoError` when it is none."""
    try:
        value = json.loads(read_private(path))
    except (ValueError, RecursionError):
        value = None  # never chain: the error of the JSON reader quotes the file
    if not isinstance(value, dict):
        raise CryptoError(f"{path}: not a key file of ours")
    return value


def to_text(key: bytes) -> str:
    """A key as it stands in JSON (base64)."""
    return base64.b64encode(key).decode()


def from_text(text: object, size: int = KEY_BYTES) -> bytes:
    """The key of exactly `size` bytes that `to_text` wrote. Raises ValueError."""
    try:
        key = base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except binascii.Error:
        key = b""
    if len(key) != size:
        raise ValueError(f"a key of {size} bytes was expected")
    return key


def _written_beside(path: Path, data: bytes) -> Path:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_MODE)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
