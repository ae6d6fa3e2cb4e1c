"""TLS: the floor holds on a real handshake."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest

from crypto.pki import development
from server.base.tls import client_context, server_context


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pki")
    development.create(folder, "exemple.fr", datetime.now(UTC))
    return folder


def shake(client: ssl.SSLContext, server: ssl.SSLContext, name: str = "localhost") -> str | None:
    """A handshake in memory; the protocol agreed on."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = client.wrap_bio(to_client, to_server, server_hostname=name)
    other = server.wrap_bio(to_server, to_client, server_side=True)
    waiting = [one, other]
    for _ in range(20):
        for side in list(waiting):
            try:
                side.do_handshake()
                waiting.remove(side)
            except ssl.SSLWantReadError:
                continue
        if not waiting:
            return one.version()
    raise AssertionError("the handshake did not end")


@pytest.mark.parametrize("name", ["server", "server-rsa"])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_our_contexts_agree(pki: Path, name: str, version: ssl.TLSVersion) -> None:
    client = client_context(pki / "root.pem")
    client.maximum_version = version
    server = server_context(pki / f"{name}.pem", pki / f"{name}.key")
    assert shake(client, server) == ("TLSv1.2" if version is ssl.TLSVersion.TLSv1_2 else "TLSv1.3")


def test_a_suite_outside_the_list_is_refused(pki: Path) -> None:
    client = client_context(pki / "root.pem")
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    client.set_ciphers("ECDHE-ECDSA-CHACHA20-POLY1305")
    with pytest.raises(ssl.SSLError):
        shake(client, server_context(pki / "server.pem", pki / "server.key"))


def test_an_old_protocol_is_refused(pki: Path) -> None:
    client = client_context(pki / "root.pem")
    client.set_ciphers("ALL:@SECLEVEL=0")
    client.minimum_version = ssl.TLSVersion.TLSv1
    client.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError):
        shake(client, server_context(pki / "server.pem", pki / "server.key"))


def test_a_wrong_name_is_refused(pki: Path) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(client_context(pki / "root.pem"), server_context(pki / "server.pem", pki / "server.key"), "autre.example")


def test_a_client_certificate_of_a_stranger_is_refused(pki: Path, tmp_path: Path) -> None:
    development.create(tmp_path, "etranger.example", datetime.now(UTC))
    client = client_context(pki / "root.pem")
    client.maximum_version = ssl.TLSVersion.TLSv1_2  # with 1.3 the refusal comes after the client's handshake
    client.load_cert_chain(tmp_path / "organisation.pem", tmp_path / "organisation.key")
    server = server_context(pki / "server.pem", pki / "server.key", [pki / "root.pem"])
    with pytest.raises(ssl.SSLError):
        shake(client, server)
    client.load_cert_chain(pki / "organisation.pem", pki / "organisation.key")
    assert shake(client, server) == "TLSv1.2"
