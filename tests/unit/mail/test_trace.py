"""Trace fields: what we put on top, and what nobody else may have put there."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from server.mail import trace
from server.mail.scan import scan
from server.mail.sections import header_fields

AT = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
REST = b"From: a@b.example\r\nSubject: x\r\n\r\n"


def stripped(header: bytes) -> bytes:
    data = header + REST + b"Authentication-Results: mail.example; in the body\r\n"
    return trace.strip(scan(data), data, "mail.example")


@pytest.mark.parametrize(
    "forged",
    [
        b"Authentication-Results: mail.example; smime=pass\r\n",
        b"authentication-results:MAIL.Example;smime=pass\r\n",
        b"Authentication-Results : mail.example 1; smime=pass\r\n",
        b"Authentication-Results: (a comment (nested) \\) here) mail.example (more) 1; smime=pass\r\n",
        b"Authentication-Results:\r\n\t(folded\r\n comment)\r\n mail.example;\r\n smime=pass\r\n",
        b'Authentication-Results: "mail.example"; smime=pass\r\n',
        b'Authentication-Results: "mail\\.example"; smime=pass\r\n',
        b"Authentication-Results: mail.example\r\n",
        b"Authentication-Results: mail.example\n",
        b"Authentication-Results: ; smime=pass\r\n",
        b"Authentication-Results: (never closed mail.example; smime=pass\r\n",
        b"Authentication-Results:\r\n",
        b"Return-Path: <forged@x.example>\r\n",
        b" smime=pass\r\n\tloose\r\n",
        b" \r\n",
    ],
)
def test_forged_fields_are_removed(forged: bytes) -> None:
    assert stripped(forged) == REST
    assert stripped(b"Received: x\r\n" + forged * 3 + b"X: y\r\n").replace(forged, b"") in (
        b"Received: x\r\nX: y\r\n" + REST,
        b"Received: x\r\n" + b"X: y\r\n" + REST,
    )


@pytest.mark.parametrize(
    "kept",
    [
        b"Authentication-Results: other.example; smime=pass\r\n",
        b"Authentication-Results: not.mail.example; smime=pass\r\n",
        b"Authentication-Results: other.example (mail.example);\r\n smime=pass\r\n",
        b"X-Authentication-Results: mail.example; smime=pass\r\n",
        b"X: y\r\n Authentication-Results: mail.example\r\n",
    ],
)
def test_others_stay_as_they_are(kept: bytes) -> None:
    assert stripped(kept) == kept + REST


def test_none_escapes_behind_a_thousand_fields() -> None:
    many = b"X: y\r\n" * 2_000 + b"Z: " + b"z" * 300_000 + b"\r\n"
    assert stripped(many + b"Authentication-Results: mail.example; smime=pass\r\n") == many + REST


def test_both_forms_of_a_name() -> None:
    data = "Authentication-Results: santé.example; smime=pass\r\n".encode() + REST
    assert trace.strip(scan(data), data, "xn--sant-epa.example") == REST


def test_a_message_without_header_end() -> None:
    data = b"Authentication-Results: mail.example; smime=pass"
    assert trace.strip(scan(data), data, "mail.example") == b""


def test_what_we_write() -> None:
    assert trace.return_path("a@b.example") == b"Return-Path: <a@b.example>\r\n"
    assert trace.return_path("") == b"Return-Path: <>\r\n"
    assert trace.received("poste ([192.0.2.1])", "mail.example", "ESMTPSA", "7f", AT, tls="TLS1.3") == (
        b"Received: from poste ([192.0.2.1])\r\n\tby mail.example (TLS1.3)\r\n\twith ESMTPSA id 7f;\r\n"
        b"\tTue, 24 Nov 2026 10:00:00 +0000\r\n"
    )
    signer = {"addresses": ["a@b.example"], "serial": "0a1b", "issuer": 'CN=É "x"'}
    assert trace.authentication_results("mail.example", {"status": "passed", "reason": "valid", "signer": signer}) == (
        b"Authentication-Results: mail.example;\r\n\tsmime=pass reason=valid\r\n"
        b"\tbody.smime-identifier=a@b.example\r\n\tbody.smime-serial=0a1b\r\n"
        b'\tbody.smime-issuer="CN=\\\\C3\\\\89 \\"x\\""\r\n'
    )
    assert trace.authentication_results("mail.example", {"status": "none"}) == (
        b"Authentication-Results: mail.example;\r\n\tsmime=none\r\n"
    )


@pytest.mark.parametrize("hostile", ["a\r\nX: y", "a\0b", "a\n\n", 'a"b\\', "é" * 600, "\u2028"])
def test_hostile_values_stay_one_field(hostile: str) -> None:
    signer = {"addresses": [hostile], "serial": hostile, "issuer": hostile}
    for written in (
        trace.return_path(hostile),
        trace.received(hostile, "mail.example", "ESMTPS", "1", AT, recipient=hostile, tls=hostile),
        trace.authentication_results("mail.example", {"status": "failed", "reason": hostile, "signer": signer}),
    ):
        message = scan(written + REST)
        assert len(message.headers) == 3
        assert message.findings == ()


def test_the_header_of_a_stored_message_has_one_result() -> None:
    data = b"Authentication-Results: mail.example; smime=pass\r\n" + REST + b"x\r\n"
    message = scan(data)
    header = trace.authentication_results("mail.example", {"status": "none"}) + trace.strip(
        message, data, "mail.example"
    )
    moved = message.shifted(len(header) - message.root.body_start, header)
    assert moved == scan(header + data[message.root.body_start :])
    assert header_fields(header, [b"AUTHENTICATION-RESULTS"]) == (
        b"Authentication-Results: mail.example;\r\n\tsmime=none\r\n\r\n"
    )
