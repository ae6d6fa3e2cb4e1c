"""Any text as an operator's name.

Invariant: it is a name or DistinguishedNameError; a name equals itself however its order, and never another name; and a
value written with every special character escaped comes back as the one value that it is.
"""

from __future__ import annotations

import re

from server.trust.members import DistinguishedName, DistinguishedNameError


def fuzz(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    try:
        name = DistinguishedName.parse(text)
    except DistinguishedNameError:
        pass
    else:
        assert name.attributes
        assert len(name.attributes) <= text.count("=")
        turned = DistinguishedName(name.attributes[::-1])
        assert turned.either_way == name.either_way
        longer = DistinguishedName((*name.attributes, ("2.5.4.3", "x")))
        assert longer.either_way != name.either_way
    # RFC 4514 §2.4: any value can be written so that it stays one value
    escaped = re.sub(r"([^A-Za-z0-9 ])", lambda found: "".join(f"\\{b:02x}" for b in found[1].encode()), text)
    whole = DistinguishedName.parse(f"CN=a{escaped}b,C=FR")
    assert [kind for kind, _ in whole.attributes] == ["2.5.4.3", "2.5.4.6"]
