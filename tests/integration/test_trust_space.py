"""Operators under a white list that changes while they run, fetched by the role itself over HTTPS."""

from __future__ import annotations

import json
import smtplib
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from crypto.pki import development
from server.base import clock
from server.trust import private_space
from server.trust.white_list import entry
from tests.operators import ARRIVES_SECONDS, ONE, SIGNER, TWO, Operators, arrived, member, operators, publish
from tests.serving import ONE_WORKER, Served, caducee
from tests.web_server import web_server


@pytest.fixture(scope="module")
def space() -> Iterator[Operators]:
    with operators(environment=ONE_WORKER) as running:
        yield running


def letter(sender: str, recipient: str, subject: str) -> bytes:
    return (
        f"From: <{sender}>\r\nTo: <{recipient}>\r\nSubject: {subject}\r\nMessage-ID: <{subject}@test>\r\n"
        "Date: Mon, 2 Mar 2026 12:00:00 +0100\r\n\r\nBonjour\r\n"
    ).encode()


def send(operator: Served, recipient: str, subject: str) -> None:
    with operator.submission(operator.doctor) as client:
        assert client.sendmail(operator.doctor, [recipient], letter(operator.doctor, recipient, subject)) == {}


def eventually(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + ARRIVES_SECONDS
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


def takes(operator: Served, recipient: str) -> bool:
    """Whether the operator's own users may write to this address."""
    with operator.submission(operator.doctor) as client:
        client.mail(operator.doctor)
        code, _ = client.rcpt(recipient)
    return code == 250


def test_a_member_that_leaves_the_list_is_refused_without_a_restart(space: Operators) -> None:
    one, two = space.caducees
    send(one, two.doctor, "Avant")
    arrived(space, two, two.doctor, "Avant")
    folder = one.home.parent / f"space-{ONE}"
    publish(folder, [member(one)])
    caducee("trust", "refresh", "--accept-loss", home=one.home)
    eventually(lambda: not takes(one, two.doctor), "the new list did not reach submission")
    assert takes(two, one.doctor)
    publish(folder, [member(one), member(two)])
    caducee("trust", "refresh", home=one.home)
    eventually(lambda: takes(one, two.doctor), "the list did not come back")
    send(one, two.doctor, "Apres")
    arrived(space, two, two.doctor, "Apres")


def test_a_revoked_operator_learns_why_its_mail_comes_back(space: Operators) -> None:
    one, two = space.caducees
    certificate = one.home / "pki" / "server.pem"
    before = {role: taken(two, role) for role in ("relay", "sender")}
    caducee("trust", "revoke", str(certificate), home=one.home)
    caducee("trust", "refresh", home=two.home)
    eventually(lambda: all(taken(two, role) > count for role, count in before.items()), "nobody heard of it")
    told = json.loads(caducee("trust", "check", ONE, "--json", home=two.home))
    assert [found["standing"] for found in told["certificates"]] == ["revoked"]
    send(one, two.doctor, "Revoque")
    report = arrived(space, one, one.doctor, "Message non remis")
    assert b"your certificate is revoked" in report
    # and on the way out: nothing is sent to whom the list still names, and whose certificate is revoked
    send(two, one.doctor, "Vers-revoque")
    eventually(lambda: "The certificate is revoked" in waiting(two), "it did not wait")


def taken(operator: Served, role: str) -> int:
    """How often a role took new revocations."""
    return (operator.home / "log" / f"{role}.log").read_text().count("revocations_taken")


def waiting(operator: Served) -> str:
    return caducee("queue", "list", "--json", home=operator.home)


def test_the_role_fetches_by_itself_and_its_seal_lets_it() -> None:
    """From a site of its own certificate, in a process that Landlock holds: the settings open its port and no other."""
    with tempfile.TemporaryDirectory(prefix="caducee-fetch-") as place:
        folder = Path(place) / "space"
        private_space.make(folder, SIGNER["signer_name"], SIGNER["signer_unit"], clock.now())
        development.create(folder / "site", "liste.fr", clock.now())
        document, _ = private_space.signed(folder, [entry(TWO, "CN=mx.deux")], clock.now())
        with web_server(folder / "site" / "server.pem", folder / "site" / "server.key") as site:
            site.put("/liste.xml", document)
            served = Served(
                Path(place) / "home",
                {
                    "CADUCEE_TRUST__ANCHORS": json.dumps(
                        ["pki/root.pem", str(folder / "root.pem"), str(folder / "site" / "root.pem")]
                    ),
                    "CADUCEE_TRUST__WHITE_LIST": site.url("/liste.xml"),
                    **{f"CADUCEE_TRUST__{name.upper()}": json.dumps(value) for name, value in SIGNER.items()},
                    **ONE_WORKER,
                },
            )
            served.make()
            served.start()
            try:
                eventually(lambda: takes(served, f"dr@{TWO}"), (served.home / "log" / "fetcher.log").read_text())
                said = (served.home / "log" / "fetcher.log").read_text()
                assert "fetch_refused" not in said
                assert "white_list_kept" in said
                with served.submission(served.doctor) as client, pytest.raises(smtplib.SMTPRecipientsRefused):
                    client.sendmail(served.doctor, ["a@gmail.example"], b"From: x\r\n\r\n")
            finally:
                served.stop()
