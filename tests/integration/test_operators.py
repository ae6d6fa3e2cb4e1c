"""Three operators that exchange mail both ways, two Caducées and Postfix: mutual TLS, and a list of who is who."""

from __future__ import annotations

import email
import json
import smtplib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message

import pytest

from crypto.pki import development
from crypto.smime.sign import sign_detached
from server.base import clock
from tests.operators import ARRIVES_SECONDS, Operators, arrived, operators
from tests.postfix import CLOSED, Postfix
from tests.serving import ONE_WORKER, Served, caducee


@pytest.fixture(scope="module")
def space() -> Iterator[Operators]:
    with operators(postfix=True, environment=ONE_WORKER) as running:
        yield running


@dataclass
class Party:
    """A person who writes and reads at one operator."""

    space: Operators
    operator: Served | Postfix

    @property
    def address(self) -> str:
        operator = self.operator
        return operator.doctor if isinstance(operator, Served) else f"{operator.users[0]}@{operator.domain}"

    def send(self, recipients: list[str], data: bytes, mail: tuple[str, ...] = (), rcpt: tuple[str, ...] = ()) -> None:
        operator = self.operator
        session = operator.submission(self.address) if isinstance(operator, Served) else operator.submission()
        with session as client:
            assert client.sendmail(self.address, recipients, data, mail, rcpt) == {}

    def arrived(self, subject: str) -> bytes:
        if isinstance(self.operator, Served):
            return arrived(self.space, self.operator, self.address, subject)
        deadline = time.monotonic() + ARRIVES_SECONDS
        while True:
            for mail in self.operator.mails(self.operator.users[0]):
                if subject in str(email.message_from_bytes(mail)["Subject"]):
                    return mail
            assert time.monotonic() < deadline, self.space.logs()
            time.sleep(0.1)


def party(space: Operators, number: int) -> Party:
    assert space.postfix is not None
    return Party(space, (*space.caducees, space.postfix)[number - 1])


def letter(sender: str, recipient: str, subject: str, extra: str = "") -> bytes:
    return (
        f"From: <{sender}>\r\nTo: <{recipient}>\r\nSubject: {subject}\r\n{extra}"
        f"Date: Mon, 2 Mar 2026 12:00:00 +0100\r\nMessage-ID: <{subject}@test>\r\n\r\n.Bonjour\r\n.\r\n\r\nfin\r\n"
    ).encode()


def signed(party: Party, recipient: str, subject: str) -> bytes:
    """A letter with dots and long lines in it, signed by its sender."""
    operator = party.operator
    pki = operator.home / "pki" if isinstance(operator, Served) else operator.place / "pki"
    signer = development.signer(pki, party.address, "Essai", "10000000017", clock.now())
    content = b"Content-Type: text/plain; charset=utf-8\r\n\r\n.\r\n..Bonjour\r\n.\r\n" + b"x" * 900 + b"\r\n\r\n \r\n"
    headers = {
        "From": party.address,
        "To": recipient,
        "Subject": subject,
        "Date": "Mon, 2 Mar 2026 12:00:00 +0100",
        "Message-ID": f"<{subject}@test>",
        "X-MSS-NIL": "12345",
    }
    return sign_detached(content, headers, signer, clock.now())


def notice(data: bytes) -> tuple[Message, Message]:
    """The fields of a notification (RFC 3464): of the message, and of its one recipient."""
    message = email.message_from_bytes(data)
    assert message.get_content_type() == "multipart/report", data
    status = next(part for part in message.walk() if part.get_content_type() == "message/delivery-status")
    whole, recipient = status.get_payload()
    return whole, recipient


WAYS = [(1, 2), (2, 1), (1, 3), (3, 1), (2, 3), (3, 2)]


@pytest.mark.parametrize(("first", "second"), WAYS, ids=[f"{one}-to-{two}" for one, two in WAYS])
def test_a_signed_message_stays_the_same_below_the_trace(space: Operators, first: int, second: int) -> None:
    sender, reader = party(space, first), party(space, second)
    subject = f"Ordonnance-{first}-{second}"
    data = signed(sender, reader.address, subject)
    sender.send([reader.address], data)
    there = reader.arrived(subject)
    assert there.endswith(data)
    trace = email.message_from_bytes(there[: -len(data)])
    stations = [line.split("by ")[1].split()[0].removeprefix("mx.") for line in trace.get_all("Received", [])]
    assert stations == [reader.operator.domain, sender.operator.domain]
    if isinstance(reader.operator, Served):
        assert "smime=pass" in str(trace["Authentication-Results"])


def test_one_message_to_all_three(space: Operators) -> None:
    one, two, three = (party(space, number) for number in (1, 2, 3))
    near = one.operator.pharmacy if isinstance(one.operator, Served) else ""
    data = letter(one.address, two.address, "A-tous")
    one.send([two.address, three.address, near], data)
    assert two.arrived("A-tous").endswith(data)
    assert three.arrived("A-tous").endswith(data)
    assert isinstance(one.operator, Served)
    assert arrived(space, one.operator, near, "A-tous").endswith(data)


@pytest.mark.parametrize("doctor", [1, 3], ids=["caducee", "postfix"])
def test_a_patient_answers_the_doctor_of_another_operator(space: Operators, doctor: int) -> None:
    writer, patients = party(space, doctor), space.caducees[1]
    writer.send([patients.patient], letter(writer.address, patients.patient, f"Resultats-{doctor}"))
    arrived(space, patients, patients.patient, f"Resultats-{doctor}")
    answer = letter(patients.patient, writer.address, f"Merci-{doctor}")
    with patients.submission(patients.patient) as client:
        client.sendmail(patients.patient, [writer.address], answer)
    assert writer.arrived(f"Merci-{doctor}").endswith(answer)


def test_a_patient_does_not_write_first_to_another_operators_doctor(space: Operators) -> None:
    patients, address = space.caducees[0], space.caducees[1].pharmacy
    data = letter(patients.patient, address, "Jamais")
    with patients.submission(patients.patient) as client, pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        client.sendmail(patients.patient, [address], data)
    assert {code for code, _ in refused.value.recipients.values()} == {550}


@pytest.mark.parametrize(("first", "second"), [(1, 2), (1, 3), (3, 1)], ids=["1-to-2", "1-to-3", "3-to-1"])
def test_an_unknown_recipient_elsewhere_comes_back_as_a_notification(space: Operators, first: int, second: int) -> None:
    sender, elsewhere = party(space, first), party(space, second).operator.domain
    nobody, subject = f"personne@{elsewhere}", f"Perdu-{first}-{second}"
    sender.send([nobody], letter(sender.address, nobody, subject))
    report = sender.arrived("Message non remis" if isinstance(sender.operator, Served) else "Undelivered")
    _, recipient = notice(report)
    assert recipient["Final-Recipient"].split(";")[1].strip().lower() == nobody
    assert recipient["Action"] == "failed"
    assert recipient["Status"] == "5.1.1"
    assert f"mx.{elsewhere}" in recipient["Remote-MTA"] or isinstance(sender.operator, Postfix)
    clear(sender)


def test_a_failure_after_acceptance_crosses_back(space: Operators) -> None:
    sender, there = party(space, 1), party(space, 3)
    closed = f"{CLOSED}@{there.operator.domain}"
    sender.send([closed], letter(sender.address, closed, "Trop-tard"))
    whole, recipient = notice(sender.arrived("Undelivered"))
    assert whole["Reporting-MTA"] == f"dns; mx.{there.operator.domain}"
    assert (recipient["Action"], recipient["Status"]) == ("failed", "5.1.1")


@pytest.mark.parametrize(("first", "second"), [(1, 2), (1, 3), (3, 1)], ids=["1-to-2", "1-to-3", "3-to-1"])
def test_who_asks_is_told_of_delivery(space: Operators, first: int, second: int) -> None:
    """RFC 3461 across two operators: the question reaches the last one, and its answer the writer."""
    sender, reader = party(space, first), party(space, second)
    subject = f"Recu-{first}-{second}"
    clear(sender)
    asked = ("NOTIFY=SUCCESS,FAILURE", f"ORCPT=rfc822;alias-{second}@un.exemple.fr")
    data = letter(sender.address, reader.address, subject)
    sender.send([reader.address], data, ("RET=HDRS", f"ENVID=QQ{first}{second}"), asked)
    assert reader.arrived(subject).endswith(data)
    whole, recipient = notice(sender.arrived("Message remis" if isinstance(reader.operator, Served) else "Successful"))
    assert whole["Original-Envelope-Id"] == f"QQ{first}{second}"
    assert recipient["Original-Recipient"].replace(" ", "") == f"rfc822;alias-{second}@un.exemple.fr"
    assert recipient["Final-Recipient"].split(";")[1].strip() == reader.address
    assert recipient["Action"] == "delivered"
    clear(sender)


def clear(sender: Party) -> None:
    """Take what is in the mailbox away, so that the next notification is the next test's."""
    if isinstance(sender.operator, Postfix):
        for file in (sender.operator.place / "mail" / sender.operator.users[0] / "new").iterdir():
            file.unlink()
        return
    client = sender.operator.imap(sender.address)
    client.select()
    client.store("1:*", "+FLAGS", "\\Deleted")
    client.expunge()
    client.logout()


def test_the_trail_tells_what_became_of_a_message_elsewhere(space: Operators) -> None:
    sender, there = party(space, 1), party(space, 3)
    assert isinstance(sender.operator, Served)
    nobody = f"personne@{there.operator.domain}"
    sender.send([there.address, nobody], letter(sender.address, there.address, "Suivi"))
    there.arrived("Suivi")
    deadline = time.monotonic() + ARRIVES_SECONDS
    while len(events := json.loads(caducee("trace", "Suivi@test", "--json", home=sender.operator.home))) < 3:
        assert time.monotonic() < deadline, events
        time.sleep(0.2)
    assert {(one["event"], one.get("outcome")) for one in events} == {
        ("message-queued", None),
        ("message-sent", "delivered"),
        ("message-failed", "failed"),
    }
    (failed,) = json.loads(caducee("trace", nobody, "--since", "1h", "--json", home=sender.operator.home))[-1:]
    assert (failed["event"], failed["status"]) == ("message-failed", "5.1.1")
    clear(sender)


def test_a_domain_outside_the_trust_space_has_no_way(space: Operators) -> None:
    one = space.caducees[0]
    with one.submission(one.doctor) as client:
        client.mail(one.doctor)
        code, text = client.rcpt("someone@gmail.example")
    assert code == 550
    assert b"5.1.2" in text
