"""A sign-in at a provider, from our redirect to its answer (OpenID Connect Core §3.1, RFC 6749 §4.1, RFC 7636).

What one sign-in needs to be known again is in a cookie of the browser that began it, encrypted: state, nonce and PKCE
verifier are random, it lives ten minutes and counts once. A callback that another browser is made to open (login CSRF),
or that comes a second time, is not ours.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlencode

from crypto.edge import EdgeKeys
from crypto.errors import CryptoError
from crypto.sealing import unwrap, wrap
from server.identity.oidc.faults import Fault, NotProven
from server.identity.oidc.metadata import Metadata

LIFE: Final = timedelta(minutes=10)  # to find one's card, or one's telephone
_CONTEXT: Final = b"sign-in at a provider 1"
_RANDOM: Final = 32
_VALUE: Final = 2_048  # characters of a value of a callback
# A page of ours: no host, no query, nothing that a browser could take for the beginning of one.
_PAGE = re.compile(r"/(?:[A-Za-z0-9_-][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*)?")


@dataclass(frozen=True, slots=True)
class Transaction:
    """One sign-in under way. `again`: somebody who is signed in proves it anew."""

    provider: str
    redirect_uri: str
    page: str
    again: bool
    until: float
    state: str = field(repr=False)
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)

    @classmethod
    def begin(cls, provider: str, redirect_uri: str, page: str, now: datetime, *, again: bool = False) -> Transaction:
        """A new one; it leads to `page` in the end."""
        drawn = [secrets.token_urlsafe(_RANDOM) for _ in range(3)]
        return cls(provider, redirect_uri, page_of_ours(page), again, (now + LIFE).timestamp(), *drawn)

    def sealed(self, edge: EdgeKeys) -> str:
        """For the cookie."""
        return base64.urlsafe_b64encode(wrap(_key(edge), json.dumps(asdict(self)).encode(), _CONTEXT)).decode()

    @classmethod
    def opened(cls, edge: EdgeKeys, cookie: str, now: datetime) -> Transaction:
        """Out of the cookie. Raises NotProven NOT_OURS."""
        try:
            found = cls(**json.loads(unwrap(_key(edge), base64.urlsafe_b64decode(cookie), _CONTEXT)))
        except (CryptoError, ValueError, TypeError):
            raise NotProven(Fault.NOT_OURS) from None
        if found.until <= now.timestamp():
            raise NotProven(Fault.NOT_OURS)
        return found


def address(found: Metadata, client_id: str, scope: str, acr: str, asked: Mapping[str, str]) -> str:
    """Where the browser is sent. `asked`: redirect_uri, state, nonce, code_challenge and, to prove it anew, prompt."""
    values = {
        "response_type": "code",
        "client_id": client_id,
        "scope": scope,
        "acr_values": acr,
        "code_challenge_method": "S256",
        **asked,
    }
    return f"{found.authorization}{'&' if '?' in found.authorization else '?'}{urlencode(values)}"


def challenge(verifier: str) -> str:
    """RFC 7636 §4.2, S256."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def code(begun: Transaction, provider: str, query: Mapping[str, str]) -> str:
    """The code of a callback that came to `provider`'s own address. Raises NotProven."""
    if any(len(value) > _VALUE for value in query.values()):
        raise NotProven(Fault.MALFORMED)
    if not hmac.compare_digest(query.get("state", "").encode(), begun.state.encode()):
        raise NotProven(Fault.NOT_OURS)
    if provider != begun.provider:
        raise NotProven(Fault.NOT_THEIRS)
    if "error" in query:
        raise NotProven(Fault.DENIED)
    if not query.get("code"):
        raise NotProven(Fault.MALFORMED)
    return query["code"]


def named_itself(found: Metadata, iss: str | None) -> None:
    """RFC 9207 §2.4: who answered is who was asked. Raises NotProven NOT_THEIRS."""
    if iss != found.issuer if iss is not None else found.names_itself:
        raise NotProven(Fault.NOT_THEIRS)


def page_of_ours(page: str) -> str:
    """`page` where it is a path of this site, else the messages: nobody is led elsewhere."""
    return page if len(page) <= 200 and _PAGE.fullmatch(page) else "/messages"


def _key(edge: EdgeKeys) -> bytes:
    return hmac.digest(edge.credential, _CONTEXT, hashlib.sha256)
