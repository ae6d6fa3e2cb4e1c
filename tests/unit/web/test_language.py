"""French first: the choice of language, and an English sentence for every French one."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from babel.messages.pofile import read_po

from server.identity.oidc.faults import Fault
from server.web import document_wording, wording
from server.web.language import LOCALE, WORDS, Language, choose
from server.web.pages.listing import LABELS
from server.web.pages.provider import SENTENCES
from server.web.problems import _OF_STATUS, PROBLEMS
from server.web.renderer import TEMPLATES

PAGES = TEMPLATES.parent / "pages"
SAID = re.compile(r'say\(\s*((?:"[^"]+"\s*)+)')  # a long sentence is several literals


def said() -> set[str]:
    """Every sentence of templates, pages and tables."""
    files = [*TEMPLATES.glob("*.html"), *PAGES.parent.glob("*.py"), *PAGES.glob("*.py")]
    found = {
        "".join(re.findall(r'"([^"]+)"', literals))
        for file in files
        for literals in SAID.findall(Path(file).read_text(encoding="utf-8"))
    }
    verdicts = (wording.TITLES, wording.SENTENCES, wording.COVERAGE, wording.DOUBTS, wording.DIFFERENCES)
    documents = (document_wording.TITLES, document_wording.SENTENCES, document_wording.DOUBTS)
    tables = (*verdicts, *documents, wording.KINDS, LABELS, SENTENCES)
    found |= {sentence for table in tables for sentence in table.values()}
    return found | {problem.sentence for problem in (*PROBLEMS.values(), *_OF_STATUS.values())}


def test_catalogue_holds_every_sentence_and_no_other() -> None:
    with (LOCALE / "en.po").open("rb") as file:
        catalogue = {message.id: message.string for message in read_po(file) if message.id}
    assert set(catalogue) == said()
    assert all(catalogue.values())
    for french, english in catalogue.items():
        assert re.findall(r"%\(\w+\)s", french) == re.findall(r"%\(\w+\)s", english)


def test_wording_covers_every_verdict() -> None:
    assert set(wording.TITLES) == set(wording.Status)
    assert set(wording.SENTENCES) == set(wording.SubReason)
    assert set(wording.DOUBTS) == set(wording.Doubt)
    assert set(document_wording.SENTENCES) == set(document_wording.Reason)
    assert set(document_wording.DOUBTS) == set(document_wording.Doubt)
    assert set(SENTENCES) == set(Fault)
    assert set(wording.DIFFERENCES) == set(wording.Difference)


@pytest.mark.parametrize(
    ("cookie", "header", "expected"),
    [
        (None, "", "fr"),
        (None, "en-GB,en;q=0.9,fr;q=0.8", "en"),
        (None, "de,fr;q=0.5,en;q=0.4", "fr"),
        (None, "en;q=0", "fr"),
        (None, "en;q=nonsense", "fr"),
        (None, "," * 10_000 + "en", "fr"),
        ("en", "fr", "en"),
        ("xx", "en", "en"),
    ],
)
def test_choice(cookie: str | None, header: str, expected: str) -> None:
    assert choose(cookie, header) == expected


def test_dates_and_sizes() -> None:
    french, english = WORDS[Language.FRENCH], WORDS[Language.ENGLISH]
    noon = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
    assert french.moment(noon).startswith("2 mars 2026 à ")
    assert english.moment(noon).startswith("2 March 2026, ")
    assert [french.size(n) for n in (0, 999, 148_000, 1_250_000)] == ["0 octets", "999 octets", "148 Ko", "1,2 Mo"]
    assert english.size(1_250_000) == "1.2 MB"
