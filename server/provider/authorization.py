"""The authorization request, read strictly: a pure function of its parameters and the registered clients.

Rules:
- Until client and redirect address are known for good, an error is shown here and leads nowhere (RFC 6749 §4.1.2.1).
- A parameter stands once (RFC 6749 §3.1); PKCE is S256 and nothing else (RFC 7636 §4.3, RFC 9700 §2.1.1).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, urlencode

from server.provider.model import Client, ProtocolError

PARAMETERS: Final = 30  # a request of Pro Santé Connect's shape has ten
VALUE: Final = 1_000  # characters of state, nonce and the like
ACR: Final = ("eidas1", "eidas2", "eidas3")  # ascending
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)  # RFC 7636 §4.2: of SHA-256
_SECONDS = re.compile(r"[0-9]{1,9}", re.ASCII)
_PROMPTS = frozenset({"none", "login", "consent", "select_account"})


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """A request that may be answered at `redirect_uri`."""

    client: Client
    redirect_uri: str
    scope: str
    challenge: str
    state: str | None = None
    nonce: str = ""
    acr: str = ACR[0]
    prompt: frozenset[str] = frozenset()
    max_age: int | None = None
    login_hint: str = ""


class ToBeRedirected(ProtocolError):
    """An error that the client is told at its redirect address."""

    def __init__(self, error: str, description: str, redirect_uri: str, state: str | None) -> None:
        super().__init__(error, description)
        self.redirect_uri = redirect_uri
        self.state = state


def read_parameters(text: bytes) -> dict[str, str]:
    """The parameters of a query or a form, each once. Raises ProtocolError(invalid_request)."""
    try:
        pairs = parse_qsl(
            text.decode("ascii"), keep_blank_values=True, max_num_fields=PARAMETERS, errors="strict", separator="&"
        )
    except ValueError:  # also what is no UTF-8
        raise ProtocolError("invalid_request", "These are no parameters.") from None
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ProtocolError("invalid_request", "A parameter stands twice.")
    # RFC 6749 §3.1: a parameter without a value is as good as absent
    return {name: value for name, value in found.items() if value}


def read_request(given: Mapping[str, str], clients: Mapping[str, Client]) -> AuthorizationRequest:
    """Raises ToBeRedirected where the client can be told, ProtocolError where only the person can."""
    client = clients.get(given.get("client_id", ""))
    if client is None:
        raise ProtocolError("invalid_client", "No client of this name is registered.")
    redirect_uri = given.get("redirect_uri", "")
    if redirect_uri not in client.redirect_uris:
        raise ProtocolError("invalid_request", "This redirect address is not registered.")
    state = given.get("state")
    if state is not None and len(state) > VALUE:
        raise ProtocolError("invalid_request", "The state is too long.")

    def refuse(error: str, description: str) -> ToBeRedirected:
        return ToBeRedirected(error, description, redirect_uri, state)

    for name in ("request", "request_uri"):  # OpenID Connect Core §6: refused when not supported
        if name in given:
            raise refuse(f"{name}_not_supported", f"{name} is not supported.")
    if given.get("response_type") != "code":
        raise refuse("unsupported_response_type", "Only response_type=code is served.")
    if given.get("response_mode", "query") != "query":
        raise refuse("invalid_request", "Only response_mode=query is served.")
    if "openid" not in given.get("scope", "").split():
        raise refuse("invalid_scope", "The scope must hold openid.")
    if given.get("code_challenge_method") != "S256" or not _CHALLENGE.fullmatch(given.get("code_challenge", "")):
        raise refuse("invalid_request", "PKCE is required, with code_challenge_method=S256.")
    prompt = frozenset(given.get("prompt", "").split())
    if not prompt <= _PROMPTS or ("none" in prompt and len(prompt) > 1):
        raise refuse("invalid_request", "This prompt is none.")
    max_age = given.get("max_age")
    if max_age is not None and not _SECONDS.fullmatch(max_age):
        raise refuse("invalid_request", "max_age is a number of seconds.")
    if any(len(given.get(name, "")) > VALUE for name in ("nonce", "scope", "login_hint", "acr_values")):
        raise refuse("invalid_request", "A parameter is too long.")
    return AuthorizationRequest(
        client=client,
        redirect_uri=redirect_uri,
        scope=given["scope"],
        challenge=given["code_challenge"],
        state=state,
        nonce=given.get("nonce", ""),
        acr=wanted_acr(given.get("acr_values", "").split()),
        prompt=prompt,
        max_age=None if max_age is None else int(max_age),
        login_hint=given.get("login_hint", ""),
    )


def wanted_acr(values: Sequence[str]) -> str:
    """The level asked for: the first that is known (OpenID Connect Core §3.1.2.1), else the lowest."""
    return next((value for value in values if value in ACR), ACR[0])


def reaches(acr: str, wanted: str) -> bool:
    """Whether a level is at least the one asked for."""
    return ACR.index(acr) >= ACR.index(wanted)


def answer(redirect_uri: str, issuer: str, state: str | None, **values: str) -> str:
    """Where the browser goes with the answer; `iss` against mix-up (RFC 9207 §2)."""
    given = values | ({} if state is None else {"state": state}) | {"iss": issuer}
    return f"{redirect_uri}{'&' if '?' in redirect_uri else '?'}{urlencode(given)}"
