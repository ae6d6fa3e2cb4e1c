"""Rights are real: what each role's user may do in the database, and what the relay's own process can reach."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from crypto.queue_secret import QueueSecret
from server.base import landlock
from server.db.credentials import ADMIN, ROLES, SUPERUSER, make_password, user_of
from server.db.embedded import EmbeddedPostgres
from server.db.grants import GROUPS, make_users
from tests.conftest import Database

ROOT = Path(__file__).parents[2]

# What opens a mailbox or a message, and what only one role may touch.
SECRETS = {
    "wrapped mailbox keys": "SELECT wrapped_private_key FROM owner",
    "a person's identity": "SELECT identity FROM owner",
    "sealed message keys": "SELECT key FROM content",
    "entrusted keys": "SELECT sealed FROM entrusted_key",
    "bodies": "SELECT body FROM content",
    "summaries": "SELECT summary FROM content",
    "pieces of large bodies": "SELECT data FROM body_piece",
    "message rows": "SELECT content_id FROM message",
    "folder names": "SELECT name FROM folder",
    "the trail": "SELECT detail FROM audit",
    "sessions": "SELECT * FROM session",
    "patients' passwords": "SELECT sealed FROM local_password",
    "passkeys": "SELECT sealed FROM passkey",
    "recovery codes": "SELECT hash FROM recovery_code",
    "provisional codes": "SELECT hash FROM invitation",
    "known browsers": "SELECT sealed FROM known_device",
    "what holders are told": "SELECT sealed FROM holder_alert",
    "documents": "SELECT * FROM document",
    "what is to be filed": "SELECT * FROM intake",
    "the queue's private keys": "SELECT wrapped_private_key FROM queue_key",
    "sealed keys of the queue": "SELECT key FROM queue_message",
}
NOBODY = {
    "change the trail": "UPDATE audit SET kind = 'x'",
    "delete the trail": "DELETE FROM audit",
    "make a table": "CREATE TABLE mine (n int)",
    "make a temporary table": "CREATE TEMPORARY TABLE mine (n int)",
    "make a role": "CREATE ROLE more",
    "read passwords": "SELECT rolpassword FROM pg_authid",
    "read a file of the server": "SELECT pg_read_file('PG_VERSION')",
    "run a program on the server": "COPY (SELECT 1) TO PROGRAM 'cat'",
    "change the migrations": "DELETE FROM migration",
    "become the owner": "SET ROLE caducee_admin",
}


async def denied(connection: asyncpg.Connection, statements: dict[str, str]) -> set[str]:
    """The names of the statements that the server refused for want of a right."""
    refused = set()
    for name, sql in statements.items():
        try:
            async with connection.transaction():
                await connection.execute(sql)
        except asyncpg.InsufficientPrivilegeError:
            refused.add(name)
    return refused


@pytest.mark.parametrize("role", ["relay", "submission", "ldap", "facility", "fetcher", "console"])
async def test_an_edge_reads_no_secret(database: Database, role: str) -> None:
    connection = await database.connect(role)
    try:
        assert await denied(connection, SECRETS) == set(SECRETS)
    finally:
        await connection.close()


@pytest.mark.parametrize("role", ROLES)
async def test_no_role_changes_what_is_nobodys(database: Database, role: str) -> None:
    connection = await database.connect(role)
    try:
        assert await denied(connection, NOBODY) == set(NOBODY)
        assert await connection.fetchval("SHOW statement_timeout") == "5s"
    finally:
        await connection.close()


async def test_the_statements_themselves_are_right(database: Database) -> None:
    connection = await asyncpg.connect(database.cluster.dsn(SUPERUSER, database.name))
    try:
        assert await denied(connection, SECRETS) == set()
    finally:
        await connection.close()


async def test_groups_hold_whom_they_name_and_no_user_is_above_its_role(database: Database) -> None:
    connection = await database.connect()
    try:
        rows = await connection.fetch(
            "SELECT g.rolname AS grp, u.rolname AS usr FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid"
            " JOIN pg_roles u ON u.oid = m.member WHERE u.rolname <> $1",
            user_of(ADMIN),
        )
        assert {tuple(row) for row in rows if row["grp"].startswith("caducee_")} == {
            (group, user_of(role)) for group, roles in GROUPS.items() for role in roles
        }
        above = await connection.fetch(
            "SELECT rolname FROM pg_roles WHERE rolname = ANY($1)"
            " AND (rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls)",
            [user_of(role) for role in ROLES],
        )
        assert above == []
    finally:
        await connection.close()


async def test_a_user_without_a_grant_cannot_enter(database: Database) -> None:
    superuser = await asyncpg.connect(database.cluster.dsn(SUPERUSER, database.name))
    await superuser.execute("CREATE ROLE stranger LOGIN PASSWORD 'stranger'")
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await asyncpg.connect(database.dsn(), user="stranger", password="stranger")
    finally:
        await superuser.execute("DROP ROLE stranger")
        await superuser.close()


async def test_a_password_file_made_anew_counts(tmp_path: Path) -> None:
    async with EmbeddedPostgres(tmp_path, parameters={"fsync": "off"}) as postgres:
        connection = await asyncpg.connect(postgres.dsn())
        await make_users(connection, tmp_path / "keys")
        before = make_password(tmp_path / "keys", "imap")
        (tmp_path / "keys" / "database" / "imap").unlink()
        await make_users(connection, tmp_path / "keys")
        await connection.close()
        assert make_password(tmp_path / "keys", "imap") != before
        await (await asyncpg.connect(postgres.dsn("imap"))).close()


# A role's own code path up to its seal, then what an attacker who runs code in it would try.
ROLE = """
import asyncio, json, os, sys
from pathlib import Path
import asyncpg
from server import roles
from server.base.seal import seal
from server.base.settings import load
from server.db import pool
home, role = Path(sys.argv[1]), sys.argv[5]
settings = load(home)
prepared = roles.prepare(settings, role, 0)
sealed = seal(roles.allowed(settings, role, prepared.way.dsn))
found = {}
for name in json.loads(sys.argv[2]):
    try:
        found[name] = len((home / name).read_bytes())
    except OSError as error:
        found[name] = type(error).__name__
try:
    open(f"/proc/{sys.argv[3]}/mem", "rb")
except OSError as error:
    found["memory"] = type(error).__name__
found["lacking"] = sorted(n for n, v in vars(prepared).items() if v is None)
async def ask():
    database = await pool.connect(settings, role, prepared.way)
    async with database.acquire() as connection:
        found["user"] = await connection.fetchval("SELECT current_user")
        for name, sql in json.loads(sys.argv[4]).items():
            try:
                await connection.execute(sql)
            except asyncpg.InsufficientPrivilegeError:
                found[name] = "denied"
    await database.close()
asyncio.run(ask())
print(json.dumps(found))
"""


@pytest.mark.skipif(landlock.abi() == 0, reason="needs a kernel with Landlock")
@pytest.mark.parametrize(
    ("role", "lacking"),
    [
        ("relay", ["keyring", "questions", "queue_secret"]),
        ("fetcher", ["edge", "keyring", "questions", "queue_secret"]),
        ("identity", ["edge", "keyring", "queue_secret"]),
    ],
)
async def test_the_roles_own_process_cannot_reach_what_opens_a_message(
    home: Path, role: str, lacking: list[str]
) -> None:
    async with EmbeddedPostgres(home) as postgres:
        files = [
            "keys/ring/master.json",
            "keys/ring/keyring.json",
            "keys/database/imap",
            "keys/database/admin",
            "caducee.toml",
        ]
        QueueSecret.take(home / "keys")
        files += [
            "keys/queue.json",
            "keys/edge.json",
            "pg/data/PG_VERSION",
            "pg/data/global/pg_control",
            "pki/root.key",
            "log/relay.log",
        ]
        for name in files:
            assert (home / name).exists() or name == "log/relay.log", name
        (home / "log" / "relay.log").touch()
        arguments = [str(home), json.dumps(files), str(postgres.pid), json.dumps(SECRETS), role]
        run = subprocess.run([sys.executable, "-c", ROLE, *arguments], cwd=ROOT, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        found: dict[str, Any] = json.loads(run.stdout)
    assert {name: found[name] for name in files} == dict.fromkeys(files, "PermissionError")
    assert found["memory"] == "PermissionError"
    assert found["lacking"] == lacking
    assert found["user"] == f"caducee_{role}"
    assert {name: found.get(name) for name in SECRETS} == dict.fromkeys(SECRETS, "denied")
