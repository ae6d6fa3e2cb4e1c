"""Invariant: any bytes give fields in order inside of the block, values on one line, text that is printable and bounded
by what came in; a type or disposition is read or told as bad; forged results are gone and no line comes loose; the
gist has a line each without an end in it, and a base subject is part of its subject.
"""

from __future__ import annotations

import re

from server.base.limits import MESSAGE_ID_CHARACTERS, MIME_HEADER_COUNT, MIME_PARAMETERS
from server.mail import headers, parameters, sections, trace
from server.mail.gist import gist
from server.mail.scan import scan
from server.mail.subject import base_subject
from server.mail.summary import sent_at


def fuzz(data: bytes) -> None:
    read = headers.read(data)
    assert len(read.fields) <= MIME_HEADER_COUNT
    at = 0
    for field in read.fields:
        assert at <= field.start < field.end <= len(data)
        at = field.end
        value = headers.raw(data, field)
        assert len(value) <= field.end - field.start
        identifier = headers.bare_id(value)
        assert identifier.isprintable()
        assert identifier.split() in ([], [identifier])
        assert len(identifier) <= MESSAGE_ID_CHARACTERS
        text = headers.decode(value)
        assert text.isprintable()
        assert len(text) <= 2 * len(value) + 16
        for parsed in (parameters.content_type(value), parameters.disposition(value)):
            assert parsed.value or parsed.faults
            assert len(parsed.parameters) <= MIME_PARAMETERS
            for name, _ in parsed.parameters:
                assert parameters.decoded(parsed.parameters, name) is not None
        moment = sent_at(value)
        assert moment is None or moment.tzinfo is not None
    told = gist(data)
    assert not any("\n" in line or "\0" in line for line in told)
    subject = headers.decode(headers.first(data, "subject", read.fields) or "")
    base, _ = base_subject(subject)
    assert base in re.sub(r"\s+", " ", subject)
    everything = sections.header_fields(data, [], exclude=True)
    assert len(everything) <= len(data) + 4
    message = scan(data)
    header = trace.strip(message, data, "mail.example")
    assert header[:1] not in (b" ", b"\t")
    for value in headers.every(header, "authentication-results"):
        assert not value.lower().startswith("mail.example;")
