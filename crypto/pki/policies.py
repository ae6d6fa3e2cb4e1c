"""Whether a path is of certificate policies that are asked for (RFC 5280 §6.1: policies, mappings, constraints).

pyhanko-certvalidator computes it, with the network shut. This file is imported only where policies are configured (it
takes 0.1 s).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from asn1crypto import x509 as asn1
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pyhanko_certvalidator import ValidationContext
from pyhanko_certvalidator.authority import CertTrustAnchor
from pyhanko_certvalidator.errors import PathError, ValidationError
from pyhanko_certvalidator.path import ValidationPath
from pyhanko_certvalidator.policy_decl import PKIXValidationParams
from pyhanko_certvalidator.validate import async_validate_path


def holds(path: Sequence[x509.Certificate], policies: frozenset[str], moment: datetime) -> bool:
    """Whether a path from a leaf to its anchor (both included) is valid for one of `policies` (dotted) at `moment`."""
    leaf, *between, anchor = (asn1.Certificate.load(one.public_bytes(Encoding.DER)) for one in path)
    context = ValidationContext(trust_roots=[anchor], moment=moment, allow_fetching=False, revocation_mode="soft-fail")
    asked = PKIXValidationParams(user_initial_policy_set=policies, initial_explicit_policy=True)
    whole = ValidationPath(CertTrustAnchor(anchor), between[::-1], leaf)
    work = async_validate_path(context, whole, asked)
    try:
        work.send(None)  # without a network nothing is waited for: it runs to its end, under any event loop or none
    except StopIteration:
        return True
    except (ValidationError, PathError, ValueError, TypeError, KeyError):
        return False
    work.close()
    raise RuntimeError("the policies of a path wait for something")
