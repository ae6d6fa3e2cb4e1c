"""`caducee mailbox publish|suspend|resume|close`: a mailbox's entry in the directory, and what takes it out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple, Self

import typer

from directory.identifiers import is_siret
from directory.own.mailboxes import OwnMailbox, withdraw
from directory.terms.tables import table
from server.audit.trail import Audit
from server.base import clock
from server.base.errors import Reason, Refused
from server.cli.admin import Admin
from server.cli.common import Failure, HomeOption, JsonOption, answer_json, out, run, settings_of
from server.cli.operators import Approval, approved
from server.identity.operators.model import Act
from server.mail.addresses import normalise
from server.mailbox.create import close as close_mailbox
from server.mailbox.keys import Keys
from server.mailbox.model import OwnerState
from server.mailbox.public import entry
from server.mailbox.terms import standing

TEXT_CHARACTERS = 300  # as the reader of the national files allows in a field
LAST_RANK = 99

Service = Annotated[str, typer.Option(help="Directory: the service that the mailbox belongs to.")]
Description = Annotated[str, typer.Option(help="Directory: what the mailbox is for (ORG, APP, CAB).")]
Responsible = Annotated[str, typer.Option(help="Directory: who answers for it, free text (ORG, APP, CAB).")]
Rank = Annotated[int, typer.Option(min=0, max=LAST_RANK, help="Directory: 1 for the preferred one of a holder.")]


class Said(NamedTuple):
    """What an operator says of a mailbox for the directory."""

    profession: str = ""
    siret: str = ""
    service: str = ""
    description: str = ""
    responsible: str = ""
    rank: int = 0
    unlisted: bool = False

    @classmethod
    def of(cls, row: Mapping[str, str | None]) -> Self:
        """Out of a line of CSV. Raises Refused(MALFORMED)."""
        texts = {name: (row.get(name) or "").strip() for name in cls._fields}
        rank, unlisted = texts.pop("rank") or "0", texts.pop("unlisted").lower()
        if re.fullmatch("[0-9]{1,2}", rank) is None:
            raise Refused(Reason.MALFORMED, f"The rank is a number up to {LAST_RANK}.")
        if unlisted not in ("", "no", "yes"):
            raise Refused(Reason.MALFORMED, "Unlisted is yes, no or empty.")
        return cls(**texts, rank=int(rank), unlisted=unlisted == "yes")

    def check(self) -> None:
        """Raise Refused(MALFORMED) with a sentence that says what is wrong."""
        if self.siret and not is_siret(self.siret):
            raise Refused(Reason.MALFORMED, "The SIRET is 14 digits whose last is a key; this one does not pass.")
        if self.profession and table("profession").find(self.profession) is None:
            raise Refused(Reason.MALFORMED, "The profession is a code of TRE_G15, like 10 for a physician.")
        for text in (self.service, self.description, self.responsible):
            # "|" parts the fields of the national files.
            if not text.isprintable() or "|" in text or len(text) > TEXT_CHARACTERS:
                limit = f"at most {TEXT_CHARACTERS} characters, without control characters and |"
                raise Refused(Reason.MALFORMED, f"What the directory is told is {limit}.")

    def fields(self) -> dict[str, Any]:
        """For OwnMailbox."""
        said = self._asdict()
        known = table("profession").find(said.pop("profession"))
        return said | {"profession_code": self.profession, "profession": known[1] if known else ""}


def publish(
    address: Annotated[str | None, typer.Argument(help="Without it: all that should be there and are not.")] = None,
    service: Annotated[str | None, Service.__metadata__[0]] = None,
    description: Annotated[str | None, Description.__metadata__[0]] = None,
    responsible: Annotated[str | None, Responsible.__metadata__[0]] = None,
    rank: Annotated[int | None, Rank.__metadata__[0]] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change what the directory says of a mailbox, or bring the directory to the mailboxes that there are."""
    settings = settings_of(home)
    given: dict[str, Any] = {"service": service, "description": description, "responsible": responsible, "rank": rank}
    said = {name: value for name, value in given.items() if value is not None}
    Said(**said).check()

    async def all_of_them() -> tuple[int, list[int], int]:
        async with Admin(settings) as admin:
            return await entry.mend(admin.connection, Keys(admin.keyring), admin.edge, clock.now())

    async def one(address: str) -> OwnMailbox | None:
        async with Admin(settings) as admin:
            owner_id = await admin.owner_of(normalise(address))
            if not (await standing(admin.connection, owner_id)).is_public:
                raise Failure("This mailbox is closed, suspended or a patient's: the directory does not show it.")
            return await entry.publish(admin.connection, Keys(admin.keyring), owner_id, clock.now(), **said)

    if address is None:
        published, nobodies, withdrawn = run(all_of_them())
        if as_json:
            answer_json({"published": published, "withdrawn": withdrawn, "nobody": nobodies})
            return
        out.print(f"{published} mailboxes were published, {withdrawn} withdrawn.")
        if nobodies:
            out.print(f"{len(nobodies)} have no RPPS, FINESS or SIRET and cannot be: numbers {nobodies[:10]}.")
        return
    found = run(one(address))
    if found is None:
        raise Failure("This mailbox has no RPPS, FINESS or SIRET: the directory cannot say whose it is.")
    if as_json:
        answer_json({name: getattr(found, name) for name in OwnMailbox.__slots__})
    else:
        shown = "kept, and shown to nobody" if found.unlisted else "published"
        out.print(f"{found.address} is {shown}.", markup=False)


def suspend(address: str, home: HomeOption = None) -> None:
    """Suspend a mailbox: nobody signs in, what comes waits, the directory does not show it."""
    _suspended(address, True, home)
    out.print(f"{address} is suspended. caducee mailbox resume lets it go on.", markup=False)


def resume(address: str, home: HomeOption = None) -> None:
    """Let a suspended mailbox go on, with the entry that it had."""
    _suspended(address, False, home)
    out.print(f"{address} goes on.", markup=False)


def close(
    address: str,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    approval: Approval = None,
    home: HomeOption = None,
) -> None:
    """Close a mailbox for ever: nothing is delivered or opened, the directory does not show it. What is in it stays
    until its keys are destroyed (`caducee keys destroy`)."""
    settings = settings_of(home)
    if not yes:
        typer.confirm(f"Close {address}, whose address is never given again?", abort=True)

    async def work() -> None:
        async with Admin(settings) as admin:
            owner_id = await admin.owner_of(normalise(address))
            async with admin.connection.transaction():
                await approved(admin, approval, Act.MAILBOX_CLOSE, normalise(address))
                before = (await standing(admin.connection, owner_id)).state
                await close_mailbox(admin.connection, owner_id)
                await _tell(admin, owner_id, before)
                await withdraw(admin.connection, [normalise(address)], clock.now())

    run(work())
    out.print(f"{address} is closed.", markup=False)


def register(app: typer.Typer) -> None:
    """Put these commands under `caducee mailbox`."""
    for command in (publish, suspend, resume, close):
        app.command()(command)


def _suspended(address: str, suspended: bool, home: HomeOption) -> None:
    settings = settings_of(home)

    async def work() -> bool:
        async with Admin(settings) as admin:
            owner_id, keys = await admin.owner_of(normalise(address)), Keys(admin.keyring)
            async with admin.connection.transaction():
                before = (await standing(admin.connection, owner_id)).state
                if not await entry.suspend(admin.connection, owner_id, suspended):
                    return False
                await _tell(admin, owner_id, before)
                if suspended:
                    await withdraw(admin.connection, [normalise(address)], clock.now())
                elif (await standing(admin.connection, owner_id)).is_public:
                    await entry.publish(admin.connection, keys, owner_id, clock.now())
                return True

    if not run(work()):
        raise Failure(f"This mailbox is not {'active' if suspended else 'suspended'}: caducee mailbox show {address}")


async def _tell(admin: Admin, owner_id: int, before: OwnerState) -> None:
    after = {"state": (await standing(admin.connection, owner_id)).state}
    await Audit(admin.edge).terms_changed(admin.connection, "operator", owner_id, {"state": before}, after)
