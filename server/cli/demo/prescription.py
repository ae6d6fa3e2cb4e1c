"""The prescription of the demo: a small, valid PDF with text, made at run time for people who do not exist."""

from __future__ import annotations

import secrets


def prescription_pdf(prescriber: str, patient: str, lines: list[str]) -> bytes:
    """One A4 page (ISO 32000-1 §7.5). A random number makes each one unique, so that its bytes can be searched for."""
    number = secrets.token_hex(16)
    rows = [f"Ordonnance {number}", prescriber, f"Patient : {patient}", "", *lines]
    text = "\n".join(f"({_escape(row)}) Tj T*" for row in rows)
    page = f"BT /F1 12 Tf 60 780 Td 18 TL\n{text}\nET".encode("cp1252")
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R "
        b"/Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%b\nendstream" % (len(page), page),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    document = bytearray(b"%PDF-1.4\n")
    offsets = []
    for index, body in enumerate(objects, 1):
        offsets.append(len(document))
        document += b"%d 0 obj\n%b\nendobj\n" % (index, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    start = len(document)
    document += b"xref\n0 %d\n0000000000 65535 f \n%b" % (len(objects) + 1, table)
    document += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)
    return bytes(document)


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
