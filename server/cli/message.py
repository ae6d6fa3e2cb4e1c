"""`caducee message …`: a message in a file, as the server judges it, and opened with a key at hand."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from crypto.pki.issue import Issued
from crypto.smime.anchors import TrustAnchors
from crypto.smime.verdict import Verdict
from server.base import clock
from server.base.settings import Settings
from server.cli.common import Failure, HomeOption, JsonOption, answer_json, err, out, settings_of
from server.mailbox.layers import open_layers
from server.mailbox.understand import understand
from server.web.language import WORDS, Language
from server.web.wording import say_verdict

MESSAGE_BYTES = 128 * 1024 * 1024  # the largest that any setting lets in

app = typer.Typer(no_args_is_help=True, help="Messages in files: what their signatures are worth, and what is inside.")
MessageFile = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A message (.eml).")]


@app.command()
def verify(file: MessageFile, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Judge the signature of a message now. Nothing is asked of the network or the directory."""
    settings = settings_of(home)
    verdict = understand(_read(file), _anchors(settings), clock.now()).verdict
    if as_json:
        answer_json(verdict.to_json())
        return
    _tell(out, verdict)


@app.command("open")
def open_(
    file: MessageFile,
    key: Annotated[
        Path, typer.Option(exists=True, dir_okay=False, help="NAME.key of the recipient, with NAME.pem beside it.")
    ],
    home: HomeOption = None,
) -> None:
    """Write what is inside of an encrypted message to standard output, and what its signatures are worth to standard
    error. What cannot be shown to be whole is not written."""
    settings = settings_of(home)
    holder = Issued.load(key.parent, key.stem)
    layers = open_layers(_read(file), [holder], _anchors(settings), clock.now())
    for verdict in layers.verdicts:
        _tell(err, verdict)
    typer.echo(layers.message, nl=False)


def _anchors(settings: Settings) -> TrustAnchors:
    trust = settings.trust
    stampers = TrustAnchors.load(settings.timestamp_anchors)
    return TrustAnchors.load([settings.path(anchor) for anchor in trust.anchors], trust.signer_policies, stampers)


def _read(file: Path) -> bytes:
    with file.open("rb") as opened:
        data = opened.read(MESSAGE_BYTES + 1)
    if len(data) > MESSAGE_BYTES:
        raise Failure(f"{file}: too large for a message.")
    # Files that passed through an editor have lines that end in LF alone; signatures are over CRLF (RFC 8551 §3.1.1).
    return data if b"\r\n" in data else data.replace(b"\n", b"\r\n")


def _tell(console: Console, verdict: Verdict) -> None:
    stored = verdict.to_json()
    words = WORDS[Language.ENGLISH]
    said = say_verdict(stored, words)
    table = Table("", said.title, show_lines=False)
    table.add_row("verdict", f"{stored['status']}, {stored['reason']}")
    table.add_row("means", said.sentence)
    if said.signer is not None:
        signer = (said.signer.name, said.signer.organisation, said.signer.identifier, *said.signer.addresses)
        table.add_row("signer", ", ".join(part for part in signer if part))
    if verdict.signing_time is not None:
        table.add_row("signed", verdict.signing_time.isoformat())
    if verdict.proven_time is not None:
        table.add_row("proven", verdict.proven_time.isoformat())
    table.add_row("covers", f"{stored['covers']}; header: {', '.join(verdict.headers) or 'no'}")
    for doubt in said.doubts:
        table.add_row("doubt", doubt)
    console.print(table)
