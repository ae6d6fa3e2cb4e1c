"""What understanding a message costs: `make bench BENCH=scan` prints one JSON line, microseconds each.

`scan` is the pass over the bytes, `summarise` all that readers need of it, `to_bytes` and `from_bytes` its stored form;
each at 3 KB and 150 KB, signed; the best of many rounds, so that another process on the machine does not count.
"""

from __future__ import annotations

import base64
import hashlib
import json
import timeit
from collections.abc import Callable

from server.mail.scan import scan
from server.mail.summary import Summary, summarise

ROUNDS = 30
LOOPS = 20


def octets(count: int) -> bytes:
    """Bytes that compress no better than a PDF, the same in each run."""
    return b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(count // 32 + 1))[:count]


def encoded(count: int) -> bytes:
    return base64.encodebytes(octets(count)).replace(b"\n", b"\r\n")


def signed_message(size: int) -> bytes:
    """A message as practice software sends it, about `size` octets: signed, a text and, when there is room, a PDF."""
    text = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" + (
        b"Bonjour,\r\nveuillez trouver l'ordonnance de votre patient.\r\nBien confraternellement\r\n"
    )
    signature = encoded(1_250)
    room = size - 2_600
    inner = text
    if room > 2_000:
        pdf = (
            b'Content-Type: application/pdf; name="ordonnance.pdf"\r\nContent-Transfer-Encoding: base64\r\n'
            b'Content-Disposition: attachment; filename="ordonnance.pdf"\r\n\r\n' + encoded(room * 3 // 4 * 76 // 78)
        )
        inner = (
            b'Content-Type: multipart/mixed; boundary="=_m1x3d"\r\n\r\n--=_m1x3d\r\n'
            + text
            + b"\r\n--=_m1x3d\r\n"
            + pdf
            + b"\r\n--=_m1x3d--\r\n"
        )
    return (
        b"Received: from poste.cabinet.example ([192.0.2.1])\r\n\tby mail.example with ESMTPSA id 7f3a;\r\n"
        b"\tTue, 24 Nov 2026 10:00:00 +0100\r\n"
        b"Date: Tue, 24 Nov 2026 10:00:00 +0100\r\n"
        b"From: =?utf-8?q?Dr_H=C3=A9l=C3=A8ne_Martin?= <helene.martin@medecin.example>\r\n"
        b"To: Pharmacie du Centre <pharmacie.centre@pharmacie.example>\r\n"
        b"Subject: =?utf-8?q?Ordonnance_s=C3=A9curis=C3=A9e?=\r\n"
        b"Message-ID: <20261124100000.7f3a@medecin.example>\r\n"
        b"MIME-Version: 1.0\r\n"
        b'Content-Type: multipart/signed; protocol="application/pkcs7-signature";\r\n'
        b' micalg=sha-256; boundary="----=_s1gn3d_7f3a"\r\n\r\n'
        b"This is a cryptographically signed message in MIME format.\r\n\r\n------=_s1gn3d_7f3a\r\n"
        + inner
        + b"\r\n------=_s1gn3d_7f3a\r\n"
        b'Content-Type: application/pkcs7-signature; name="smime.p7s"\r\nContent-Transfer-Encoding: base64\r\n'
        b'Content-Disposition: attachment; filename="smime.p7s"\r\n\r\n' + signature + b"\r\n------=_s1gn3d_7f3a--\r\n"
    )


def microseconds(work: Callable[[], object]) -> float:
    return round(min(timeit.repeat(work, number=LOOPS, repeat=ROUNDS)) / LOOPS * 1e6, 1)


def measure() -> dict[str, float]:
    """Microseconds by name."""
    result: dict[str, float] = {}
    for name, size in (("3k", 3_000), ("150k", 150_000)):
        data = signed_message(size)
        message = scan(data)
        summary = summarise(message, data, {})
        stored = summary.to_bytes()
        result[f"octets_{name}"] = len(data)
        result[f"scan_{name}"] = microseconds(lambda data=data: scan(data))  # type: ignore[misc]
        result[f"summarise_{name}"] = microseconds(
            lambda message=message, data=data: summarise(message, data, {})  # type: ignore[misc]
        )
        result[f"to_bytes_{name}"] = microseconds(summary.to_bytes)
        result[f"from_bytes_{name}"] = microseconds(lambda stored=stored: Summary.from_bytes(stored))  # type: ignore[misc]
    return result


def main() -> None:
    print(json.dumps({"bench": "scan", "unit": "µs", **measure()}))
