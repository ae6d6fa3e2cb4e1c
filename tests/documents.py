"""PDF documents for tests, a time-stamp authority that is not ours, and a card."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.writer import PageObject, PdfFileWriter

from crypto.pki.issue import Holder, Issued, issue
from crypto.pki.profile import Profile, ProfileName
from tests.programs import need

name = generic.pdf_name
_FONT = {name("/Type"): name("/Font"), name("/Subtype"): name("/Type1"), name("/BaseFont"): name("/Helvetica")}


def document(text: str = "Amoxicilline 1 g", pages: int = 1) -> bytes:
    """A PDF of A4 pages that say `text`."""
    writer = PdfFileWriter(stream_xrefs=False)
    for _ in range(pages):
        writer.insert_page(PageObject(contents=_text(writer, text, 720), media_box=(0, 0, 595, 842), resources=_font()))
    out = BytesIO()
    writer.write(out)
    return out.getvalue()


def altered(pdf: bytes, text: str = "20 boites") -> bytes:
    """The document with one more line on its first page, as an incremental update that any PDF editor could make."""
    writer = IncrementalPdfFileWriter(BytesIO(pdf))
    writer.add_stream_to_page(0, _text(writer, text, 680))
    out = BytesIO()
    writer.write(out)
    return out.getvalue()


def _text(writer: PdfFileWriter | IncrementalPdfFileWriter, text: str, height: int) -> generic.IndirectObject:
    drawn = f"BT /F1 12 Tf 72 {height} Td ({text}) Tj ET".encode()
    return writer.add_object(generic.StreamObject(stream_data=drawn))


def _font() -> generic.DictionaryObject:
    fonts = generic.DictionaryObject({name("/F1"): generic.DictionaryObject(_FONT)})
    return generic.DictionaryObject({name("/Font"): fonts})


def stamper(root: Issued, now: datetime) -> Issued:
    """The certificate and key of a time-stamp authority."""
    return issue(root, Profile.load(ProfileName.TIMESTAMP), Holder({"common_name": "HORODATAGE"}), now)


_TSA = """[tsa]
default_tsa = here
[here]
dir = {folder}
serial = {folder}/serial
signer_cert = {folder}/tsa.pem
signer_key = {folder}/tsa.key
signer_digest = sha256
default_policy = 1.2.250.1.999.1
digests = sha256, sha384, sha512
accuracy = secs:1
ess_cert_id_chain = no
ess_cert_id_alg = sha256
"""


def openssl_stamps(folder: Path, authority: Issued) -> Callable[[bytes], bytes]:
    """A time-stamp authority by `openssl ts`: a query (DER) gives the reply (DER)."""
    authority.save(folder, "tsa")
    (folder / "serial").write_text("01\n")
    (folder / "tsa.cnf").write_text(_TSA.format(folder=folder))
    turn = threading.Lock()  # of the serial number's file

    def reply(query: bytes) -> bytes:
        with turn:
            (folder / "query").write_bytes(query)
            command = [need("openssl"), "ts", "-reply", "-config", folder / "tsa.cnf", "-queryfile", folder / "query"]
            subprocess.run([*command, "-out", folder / "reply"], check=True, capture_output=True)
            return (folder / "reply").read_bytes()

    return reply


@contextmanager
def stamping_server(reply: Callable[[bytes], bytes]) -> Iterator[str]:
    """`reply` over HTTP (RFC 3161 §3.4); gives its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.headers["Content-Type"] == "application/timestamp-query"
            answer = reply(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


SOFTHSM = Path("/usr/lib/softhsm/libsofthsm2.so")


@contextmanager
def card(folder: Path, holder: Issued, token: str, label: str, pin: str) -> Iterator[Path]:
    """A token of SoftHSM2 with a key and its certificate under `label`; gives the PKCS#11 library."""
    util = need("softhsm2-util")
    folder.mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder}\nobjectstore.backend = file\n")
    (folder / "key.pem").write_bytes(holder.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    os.environ["SOFTHSM2_CONF"] = str(folder / "softhsm2.conf")  # read by the library, in this process
    try:
        subprocess.run(
            [util, "--init-token", "--free", "--label", token, "--pin", pin, "--so-pin", pin],
            check=True,
            capture_output=True,
        )
        subprocess.run(
            [util, "--import", folder / "key.pem", "--token", token, "--label", label, "--id", "01", "--pin", pin],
            check=True,
            capture_output=True,
        )
        _put_certificate(token, label, pin, holder.certificate.public_bytes(Encoding.DER))
        yield SOFTHSM
    finally:
        del os.environ["SOFTHSM2_CONF"]


def _put_certificate(token: str, label: str, pin: str, der: bytes) -> None:
    import pkcs11
    from pkcs11.util.x509 import decode_x509_certificate

    library = pkcs11.lib(str(SOFTHSM))
    library.reinitialize()
    with library.get_token(token_label=token).open(user_pin=pin, rw=True) as session:
        attributes = decode_x509_certificate(der)
        attributes |= {pkcs11.Attribute.TOKEN: True, pkcs11.Attribute.LABEL: label, pkcs11.Attribute.ID: b"\x01"}
        session.create_object(attributes)
