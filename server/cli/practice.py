"""What practice software does to sign in by CIBA, and the person's word on the telephone, which is given at once.

For trying out alone: the development provider's stand-in for the e-CPS application agrees to whoever asks.
"""

from __future__ import annotations

import base64
import json
import ssl
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote_plus, urlencode
from urllib.request import HTTPSHandler, Request, build_opener

from server.base.settings import Settings
from server.cli.common import Failure
from server.cli.demo.plain import PlainPages
from server.provider.addresses import APPLICATION, PROTOCOL, host_of
from server.provider.clients import file_of, read_clients
from server.provider.model import Client
from server.provider.provider import CIBA_GRANT

_SECONDS = 30.0


def tokens(settings: Settings, national_id: str, client_id: str) -> dict[str, Any]:
    """The token endpoint's answer for a person. Raises Failure with what to do."""
    client = read_clients(file_of(settings)).get(client_id)
    if client is None or not client.ciba:
        raise Failure(f"The development provider has no client {client_id} for CIBA: {file_of(settings)} lists them.")
    origin = _origin(settings)
    root = settings.home / "pki" / "root.pem"
    asked = _post(root, origin, "/ext/ciba/auth", client, scope="openid scope_all", login_hint=national_id)
    with PlainPages(root) as telephone:
        telephone.open(origin + APPLICATION)
        telephone.click(f"#demande-{asked['auth_req_id']} button")
    return _post(root, origin, "/token", client, grant_type=CIBA_GRANT, auth_req_id=asked["auth_req_id"])


def _origin(settings: Settings) -> str:
    try:
        port = json.loads((settings.home / "run" / "ports.json").read_text())["provider"]
    except (FileNotFoundError, KeyError):
        raise Failure("The development provider does not run: `caducee serve`, with provider.workers = 1.") from None
    return f"https://{host_of(settings)}:{port}"


def _post(root: Path, origin: str, path: str, client: Client, **given: str) -> dict[str, Any]:
    # RFC 6749 §2.3.1: both are form-encoded before they are joined
    pair = f"{quote_plus(client.client_id)}:{quote_plus(client.secret)}".encode()
    request = Request(origin + PROTOCOL + path, urlencode(given).encode())  # noqa: S310 - https, of the provider
    request.add_header("Authorization", f"Basic {base64.b64encode(pair).decode()}")
    try:
        with build_opener(HTTPSHandler(context=ssl.create_default_context(cafile=str(root)))).open(
            request, timeout=_SECONDS
        ) as answer:
            return dict(json.load(answer))
    except HTTPError as error:
        said = json.load(error)
        raise Failure(f"The development provider refuses: {said['error']}: {said['error_description']}") from None
    except URLError as error:
        raise Failure(f"The development provider does not answer: {error.reason}") from None
