"""The database users, one a role, and their passwords in `keys/database/<role>` (0600).

PostgreSQL is told a password only as its SCRAM verifier, so no statement, log or backup of it ever holds the password.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
from pathlib import Path
from typing import Final

ROLES: Final = (
    "relay",
    "submission",
    "imap",
    "web",
    "ldap",
    "facility",
    "provider",
    "console",
    "jobs",
    "sender",
    "fetcher",
    "identity",
)
ADMIN: Final = "admin"  # owns the database: migrations and the command line
SUPERUSER: Final = "superuser"  # of the embedded PostgreSQL only: makes the database and its owner
SCRAM_ITERATIONS = 4096  # RFC 7677 §4 minimum; the password carries 256 bits, so nothing is to be stretched


def user_of(role: str) -> str:
    """The PostgreSQL user of a role."""
    return f"caducee_{role}"


def password(keys: Path, role: str) -> str:
    """The password of a role. Raises FileNotFoundError when none was made."""
    return (keys / "database" / role).read_text(encoding="ascii")


def make_password(keys: Path, role: str) -> str:
    """The password of a role, made (256 random bits) when there is none yet."""
    file = keys / "database" / role
    if file.exists():
        return password(keys, role)
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    chosen = secrets.token_urlsafe(32)
    partial = file.with_name(f".{role}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(chosen)
        stream.flush()
        os.fsync(stream.fileno())
    try:
        os.link(partial, file)  # link, not rename: of two makers at once the first one's password stays
    except FileExistsError:
        chosen = password(keys, role)
    finally:
        partial.unlink()
    return chosen


def scram_verifier(secret: str) -> str:
    """What PostgreSQL stores for a password (RFC 5803; StoredKey and ServerKey of RFC 5802 §3, SHA-256)."""
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", secret.encode("ascii"), salt, SCRAM_ITERATIONS)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    stored = base64.b64encode(hashlib.sha256(client_key).digest()).decode()
    server = base64.b64encode(hmac.digest(salted, b"Server Key", "sha256")).decode()
    return f"SCRAM-SHA-256${SCRAM_ITERATIONS}:{base64.b64encode(salt).decode()}${stored}:{server}"
