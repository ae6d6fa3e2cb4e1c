"""`caducee prescription sign | verify | list | withdraw`: what a doctor's software does with its documents."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from crypto.errors import CryptoError
from crypto.pades.examiner import Examiner
from crypto.pades.imprint import imprint
from crypto.pades.judge import judge
from crypto.pades.sign import REQUEST_TYPE, STAMP_BYTES, Material, Post, Signer, file_signer, sign
from crypto.pades.token import token_signer
from crypto.pades.verdict import Level, PdfVerdict
from crypto.pki.issue import Issued, PrivateKey
from crypto.smime.anchors import TrustAnchors
from crypto.smime.verdict import Status
from server.audit.trail import Audit
from server.base import clock, log
from server.base.https import NotFetched
from server.base.limits import PRESCRIPTION_BYTES
from server.base.settings import Settings
from server.cli.admin import Admin
from server.cli.common import Failure, HomeOption, JsonOption, answer_json, out, run, settings_of
from server.fetcher.http import fetch
from server.mail.addresses import normalise
from server.record.prescriptions import Prescriptions, to_print
from server.trust import queries as trust_queries
from server.trust.follow import Follower

app = typer.Typer(no_args_is_help=True, help="Signed prescriptions, with the QR code that leads to them.")


class LevelOption(StrEnum):
    """The levels that are signed."""

    B = "B-B"
    T = "B-T"
    LT = "B-LT"


@app.command("sign")
def sign_(
    pdf: Annotated[Path, typer.Argument(help="The prescription, a PDF.", exists=True, dir_okay=False)],
    mailbox: Annotated[str, typer.Option(help="Address of who prescribes.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the signed PDF goes.")],
    certificate: Annotated[Path | None, typer.Option(help="PEM: the signer's certificate, then its chain.")] = None,
    key: Annotated[Path | None, typer.Option(help="PEM: its private key.")] = None,
    module: Annotated[Path | None, typer.Option(help="PKCS#11 library, for a key in a card.")] = None,
    token: Annotated[str, typer.Option(help="Name of the card's token.")] = "",
    label: Annotated[str, typer.Option(help="Name of key and certificate in it.")] = "",
    pin: Annotated[str, typer.Option(envvar="CADUCEE_PIN", help="PIN of the card; asked for when absent.")] = "",
    patient: Annotated[str, typer.Option(help="The patient's address, where it is a mailbox here.")] = "",
    level: Annotated[LevelOption, typer.Option(help="B-T and B-LT need a time-stamp authority.")] = LevelOption.B,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print number, QR code and digits on it, sign it, and keep it for who scans the code."""
    settings = settings_of(home)
    data = _read(pdf)
    printed = to_print()
    url = f"{settings.prescription_url}/ordonnances/{printed.reference}"
    shown = imprint(data, url, [f"Ordonnance n° {printed.number}", f"Code : {printed.code[:4]} {printed.code[4:]}"])

    async def work() -> PdfVerdict:
        async with Admin(settings) as admin:
            owner_id = await admin.owner_of(normalise(mailbox))
            patient_id = await admin.owner_of(normalise(patient)) if patient else None
            judging = await _Judging.start(settings, admin)
            material = await judging.material() if level is LevelOption.LT else None
            post = _post(settings) if level is not LevelOption.B else None
            with _signer(certificate, key, module, token, label, pin) as signer:
                signed = await sign(shown, signer, Level(level.value), post=post, material=material)
            (verdict,) = await judging.verdicts(signed)
            if verdict.status is not Status.PASSED:
                raise Failure(f"Nobody would accept this signature ({verdict.reason}): nothing was kept.")
            output.write_bytes(signed)
            prescriptions = Prescriptions(admin.pool, admin.edge, Audit(admin.edge))
            actor = f"operator for {normalise(mailbox)}"
            await prescriptions.add(actor, owner_id, patient_id, printed, signed, settings.prescription.days)
            return verdict

    verdict = run(work())
    if as_json:
        answer_json({"number": printed.number, "url": url, "code": printed.code, "verdict": verdict.to_json()})
    else:
        out.print(f"Prescription {printed.number}, {verdict.level}, is in {output}. Code: {printed.code}", markup=False)


@app.command()
def verify(
    pdf: Annotated[Path, typer.Argument(help="A PDF.", exists=True, dir_okay=False)],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what the signatures of a document are worth; status 1 unless there is one and all pass."""
    settings = settings_of(home)
    data = _read(pdf)

    async def work() -> list[PdfVerdict]:
        async with Admin(settings) as admin:
            return await (await _Judging.start(settings, admin)).verdicts(data)

    found = run(work())
    if as_json:
        answer_json([verdict.to_json() for verdict in found])
    for verdict in () if as_json else found:
        who = verdict.signer.name if verdict.signer else "nobody named"
        facts = [str(verdict.status), str(verdict.reason), str(verdict.level), who, *verdict.doubts]
        out.print(", ".join(fact for fact in facts if fact), markup=False)
    if not found or any(verdict.status is not Status.PASSED for verdict in found):
        raise Failure("This document is not signed." if not found else "Not every signature passes.")


@app.command("list")
def list_(mailbox: str, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """What a mailbox prescribed, the newest first."""
    settings = settings_of(home)

    async def work() -> list[dict[str, Any]]:
        async with Admin(settings) as admin:
            prescriptions = Prescriptions(admin.pool, admin.edge, Audit(admin.edge))
            return [dict(row) for row in await prescriptions.of_owner(await admin.owner_of(normalise(mailbox)))]

    found = run(work())
    if as_json:
        answer_json(found)
        return
    for row in found:
        state = "withdrawn" if row["withdrawn_at"] else "dispensed" if row["dispensed_at"] else "open"
        out.print(f"{row['number']}  {row['made_at']:%Y-%m-%d %H:%M}  {state}", markup=False)


@app.command()
def withdraw(number: str, home: HomeOption = None) -> None:
    """Withdraw a prescription that was not dispensed: who scans it is told."""
    settings = settings_of(home)

    async def work() -> bool:
        async with Admin(settings) as admin:
            return await Prescriptions(admin.pool, admin.edge, Audit(admin.edge)).withdraw("operator", number)

    if not run(work()):
        raise Failure("There is no such prescription, or it was dispensed or withdrawn before.")
    out.print(f"Prescription {number} is withdrawn.", markup=False)


class _Judging:
    """Anchors, and what is kept of revoked certificates."""

    def __init__(self, anchors: TrustAnchors, stampers: TrustAnchors, crls: list[bytes], ocsps: list[bytes]) -> None:
        self._anchors = anchors
        self._stampers = stampers
        self._crls = crls
        self._ocsps = ocsps

    @classmethod
    async def start(cls, settings: Settings, admin: Admin) -> _Judging:
        anchors = TrustAnchors.load([settings.path(anchor) for anchor in settings.trust.anchors])
        await Follower(admin.pool, settings.trust, anchors, log.configure("cli", level="ERROR")).look()
        rows = await admin.connection.fetch(trust_queries.REVOCATIONS, 0)
        crls = [row["document"] for row in rows if row["kind"] == "crl"]
        ocsps = [row["document"] for row in rows if row["kind"] != "crl"]
        return cls(anchors, TrustAnchors.load(settings.timestamp_anchors), crls, ocsps)

    async def verdicts(self, pdf: bytes) -> list[PdfVerdict]:
        async with Examiner() as examiner:
            examined = await examiner.examine(pdf)
        return judge(examined, self._anchors, self._stampers, clock.now())

    async def material(self) -> Material:
        return Material((*self._anchors.certificates, *self._stampers.certificates), self._crls, self._ocsps)


def _read(pdf: Path) -> bytes:
    if pdf.stat().st_size > PRESCRIPTION_BYTES:
        raise Failure(f"{pdf} is too large: a prescription has at most {PRESCRIPTION_BYTES // 1024 // 1024} MiB.")
    return pdf.read_bytes()


@contextlib.contextmanager
def _signer(
    certificate: Path | None, key: Path | None, module: Path | None, token: str, label: str, pin: str
) -> Iterator[Signer]:
    if module is None:
        yield file_signer(*_from_files(certificate, key))
        return
    given = pin or typer.prompt("PIN", hide_input=True, err=True)
    with token_signer(module, token, given, label) as signer:
        yield signer


def _from_files(certificate: Path | None, key: Path | None) -> tuple[Issued, list[x509.Certificate]]:
    if certificate is None or key is None:
        raise Failure("Give --certificate and --key, or --module, --token and --label for a card.")
    try:
        leaf, *chain = x509.load_pem_x509_certificates(certificate.read_bytes())
        private = load_pem_private_key(key.read_bytes(), None)
    except (OSError, ValueError, TypeError):
        raise CryptoError(f"{certificate}, {key}: not a certificate and its key in PEM") from None
    if not isinstance(private, PrivateKey) or private.public_key() != leaf.public_key():
        raise CryptoError(f"{key}: it is not the key of the certificate")
    return Issued(leaf, private), chain


def _post(settings: Settings) -> Post:
    url = settings.prescription.timestamp_url
    if not url:
        raise Failure("Levels B-T and B-LT need prescription.timestamp_url in the settings.")
    tls = ssl.create_default_context()

    async def post(query: bytes) -> bytes:
        try:
            fetched = await fetch(url, tls, STAMP_BYTES, post=(REQUEST_TYPE, query))
        except NotFetched as error:
            raise CryptoError(f"{url}: {error}") from None
        return fetched.data or b""

    return post
