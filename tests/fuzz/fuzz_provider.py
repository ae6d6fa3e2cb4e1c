"""What strangers send to the development provider: a query or a form, an Authorization header, a token.

Invariant: parameters are read or refused as a ProtocolError; a request that is read leads to its client's registered
address alone, with PKCE; a header that is read is of a client with its secret; no bytes are a token of ours.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

from server.provider.authorization import ToBeRedirected, answer, read_parameters, read_request
from server.provider.keys import SigningKeys
from server.provider.model import Client, ProtocolError
from server.provider.provider import Provider

NOW = datetime(2026, 11, 26, tzinfo=UTC)
URI = "https://web.example/retour"
WEB = Client("web", "Web", "secret", (URI,), ("https://web.example/",))
SOFTWARE = Client("logiciel", "Logiciel", "secret", ciba=True)
CLIENTS = {"web": WEB, "logiciel": SOFTWARE}
PROVIDER = Provider("https://localhost/", CLIENTS, dict, SigningKeys(NOW))


def fuzz(data: bytes) -> None:
    text = data.decode("latin-1")
    with suppress(ProtocolError):
        assert PROVIDER.authenticate(text).secret == "secret"
    assert PROVIDER.tokens.introspect(text, NOW) == {"active": False}
    try:
        given = read_parameters(data)
    except ProtocolError:
        return
    try:
        request = read_request(given, CLIENTS)
    except ProtocolError as error:
        place = answer(error.redirect_uri, "i", error.state) if isinstance(error, ToBeRedirected) else f"{URI}?"
        if not place.startswith(f"{URI}?"):
            raise AssertionError("an error leads elsewhere") from error
    else:
        assert (request.client, request.redirect_uri, len(request.challenge)) == (WEB, URI, 43)
    for client in (WEB, SOFTWARE):
        for served in (PROVIDER.token, PROVIDER.ask):
            with suppress(ProtocolError):
                raise AssertionError(served(client, given, NOW))  # nobody has a code, and there is nobody to ask
    with suppress(ProtocolError):
        ended = PROVIDER.log_out(given, text, True, NOW)
        assert ended is not None
        assert ended.redirect is None
