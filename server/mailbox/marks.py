"""Keywords that the server gives a message when it comes, so that any mail program can tell and sort by them.

    $SignatureValid, $SignatureInvalid, $SignatureUndetermined    the verdict on its S/MIME signature; unsigned: none
    $FromPatient                                                  a patient wrote it (référentiel: told apart in lists)

No client sets or clears them: STORE and APPEND pass them over in silence, as they do \\Recent, since programs send back
all flags that they have seen. COPY and MOVE take them along. $MDNSent stays once it is set (RFC 3503 §3.3), so that no
second receipt leaves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from crypto.smime.verdict import Status

FROM_PATIENT = "$FromPatient"
_SIGNATURE = {
    Status.PASSED: "$SignatureValid",
    Status.FAILED: "$SignatureInvalid",
    Status.INDETERMINATE: "$SignatureUndetermined",
}
_GIVEN = frozenset(word.lower() for word in (FROM_PATIENT, *_SIGNATURE.values()))
LASTING = tuple(sorted(_GIVEN | {"$mdnsent"}))  # lower case


def of_signature(verdict: Mapping[str, Any]) -> tuple[str, ...]:
    """The keyword for a verdict in its plain form (`Summary.verdict`)."""
    word = _SIGNATURE.get(verdict.get("status", Status.NONE))
    return () if word is None else (word,)


def judged(keywords: Iterable[str], verdict: Mapping[str, Any]) -> list[str]:
    """Keywords of a message whose signature got another verdict."""
    return [word for word in keywords if word not in _SIGNATURE.values()] + list(of_signature(verdict))


def settable(keywords: Iterable[str]) -> list[str]:
    """Those that a client may set."""
    return [word for word in keywords if word.lower() not in _GIVEN]


def clearable(keywords: Iterable[str]) -> list[str]:
    """Those that a client may clear."""
    return [word for word in keywords if word.lower() not in LASTING]
