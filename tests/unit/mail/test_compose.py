"""What we write: answers and notifications, read back by our scanner and by Python's parser."""

from __future__ import annotations

import email
import email.policy
import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.base.errors import ProtocolViolation, Reason, Refused
from server.mail.addresses import Mailbox
from server.mail.compose import Attachment, Outgoing, compose
from server.mail.content import decode
from server.mail.dsn import Action, Notification, RecipientStatus, notification
from server.mail.scan import scan
from server.mail.summary import summarise

AT = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
PLAIN = Outgoing(
    sender=Mailbox.of("Hélène Martin", "helene@medecin.example"),
    to=(Mailbox.of('Pharmacie "du Centre"', "ph@santé.example"),),
    subject="Votre réponse",
    text="Bonjour,\r\nça va.\n",
    date=AT,
    message_id="<1@patient.example>",
    in_reply_to="<0@medecin.example>",
    references=("<a@b>",),
)


def test_an_answer() -> None:
    data = compose(PLAIN)
    message = scan(data)
    summary = summarise(message, data)
    assert message.findings == ()
    assert summary.subject == "Votre réponse"
    assert summary.from_ == [Mailbox("Hélène Martin", "helene", "medecin.example")]
    assert summary.to == [Mailbox('Pharmacie "du Centre"', "ph", "xn--sant-epa.example")]
    assert summary.in_reply_to == "<0@medecin.example>"
    assert summary.references == ["<a@b>", "<0@medecin.example>"]
    assert summary.date == AT
    assert decode(message.root, data) == "Bonjour,\r\nça va.\r\n".encode()
    assert compose(PLAIN) == data


def test_attachments() -> None:
    files = (
        Attachment("ordonnance é.pdf", "application/pdf", b"%PDF\0\r\n" * 999),
        Attachment("a.txt", "text/plain", b""),
    )
    data = compose(replace(PLAIN, attachments=files))
    message = scan(data)
    assert message.findings == ()
    assert [part.filename for part in message.root.children] == [None, "ordonnance é.pdf", "a.txt"]
    assert [decode(part, data) for part in message.root.children[1:]] == [file.data for file in files]
    other = email.message_from_bytes(data, policy=email.policy.default)
    assert [part.get_filename() for part in other.iter_attachments()] == ["ordonnance é.pdf", "a.txt"]


BREAKS = ["\r\nBcc: x@y", "\n", "\r", "\0", "\x1b", "\x85", "\u2028"]


@pytest.mark.parametrize("break_", BREAKS)
@pytest.mark.parametrize(
    "change",
    [
        lambda text: {"subject": f"x{text}y"},
        lambda text: {"sender": Mailbox(f"x{text}", "a", "b.example")},
        lambda text: {"to": (Mailbox("x", f"a{text}", "b.example"),)},
        lambda text: {"to": (Mailbox("x", "a", f"b{text}.example"),)},
        lambda text: {"message_id": f"<a{text}@b>"},
        lambda text: {"in_reply_to": f"<a{text}@b>"},
        lambda text: {"references": [f"<a{text}@b>"]},
        lambda text: {"extra": (("X-Y", f"a{text}b"),)},
        lambda text: {"extra": ((f"X-Y{text}", "a"),)},
        lambda text: {"attachments": (Attachment(f"a{text}", "text/plain", b""),)},
        lambda text: {"attachments": (Attachment("a", f"text/plain{text}", b""),)},
    ],
)
def test_nothing_is_smuggled_into_a_header(break_: str, change: object) -> None:
    assert callable(change)
    with pytest.raises(Refused) as refusal:
        compose(replace(PLAIN, **change(break_)))
    assert refusal.value.reason is Reason.MALFORMED


@settings(max_examples=150, deadline=None)
@given(subject=st.text(max_size=120), name=st.text(max_size=60), body=st.text(max_size=400))
def test_any_text_comes_back(subject: str, name: str, body: str) -> None:
    try:
        data = compose(replace(PLAIN, subject=subject, sender=Mailbox(name, "a", "b.example"), text=body))
    except Refused:
        assert re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", subject + name + body)
        return
    message = scan(data)
    assert message.findings == ()
    assert all(len(line) <= 998 for line in data.split(b"\r\n"))
    assert data.isascii()
    summary = summarise(message, data)
    shown = "".join(character if character.isprintable() else " " for character in subject.strip())
    assert summary.subject.split() == shown.split()
    lines = body.replace("\r\n", "\n").replace("\r", "\n")
    wanted = lines if lines.endswith("\n") or not lines else lines + "\n"
    assert decode(message.root, data).decode().replace("\r\n", "\n") == wanted


def test_identifiers_that_are_none_are_left_out() -> None:
    data = compose(replace(PLAIN, in_reply_to="no brackets", references=["<a b>", "<" + "x" * 999 + ">"]))
    assert b"In-Reply-To" not in data
    assert b"References" not in data


REPORT = Notification(
    reporting="mail.example",
    to="helene@medecin.example",
    arrived_at=AT,
    recipients=(
        RecipientStatus("a@b.example", Action.DELIVERED, "2.1.5", "Remis.", "Delivered."),
        RecipientStatus(
            "c@d.example",
            Action.FAILED,
            "5.1.1",
            "Cette adresse n’existe pas.",
            "There is no such address.",
            original="rfc822;c+2Bd@d.example",
            remote="mx.d.example",
            diagnostic="no such user",
        ),
    ),
    returned=b"From: helene@medecin.example\r\nSubject: x\r\n\r\n",
    date=AT,
    message_id="<n@mail.example>",
    envelope_id="e+2B1",
)


def test_a_notification() -> None:
    data = notification(REPORT)
    message = scan(data)
    assert message.findings == ()
    assert message.root.content_type == "multipart/report"
    assert dict(message.root.params)["report-type"] == "delivery-status"
    text, status, returned = message.root.children
    words = decode(text, data).decode()
    assert words.index("Cette adresse n’existe pas.") < words.index("There is no such address.")
    assert status.content_type == "message/delivery-status"
    groups = [email.message_from_bytes(group) for group in decode(status, data).split(b"\r\n\r\n")]
    assert groups[0]["Reporting-MTA"] == "dns; mail.example"
    assert groups[0]["Original-Envelope-Id"] == "e+1"
    assert [(group["Final-Recipient"], group["Action"], group["Status"]) for group in groups[1:]] == [
        ("rfc822; a@b.example", "delivered", "2.1.5"),
        ("rfc822; c@d.example", "failed", "5.1.1"),
    ]
    assert groups[2]["Original-Recipient"] == "rfc822;c+d@d.example"
    assert groups[2]["Diagnostic-Code"] == "smtp; no such user"
    assert returned.content_type == "text/rfc822-headers"
    assert b"Subject: x\r\n" in decode(returned, data)
    assert summarise(message, data).subject == "Message non remis / Message not delivered"


def test_a_notification_for_an_address_that_is_not_ascii() -> None:
    recipient = RecipientStatus("hélène@x.example", Action.FAILED, "5.1.1", "Non.", "No.")
    data = notification(replace(REPORT, recipients=(recipient,), returned="Subject: é\r\n\r\n".encode()))
    types = [part.content_type for part in scan(data).root.children]
    assert types == ["text/plain", "message/global-delivery-status", "message/global-headers"]
    assert "Final-Recipient: utf-8; hélène@x.example".encode() in data


def test_a_returned_header_cannot_close_the_notification() -> None:
    boundary = scan(notification(REPORT)).root.params
    forged = f"X: y\r\n--{dict(boundary)['boundary']}--\r\n\r\n".encode()
    message = scan(notification(replace(REPORT, returned=forged)))
    assert len(message.root.children) == 3
    assert message.findings == ()


def test_notifications_that_are_refused() -> None:
    with pytest.raises(Refused):
        notification(replace(REPORT, recipients=()))
    with pytest.raises(Refused):
        notification(replace(REPORT, recipients=(replace(REPORT.recipients[0], status="550"),)))
    with pytest.raises(Refused):
        notification(replace(REPORT, recipients=(replace(REPORT.recipients[0], diagnostic="a\r\nb"),)))
    with pytest.raises(ProtocolViolation):
        notification(replace(REPORT, to=""))
