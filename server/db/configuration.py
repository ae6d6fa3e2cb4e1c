"""The embedded PostgreSQL's configuration: what it may use of a small machine, what it must never write to a log."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

FILE = "caducee.conf"

# local only and SCRAM only; no address ever listens
ACCESS = """\
local all         all             scram-sha-256
local replication caducee_admin   scram-sha-256
"""

PARAMETERS: dict[str, str] = {
    # reach
    "listen_addresses": "",
    "password_encryption": "scram-sha-256",
    "max_connections": "100",
    # durability: a 250 is written after COMMIT, so COMMIT must mean the disk
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    # a small machine
    "shared_buffers": "256MB",
    "work_mem": "8MB",
    "maintenance_work_mem": "64MB",
    "max_parallel_workers_per_gather": "0",  # short statements only; and no shared memory past /dev/shm of a container
    "jit": "off",
    "random_page_cost": "1.1",
    "io_method": "sync",  # our reads are of single rows: worker processes for them cost more than they hide
    "max_logical_replication_workers": "0",  # a process that nothing here would use
    # write-ahead log: bodies are ciphertext that no compression shortens, so checkpoints are rare instead
    "wal_level": "replica",
    "max_wal_senders": "4",
    "max_replication_slots": "4",
    "wal_buffers": "16MB",
    "min_wal_size": "256MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "checkpoint_completion_target": "0.9",
    # patience
    "idle_in_transaction_session_timeout": "30s",
    "client_connection_check_interval": "2s",
    "timezone": "UTC",
    # logs (docs/security.md): health data must not reach one. Errors of statements go to the client alone, since their
    # text may quote a value (`invalid input syntax for type integer: "…"`).
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_statement": "none",
    "log_min_duration_statement": "-1",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "log_error_verbosity": "terse",
    "log_autovacuum_min_duration": "-1",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%u ",
    "logging_collector": "on",
    "log_filename": "postgresql-%a.log",
    "log_file_mode": "0600",
    "log_rotation_age": "1d",
    "log_rotation_size": "0",
    "log_truncate_on_rotation": "on",
}


def render(log: Path, lz4: bool, extra: Mapping[str, str]) -> str:
    """The text of caducee.conf. `log`: the folder PostgreSQL writes to; `lz4`: whether this build has it."""
    parameters = {
        **PARAMETERS,
        "log_directory": str(log),
        "wal_compression": "lz4" if lz4 else "off",  # pglz costs more CPU than the disk it saves
        **extra,
    }
    lines = (f"{name} = '{value.replace(chr(39), chr(39) * 2)}'\n" for name, value in parameters.items())
    return "# written at every start: change nothing here\n" + "".join(lines)
