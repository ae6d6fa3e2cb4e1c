"""TLS contexts: one place that says what a connection of ours may look like.

TLS 1.2 is the floor (référentiel socle MSSanté #2, ECO.1.1.1); with 1.2 only the four suites of ECO.1.1.3 and their
ECDSA twins; TLS 1.3 as OpenSSL offers it.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from pathlib import Path

# ECO.1.1.3: C030, C02F, C028, C027; ECDSA twins for the P-256 certificates that `caducee init` makes.
SUITES = ":".join(
    [
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES256-SHA384",
        "ECDHE-RSA-AES128-SHA256",
    ]
)


def server_context(certificate: Path, private_key: Path, client_anchors: Sequence[Path] = ()) -> ssl.SSLContext:
    """A server's context; with `client_anchors` (PEM) it asks for a client certificate and checks one shown.

    Who shows none goes on and is refused in the words of the protocol, where one is needed, not by a failed handshake.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(SUITES)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.num_tickets = 1  # RFC 8446 §4.6.1: one to come back with; OpenSSL's second costs a sixth of the handshake
    context.load_cert_chain(certificate, private_key)
    for anchor in client_anchors:
        context.load_verify_locations(anchor)
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


def operator_context(anchors: Sequence[Path], certificate: Path, private_key: Path) -> ssl.SSLContext:
    """A client's context towards other operators: our certificate is shown, theirs leads to `anchors` (PEM).

    The name is not compared: whoever serves a domain is known by the subject that the trust space lists for it.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(SUITES)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    for anchor in anchors:
        context.load_verify_locations(anchor)
    context.load_cert_chain(certificate, private_key)
    return context


def client_context(*anchors: Path) -> ssl.SSLContext:
    """A client's context that trusts only `anchors` (PEM) and checks the name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(SUITES)
    for anchor in anchors:
        context.load_verify_locations(anchor)
    return context


def verified_path(tls: ssl.SSLObject | None) -> tuple[bytes, ...]:
    """The peer's certificates (DER) from its own to an anchor, as OpenSSL verified them; empty where it showed none,
    and without TLS.

    A resumed session has the peer's own certificate alone: OpenSSL keeps no more of the handshake that verified it.
    """
    own = tls.getpeercert(True) if tls is not None else None
    if tls is None or own is None:
        return ()
    if hasattr(tls, "get_verified_chain"):  # Python 3.13
        path = tuple(tls.get_verified_chain())
    else:  # the same method, before it had a public name
        verified = tls._sslobj.get_verified_chain() or ()  # type: ignore[attr-defined]
        path = tuple(ssl.PEM_cert_to_DER_cert(certificate.public_bytes()) for certificate in verified)
    return path or (own,)
