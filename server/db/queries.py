"""The statements of this room: the cluster's first objects, roles and grants, and the list of migrations."""

from __future__ import annotations

# The embedded cluster: its database's owner may make roles and copy databases, and is no superuser.
ADMIN_EXISTS = "SELECT 1 FROM pg_roles WHERE rolname = $1"
CREATE_ADMIN = "CREATE ROLE {user} LOGIN CREATEROLE CREATEDB REPLICATION PASSWORD {verifier}"
DATABASE_EXISTS = "SELECT 1 FROM pg_database WHERE datname = $1"
CREATE_DATABASE = "CREATE DATABASE {database} OWNER {user}"

# One upgrade at a time on a cluster (roles belong to the cluster, not to a database); the number is arbitrary and ours.
LOCK_UPGRADE = "SELECT pg_advisory_xact_lock(7268311001)"
SERVER_VERSION = "SELECT current_setting('server_version_num')::int"

CREATE_GROUP = "CREATE ROLE {group} NOLOGIN"
CREATE_USER = "CREATE ROLE {user} LOGIN PASSWORD {verifier}"
SET_PASSWORD = "ALTER ROLE {user} PASSWORD {verifier}"  # noqa: S105
# A setting of the role passes every pooler, which a start-up parameter does not.
SET_TIMEOUT = "ALTER ROLE {user} SET statement_timeout = '{seconds}s'"
# Statements of the mail edges find by key: one plan serves all. PostgreSQL thinks a plan for the very values cheaper,
# and would make one anew for each RCPT, SELECT or STORE, which costs more than running it.
SET_ONE_PLAN = "ALTER ROLE {user} SET plan_cache_mode = force_generic_plan"
# What LDAP searches ask fits few rows or very many, and a plan that reads the whole nation is never the right one.
SET_NO_SCAN = "ALTER ROLE {user} SET enable_seqscan = off"
JOIN_GROUP = "GRANT {group} TO {user}"
# Nobody enters or makes temporary tables by being anybody.
CLOSE_DATABASE = "REVOKE ALL ON DATABASE {database} FROM PUBLIC"
CLOSE_SCHEMA = "REVOKE CREATE ON SCHEMA public FROM PUBLIC"
OPEN_DATABASE = "GRANT CONNECT ON DATABASE {database} TO {user}"
CURRENT_DATABASE = "SELECT current_database()"

# The list of migrations: a row each, with the checksum of the file as it was applied.
CREATE_LIST = """
CREATE TABLE IF NOT EXISTS migration (
    number     int PRIMARY KEY,
    name       text NOT NULL,
    checksum   bytea NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""
LIST_EXISTS = "SELECT to_regclass('public.migration') IS NOT NULL"
APPLIED = "SELECT number, name, checksum FROM migration ORDER BY number"
RECORD = "INSERT INTO migration (number, name, checksum) VALUES ($1, $2, $3)"

# Health: the cheapest statement that proves a live backend.
PING = "SELECT 1"
