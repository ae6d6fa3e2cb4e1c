"""`caducee identity …`: what stands in for an identity provider while one tries out."""

from __future__ import annotations

import typer

from server.cli.admin import Admin
from server.cli.common import Failure, HomeOption, JsonOption, answer_json, out, run, settings_of
from server.identity.tokens import DEVELOPMENT_LIFE, DevelopmentTokens
from server.mail.addresses import normalise

app = typer.Typer(no_args_is_help=True, help="Identity providers.")


@app.callback()
def everything() -> None:
    """Commands on who people are."""


@app.command("dev-token")
def dev_token(address: str, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Make an access token of the development provider: it signs in to this mailbox without proof, for ten minutes.

    For XOAUTH2 and OAUTHBEARER. Needs `identity.development_sign_in`, which production refuses.
    """
    settings = settings_of(home)
    if not settings.identity.development_sign_in:
        raise Failure("Only where identity.development_sign_in is true are such tokens taken.")

    async def work() -> str:
        async with Admin(settings) as admin:
            await admin.owner_of(normalise(address))
            return DevelopmentTokens(admin.pool, admin.edge).make(normalise(address))

    token = run(work())
    if as_json:
        answer_json({"address": address, "token": token, "seconds": int(DEVELOPMENT_LIFE.total_seconds())})
    else:
        out.print(token, markup=False)
