"""`caducee db …`: the database's schema."""

from __future__ import annotations

import asyncpg
import typer

from crypto.edge import EdgeKeys
from crypto.keyring import Keyring
from server.audit.sealed import make_reader
from server.base.settings import Settings
from server.cli.common import HomeOption, JsonOption, answer_json, out, run, settings_of
from server.db.embedded import EmbeddedPostgres
from server.db.migrate import upgrade as apply_migrations
from server.db.pool import admin_dsn

app = typer.Typer(no_args_is_help=True, help="The database's schema.")


async def upgrade_database(settings: Settings) -> list[str]:
    """Bring the schema up to this program; returns the names of the migrations applied."""
    if settings.database.dsn:
        return await _upgrade(settings)
    async with EmbeddedPostgres(settings.home, settings.keys_directory):
        return await _upgrade(settings)


async def _upgrade(settings: Settings) -> list[str]:
    applied = await apply_migrations(admin_dsn(settings), settings.keys_directory)
    connection = await asyncpg.connect(admin_dsn(settings))
    try:
        # no role that writes to the trail starts before the trail has the key of its reader
        keys = settings.keys_directory
        await make_reader(connection, Keyring.open(settings.ring_directory), EdgeKeys.load(keys / "edge.json"))
    finally:
        await connection.close()
    return [f"{migration.number:03}_{migration.name}" for migration in applied]


@app.command()
def upgrade(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Apply what is pending, all of it or nothing. Needed after an update of the program."""
    applied = run(upgrade_database(settings_of(home)))
    if as_json:
        answer_json({"applied": applied})
    else:
        out.print("\n".join(f"Applied {name}" for name in applied) or "The database is up to date.", markup=False)
