"""Invariant: whatever comes as a token, a key set, a configuration or claims is what the rules say or NotProven, and
never anything else; without one of the provider's keys no token proves anything.

The input is a token, a JSON document, and the content of one.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from server.base.sections import IdentityProvider
from server.identity.oidc import claims, flow, signed, statements
from server.identity.oidc.faults import NotProven
from server.identity.oidc.metadata import Metadata
from server.identity.oidc.signed import Keys
from server.identity.oidc.statements import Expected

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
PROVIDER = IdentityProvider(label="PSC", issuer="https://auth.example", client_id="caducee")
EXPECTED = Expected(PROVIDER.issuer, PROVIDER.client_id, "eidas1", nonce="once")


def fuzz(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    page = flow.page_of_ours(text)
    assert page.startswith("/")
    assert not page.startswith(("//", "/\\"))
    assert not proves(lambda: signed.claims(text, Keys({})))
    proves(lambda: signed.unproven(text))
    try:
        found = signed.json_object(data)
    except NotProven:
        return
    keys = Keys.read(found)
    assert all(key.key_type in signed.ALGORITHMS.values() for key in keys.by_name.values())
    assert not proves(lambda: signed.claims(text, keys))
    proves(lambda: Metadata.read(found, PROVIDER))
    if proves(lambda: claims.person(found)):
        assert claims.person(found).subject.isprintable()
    if proves(lambda: statements.id_token(found, EXPECTED, NOW, "token")):
        assert found["nonce"] == "once"
        assert found["iss"] == PROVIDER.issuer
    proves(lambda: statements.logout_token(found, EXPECTED, NOW))
    proves(lambda: statements.introspected(found, EXPECTED, ["logiciel"], NOW))


def proves(act: Callable[[], object]) -> bool:
    try:
        act()
    except NotProven:
        return False
    return True
