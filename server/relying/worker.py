"""The role's process: it takes the edges' questions and has the provider of each answer them.

It holds our secrets at the providers and no key of ours: neither keyring nor edge keys. Landlock lets it connect to the
providers' ports and the database alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from server.app import Context, Running, Sockets
from server.identity import questions
from server.identity.oidc import signed
from server.identity.oidc.claims import Person
from server.identity.oidc.faults import Fault, NotProven
from server.relying.provider import Provider


class Answering:
    """The questions of one process."""

    def __init__(self, providers: Mapping[str, Provider]) -> None:
        self._providers = providers
        self._server: asyncio.Server | None = None

    async def listen(self, context: Context) -> None:
        """Take questions from now on."""
        if context.questions is None:
            raise ValueError("the role identity needs its socket")
        self._server = await questions.serve(context.questions, self.answer)

    async def answer(self, question: Mapping[str, Any]) -> Mapping[str, Any]:
        """Raises NotProven, TryLater; ValueError and KeyError for what is no question."""
        asked, name = question.get("ask"), question.get("provider", "")
        if asked == "token":
            return await self._token(str(question["token"]))
        provider = self._providers.get(name)
        if provider is None:
            raise NotProven(Fault.NOT_THEIRS)
        if asked == "begin":
            return {"address": await provider.begin(question["asked"])}
        if asked == "exchange":
            given = {key: question[key] for key in ("code", "iss", "redirect_uri", "verifier", "nonce", "again")}
            proven, person, hint = await provider.exchange(**given)
            _admit(provider, person)
            return {
                "subject": person.subject,
                "national_id": person.national_id,
                "acr": proven.acr,
                "at": proven.at.timestamp(),
                "sid": proven.sid,
                "hint": hint,
            }
        if asked == "ended":
            sid, subject, jti, until = await provider.ended(question["token"])
            return {"sid": sid, "subject": subject, "jti": jti, "until": until}
        if asked == "sign-out":
            return {"address": await provider.sign_out()}
        raise ValueError("no such question")

    async def _token(self, token: str) -> Mapping[str, Any]:
        provider = self._provider_of(token)
        person = await provider.token(token)
        _admit(provider, person)
        return {"provider": provider.name, "subject": person.subject, "national_id": person.national_id}

    def _provider_of(self, token: str) -> Provider:
        """Whom to ask about a token: the issuer that it names, else the one provider that has software."""
        several = [one for one in self._providers.values() if one.settings.software]
        if token.count(".") == 2:
            issuer = signed.unproven(token).get("iss")
            several = [one for one in several if one.settings.issuer == issuer]
        if len(several) != 1 or len(token) > signed.TOKEN_CHARACTERS:
            raise NotProven(Fault.ISSUER)
        return several[0]

    async def drain(self, deadline: float) -> None:
        """Take no more questions. Those that are open are short: who asked asks again."""
        await self.close()

    async def close(self) -> None:
        """End all that is left, now."""
        if self._server is not None:
            self._server.close()


def _admit(provider: Provider, person: Person) -> None:
    """Who is no professional has no rights of one, whatever mailbox is bound to them. Raises NotProven."""
    if provider.settings.kind == "professional":
        if not person.national_id:
            raise NotProven(Fault.NO_IDENTITY)
        if not person.is_professional:
            raise NotProven(Fault.NOT_PROFESSIONAL)


async def serve(context: Context, sockets: Sockets) -> Running:
    """Start to answer."""
    answering = Answering({one.name: Provider(one, context.log) for one in context.providers})
    await answering.listen(context)
    return answering
