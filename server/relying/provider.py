"""One identity provider, over the network: its configuration and keys kept fresh, codes exchanged, tokens asked about.

Rules: what was fetched goes on to count while the provider is down; a key that is not known is looked for at most every
RETRY seconds, so that forged tokens make us ask for nothing; nothing of a person outlives a question, but for the
answer about an access token, by its hash, for REMEMBERED seconds.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any, Final, Generic, TypeVar
from urllib.parse import quote_plus, urlencode

from server.base import clock, https
from server.base.errors import TryLater
from server.base.https import NotFetched
from server.base.limits import RECENT_SECONDS
from server.identity.oidc import claims, flow, signed, statements
from server.identity.oidc.claims import Person
from server.identity.oidc.faults import Fault, NotProven
from server.identity.oidc.metadata import Metadata
from server.identity.oidc.signed import Keys
from server.identity.oidc.statements import Expected
from server.identity.providers import Registered
from server.identity.questions import away

SECONDS: Final = 8.0  # for one answer of the provider
FRESH: Final = 3_600.0
RETRY: Final = 30.0
REMEMBERED: Final = 5.0  # a program opens several connections at once; a revocation counts within this
_REMEMBERED_AT_ONCE: Final = 5_000
_AT_ONCE: Final = 20  # exchanges with one provider: whoever floods us with tokens floods nobody else
_ANSWER: Final = 256 * 1024
_FORM: Final = "application/x-www-form-urlencoded"
T = TypeVar("T")


class Kept(Generic[T]):
    """Something of the provider's that is fetched anew when it is old; what is here counts until that succeeds."""

    def __init__(self, fetch: Callable[[], Awaitable[T]]) -> None:
        self._fetch = fetch
        self._value: T | None = None
        self._fresh_until = self._not_before = 0.0
        self._fetching: asyncio.Task[None] | None = None

    async def get(self, *, anew: bool = False) -> T:
        """`anew`: what is here does not do, so a fetch is waited for. Raises TryLater: nothing was ever fetched."""
        now = clock.monotonic()
        rests = self._fetching is None or self._fetching.done()
        if rests and now >= self._not_before and (anew or now >= self._fresh_until):
            self._not_before = now + RETRY
            self._fetching = asyncio.create_task(self._take())
        if self._fetching is not None and (anew or self._value is None):
            await asyncio.shield(self._fetching)
        if self._value is None:
            raise away()
        return self._value

    async def _take(self) -> None:
        try:
            self._value = await self._fetch()
            self._fresh_until = clock.monotonic() + FRESH
        except (NotFetched, NotProven, TryLater):
            if self._value is None:
                self._not_before = 0.0  # nothing works without it: the next question tries again


class Provider:
    """Each method raises NotProven, or TryLater(PROVIDER_AWAY)."""

    def __init__(self, registered: Registered, log: Any) -> None:
        self.name = registered.name
        self.settings = registered.provider
        self._secret = registered.secret
        self._tls = registered.tls
        self._log = log
        self._metadata = Kept(self._fetch_metadata)
        self._keys = Kept(self._fetch_keys)
        self._at_once = asyncio.Semaphore(_AT_ONCE)
        self._answers: OrderedDict[bytes, tuple[float, asyncio.Task[Person]]] = OrderedDict()

    async def begin(self, asked: Mapping[str, str]) -> str:
        """Where a sign-in begins."""
        found = await self._metadata.get()
        return flow.address(found, self.settings.client_id, self.settings.scope, self.settings.acr, asked)

    async def exchange(
        self, code: str, iss: str | None, redirect_uri: str, verifier: str, nonce: str, again: bool
    ) -> tuple[statements.Proven, Person, str]:
        """Who comes back with a code: the proof, the person, the ID token."""
        found = await self._metadata.get()
        flow.named_itself(found, iss)
        tokens = await self._posted(
            found.token,
            {
                "grant_type": "authorization_code",
                "code": code,
                "redirect_uri": redirect_uri,
                "code_verifier": verifier,
            },
        )
        id_token, access_token = tokens.get("id_token"), tokens.get("access_token")
        if not isinstance(id_token, str) or not isinstance(access_token, str):
            raise NotProven(Fault.MALFORMED)
        max_age = timedelta(seconds=RECENT_SECONDS) if again else None
        expected = self._expected(nonce, max_age)
        proven = statements.id_token(await self._claims(id_token), expected, clock.now(), access_token)
        person = await self._person(access_token)
        # OpenID Connect Core §5.3.2: else the userinfo may be somebody else's.
        if person.subject != proven.subject:
            raise NotProven(Fault.BINDING)
        return proven, person, id_token

    async def token(self, token: str) -> Person:
        """Whose access token of practice software this is."""
        name = hashlib.sha256(token.encode()).digest()
        now = clock.monotonic()
        while self._answers and (
            len(self._answers) > _REMEMBERED_AT_ONCE or next(iter(self._answers.values()))[0] <= now
        ):
            self._answers.popitem(last=False)
        if name not in self._answers:
            asking = asyncio.create_task(self._token(token))
            asking.add_done_callback(lambda done: done.cancelled() or done.exception())
            self._answers[name] = now + REMEMBERED, asking
        try:
            return await asyncio.shield(self._answers[name][1])
        except NotProven:
            raise
        except Exception:
            self._answers.pop(name, None)  # trouble is not remembered
            raise

    async def ended(self, logout_token: str) -> tuple[str, str, str, float]:
        """What a logout token says: sid, sub, jti, until."""
        found = await self._claims(logout_token)
        sid, subject, jti, until = statements.logout_token(found, self._expected(), clock.now())
        return sid, subject, jti, until.timestamp()

    async def sign_out(self) -> str:
        """Where its own session ends (OpenID Connect RP-Initiated Logout 1.0 §2); "" where it has no such place."""
        return (await self._metadata.get()).end_session

    async def _token(self, token: str) -> Person:
        expected, software = self._expected(), self.settings.software
        if token.count(".") == 2:
            # What is forged costs the provider nothing.
            statements.access_token(await self._claims(token), expected, software, clock.now())
        found = await self._metadata.get()
        if not found.introspection:
            raise away()
        answer = await self._posted(found.introspection, {"token": token, "token_type_hint": "access_token"})
        statements.introspected(answer, expected, software, clock.now())
        person = claims.person(answer)
        if person.is_professional or self.settings.kind != "professional":
            return person
        # The introspection names the person and not always what they are.
        whole = await self._person(token)
        if (whole.subject, whole.national_id) != (person.subject, person.national_id):
            raise NotProven(Fault.BINDING)
        return whole

    async def _person(self, access_token: str) -> Person:
        found = await self._metadata.get()
        headers = {"Authorization": f"Bearer {access_token}", "Accept": "application/json, application/jwt"}
        answer = await self._asked(found.userinfo, headers)
        if answer.headers.get(b"content-type", b"").split(b";")[0].strip() == b"application/jwt":
            return claims.person(await self._claims(answer.data.decode("latin-1")))
        return claims.person(signed.json_object(answer.data))

    async def _claims(self, token: str) -> Mapping[str, Any]:
        keys = await self._keys.get()
        if signed.key_name(token) not in keys.by_name:
            keys = await self._keys.get(anew=True)
        return signed.claims(token, keys)

    async def _fetch_metadata(self) -> Metadata:
        url = f"{self.settings.issuer.rstrip('/')}/{self.settings.discovery.lstrip('/')}"
        return Metadata.read(await self._document(url), self.settings)

    async def _fetch_keys(self) -> Keys:
        return Keys.read(await self._document((await self._metadata.get()).jwks))

    async def _document(self, url: str) -> dict[str, Any]:
        try:
            answer = await https.ask(url, self._tls, _ANSWER, seconds=SECONDS)
            if answer.status != 200:
                raise NotFetched(f"the server answers {answer.status}.")
            return signed.json_object(answer.data)
        except (NotFetched, NotProven) as error:
            self._log.warning("identity_provider_troubled", provider=self.name, url=url, reason=str(error))
            raise

    async def _posted(self, url: str, form: Mapping[str, str]) -> dict[str, Any]:
        """The answer to a form that we sent as the client that we are (RFC 6749 §2.3.1)."""
        pair = f"{quote_plus(self.settings.client_id)}:{quote_plus(self._secret)}"
        headers = {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode(), "Accept": "application/json"}
        answer = await self._asked(url, headers, urlencode(form).encode())
        return signed.json_object(answer.data)

    async def _asked(self, url: str, headers: Mapping[str, str], form: bytes | None = None) -> https.Answer:
        post = None if form is None else (_FORM, form)
        try:
            async with self._at_once:
                answer = await https.ask(url, self._tls, _ANSWER, headers=headers, post=post, seconds=SECONDS)
        except NotFetched as error:
            self._log.warning("identity_provider_troubled", provider=self.name, url=url, reason=str(error))
            raise away() from None
        if answer.status == 200:
            return answer
        # RFC 6749 §5.2, RFC 6750 §3.1: 400 is of the code, 401 of the token; of ourselves where we named ourselves.
        if answer.status == 400 or (answer.status in (401, 403) and form is None):
            raise NotProven(Fault.INACTIVE)
        self._log.warning("identity_provider_troubled", provider=self.name, url=url, status=answer.status)
        raise away()

    def _expected(self, nonce: str = "", max_age: timedelta | None = None) -> Expected:
        return Expected(self.settings.issuer, self.settings.client_id, self.settings.acr, nonce, max_age)
