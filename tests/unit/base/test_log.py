"""Logs: one line of JSON an event, nothing of a person, nothing that breaks a line."""

from __future__ import annotations

import io
import json
import logging

import pytest

from server.base import log
from server.base.log import Pseudonyms


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


def test_control_characters_cannot_forge_a_line(stream: io.StringIO) -> None:
    log.configure("imap", stream).info("signed_in", client='x\n{"event": "forged"}\x1b[2J')
    lines = stream.getvalue().splitlines()
    assert len(lines) == 1
    assert json.loads(lines[0])["client"] == 'x\n{"event": "forged"}\x1b[2J'
    assert "\x1b" not in lines[0]


def test_an_error_is_its_type_and_place_and_not_its_text(stream: io.StringIO) -> None:
    logger = log.configure("imap", stream)
    try:
        raise ValueError("279035121518989")
    except ValueError as error:
        logger.error("unhandled", error=error)
    event = json.loads(stream.getvalue())
    assert event["error"] == "ValueError"
    assert event["at"].startswith(__name__.rpartition(".")[2]) or "test_log" in event["at"]
    assert "279035121518989" not in stream.getvalue()


def test_a_library_tells_its_name_and_no_words(stream: io.StringIO) -> None:
    log.configure("web", stream)
    try:
        raise ValueError("279035121518989")
    except ValueError:
        logging.getLogger("uvicorn.error").exception("Exception for %s", "279035121518989")
    event = json.loads(stream.getvalue())
    assert (event["library"], event["level"], event["error"]) == ("uvicorn.error", "error", "ValueError")
    assert "279035121518989" not in stream.getvalue()


def test_a_pseudonym_hides_the_person_and_keeps_the_domain() -> None:
    names = Pseudonyms(b"k" * 32)
    one = names.of("279035121518989@patient.exemple.fr")
    assert one == names.of("279035121518989@PATIENT.exemple.fr".lower())
    assert one.endswith("@patient.exemple.fr")
    assert "279035121518989" not in one
    assert one != Pseudonyms(b"j" * 32).of("279035121518989@patient.exemple.fr")


@pytest.mark.parametrize(
    "written",
    ["279035121518989", '"279035121518989\x1b', "x@279035121518989", "x@279035121518989.fr", "a@b@\n279035121518989"],
)
def test_a_pseudonym_hides_what_stands_in_the_place_of_a_domain(written: str) -> None:
    name = Pseudonyms(b"k" * 32).of(written)
    assert "279035121518989" not in name
    assert name.endswith("@-")
