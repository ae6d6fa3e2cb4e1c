"""What a browser may show of what came by mail, and under which name."""

from __future__ import annotations

import pytest

from server.web.pages.attachment import DOWNLOAD, file_answer
from server.web.pages.reply import answer_subject

PDF = b"%PDF-1.4\n"


@pytest.mark.parametrize(
    ("media_type", "data", "shown"),
    [
        ("application/pdf", PDF, True),
        ("application/pdf", b"<html><script>alert(1)</script>", False),
        ("image/png", b"\x89PNG\r\n\x1a\n", True),
        ("image/png", b"GIF89a", False),
        ("image/svg+xml", b"<svg onload=alert(1)>", False),
        ("text/html", b"<script>alert(1)</script>", False),
        ("text/xml", b"<?xml-stylesheet href='x'?>", False),
    ],
)
def test_only_what_cannot_act_is_shown(media_type: str, data: bytes, shown: bool) -> None:
    answer = file_answer(data, media_type, "x", download=False)
    assert answer.headers["content-disposition"].startswith("inline" if shown else "attachment")
    assert answer.headers["content-type"] == (media_type if shown else DOWNLOAD)
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert ("sandbox" in policy) == (media_type != "application/pdf" or not shown)


def test_download_is_never_shown() -> None:
    assert (
        file_answer(PDF, "application/pdf", "x", download=True).headers["content-disposition"].startswith("attachment")
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ordonnance.pdf", "attachment; filename=\"ordonnance.pdf\"; filename*=UTF-8''ordonnance.pdf"),
        ("été.pdf", "attachment; filename=\"_t_.pdf\"; filename*=UTF-8''%C3%A9t%C3%A9.pdf"),
        ('../a"b\r\nX: y.pdf', "attachment; filename=\"_a_b__X_ y.pdf\"; filename*=UTF-8''_a_b__X_%20y.pdf"),
        ("...", "attachment; filename=\"document\"; filename*=UTF-8''document"),
    ],
)
def test_names_cannot_leave_their_header(name: str, expected: str) -> None:
    assert file_answer(b"", "x/y", name, download=True).headers["content-disposition"] == expected


@pytest.mark.parametrize("subject", ["Ordonnance", "Re: Ordonnance", "RE : re: Ordonnance", "Ré: Ordonnance"])
def test_answers_are_marked_once(subject: str) -> None:
    assert answer_subject(subject) == "Re: Ordonnance"
