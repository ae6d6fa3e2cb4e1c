"""Any bytes as a white list.

Invariant: they are refused, or they give exactly the rows that the seeds' manager signed (its key exists no more); and
what is well-formed XML, signed or not, is read within bounds or told as no list.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from lxml import etree

from crypto.smime.anchors import TrustAnchors
from server.trust.members import DistinguishedName
from server.trust.signature import NotSigned, signed_root
from server.trust.white_list import TEXT, NoList, read

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
ANCHORS = TrustAnchors.load([Path(__file__).with_name("white_list_root.crt")])
PINNED = DistinguishedName.parse("CN=Liste Blanche de Test,OU=318751275100020").attributes
ROWS = {
    ("un.exemple.fr", "CN=smtp.un.exemple.fr,OU=318751275100020,O=Un,ST=Rhône (69),C=FR"),
    ("deux.exemple.fr", "CN=mx.deux.exemple.fr,O=Deux, Santé & Cie,C=FR"),
}


def fuzz(data: bytes) -> None:
    try:
        found = read(signed_root(data, ANCHORS, PINNED, NOON))
    except NotSigned:
        pass
    else:
        assert found.keys() == ROWS
        assert found.generated_at == NOON
    try:
        root = etree.fromstring(data, etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False))
        rows = read(root).entries
    except (etree.XMLSyntaxError, ValueError, NoList):
        return
    assert rows
    for row in rows:
        assert row.domain.isascii()
        assert row.domain == row.domain.lower()
        assert len(row.name) <= TEXT
        assert row.subject.attributes
