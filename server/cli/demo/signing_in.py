"""How professionals of the story sign in: at the provider's page, and by what their software says with its token."""

from __future__ import annotations

from server.cli.demo.plain import Pages


def sign_in(pages: Pages, base: str, national_id: str) -> None:
    """From the front page to the provider and back."""
    pages.open(base + "/")
    pages.click("a.choice")
    pages.fill("#personne", national_id)
    pages.click("#connexion button")


def xoauth2(address: str, token: str) -> str:
    """What an XOAUTH2 client says first."""
    return f"user={address}\1auth=Bearer {token}\1\1"


def oauthbearer(address: str, token: str) -> str:
    """What an OAUTHBEARER client says first (RFC 7628 §3.1)."""
    return f"n,a={address},\1auth=Bearer {token}\1\1"
