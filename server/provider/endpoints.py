"""The addresses that programs call: discovery, token, userinfo, introspection, certs, CIBA."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from server.base import clock
from server.provider.addresses import AUTHORIZE, LOGOUT, PROTOCOL, REALM
from server.provider.authorization import ACR, read_parameters
from server.provider.keys import ALGORITHM
from server.provider.model import Client, ProtocolError
from server.provider.provider import CIBA_GRANT, Provider

BODY = 64 * 1024  # octets of a form; a token has some 2,000

router = APIRouter()


def provider_of(request: Request) -> Provider:
    found = request.app.state.provider
    assert isinstance(found, Provider)  # noqa: S101 -- put there by application()
    return found


@router.get(f"{REALM}/.well-known/wallet-openid-configuration")
@router.get(f"{REALM}/.well-known/openid-configuration")
async def discovery(request: Request) -> Response:
    """OpenID Connect Discovery §3; Pro Santé Connect's own name for it comes first."""
    issuer = provider_of(request).issuer
    origin, protocol = issuer.removesuffix(REALM), issuer.removesuffix(REALM) + PROTOCOL
    return JSONResponse(
        {
            "issuer": issuer,
            "authorization_endpoint": origin + AUTHORIZE,
            "token_endpoint": f"{protocol}/token",
            "userinfo_endpoint": f"{protocol}/userinfo",
            "end_session_endpoint": origin + LOGOUT,
            "introspection_endpoint": f"{protocol}/token/introspect",
            "jwks_uri": f"{protocol}/certs",
            "backchannel_authentication_endpoint": f"{protocol}/ext/ciba/auth",
            "backchannel_token_delivery_modes_supported": ["poll"],
            "backchannel_logout_supported": True,
            "backchannel_logout_session_supported": True,
            "grant_types_supported": ["authorization_code", "refresh_token", CIBA_GRANT],
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "scopes_supported": ["openid", "scope_all"],
            "subject_types_supported": ["public"],
            "acr_values_supported": list(ACR),
            "prompt_values_supported": ["none", "login", "consent", "select_account"],
            "code_challenge_methods_supported": ["S256"],
            "id_token_signing_alg_values_supported": [ALGORITHM],
            "token_endpoint_auth_methods_supported": ["client_secret_basic"],
            "introspection_endpoint_auth_methods_supported": ["client_secret_basic"],
            "authorization_response_iss_parameter_supported": True,
            "request_parameter_supported": False,
            "request_uri_parameter_supported": False,
        }
    )


@router.get(f"{PROTOCOL}/certs")
async def certs(request: Request) -> Response:
    """The JWK set (RFC 7517 §5)."""
    return JSONResponse(provider_of(request).keys.public())


@router.post(f"{PROTOCOL}/token")
async def token(request: Request) -> Response:
    """RFC 6749 §3.2."""
    client, given = await _client_form(request)
    return JSONResponse(provider_of(request).token(client, given, clock.now()))


@router.post(f"{PROTOCOL}/token/introspect")
async def introspect(request: Request) -> Response:
    """RFC 7662 §2."""
    _, given = await _client_form(request)
    return JSONResponse(provider_of(request).tokens.introspect(given.get("token", ""), clock.now()))


@router.post(f"{PROTOCOL}/ext/ciba/auth")
async def ciba(request: Request) -> Response:
    """CIBA Core §7."""
    client, given = await _client_form(request)
    return JSONResponse(provider_of(request).ask(client, given, clock.now()))


@router.get(f"{PROTOCOL}/userinfo")
@router.post(f"{PROTOCOL}/userinfo")
async def userinfo(request: Request) -> Response:
    """OpenID Connect Core §5.3, the token in the Authorization header alone (RFC 9700 §4.3.2)."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise ProtocolError("invalid_token", "A bearer token is needed.", 401)
    return JSONResponse(provider_of(request).tokens.userinfo(token.strip(), clock.now()))


async def form(request: Request) -> dict[str, str]:
    """The fields of a posted form. Raises ProtocolError(invalid_request)."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        raise ProtocolError("invalid_request", "This is no form.")
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > BODY:
            raise ProtocolError("invalid_request", "The form is too large.", 413)
    return read_parameters(body)


async def _client_form(request: Request) -> tuple[Client, dict[str, str]]:
    given = await form(request)
    client = provider_of(request).authenticate(request.headers.get("authorization", ""))
    if given.get("client_id", client.client_id) != client.client_id:
        raise ProtocolError("invalid_request", "client_id is of another client.")
    return client, given


def refusal(error: ProtocolError) -> Response:
    """RFC 6749 §5.2; how to do it right stands in WWW-Authenticate (RFC 6750 §3)."""
    headers: dict[str, str] = {}
    if error.status == 401:
        scheme = "Bearer" if error.error == "invalid_token" else "Basic"
        headers["WWW-Authenticate"] = f'{scheme} realm="developpement", error="{error.error}"'
    content: dict[str, Any] = {"error": error.error, "error_description": error.description}
    return JSONResponse(content, error.status, headers)
