"""What a visitor is told when something was not done: ONE table from reason to HTTP status and sentence.

A page for people; an OperationOutcome under /fhir (FHIR R4 §3.1.0.4.2); problem details (RFC 9457) for other programs.
None ever says more than the table: no exception text, no address, no name.
"""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from server.base.errors import CaduceeError, Reason, Refused, TryLater

RETRY_SECONDS = 5  # a store that was away is asked again this soon


@dataclass(frozen=True, slots=True)
class Problem:
    """An HTTP status, the sentence for people (French: the catalogue has the English), the FHIR issue type."""

    status: int
    sentence: str
    issue: str


_AWAY = Problem(503, "Le service est momentanément indisponible. Réessayez dans quelques instants.", "transient")
_NOT_FOUND = Problem(404, "Cette page n’existe pas, ou n’existe plus.", "not-found")
_FORBIDDEN = Problem(403, "Vous n’avez pas le droit de faire cela.", "forbidden")
_BAD_REQUEST = Problem(400, "La demande n’est pas comprise.", "structure")
_SIGN_IN = Problem(401, "Connectez-vous d’abord.", "login")
_UNWRITABLE = Problem(
    422, "Ce message ne peut pas être envoyé à ce destinataire : joignez-le par un autre moyen.", "business-rule"
)
_CONFLICT = Problem(409, "Cela existe déjà.", "conflict")

PROBLEMS: dict[Reason, Problem] = {
    Reason.BAD_CREDENTIALS: Problem(
        403, "Connexion refusée. Vérifiez ce que vous avez saisi, puis recommencez.", "login"
    ),
    Reason.AUTHENTICATION_REQUIRED: _SIGN_IN,
    Reason.TLS_REQUIRED: Problem(403, "Une connexion chiffrée est nécessaire.", "security"),
    Reason.NOT_ALLOWED: _FORBIDDEN,
    Reason.PEER_NOT_TRUSTED: _FORBIDDEN,
    Reason.CERTIFICATE_REVOKED: _FORBIDDEN,
    Reason.REVOCATION_UNKNOWN: _AWAY,
    Reason.PROVIDER_AWAY: Problem(
        503,
        "Le fournisseur d’identité ne répond pas. Réessayez dans quelques instants : ce qui est déjà ouvert le reste.",
        "transient",
    ),
    Reason.THROTTLED: Problem(429, "Trop de tentatives. Réessayez plus tard.", "throttled"),
    Reason.UNKNOWN_RECIPIENT: Problem(
        422, "Cette adresse n’existe pas ou plus : demandez-en une autre à votre correspondant.", "business-rule"
    ),
    Reason.RECIPIENT_CLOSED: Problem(
        422, "Cette boîte est fermée : demandez une autre adresse à votre correspondant.", "business-rule"
    ),
    Reason.NO_ROUTE: _UNWRITABLE,
    Reason.NO_CONVERSATION: Problem(
        422,
        "Vous pouvez écrire seulement aux professionnels qui vous ont écrit et n’ont pas mis fin à l’échange : "
        "attendez leur prochain message.",
        "business-rule",
    ),
    Reason.NO_RELAY: _UNWRITABLE,
    Reason.NOT_ANSWERABLE: Problem(
        422,
        "Ce message n’attend pas de réponse : répondez à un autre message de cette personne, s’il y en a.",
        "business-rule",
    ),
    Reason.BAD_PATIENT_ADDRESS: _UNWRITABLE,
    Reason.MAIL_OPPOSED: Problem(
        422, "Ce destinataire ne souhaite pas recevoir de messages : joignez-le par un autre moyen.", "business-rule"
    ),
    Reason.TOO_MANY_UNKNOWN: Problem(429, "Trop d’adresses inconnues. Réessayez dans une heure.", "throttled"),
    Reason.TOO_MANY_RECIPIENTS: Problem(422, "Il y a trop de destinataires.", "too-costly"),
    Reason.MAILBOX_FULL: Problem(
        422,
        "La boîte du destinataire est pleine : réessayez plus tard, ou joignez-le par un autre moyen.",
        "business-rule",
    ),
    Reason.SENDER_NOT_YOURS: _FORBIDDEN,
    Reason.BAD_ADDRESS: _UNWRITABLE,
    Reason.REPORTS_ONLY: _FORBIDDEN,
    Reason.SENT_TOO_MUCH: Problem(
        429, "Cette messagerie a atteint sa limite d’envoi. Recommencez au début de l’heure suivante.", "throttled"
    ),
    Reason.TOO_LARGE: Problem(413, "C’est trop volumineux.", "too-long"),
    Reason.TOO_LARGE_FOR_PATIENT: Problem(
        413, "C’est trop volumineux pour la boîte d’un patient. Allégez les pièces jointes.", "too-long"
    ),
    Reason.BARE_LINE_ENDING: _BAD_REQUEST,
    Reason.SIGNATURE_REQUIRED: Problem(422, "Une signature est nécessaire.", "business-rule"),
    Reason.MALFORMED: _BAD_REQUEST,
    Reason.NO_SUCH_FOLDER: _NOT_FOUND,
    Reason.FOLDER_EXISTS: _CONFLICT,
    Reason.BAD_FOLDER_NAME: _BAD_REQUEST,
    Reason.BAD_SPECIAL_USE: _FORBIDDEN,
    Reason.FOLDER_PROTECTED: _FORBIDDEN,
    Reason.NO_SUCH_MESSAGE: _NOT_FOUND,
    Reason.CONTENT_DAMAGED: Problem(
        500, "Ce contenu est endommagé : il ne correspond plus à ce qui avait été enregistré.", "exception"
    ),
    Reason.ADDRESS_TAKEN: _CONFLICT,
    Reason.LIMIT_REACHED: Problem(422, "Une limite est atteinte.", "too-costly"),
    Reason.STORE_AWAY: _AWAY,
    Reason.STORE_FULL: _AWAY,
    Reason.BUSY: _AWAY,
    Reason.SHUTTING_DOWN: _AWAY,
    Reason.INTERNAL: _AWAY,
}

# What the framework itself refuses, before a page is asked.
_OF_STATUS = {
    404: _NOT_FOUND,
    405: Problem(405, "Cette page ne s’ouvre pas de cette façon.", "not-supported"),
    406: Problem(406, "Ce format n’est pas servi ici.", "not-supported"),
}


def problem_of(error: BaseException) -> Problem:
    """The row for an error; what is none of ours is unknown trouble, and that is temporary."""
    if isinstance(error, CaduceeError):
        return PROBLEMS[error.reason]
    return _AWAY


def problem_of_status(status: int) -> Problem:
    """The row for a status that the framework chose."""
    return _OF_STATUS.get(status, _BAD_REQUEST if status < 500 else _AWAY)


def wants_a_page(request: Request) -> bool:
    """Whether a person's browser asks (it names text/html), and not a program."""
    return not is_fhir(request) and "text/html" in request.headers.get("accept", "")


def is_fhir(request: Request) -> bool:
    path = request.url.path
    return path == "/fhir" or path.startswith("/fhir/")


def document(request: Request, problem: Problem, reason: str) -> Response:
    """The problem for a program."""
    headers = {"Retry-After": str(RETRY_SECONDS)} if problem.status == 503 else {}
    if is_fhir(request):
        return JSONResponse(
            {
                "resourceType": "OperationOutcome",
                "issue": [{"severity": "error", "code": problem.issue, "diagnostics": problem.sentence}],
            },
            problem.status,
            headers,
            "application/fhir+json",
        )
    # RFC 9457 §3.1: with about:blank the title is that of the status; ours says more, so the type names the reason.
    return JSONResponse(
        {"type": f"urn:caducee:problem:{reason}", "title": problem.sentence, "status": problem.status},
        problem.status,
        headers,
        "application/problem+json",
    )


def reason_of(error: BaseException) -> str:
    """The stable name of an error for programs."""
    return error.reason.value if isinstance(error, CaduceeError) else Reason.INTERNAL.value


def is_ours(error: BaseException) -> bool:
    """Whether the fault is on our side, so that an operator should know."""
    return not isinstance(error, Refused | TryLater) and problem_of(error).status >= 500
