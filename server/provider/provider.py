"""The provider without HTTP: sessions, codes, tokens, CIBA, logout. Time is an argument, refusals are ProtocolError.

Rules:
- What is secret is 256 random bits, and is found by name: nothing is compared that an attacker could time.
- A code or refresh token used twice takes back all that came of it (RFC 6749 §4.1.2, RFC 9700 §4.14.2).
- An access token counts while its two minutes last and its grant stands, wherever it is shown.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import unquote_plus, urlencode

from server.provider.authorization import AuthorizationRequest, ToBeRedirected, answer, reaches, wanted_acr
from server.provider.keys import SigningKeys
from server.provider.model import (
    ACCESS_LIFE,
    CIBA_INTERVAL,
    CIBA_LIFE,
    CODE_LIFE,
    PENDING_LIFE,
    SESSION_LIFE,
    Backchannel,
    Client,
    Code,
    Grant,
    Person,
    ProtocolError,
    Session,
    Shelf,
)
from server.provider.tokens import Tokens, base64url, secret

CIBA_GRANT: Final = "urn:openid:params:grant-type:ciba"
MESSAGE: Final = 64  # characters that fit on a telephone's screen
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}", re.ASCII)  # RFC 7636 §4.1


@dataclass(frozen=True, slots=True)
class LoggedOut:
    """What a logout ended: where the browser may go, and the logout tokens to post, by address."""

    redirect: str | None
    notices: tuple[tuple[str, str], ...]


class Provider:
    """One issuer. `people` is asked each time, so that who was added can sign in at once."""

    def __init__(
        self, issuer: str, clients: Mapping[str, Client], people: Callable[[], Mapping[str, Person]], keys: SigningKeys
    ) -> None:
        self.issuer = issuer
        self.clients = clients
        self.people = people
        self.keys = keys
        self.tokens = Tokens(issuer, people, keys, self._stands)
        self._sessions: Shelf[Session] = Shelf(SESSION_LIFE)
        self._pending: Shelf[AuthorizationRequest] = Shelf(PENDING_LIFE)
        self._codes: Shelf[Code] = Shelf(ACCESS_LIFE + CODE_LIFE)  # past its minute only to see a second use
        self._backchannel: Shelf[Backchannel] = Shelf(2 * CIBA_LIFE)  # past its end to say "expired"

    # Sign-in

    def session(self, cookie: str, now: datetime) -> Session | None:
        """The session of a browser, which knows it by a secret whose digest is the `sid`."""
        return self._sessions.get(_sid(cookie), now)

    def authorize(self, request: AuthorizationRequest, session: Session | None, now: datetime) -> str | None:
        """Where to go with a code at once; None when the person must be asked first. Raises ToBeRedirected."""
        if session is not None and not self._must_ask(request, session, now):
            return self._code(request, session, now)
        if "none" in request.prompt:
            raise ToBeRedirected("login_required", "Nobody is signed in.", request.redirect_uri, request.state)
        return None

    def _must_ask(self, request: AuthorizationRequest, session: Session, now: datetime) -> bool:
        if request.prompt & {"login", "consent", "select_account"} or not reaches(session.acr, request.acr):
            return True
        # OpenID Connect Core §3.1.2.1: max_age=0 is as good as prompt=login
        return request.max_age is not None and now - session.auth_time >= timedelta(seconds=request.max_age)

    def hold(self, request: AuthorizationRequest, now: datetime) -> str:
        """Keep a request while the person chooses; its secret name."""
        name = secret()
        self._pending.put(name, request, now)
        return name

    def sign_in(self, name: str, national_id: str, acr: str, now: datetime) -> tuple[str, str]:
        """The person has chosen: the browser's new secret, and where it goes with the code. Raises ProtocolError."""
        request = self._pending.take(name, now)
        if request is None or not reaches(acr, request.acr):
            raise ProtocolError("invalid_request", "This request has ended.")
        cookie = secret()
        session = self._new_session(_sid(cookie), national_id, acr, now)
        return cookie, self._code(request, session, now)

    def cancel(self, name: str, now: datetime) -> str:
        """The person goes back: where the browser goes. Raises ProtocolError."""
        request = self._pending.take(name, now)
        if request is None:
            raise ProtocolError("invalid_request", "This request has ended.")
        return answer(request.redirect_uri, self.issuer, request.state, error="access_denied")

    def _new_session(self, sid: str, national_id: str, acr: str, now: datetime) -> Session:
        if national_id not in self.people():
            raise ProtocolError("access_denied", "Nobody of this name can sign in.", 403)
        session = Session(sid, national_id, now, acr)
        self._sessions.put(sid, session, now)
        return session

    def _code(self, request: AuthorizationRequest, session: Session, now: datetime) -> str:
        session.clients.add(request.client.client_id)
        code = secret()
        grant = Grant(request.client, session, request.scope, request.nonce)
        self._codes.put(code, Code(grant, request.redirect_uri, request.challenge, now + CODE_LIFE), now)
        return answer(request.redirect_uri, self.issuer, request.state, code=code)

    # Tokens

    def authenticate(self, header: str) -> Client:
        """The client of an Authorization header (client_secret_basic). Raises ProtocolError(invalid_client)."""
        scheme, _, encoded = header.partition(" ")
        try:
            pair = base64.b64decode(encoded.strip(), validate=True).decode("ascii")
        except (binascii.Error, ValueError):
            pair = ""
        # RFC 6749 §2.3.1: both are form-encoded before they are joined
        name, _, shown = pair.partition(":")
        client = self.clients.get(unquote_plus(name))
        expected = client.secret if client is not None else secret()
        given = unquote_plus(shown).encode("utf-8", "surrogatepass")
        right = hmac.compare_digest(expected.encode(), given)
        if scheme.lower() != "basic" or client is None or not right:
            raise ProtocolError("invalid_client", "The client is not who it says.", 401)
        return client

    def token(self, client: Client, given: Mapping[str, str], now: datetime) -> dict[str, Any]:
        """The token endpoint's answer (RFC 6749 §5.1). Raises ProtocolError."""
        kind = given.get("grant_type")
        if kind == "authorization_code":
            grant = self._redeem(client, given, now)
        elif kind == "refresh_token":
            grant = self.tokens.refreshed(client, given.get("refresh_token", ""), now)
        elif kind == CIBA_GRANT and client.ciba:
            grant = self._agreed(client, given.get("auth_req_id", ""), now)
        else:
            raise ProtocolError("unsupported_grant_type", "This grant is not served to this client.")
        if not self._stands(grant, now):
            raise ProtocolError("invalid_grant", "The session has ended.")
        return self.tokens.issue(grant, now)

    def _redeem(self, client: Client, given: Mapping[str, str], now: datetime) -> Grant:
        code = self._codes.get(given.get("code", ""), now)
        verifier = given.get("code_verifier", "")
        if code is None or code.grant.client is not client:
            raise ProtocolError("invalid_grant", "There is no such code.")
        if code.used:
            code.grant.revoked = True
        right = _VERIFIER.fullmatch(verifier) and hmac.compare_digest(_s256(verifier), code.challenge)
        first, code.used = not code.used, True  # a wrong try uses it up too
        if not (first and right and code.until > now and given.get("redirect_uri") == code.redirect_uri):
            raise ProtocolError("invalid_grant", "This code does not hold.")
        return code.grant

    def _stands(self, grant: Grant, now: datetime) -> bool:
        there = self._sessions.get(grant.session.sid, now) is grant.session
        return there and not grant.revoked and grant.session.national_id in self.people()

    # CIBA

    def ask(self, client: Client, given: Mapping[str, str], now: datetime) -> dict[str, Any]:
        """Ask a person on the telephone (CIBA Core §7.1, poll mode). Raises ProtocolError."""
        if not client.ciba:
            raise ProtocolError("unauthorized_client", "CIBA is not open to this client.")
        if "openid" not in given.get("scope", "").split():
            raise ProtocolError("invalid_scope", "The scope must hold openid.")
        if sum(name in given for name in ("login_hint", "login_hint_token", "id_token_hint")) != 1:
            raise ProtocolError("invalid_request", "One hint is needed, and no more.")
        national_id = given.get("login_hint", "")
        if national_id not in self.people():
            raise ProtocolError("unknown_user_id", "Nobody of this number can sign in.")
        message = given.get("binding_message", "")
        if len(message) > MESSAGE or not message.isprintable():
            raise ProtocolError("invalid_binding_message", "The message is too long, or cannot be shown.")
        asked = Backchannel(
            auth_req_id=secret(),
            client=client,
            national_id=national_id,
            scope=given["scope"],
            acr=wanted_acr(given.get("acr_values", "").split()),
            message=message,
            until=now + CIBA_LIFE,
            interval=CIBA_INTERVAL,
        )
        self._backchannel.put(asked.auth_req_id, asked, now)
        seconds = int(CIBA_LIFE.total_seconds())
        return {"auth_req_id": asked.auth_req_id, "expires_in": seconds, "interval": CIBA_INTERVAL}

    def waiting(self, national_id: str, now: datetime) -> list[Backchannel]:
        """What a person is asked on the telephone."""
        return [
            asked
            for asked in self._backchannel.all(now)
            if asked.national_id == national_id and asked.until > now and not asked.refused and asked.session is None
        ]

    def decide(self, national_id: str, auth_req_id: str, agrees: bool, now: datetime) -> None:
        """The person's word. Raises ProtocolError when this person is not asked that."""
        asked = next((one for one in self.waiting(national_id, now) if one.auth_req_id == auth_req_id), None)
        if asked is None:
            raise ProtocolError("invalid_request", "This request has ended.")
        if agrees:
            asked.session = self._new_session(_sid(secret()), national_id, asked.acr, now)
            asked.session.clients.add(asked.client.client_id)
        else:
            asked.refused = True

    def _agreed(self, client: Client, auth_req_id: str, now: datetime) -> Grant:
        """CIBA Core §11: pending, too fast, expired, refused, or the grant, once."""
        asked = self._backchannel.get(auth_req_id, now)
        if asked is None or asked.client is not client:
            raise ProtocolError("invalid_grant", "There is no such request.")
        if asked.until <= now:
            raise ProtocolError("expired_token", "The person did not answer in time.")
        if asked.refused:
            raise ProtocolError("access_denied", "The person refused.")
        if asked.session is None:
            fast = asked.polled_at is not None and now - asked.polled_at < timedelta(seconds=asked.interval)
            asked.polled_at = now
            if fast:
                asked.interval += 5
                raise ProtocolError("slow_down", "Five seconds more between questions.")
            raise ProtocolError("authorization_pending", "The person has not answered yet.")
        self._backchannel.take(auth_req_id, now)
        return Grant(client, asked.session, asked.scope)

    # Logout

    def log_out(self, given: Mapping[str, str], cookie: str, confirmed: bool, now: datetime) -> LoggedOut | None:
        """End a session (OpenID Connect RP-Initiated Logout §2); None when the person must confirm first.

        Raises ProtocolError: the hint is none of ours, or the address is not registered for its client.
        """
        hint, uri = given.get("id_token_hint"), given.get("post_logout_redirect_uri")
        claims = self.keys.verify(hint) if hint else {}
        if claims is None or (hint and (claims.get("typ") != "ID" or claims.get("iss") != self.issuer)):
            raise ProtocolError("invalid_request", "The hint is no token of this provider.")
        name = str(claims.get("aud", given.get("client_id")))
        if given.get("client_id", name) != name:
            raise ProtocolError("invalid_request", "The hint is of another client.")
        client = self.clients.get(name)
        if uri is not None and (client is None or uri not in client.post_logout_redirect_uris):
            raise ProtocolError("invalid_request", "This address is not registered for the client.")
        if not hint and not confirmed:
            return None
        ended = self._sessions.take(str(claims["sid"]) if hint else _sid(cookie), now)
        notices = () if ended is None else self._notices(ended, now)
        if uri is not None and "state" in given:
            uri = f"{uri}{'&' if '?' in uri else '?'}{urlencode({'state': given['state']})}"
        return LoggedOut(uri, notices)

    def _notices(self, session: Session, now: datetime) -> tuple[tuple[str, str], ...]:
        """A logout token for each client that has an address for it."""
        told = (self.clients[name] for name in sorted(session.clients))
        return tuple(
            (client.backchannel_logout_uri, self.tokens.logout(client, session, now))
            for client in told
            if client.backchannel_logout_uri
        )


def _sid(cookie: str) -> str:
    return base64url(hashlib.sha256(b"sid\0" + cookie.encode("utf-8", "surrogatepass")).digest())


def _s256(verifier: str) -> str:
    return base64url(hashlib.sha256(verifier.encode()).digest())
