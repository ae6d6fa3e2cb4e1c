"""Each mailbox that takes mail has its entry in the directory, by the operator's commands and by nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from crypto.pki.issue import new_key
from crypto.pki.profile import KeyKind
from directory.own import mailboxes as own
from server.base import clock
from server.base.errors import CaduceeError
from server.cli.main import app
from server.mailbox.beside import entrusted
from server.mailbox.create import close, create
from server.mailbox.keys import Keys
from server.mailbox.model import NewMailbox, OwnerKind
from server.mailbox.public import entry
from tests.signers import certificate
from tests.store_world import DOCTOR, PATIENT, PHARMACY, World

TEAM = "urgences@msg.exemple.fr"


async def test_what_is_missing_is_published_and_what_strays_withdrawn(world: World) -> None:
    keys, now = Keys(world.keyring), clock.now()
    (nobody,) = await create(
        world.admin, world.keyring, world.edge, [NewMailbox("x@msg.exemple.fr", OwnerKind.PER, "X")]
    )
    before = await entry.standing(world.admin, world.edge)
    assert set(before.missing) == {world.owners[DOCTOR], world.owners[PHARMACY], nobody.owner_id}
    assert await entry.mend(world.admin, keys, world.edge, now) == (2, [nobody.owner_id], 0)
    assert await own.published(world.admin) == sorted([DOCTOR, PHARMACY])
    doctor = await own.said(world.admin, DOCTOR)
    assert doctor is not None
    assert (doctor.national_id, doctor.last_name, doctor.first_name) == ("810101010101", "Dupont", "Anne")
    await close(world.admin, world.owners[DOCTOR])
    after = await entry.standing(world.admin, world.edge)
    assert (after.missing, after.stray) == ([nobody.owner_id], [DOCTOR])
    assert await entry.mend(world.admin, keys, world.edge, now) == (0, [nobody.owner_id], 1)
    assert await own.published(world.admin) == [PHARMACY]
    assert PATIENT not in {row[0] for row in await world.admin.fetch("SELECT address FROM directory.own_mailbox")}


async def test_certificates_of_entrusted_keys_are_in_the_directory(world: World) -> None:
    keys, owner_id = Keys(world.keyring), world.owners[PHARMACY]
    certificates = "SELECT address FROM directory.mailbox_certificate"
    given = certificate("PHARMACIE", key=new_key(KeyKind.P256), self_signed=True)
    await entrusted.entrust(world.admin, world.edge, await keys.of(world.admin, owner_id), given, "operator")
    await entry.certify(world.admin, keys, owner_id)
    assert await world.admin.fetch(certificates) == []  # of an address that is not published
    await entry.publish(world.admin, keys, owner_id, clock.now())
    assert [row["address"] for row in await world.admin.fetch(certificates)] == [PHARMACY]
    await entrusted.withdraw(world.admin, world.edge, owner_id, "operator")
    await entry.certify(world.admin, keys, owner_id)
    assert await world.admin.fetch(certificates) == []


async def test_the_database_alone_ties_no_entry_to_its_mailbox(world: World) -> None:
    await entry.mend(world.admin, Keys(world.keyring), world.edge, clock.now())
    columns = "SELECT column_name FROM information_schema.columns WHERE table_name = 'own_mailbox'"
    assert not {row[0] for row in await world.admin.fetch(columns)} & {"owner_id", "token"}


@pytest.fixture
def command(home: Path) -> Callable[..., str]:
    """Runs a command in this process; what it says, of its refusal too."""

    def run(*words: str) -> str:
        done = CliRunner().invoke(app, [*words, "--home", str(home)])
        if isinstance(done.exception, CaduceeError):
            return done.exception.sentence
        return done.output if done.exception is None else str(done.exception)

    return run


def test_the_operators_commands(command: Callable[..., str], tmp_path: Path) -> None:
    def found(*words: str) -> list[str]:
        listings = json.loads(command("directory", "search", *words, "--json"))
        return [address for one in listings for _, address in one["mailboxes"]]

    add = "mailbox", "add", TEAM, "--type", "ORG", "--name", "Clinique des Essais"
    assert "SIRET" in command(*add, "--siret", "73282932000075")
    assert "control characters" in command(*add, "--finess", "690000013", "--service", "a|b")
    said = command(*add, "--finess", "690000013", "--service", "Urgences", "--rank", "1", "--json")
    assert json.loads(said)["published"] is True
    assert found("clinique essais urgences") == [TEAM]
    source = tmp_path / "boites.csv"
    source.write_text(
        "address,type,name,rpps,finess,ins,profession,unlisted\n"
        "a.valmont@msg.exemple.fr,PER,Dr Aline VALMONT,10000000017,,,10,\n"
        "b.cache@msg.exemple.fr,PER,Dr Bruno CACHE,10000000025,,,10,yes\n"
        "c.rien@msg.exemple.fr,PER,Chloé RIEN,,,,,\n",
        encoding="utf-8",
    )
    assert "3 mailboxes are ready" in command("mailbox", "import", str(source))
    assert found("médecin") == ["a.valmont@msg.exemple.fr"]
    assert "not to be published" in command("mailbox", "show", "b.cache@msg.exemple.fr")
    assert "not to be published" in command("mailbox", "set", "a.valmont@msg.exemple.fr", "--unlisted")
    assert "published" in command("mailbox", "publish", TEAM, "--service", "Accueil", "--responsible", "Cadre de santé")
    assert "suspended" in command("mailbox", "suspend", TEAM)
    assert found("clinique essais") == found("médecin") == []
    assert "not active" in command("mailbox", "suspend", TEAM)
    assert "goes on" in command("mailbox", "resume", TEAM)
    assert found("clinique essais accueil") == [TEAM]
    file = tmp_path / "export.txt"
    command("directory", "export", "--out", str(file))
    lines = file.read_text(encoding="utf-8").splitlines()
    addresses = ["a.valmont@msg.exemple.fr", "b.cache@msg.exemple.fr", TEAM]
    assert [line.split("|")[1] for line in lines[1:]] == addresses
    assert lines[3].endswith("|CREATION|N|1||Cadre de santé")
    assert "1 mailboxes have no entry" in command("doctor")
    assert "closed" in command("mailbox", "close", TEAM, "--yes")
    assert found("clinique essais") == []
    assert "1 have no RPPS" in command("mailbox", "publish")
