"""Every folder here is a message with signatures and the verdict on it; its why.md says which trick it is.

`input.eml` (line ends become CRLF) holds `@name@` where a text or a signature of `recipe.json` comes:

    {"texts": {name: MIME entity}, "signatures": {name: signature}, "now": moment, "registration": {…}}

A signature: `text` that is signed ("entity"), `by` names of tests/signers.py (["doctor"]), `kind`, `at` the moment of
signing, `pss`, `chain`, `changes` in order. Without a recipe: "entity", and the doctor's detached "cms" over it.
`expected.json` holds fields of the stored verdict, or {"signed": false} for a message without signature.
"""

from __future__ import annotations

import json
from base64 import encodebytes
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from crypto.smime.identity import Registration
from crypto.smime.sign import sign
from crypto.smime.signed_data import Kind
from server.mail.trace import authentication_results
from server.mailbox.marks import of_signature
from server.mailbox.understand import Understanding, understand
from server.web.language import WORDS, Language
from server.web.wording import TITLES, say_verdict
from tests.forged import CHANGES
from tests.signers import NOON, anchors, constrained, signer

FOLDERS = sorted(folder for folder in Path(__file__).parent.iterdir() if (folder / "input.eml").exists())
ENTITY = "Content-Type: text/plain; charset=utf-8\n\nAmoxicilline 1 g, matin et soir, 6 jours.\n"
# In Authentication-Results (RFC 7281 §3.1), and as IMAP's keyword.
RESULTS = {"passed": "pass", "failed": "fail", "indeterminate": "neutral", "none": "none"}
KEYWORDS = {"passed": "$SignatureValid", "failed": "$SignatureInvalid", "indeterminate": "$SignatureUndetermined"}
CHAINS = {"constrained": constrained}


def crlf(text: str) -> bytes:
    return text.replace("\n", "\r\n").encode()


def made(recipe: dict[str, Any], content: bytes) -> bytes:
    """A signature as the recipe says."""
    at = datetime.fromisoformat(recipe["at"]) if "at" in recipe else NOON
    kind, signers = Kind(recipe.get("kind", "detached")), [signer(name) for name in recipe.get("by", ["doctor"])]
    chain = [CHAINS[name]().certificate for name in recipe.get("chain", ())]
    cms = sign(content, signers, at, kind=kind, pss=recipe.get("pss", False), chain=chain)
    for change in recipe.get("changes", ()):
        cms = CHANGES[change](cms, content)
    return cms


def filled(text: bytes, parts: dict[str, bytes]) -> bytes:
    """`text` with parts in their places, and in these what is within them."""
    for name, part in [*parts.items()] * 2:
        text = text.replace(b"@%b@" % name.encode(), part)
    return text


def built(folder: Path, recipe: dict[str, Any]) -> bytes:
    parts = {name: crlf(text) for name, text in {"entity": ENTITY, **recipe.get("texts", {})}.items()}
    for name, signature in recipe.get("signatures", {"cms": {}}).items():
        cms = made(signature, filled(parts[signature.get("text", "entity")], parts))
        parts[name] = encodebytes(cms).replace(b"\n", b"\r\n").removesuffix(b"\r\n")
    return filled(crlf((folder / "input.eml").read_text("utf-8")), parts)


def registration(given: dict[str, Any] | None) -> Registration | None:
    return None if given is None else Registration(**{**given, "finess": frozenset(given.get("finess", ()))})


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_case(folder: Path) -> None:
    recipe_file = folder / "recipe.json"
    recipe = json.loads(recipe_file.read_text("utf-8")) if recipe_file.exists() else {}
    expected = json.loads((folder / "expected.json").read_text("utf-8"))
    assert (folder / "why.md").read_text("utf-8").strip()
    data = built(folder, recipe)
    now = datetime.fromisoformat(recipe["now"]) if "now" in recipe else NOON
    listed = registration(recipe.get("registration"))
    verdict = understand(data, anchors(), now, listed).verdict
    stored = verdict.to_json()
    if "signed" in expected:
        assert (stored["status"], expected) == ("none", {"signed": False})
    else:
        told = {name: stored[name] for name in expected}
        if "signer" in expected:
            told["signer"] = stored["signer"] and stored["signer"]["addresses"]
        assert told == expected
        assert {"status", "reason", "covers", "doubts"} <= set(expected)
    # What comes in pieces gets the same verdict, and each reader is told the same.
    passing = Understanding()
    for at in range(0, len(data), 100):
        passing.feed(data[at : at + 100])
    assert passing.finish(anchors(), now, listed).verdict == verdict
    assert f"smime={RESULTS[stored['status']]}".encode() in authentication_results("mss.example.test", stored)
    assert of_signature(stored) == tuple(filter(None, [KEYWORDS.get(stored["status"])]))
    assert say_verdict(stored, WORDS[Language.FRENCH]).title == TITLES[verdict.status]


def test_the_classes_are_there() -> None:
    assert len(FOLDERS) >= 70
