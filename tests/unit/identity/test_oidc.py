"""What a provider's statements are worth: the known forgeries, and each thing that must be as it was asked for."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from crypto.edge import EdgeKeys
from server.base.sections import IdentityProvider
from server.identity.oidc import claims, flow, signed, statements
from server.identity.oidc.faults import Fault, NotProven
from server.identity.oidc.flow import Transaction
from server.identity.oidc.metadata import Metadata
from server.identity.oidc.signed import Keys
from server.identity.oidc.statements import LOGOUT_EVENT, Expected

ISSUER = "https://auth.example:8443/auth/realms/esante-wallet"
NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
SECONDS = int(NOW.timestamp())
RSA = RSAKey.generate_key(2048, {"kid": "rsa", "use": "sig"})
EC = ECKey.generate_key("P-256", {"kid": "ec", "use": "sig"})
OTHER = RSAKey.generate_key(2048, {"kid": "rsa"})
KEYS = Keys.read({"keys": [RSA.as_dict(private=False), EC.as_dict(private=False)]})
EXPECTED = Expected(ISSUER, "caducee", "eidas1", nonce="once")
ACCESS = "an-access-token"
AT_HASH = base64.urlsafe_b64encode(hashlib.sha256(ACCESS.encode()).digest()[:16]).rstrip(b"=").decode()
ID_TOKEN = {
    "iss": ISSUER,
    "aud": "caducee",
    "sub": "f:1:899700000001",
    "exp": SECONDS + 120,
    "iat": SECONDS,
    "auth_time": SECONDS - 30,
    "nonce": "once",
    "acr": "eidas1",
    "at_hash": AT_HASH,
    "sid": "session-1",
}
LOGOUT = {"iss": ISSUER, "aud": "caducee", "iat": SECONDS, "exp": SECONDS + 120, "jti": "1", "sid": "session-1"}
LOGOUT |= {"events": {LOGOUT_EVENT: {}}}
TOKEN = {"active": True, "iss": ISSUER, "azp": "logiciel", "iat": SECONDS, "exp": SECONDS + 120, "acr": "eidas3"}


def fault(act: Callable[[], object]) -> Fault:
    with pytest.raises(NotProven) as refused:
        act()
    return refused.value.fault


def made(content: dict[str, Any], key: Any = RSA, **header: Any) -> str:
    head = {"alg": "RS256", "kid": "rsa", **header}
    return jwt.encode(head, content, key, algorithms=[head["alg"]])


# The signature


@pytest.mark.parametrize(("algorithm", "key"), [("RS256", RSA), ("PS256", RSA), ("ES256", EC)])
def test_a_statement_that_the_provider_signed(algorithm: str, key: Any) -> None:
    token = made(ID_TOKEN, key, alg=algorithm, kid=key.kid)
    assert signed.claims(token, KEYS) == ID_TOKEN


def test_no_algorithm_but_those_of_the_list() -> None:
    parts = made(ID_TOKEN).split(".")
    none = base64.urlsafe_b64encode(b'{"alg":"none","kid":"rsa"}').rstrip(b"=").decode()
    public = RSA.as_pem(private=False)
    hs256 = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"rsa"}').rstrip(b"=").decode() + "." + parts[1]
    mac = base64.urlsafe_b64encode(hmac.digest(public, hs256.encode(), "sha256")).rstrip(b"=").decode()
    for forged in (
        f"{none}.{parts[1]}.",
        f"{none}.{parts[1]}.{parts[2]}",
        f"{hs256}.{mac}",
        made(ID_TOKEN, RSA, alg="RS512"),
    ):
        assert fault(lambda forged=forged: signed.claims(forged, KEYS)) in (Fault.SIGNATURE, Fault.MALFORMED)


def test_only_the_providers_own_keys_count() -> None:
    own = OTHER.as_dict(private=False)
    for forged in (
        made(ID_TOKEN, OTHER),
        made(ID_TOKEN, OTHER, kid="new", jwk=own),
        made(ID_TOKEN, OTHER, jku="https://evil.example/keys"),
        made(ID_TOKEN, RSA, kid="ec"),
        made(ID_TOKEN, EC, alg="ES256", kid="rsa"),
        made(ID_TOKEN)[:-4] + "AAAA",
    ):
        assert fault(lambda forged=forged: signed.claims(forged, KEYS)) is Fault.SIGNATURE
    small = RSA.as_dict(private=False) | {"kid": "small", "n": "u" * 171}
    secret = {"kty": "oct", "kid": "oct", "k": "c2VjcmV0"}
    private = OTHER.as_dict(private=True) | {"kid": "private"}
    assert set(Keys.read({"keys": [small, secret, "x", {"kty": "RSA", "kid": "n", "n": 1}, private]}).by_name) == {
        "private"
    }
    assert Keys.read({"keys": {"kty": "RSA"}}).by_name == {}


def test_what_is_no_token() -> None:
    twice = base64.urlsafe_b64encode(b'{"alg":"RS256","alg":"none","kid":"rsa"}').rstrip(b"=").decode()
    deep = base64.urlsafe_b64encode(b"[" * 9_000).rstrip(b"=").decode()
    for text in ("", "a.b", "a.b.c.d", "é.b.c", "a b.c.d", "A" * 20_000, f"{twice}.e30.AAAA", f"{deep}.e30.AAAA"):
        assert fault(lambda text=text: signed.claims(text, KEYS)) is Fault.MALFORMED
    assert fault(lambda: signed.claims(made(ID_TOKEN, crit=["b64"], b64=True), KEYS)) is Fault.SIGNATURE


# The ID token


def test_an_id_token_that_is_as_it_was_asked_for() -> None:
    proven = statements.id_token(ID_TOKEN, EXPECTED, NOW, ACCESS)
    assert (proven.subject, proven.acr, proven.sid) == (ID_TOKEN["sub"], "eidas1", "session-1")
    assert proven.at == NOW - timedelta(seconds=30)
    statements.id_token(
        ID_TOKEN | {"aud": ["caducee", "other"], "azp": "caducee", "acr": "eidas3"}, EXPECTED, NOW, ACCESS
    )


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"iss": "https://evil.example"}, Fault.ISSUER),
        ({"iss": ISSUER + "/"}, Fault.ISSUER),
        ({"aud": "logiciel"}, Fault.AUDIENCE),
        ({"aud": ["caducee", "other"]}, Fault.AUDIENCE),
        ({"azp": "logiciel"}, Fault.AUDIENCE),
        ({"nonce": "another"}, Fault.NONCE),
        ({"nonce": None}, Fault.MALFORMED),
        ({"exp": SECONDS - 61}, Fault.TIME),
        ({"exp": None}, Fault.TIME),
        ({"exp": True}, Fault.TIME),
        ({"exp": 1e300}, Fault.TIME),
        ({"iat": SECONDS + 61}, Fault.TIME),
        ({"iat": SECONDS - 3_600}, Fault.TIME),
        ({"nbf": SECONDS + 61}, Fault.TIME),
        ({"at_hash": "AAAA"}, Fault.BINDING),
        ({"acr": "eidas0"}, Fault.TOO_WEAK),
        ({"acr": None}, Fault.TOO_WEAK),
        ({"sub": ""}, Fault.MALFORMED),
        ({"sub": 7}, Fault.MALFORMED),
    ],
)
def test_an_id_token_that_is_not(change: dict[str, Any], expected: Fault) -> None:
    assert fault(lambda: statements.id_token(ID_TOKEN | change, EXPECTED, NOW, ACCESS)) is expected


def test_clocks_may_differ_by_a_minute() -> None:
    for change in ({"exp": SECONDS - 59}, {"iat": SECONDS + 59}, {"nbf": SECONDS + 59}):
        statements.id_token(ID_TOKEN | change, EXPECTED, NOW, ACCESS)


def test_who_proves_it_anew_did_so_just_now() -> None:
    anew = Expected(ISSUER, "caducee", "eidas1", nonce="once", max_age=timedelta(minutes=5))
    statements.id_token(ID_TOKEN, anew, NOW, ACCESS)
    for change in ({"auth_time": SECONDS - 400}, {"auth_time": None}, {"auth_time": SECONDS + 90}):
        assert fault(lambda change=change: statements.id_token(ID_TOKEN | change, anew, NOW, ACCESS)) is Fault.TIME


def test_an_empty_nonce_matches_nothing() -> None:
    empty = Expected(ISSUER, "caducee", "eidas1")
    assert fault(lambda: statements.id_token(ID_TOKEN | {"nonce": ""}, empty, NOW, ACCESS)) is Fault.NONCE


# Tokens of practice software, logout tokens


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"active": False}, Fault.INACTIVE),
        ({"active": "true"}, Fault.INACTIVE),
        ({"iss": "https://evil.example"}, Fault.ISSUER),
        ({"azp": "caducee"}, Fault.AUDIENCE),
        ({"azp": "unlisted"}, Fault.AUDIENCE),
        ({"azp": None}, Fault.AUDIENCE),
        ({"typ": "ID"}, Fault.MALFORMED),
        ({"exp": SECONDS - 61}, Fault.TIME),
        ({"acr": "eidas"}, Fault.TOO_WEAK),
    ],
)
def test_a_token_that_opens_no_mailbox(change: dict[str, Any], expected: Fault) -> None:
    statements.introspected(TOKEN, EXPECTED, ["logiciel"], NOW)
    assert fault(lambda: statements.introspected(TOKEN | change, EXPECTED, ["logiciel"], NOW)) is expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"nonce": "once"}, Fault.MALFORMED),
        ({"events": {}}, Fault.MALFORMED),
        ({"sid": ""}, Fault.MALFORMED),
        ({"jti": ""}, Fault.MALFORMED),
        ({"aud": "logiciel"}, Fault.AUDIENCE),
        ({"iss": "https://evil.example"}, Fault.ISSUER),
        ({"exp": SECONDS - 61}, Fault.TIME),
        ({"iat": SECONDS - 3_600}, Fault.TIME),
    ],
)
def test_a_logout_token_that_ends_nothing(change: dict[str, Any], expected: Fault) -> None:
    assert statements.logout_token(LOGOUT, EXPECTED, NOW)[:3] == ("session-1", "", "1")
    assert fault(lambda: statements.logout_token(LOGOUT | change, EXPECTED, NOW)) is expected


# Claims


def test_the_claims_of_a_professional() -> None:
    activity = {"codeRole": "1", "numeroFinessSite": "010000000", "raisonSocialeSite": "CABINET"}
    practice = {"codeProfession": "10", "codeSavoirFaire": "SM54", "activities": [activity]}
    userinfo = {
        "sub": "f:1:899700000001",
        "SubjectNameID": "899700000001",
        "SubjectRole": ["10^1.2.250.1.213.1.1.5.5"],
        "SubjectRefPro": {"codeCivilite": "M", "exercices": [practice]},
        "given_name": "Camille",
        "family_name": "ESSAI",
    }
    person = claims.person(userinfo)
    assert (person.national_id, person.name, person.is_professional) == ("899700000001", "Camille ESSAI", True)
    assert person.practices[0].activities[0].finess == "010000000"
    for without in ({}, {"SubjectRefPro": None}, {"SubjectRefPro": {}}, {"SubjectRefPro": {"exercices": "all"}}):
        found = {name: value for name, value in userinfo.items() if name != "SubjectRefPro"} | without
        assert not claims.person(found).is_professional
    for wrong in ({"SubjectNameID": "8997\r\n"}, {"SubjectNameID": 899700000001}, {"given_name": "x" * 300}):
        assert fault(lambda wrong=wrong: claims.person(userinfo | wrong)) is Fault.MALFORMED


# The flow


def provider(**changes: Any) -> IdentityProvider:
    return IdentityProvider(**{"label": "PSC", "issuer": ISSUER, "client_id": "caducee", **changes})


def document(**changes: Any) -> dict[str, Any]:
    names = {"authorization": "auth", "token": "token", "userinfo": "userinfo"}
    found = {f"{name}_endpoint": f"https://wallet.example:8443/{path}" for name, path in names.items()}
    return {"issuer": ISSUER, "jwks_uri": "https://auth.example:8443/certs", **found, **changes}


def test_what_a_provider_says_of_itself() -> None:
    found = Metadata.read(document(), provider())
    assert (found.authorization, found.end_session, found.names_itself) == (
        "https://wallet.example:8443/auth",
        "",
        False,
    )
    assert fault(lambda: Metadata.read(document(issuer="https://evil.example"), provider())) is Fault.ISSUER
    for wrong in (
        "http://auth.example:8443/token",
        "https://auth.example/token",
        "https://a@b:8443/",
        7,
        None,
        "https://[x",
    ):
        assert fault(lambda wrong=wrong: Metadata.read(document(token_endpoint=wrong), provider())) is Fault.MALFORMED


def test_a_sign_in_belongs_to_the_browser_that_began_it() -> None:
    edge = EdgeKeys.new()
    begun = Transaction.begin("psc", "https://msg.example/connexion/psc/retour", "/messages", NOW)
    cookie = begun.sealed(edge)
    assert begun.state not in cookie
    assert Transaction.opened(edge, cookie, NOW) == begun
    later = NOW + flow.LIFE
    for wrong, key, now in (
        (cookie, EdgeKeys.new(), NOW),
        (cookie[:-6] + "AAAA==", edge, NOW),
        ("é", edge, NOW),
        ("", edge, NOW),
        (cookie, edge, later),
    ):
        assert fault(lambda wrong=wrong, key=key, now=now: Transaction.opened(key, wrong, now)) is Fault.NOT_OURS
    answer = {"state": begun.state, "code": "c"}
    assert flow.code(begun, "psc", answer) == "c"
    assert fault(lambda: flow.code(begun, "psc", answer | {"state": "another"})) is Fault.NOT_OURS
    assert fault(lambda: flow.code(begun, "psc", {"code": "c"})) is Fault.NOT_OURS
    assert fault(lambda: flow.code(begun, "other", answer)) is Fault.NOT_THEIRS
    assert fault(lambda: flow.code(begun, "psc", {"state": begun.state, "error": "access_denied"})) is Fault.DENIED
    assert fault(lambda: flow.code(begun, "psc", {"state": begun.state})) is Fault.MALFORMED
    assert fault(lambda: flow.code(begun, "psc", answer | {"x": "y" * 3_000})) is Fault.MALFORMED


def test_who_answered_is_who_was_asked() -> None:
    silent = Metadata.read(document(), provider())
    speaking = Metadata.read(document(authorization_response_iss_parameter_supported=True), provider())
    flow.named_itself(silent, None)
    flow.named_itself(speaking, ISSUER)
    for found, iss in ((silent, "https://evil.example"), (speaking, "https://evil.example"), (speaking, None)):
        assert fault(lambda found=found, iss=iss: flow.named_itself(found, iss)) is Fault.NOT_THEIRS


def test_nobody_is_led_elsewhere() -> None:
    for page in ("/", "/messages/1/2", "/ordonnances/abc-DEF_1", "/boites"):
        assert flow.page_of_ours(page) == page
    for page in (
        "//evil.example", "https://evil.example", "/\\evil.example", "/messages?x=1", "/a//b", "/../x", "/.", "",
        "messages", "/a\r\nX: y", "/%2f%2fevil.example", "/@evil.example", "/" + "a" * 300, "/" + "a" * 199 + "!",
    ):  # fmt: skip
        assert flow.page_of_ours(page) == "/messages"


def test_pkce_as_the_rfc_shows_it() -> None:
    # RFC 7636 Appendix B
    assert (
        flow.challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk") == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    )


def test_the_address_of_a_sign_in() -> None:
    found = Metadata.read(document(), provider())
    address = flow.address(
        found, "caducee", "openid scope_all", "eidas1", {"state": "s", "redirect_uri": "https://a/b"}
    )
    assert address.startswith(
        "https://wallet.example:8443/auth?response_type=code&client_id=caducee&scope=openid+scope_all"
    )
    assert "acr_values=eidas1" in address
    assert "code_challenge_method=S256" in address
    assert "redirect_uri=https%3A%2F%2Fa%2Fb" in address


def test_json_is_what_the_rfc_says() -> None:
    assert signed.json_object(json.dumps({"a": 1})) == {"a": 1}
    for text in ("[]", '{"a":1,"a":2}', '{"a":NaN}', "{", "[" * 100_000, b"\xff"):
        assert fault(lambda text=text: signed.json_object(text)) is Fault.MALFORMED
