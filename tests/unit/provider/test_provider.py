"""The provider's rules without HTTP, with a clock that tests turn."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, quote_plus, urlsplit

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from server.provider.authorization import ToBeRedirected, read_parameters, read_request
from server.provider.keys import KEY_LIFE, SigningKeys
from server.provider.model import KEPT, Client, Person, ProtocolError, Shelf
from server.provider.provider import CIBA_GRANT, Provider
from server.provider.tokens import LOGOUT_EVENT

NOW = datetime(2026, 11, 26, 8, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
ISSUER = "https://localhost:1/auth/realms/esante-wallet"
DOCTOR = Person("810000000017", "MARTIN", "Aline", profession="10")
STUDENT = Person("899000000044", "APPRENTI", "Sacha")
URI = "https://web.example/retour?a=b"
WEB = Client("web", "Web", "s:+ é", (URI,), ("https://web.example/",), "https://web.example/fin")
SOFTWARE = Client("logiciel", "Logiciel", "other", ciba=True)
CLIENTS = {client.client_id: client for client in (WEB, SOFTWARE)}
VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
GOOD = {
    "client_id": "web",
    "redirect_uri": URI,
    "response_type": "code",
    "scope": "openid",
    "state": "s",
    "nonce": "n",
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
}
KEYS = SigningKeys(NOW)  # two RSA keys take a moment to make


@pytest.fixture
def people() -> dict[str, Person]:
    return {person.national_id: person for person in (DOCTOR, STUDENT)}


@pytest.fixture
def provider(people: dict[str, Person]) -> Provider:
    return Provider(ISSUER, CLIENTS, lambda: people, KEYS)


def asked(**changes: str) -> Mapping[str, str]:
    return {name: value for name, value in (GOOD | changes).items() if value}


def signed_in(provider: Provider, now: datetime = NOW, person: Person = DOCTOR, **changes: str) -> tuple[str, str]:
    """Cookie and code of a sign-in."""
    name = provider.hold(read_request(asked(**changes), CLIENTS), now)
    cookie, place = provider.sign_in(name, person.national_id, "eidas1", now)
    return cookie, code_in(place)


def code_in(place: str | None) -> str:
    assert place is not None
    assert place.startswith(URI + "&")
    found = parse_qs(urlsplit(place).query)
    assert (found["iss"], found["state"]) == ([ISSUER], ["s"])
    return found["code"][0]


def redeem(provider: Provider, code: str, now: datetime = NOW, client: Client = WEB, **changes: str) -> dict[str, Any]:
    given = {"grant_type": "authorization_code", "code": code, "redirect_uri": URI, "code_verifier": VERIFIER}
    return provider.token(client, given | changes, now)


def refused(error: str) -> Any:
    """A ProtocolError of this kind is raised."""
    return pytest.raises(ProtocolError, check=lambda raised: raised.error == error)


def claims(token: str) -> dict[str, Any]:
    return dict(jwt.decode(token, KeySet.import_key_set(KEYS.public()), ["RS256"]).claims)


# The authorization request


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"client_id": "stranger"}, "invalid_client"),
        ({"client_id": ""}, "invalid_client"),
        ({"redirect_uri": ""}, "invalid_request"),
        ({"redirect_uri": "https://web.example/retour?a=b#"}, "invalid_request"),
        ({"redirect_uri": "https://web.example/retour"}, "invalid_request"),
        ({"redirect_uri": "https://web.example.evil/retour?a=b"}, "invalid_request"),
        ({"state": "x" * 1_001}, "invalid_request"),
    ],
)
def test_an_error_leads_nowhere_until_client_and_address_are_known(change: dict[str, str], error: str) -> None:
    with refused(error) as raised:
        read_request(asked(**change), CLIENTS)
    assert not isinstance(raised.value, ToBeRedirected)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_mode": "form_post"}, "invalid_request"),
        ({"scope": "profile"}, "invalid_scope"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": ""}, "invalid_request"),
        ({"code_challenge": ""}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"prompt": "none login"}, "invalid_request"),
        ({"prompt": "later"}, "invalid_request"),
        ({"max_age": "-1"}, "invalid_request"),
        ({"request": "e30.e30."}, "request_not_supported"),
        ({"request_uri": "https://evil.example"}, "request_uri_not_supported"),
        ({"nonce": "n" * 1_001}, "invalid_request"),
    ],
)
def test_a_client_is_told_what_is_wrong(change: dict[str, str], error: str) -> None:
    with refused(error) as raised:
        read_request(asked(**change), CLIENTS)
    assert isinstance(raised.value, ToBeRedirected)
    assert (raised.value.redirect_uri, raised.value.state) == (URI, "s")


@pytest.mark.parametrize("text", [b"a=1&a=1", b"a=%ff", "a=é".encode(), b"&".join([b"a=1"] * 31)])
def test_parameters_are_read_strictly(text: bytes) -> None:
    with refused("invalid_request"):
        read_parameters(text)


def test_a_parameter_without_a_value_is_absent() -> None:
    assert read_parameters(b"a=&b=%C3%A9") == {"b": "é"}


# Sessions


def test_who_is_signed_in_is_not_asked_again(provider: Provider) -> None:
    cookie, _ = signed_in(provider)
    session = provider.session(cookie, NOW)
    code_in(provider.authorize(read_request(asked(), CLIENTS), session, NOW))
    code_in(provider.authorize(read_request(asked(prompt="none", max_age="60"), CLIENTS), session, NOW + 59 * SECOND))


@pytest.mark.parametrize("change", [{"prompt": "login"}, {"max_age": "60"}, {"max_age": "0"}, {"acr_values": "eidas3"}])
def test_who_must_prove_it_again_is_asked(provider: Provider, change: dict[str, str]) -> None:
    cookie, _ = signed_in(provider)
    later = NOW + 60 * SECOND
    assert provider.authorize(read_request(asked(**change), CLIENTS), provider.session(cookie, later), later) is None


def test_a_new_proof_has_a_new_moment(provider: Provider) -> None:
    signed_in(provider)
    _, code = signed_in(provider, NOW + 60 * SECOND, prompt="login")
    said = claims(redeem(provider, code, NOW + 61 * SECOND)["id_token"])
    assert said["auth_time"] == int(NOW.timestamp()) + 60


def test_without_a_session_nothing_is_shown_when_nothing_may_be(provider: Provider) -> None:
    with refused("login_required"):
        provider.authorize(read_request(asked(prompt="none"), CLIENTS), None, NOW)


def test_a_level_below_the_one_asked_for_is_refused(provider: Provider) -> None:
    name = provider.hold(read_request(asked(acr_values="eidas3"), CLIENTS), NOW)
    with refused("invalid_request"):
        provider.sign_in(name, DOCTOR.national_id, "eidas1", NOW)


def test_a_request_is_answered_once_and_in_time(provider: Provider) -> None:
    name = provider.hold(read_request(asked(), CLIENTS), NOW)
    provider.cancel(name, NOW)
    late = provider.hold(read_request(asked(), CLIENTS), NOW)
    for one, moment in ((name, NOW), (late, NOW + timedelta(minutes=10))):
        with refused("invalid_request"):
            provider.sign_in(one, DOCTOR.national_id, "eidas1", moment)


def test_nobody_signs_in_who_is_not_known(provider: Provider) -> None:
    name = provider.hold(read_request(asked(), CLIENTS), NOW)
    with refused("access_denied"):
        provider.sign_in(name, "899000000051", "eidas3", NOW)


# Codes


def test_a_code_gives_tokens(provider: Provider) -> None:
    _, code = signed_in(provider)
    tokens = redeem(provider, code)
    said = claims(tokens["id_token"])
    assert (said["aud"], said["nonce"], said["acr"], said["sid"]) == ("web", "n", "eidas1", tokens["session_state"])
    assert claims(tokens["access_token"])["SubjectNameID"] == DOCTOR.national_id


@pytest.mark.parametrize(
    ("change", "client", "seconds"),
    [
        ({"code_verifier": "w" * 43}, WEB, 0),
        ({"code_verifier": ""}, WEB, 0),
        ({"code_verifier": CHALLENGE}, WEB, 0),
        ({"redirect_uri": "https://web.example/"}, WEB, 0),
        ({"redirect_uri": ""}, WEB, 0),
        ({}, SOFTWARE, 0),
        ({}, WEB, 60),
    ],
)
def test_a_code_that_does_not_hold(provider: Provider, change: dict[str, str], client: Client, seconds: int) -> None:
    _, code = signed_in(provider)
    with refused("invalid_grant"):
        redeem(provider, code, NOW + seconds * SECOND, client, **change)


def test_a_code_is_not_guessed(provider: Provider) -> None:
    with refused("invalid_grant"):
        redeem(provider, "guess")


def test_a_second_use_takes_back_what_the_first_gave(provider: Provider) -> None:
    _, code = signed_in(provider)
    tokens = redeem(provider, code)
    assert provider.tokens.introspect(tokens["access_token"], NOW)["active"]
    with refused("invalid_grant"):
        redeem(provider, code, NOW + 90 * SECOND)
    assert provider.tokens.introspect(tokens["access_token"], NOW) == {"active": False}
    assert provider.tokens.introspect(tokens["refresh_token"], NOW) == {"active": False}
    with refused("invalid_token"):
        provider.tokens.userinfo(tokens["access_token"], NOW)


def test_a_wrong_try_uses_a_code_up(provider: Provider) -> None:
    _, code = signed_in(provider)
    with refused("invalid_grant"):
        redeem(provider, code, code_verifier="w" * 43)
    with refused("invalid_grant"):
        redeem(provider, code)


# Tokens


def test_an_access_token_counts_for_two_minutes(provider: Provider) -> None:
    token = redeem(provider, signed_in(provider)[1])["access_token"]
    assert provider.tokens.introspect(token, NOW + 119 * SECOND)["active"]
    assert provider.tokens.introspect(token, NOW + 120 * SECOND) == {"active": False}


def test_a_refresh_token_is_used_once(provider: Provider) -> None:
    def refresh(token: str, client: Client = WEB, now: datetime = NOW) -> dict[str, Any]:
        return provider.token(client, {"grant_type": "refresh_token", "refresh_token": token}, now)

    first = redeem(provider, signed_in(provider)[1])
    with refused("invalid_grant"):
        refresh(first["refresh_token"], SOFTWARE)
    second = refresh(first["refresh_token"], now=NOW + timedelta(hours=1))
    with refused("invalid_grant"):
        refresh(first["refresh_token"])
    with refused("invalid_grant"):  # whoever had it, both have lost it
        refresh(second["refresh_token"])


def test_introspection_names_the_person_for_an_access_token_alone(provider: Provider) -> None:
    tokens = redeem(provider, signed_in(provider)[1])
    said = provider.tokens.introspect(tokens["access_token"], NOW)
    assert (said["SubjectNameID"], said["azp"], said["acr"]) == (DOCTOR.national_id, "web", "eidas1")
    assert said["otherIds"] == [{"identifiant": DOCTOR.national_id, "origine": "RPPS", "qualite": 1}]
    assert "SubjectNameID" not in provider.tokens.introspect(tokens["refresh_token"], NOW)


def test_an_identity_token_is_no_access_token(provider: Provider) -> None:
    tokens = redeem(provider, signed_in(provider)[1])
    assert provider.tokens.introspect(tokens["id_token"], NOW) == {"active": False}
    for token in (tokens["id_token"], "", "e30.e30.e30", tokens["access_token"][:-6] + "AAAAAA"):
        with refused("invalid_token"):
            provider.tokens.userinfo(token, NOW)


def test_who_is_taken_off_the_list_has_no_token_any_more(provider: Provider, people: dict[str, Person]) -> None:
    token = redeem(provider, signed_in(provider)[1])["access_token"]
    del people[DOCTOR.national_id]
    assert provider.tokens.introspect(token, NOW) == {"active": False}


def test_keys_change_and_the_former_stays_published() -> None:
    keys = SigningKeys(NOW)
    before = keys.sign({"a": 1}, NOW)
    after = keys.sign({"a": 2}, NOW + KEY_LIFE)
    published = KeySet.import_key_set(keys.public())
    assert [jwt.decode(one, published, ["RS256"]).claims["a"] for one in (before, after)] == [1, 2]
    assert all("d" not in key for key in keys.public()["keys"])
    keys.rotate(NOW)
    assert keys.verify(before) is None


@pytest.mark.parametrize("token", ["", "a.b.c", "..", "e30.e30.e30", "é", '{"a":1}'])
def test_what_is_no_token_is_nobodys(token: str) -> None:
    assert KEYS.verify(token) is None


# Clients


def basic(name: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{quote_plus(name)}:{quote_plus(secret)}".encode()).decode()


def test_a_client_proves_itself(provider: Provider) -> None:
    assert provider.authenticate(basic("web", WEB.secret)) is WEB


@pytest.mark.parametrize(
    "header",
    ["", "Basic", "Basic !", basic("web", ""), basic("web", "other"), basic("x", ""), "Bearer " + basic("web", "s")],
)
def test_a_client_that_does_not_is_refused(provider: Provider, header: str) -> None:
    with refused("invalid_client"):
        provider.authenticate(header)


@pytest.mark.parametrize("kind", ["password", "client_credentials", "implicit", CIBA_GRANT, ""])
def test_other_grants_are_not_served(provider: Provider, kind: str) -> None:
    with refused("unsupported_grant_type"):
        provider.token(WEB, {"grant_type": kind}, NOW)


# CIBA


def ask(provider: Provider, client: Client = SOFTWARE, now: datetime = NOW, **changes: str) -> str:
    given = {"scope": "openid", "login_hint": DOCTOR.national_id, "binding_message": "K7-42"} | changes
    return str(provider.ask(client, {name: value for name, value in given.items() if value}, now)["auth_req_id"])


def poll(provider: Provider, name: str, now: datetime, client: Client = SOFTWARE) -> dict[str, Any]:
    return provider.token(client, {"grant_type": CIBA_GRANT, "auth_req_id": name}, now)


def test_a_person_agrees_on_the_telephone(provider: Provider) -> None:
    name = ask(provider, acr_values="eidas2")
    assert [one.message for one in provider.waiting(DOCTOR.national_id, NOW)] == ["K7-42"]
    with refused("authorization_pending"):
        poll(provider, name, NOW)
    provider.decide(DOCTOR.national_id, name, True, NOW)
    tokens = poll(provider, name, NOW + SECOND)
    said = claims(tokens["id_token"])
    assert (said["aud"], said["azp"], said["acr"]) == ("logiciel", "logiciel", "eidas2")
    with refused("invalid_grant"):
        poll(provider, name, NOW + 2 * SECOND)
    assert provider.waiting(DOCTOR.national_id, NOW) == []


def test_who_asks_too_fast_is_slowed_down(provider: Provider) -> None:
    name = ask(provider)
    for seconds, error in (
        (0.0, "authorization_pending"),
        (0.5, "slow_down"),
        (5.0, "slow_down"),
        (17, "authorization_pending"),
    ):
        with refused(error):
            poll(provider, name, NOW + seconds * SECOND)


def test_who_does_not_answer_or_refuses_is_not_signed_in(provider: Provider) -> None:
    late, no = ask(provider), ask(provider)
    provider.decide(DOCTOR.national_id, no, False, NOW)
    with refused("access_denied"):
        poll(provider, no, NOW)
    with refused("invalid_request"):
        provider.decide(DOCTOR.national_id, late, True, NOW + timedelta(minutes=2))
    with refused("expired_token"):
        poll(provider, late, NOW + timedelta(minutes=2))


def test_nobody_agrees_for_another(provider: Provider) -> None:
    name = ask(provider)
    with refused("invalid_request"):
        provider.decide(STUDENT.national_id, name, True, NOW)


@pytest.mark.parametrize(
    ("change", "client", "error"),
    [
        ({}, WEB, "unauthorized_client"),
        ({"scope": "profile"}, SOFTWARE, "invalid_scope"),
        ({"login_hint": ""}, SOFTWARE, "invalid_request"),
        ({"id_token_hint": "x"}, SOFTWARE, "invalid_request"),
        ({"login_hint": "899000000051"}, SOFTWARE, "unknown_user_id"),
        ({"binding_message": "x" * 65}, SOFTWARE, "invalid_binding_message"),
        ({"binding_message": "a\nb"}, SOFTWARE, "invalid_binding_message"),
    ],
)
def test_what_cannot_be_asked(provider: Provider, change: dict[str, str], client: Client, error: str) -> None:
    with refused(error):
        ask(provider, client, **change)


# Logout


def test_a_logout_ends_all_and_tells_the_clients(provider: Provider) -> None:
    cookie, code = signed_in(provider)
    tokens = redeem(provider, code)
    given = {"id_token_hint": tokens["id_token"], "post_logout_redirect_uri": "https://web.example/", "state": "é"}
    ended = provider.log_out(given, cookie, False, NOW + timedelta(hours=1))
    assert ended is not None
    assert ended.redirect == "https://web.example/?state=%C3%A9"
    [(uri, notice)] = ended.notices
    said = claims(notice)
    assert (uri, said["aud"], said["sid"]) == (WEB.backchannel_logout_uri, "web", tokens["session_state"])
    assert said["events"] == {LOGOUT_EVENT: {}}
    assert "nonce" not in said
    assert provider.session(cookie, NOW) is None
    assert provider.tokens.introspect(tokens["access_token"], NOW) == {"active": False}
    with refused("invalid_grant"):
        provider.token(WEB, {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}, NOW)


def test_what_was_given_before_a_logout_gives_nothing_after_it(provider: Provider) -> None:
    cookie, code = signed_in(provider)
    name = ask(provider)
    provider.decide(DOCTOR.national_id, name, True, NOW)
    provider.log_out({}, cookie, True, NOW)
    with refused("invalid_grant"):
        redeem(provider, code)
    poll(provider, name, NOW)  # of another session


def test_a_logout_leads_nowhere_that_is_not_registered(provider: Provider) -> None:
    hint = redeem(provider, signed_in(provider)[1])["id_token"]
    elsewhere = {"post_logout_redirect_uri": "https://evil.example/"}
    home = {"post_logout_redirect_uri": "https://web.example/"}
    for given in (
        {"id_token_hint": hint} | elsewhere,
        elsewhere,
        home,  # of whom, nobody knows
        {"id_token_hint": "e30.e30.e30"} | home,
        {"id_token_hint": hint, "client_id": "logiciel"} | home,
    ):
        with refused("invalid_request"):
            provider.log_out(given, "", True, NOW)


def test_without_a_hint_the_person_is_asked(provider: Provider) -> None:
    cookie, _ = signed_in(provider)
    assert provider.log_out({}, cookie, False, NOW) is None
    assert provider.session(cookie, NOW) is not None
    known = {"client_id": "web", "post_logout_redirect_uri": "https://web.example/"}
    assert provider.log_out(known, cookie, False, NOW) is None
    ended = provider.log_out(known, cookie, True, NOW)
    assert ended is not None
    assert ended.redirect == "https://web.example/"
    assert provider.session(cookie, NOW) is None


def test_what_is_kept_is_bounded() -> None:
    shelf: Shelf[int] = Shelf(60 * SECOND)
    for number in range(KEPT + 1):
        shelf.put(str(number), number, NOW)
    assert (shelf.get("0", NOW), shelf.get("1", NOW), len(shelf.all(NOW))) == (None, 1, KEPT)
    shelf.put("new", 1, NOW + 60 * SECOND)
    assert shelf.all(NOW + 60 * SECOND) == [1]
