"""Every folder of tests/conformance/mime is a message and what is to be read of it; its why.md says why it is there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from server.mail.scan import Message, Part, Scanner, scan
from server.mail.signed import signed_data
from server.mail.summary import section, summarise

CASES = Path(__file__).parents[2] / "conformance" / "mime"
FOLDERS = sorted(folder for folder in CASES.iterdir() if folder.is_dir())


def in_pieces(data: bytes, size: int) -> Message:
    scanner = Scanner()
    for at in range(0, len(data), size):
        scanner.feed(data[at : at + size])
    return scanner.finish()


def told(part: Part, data: bytes) -> dict[str, Any]:
    """A part as the expected files tell it."""
    return {
        "path": part.path,
        "type": part.content_type,
        "body": data[part.body_start : part.body_end].decode("latin-1")[:60],
        "lines": part.lines,
    }


def test_there_are_cases() -> None:
    assert len(FOLDERS) >= 15


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_case(folder: Path) -> None:
    data = (folder / "input.eml").read_bytes()
    expected = json.loads((folder / "expected.json").read_text("utf-8"))
    assert (folder / "why.md").read_text("utf-8").strip()
    message = scan(data)
    assert in_pieces(data, 1) == message
    assert in_pieces(data, 7) == message
    assert [told(part, data) for part in message.parts()] == expected["parts"]
    assert [finding.value for finding in message.findings] == expected["findings"]
    assert message.readable is expected["readable"]
    summary = summarise(message, data, {})
    for name in ("envelope", "body", "bodystructure"):
        if name in expected:
            assert getattr(summary, name).decode("latin-1") == expected[name]
    for name in ("subject", "preview", "has_attachments"):
        if name in expected:
            assert getattr(summary, name) == expected[name]
    for spec, text in expected.get("sections", {}).items():
        place = section(summary, spec)
        assert place == section(message, spec)
        assert (None if place is None else data[slice(*place)].decode("latin-1")) == text
    if "signed" in expected:
        found = signed_data(message, data)
        if expected["signed"] is None:
            assert found is None
        else:
            assert found is not None
            for name, value in expected["signed"].items():
                given = getattr(found, name)
                if isinstance(given, bytes):
                    given = given.decode("latin-1")
                assert (list(given) if isinstance(given, tuple) else given) == value
