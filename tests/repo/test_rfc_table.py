"""What a server announces, `docs/rfc.md` holds: no capability without its RFC, its status and its place."""

from __future__ import annotations

import ast
import re

import pytest

from tests.repo.sources import ROOT, modules

SERVED = {"done", "partial"}
STATUSES = SERVED | {"planned"}
# Where each edge keeps what it announces: module-level constants whose name holds this word.
TABLES = {"server/smtp/": "EXTENSION", "server/imap/": "CAPABILIT"}


def rows() -> list[list[str]]:
    lines = (ROOT / "docs/rfc.md").read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return [row for row in cells if not set("".join(row)) <= set("-| ") and row[2] != "announced as"]


def announced(room: str, word: str) -> set[str]:
    """The first word of every text in the edge's tables of capabilities, upper case."""
    found: set[str] = set()
    for module in modules():
        if not module.where.startswith(room):
            continue
        for node in module.tree.body:
            targets = (
                node.targets
                if isinstance(node, ast.Assign)
                else [node.target]
                if isinstance(node, ast.AnnAssign)
                else []
            )
            names = [target.id for target in targets if isinstance(target, ast.Name)]
            if any(word in name for name in names) and isinstance(node, ast.Assign | ast.AnnAssign) and node.value:
                for part in ast.walk(node.value):
                    if isinstance(part, ast.Constant) and isinstance(part.value, str | bytes):
                        text = part.value.decode() if isinstance(part.value, bytes) else part.value
                        found |= (
                            {name.upper() for name in text.split()[:1]}
                            if room.endswith("smtp/")
                            else {name.upper() for name in text.split()}
                        )
    return found


def test_rows_are_whole() -> None:
    table = rows()
    assert len(table) > 50
    for row in table:
        assert len(row) == 5, row
        assert row[3] in STATUSES, row
        assert re.fullmatch(r"`[\w./]+`(, `[\w./]+`)*", row[4]), row


def test_places_of_what_is_served_exist() -> None:
    places = {place for row in rows() if row[3] in SERVED for place in re.findall(r"`([^`]+)`", row[4])}
    assert sorted(place for place in places if not (ROOT / place).exists()) == []


@pytest.mark.parametrize("room", TABLES)
def test_what_is_announced_stands_in_the_table(room: str) -> None:
    names = announced(room, TABLES[room])
    assert names, f"{room} holds no table of what it announces (a constant named …{TABLES[room]}…)"
    served = {name for row in rows() if row[3] in SERVED for name in re.findall(r"`([^`]+)`", row[2])}
    assert sorted(names - served) == []


def test_every_extension_of_smtp_has_a_dialogue() -> None:
    """The RFC of each row that is announced stands in the comments of a dialogue that a real session plays."""
    comments = "\n".join(
        line
        for path in (ROOT / "tests/conformance/smtp").glob("*.txt")
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.startswith("#")
    )
    names = announced("server/smtp/", TABLES["server/smtp/"])
    played = [
        row for row in rows() if set(re.findall(r"`([^`]+)`", row[2])) & names and row[4].startswith("`server/smtp")
    ]
    assert len(played) > 8
    assert [row[0] for row in played if f"RFC {row[0]}" not in comments] == []
