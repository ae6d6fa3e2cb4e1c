"""Why a recipient elsewhere was not served, in words for the person who wrote: by enhanced status (RFC 3463 §3)."""

from __future__ import annotations

from server.mail.dsn import Action

_BY_STATUS = {
    "5.1.1": ("Cette adresse n’existe pas chez son opérateur.", "This address does not exist at its operator."),
    "5.1.2": ("Ce domaine ne reçoit pas de messages.", "This domain takes no mail."),
    "5.1.3": ("Cette adresse n’est pas valable.", "This address is not valid."),
    "5.2.1": ("Cette messagerie est fermée.", "This mailbox is closed."),
    "5.2.2": ("Cette messagerie est pleine.", "This mailbox is full."),
    "5.3.0": (
        "L’opérateur a rendu votre message sans le remettre.",
        "The operator gave your message back without delivering it.",
    ),
    "5.3.4": ("Votre message est trop gros pour ce destinataire.", "Your message is too large for this recipient."),
    "5.4.6": (
        "Votre message tournait en rond entre des serveurs.",
        "Your message went round in circles between servers.",
    ),
    "5.4.7": (
        "Le serveur du destinataire ne l’a pas pris à temps.",
        "The recipient's server did not take it in time.",
    ),
    "5.6.1": (
        "Le serveur du destinataire ne prend pas ce contenu.",
        "The recipient's server does not take this content.",
    ),
    "5.6.3": (
        "Le serveur du destinataire ne prend pas ce contenu.",
        "The recipient's server does not take this content.",
    ),
    "5.6.7": (
        "Le serveur du destinataire ne prend pas d’adresse internationale.",
        "The recipient's server takes no international address.",
    ),
    "5.7.30": (
        "Le serveur du destinataire n’assure pas le chiffrement demandé (REQUIRETLS).",
        "The recipient's server does not give the encryption that was asked for (REQUIRETLS).",
    ),
}
_BY_ACTION = {
    Action.FAILED: ("Le serveur du destinataire l’a refusé.", "The recipient's server refused it."),
    Action.DELAYED: (
        "Le serveur du destinataire ne l’a pas encore pris.",
        "The recipient's server has not taken it yet.",
    ),
    Action.RELAYED: ("Le serveur du destinataire l’a pris.", "The recipient's server took it."),
}


def reason(action: Action, status: str) -> tuple[str, str]:
    """A sentence in French and one in English."""
    return _BY_STATUS.get(status, _BY_ACTION[action]) if action is Action.FAILED else _BY_ACTION[action]
