"""What a request is refused with: one exception, one OperationOutcome (FHIR R4 §2.28)."""

from __future__ import annotations

from typing import Any


class Refusal(Exception):
    """The request cannot be answered. `code` is of the value set issue-type; `text` repeats no value that was sent."""

    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.code = code
        self.text = text


def invalid(text: str) -> Refusal:
    return Refusal(400, "invalid", text)


def not_supported(text: str) -> Refusal:
    return Refusal(400, "not-supported", text)


def too_costly(text: str) -> Refusal:
    return Refusal(403, "too-costly", text)


def operation_outcome(*issues: tuple[str, str, str]) -> dict[str, Any]:
    """(severity, code, text) of each issue as a resource."""
    return {
        "resourceType": "OperationOutcome",
        "issue": [{"severity": severity, "code": code, "diagnostics": text} for severity, code, text in issues],
    }
