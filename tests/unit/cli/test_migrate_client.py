"""The client of a migration before servers of another mind: what they may not do, and each way to sign in."""

from __future__ import annotations

import asyncio
import ssl
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from crypto.pki import development
from server.base import clock
from server.cli.migrate import answers, client
from server.cli.migrate.client import Account, Declined, Lost, NotSignedIn, Source, sign_in

Answer = Callable[[str, str], bytes]


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pki")
    development.create(folder, "localhost", clock.now(), ["localhost"])
    return folder


@asynccontextmanager
async def server(pki: Path, greeting: bytes, answer: Answer, tls: bool = True) -> AsyncIterator[int]:
    """One that says `greeting`, then for each line what `answer(tag, line)` gives; b"" ends the connection."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pki / "server.pem", pki / "server.key")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(greeting)
            while line := await reader.readline():
                tag, _, rest = line.decode().strip().partition(" ")
                said = answer(tag, rest)
                writer.write(said)
                if not said:
                    break
                if rest == "STARTTLS" and said.endswith(b"OK begin\r\n"):
                    await writer.start_tls(context)
        except (OSError, ValueError):
            return  # the client went away, as it must
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context if tls else None)
    async with listening:
        yield listening.sockets[0].getsockname()[1]


def account(pki: Path, port: int, *, starttls: bool = False, mechanism: str = "") -> Account:
    context = ssl.create_default_context(cafile=str(pki / "root.pem"))
    return Account("localhost", port, "dr", 's"3\\cret', context, starttls, mechanism)


def script(capabilities: str, said: dict[str, bytes] | None = None) -> Answer:
    """Answers by the first word of a command; OK to all others."""

    def answer(tag: str, rest: str) -> bytes:
        word = rest.partition(" ")[0]
        if word == "CAPABILITY":
            return f"* CAPABILITY IMAP4rev1 {capabilities}\r\n{tag} OK\r\n".encode()
        for start, text in (said or {}).items():
            if rest.startswith(start):
                return text.replace(b"TAG", tag.encode())
        return f"{tag} OK done\r\n".encode()

    return answer


async def attempt(pki: Path, greeting: bytes, answer: Answer, *, tls: bool = True, mechanism: str = "") -> Source:
    async with server(pki, greeting, answer, tls) as port:
        source = await sign_in(account(pki, port, starttls=not tls, mechanism=mechanism))
        await source.leave()
        return source


@pytest.mark.parametrize(
    ("greeting", "said", "why"),
    [
        (b"* PREAUTH hello\r\n", {}, "no STARTTLS"),
        (b"* OK hello\r\n", {"STARTTLS": b"TAG OK begin\r\n* OK [CAPABILITY IMAP4rev1]\r\n"}, "more in clear"),
        (b"* BYE go away\r\n", {}, "does not greet"),
        (b"* OK hello\r\n", {"STARTTLS": b""}, "ended the connection"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", {}, "does not greet"),
    ],
)
async def test_nothing_is_believed_before_tls(
    pki: Path, greeting: bytes, said: dict[str, bytes], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "SECONDS", 5.0)
    with pytest.raises(Lost, match=why):
        await attempt(pki, greeting, script("STARTTLS", said), tls=False)


async def test_starttls_is_never_left_out(pki: Path) -> None:
    with pytest.raises(Lost, match="no STARTTLS"):
        await attempt(pki, b"* OK hello\r\n", script("AUTH=PLAIN"), tls=False)
    await attempt(pki, b"* OK hello\r\n", script("STARTTLS AUTH=PLAIN", {"STARTTLS": b"TAG OK begin\r\n"}), tls=False)


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize(
    ("mechanism", "proof"),
    [
        ("PLAIN", b'\0dr\0s"3\\cret'),
        ("XOAUTH2", b'user=dr\1auth=Bearer s"3\\cret\1\1'),
        ("OAUTHBEARER", b'n,a=dr,\1auth=Bearer s"3\\cret\1\1'),
        ("EXTERNAL", b""),
    ],
)
async def test_each_mechanism_with_and_without_an_initial_response(
    pki: Path, mechanism: str, proof: bytes, at_once: bool
) -> None:
    heard: list[bytes] = []
    pending = ""

    def answer(tag: str, rest: str) -> bytes:
        nonlocal pending
        if rest.startswith("AUTHENTICATE"):
            _, name, *initial = rest.split(" ")
            assert name == mechanism
            if not at_once:
                assert not initial
                pending = tag
                return b"+ \r\n"
            heard.append(b"" if initial == ["="] else b64decode(initial[0]))
        elif pending:
            heard.append(b64decode(tag))
            tag, pending = pending, ""
            return f"{tag} OK in\r\n".encode()
        return script(f"AUTH={mechanism}{' SASL-IR' if at_once else ''}")(tag, rest)

    await attempt(pki, b"* OK hello\r\n", answer, mechanism=mechanism)
    assert heard == [proof]


async def test_a_refusal_is_told_in_the_servers_words(pki: Path) -> None:
    refusal = script("", {"LOGIN": b"TAG NO [AUTHENTICATIONFAILED] n\x07o\r\n"})
    with pytest.raises(NotSignedIn, match=r"it says \[AUTHENTICATIONFAILED\] no"):
        await attempt(pki, b"* OK hello\r\n", refusal)
    with pytest.raises(NotSignedIn, match="takes no password"):
        await attempt(pki, b"* OK hello\r\n", script("LOGINDISABLED"))
    with pytest.raises(NotSignedIn, match="does not offer EXTERNAL"):
        await attempt(pki, b"* OK hello\r\n", script("AUTH=PLAIN"), mechanism="EXTERNAL")


async def test_why_a_token_is_refused_is_acknowledged_before_the_end(pki: Path) -> None:
    tags: list[str] = []

    def answer(tag: str, rest: str) -> bytes:
        if rest.startswith("AUTHENTICATE"):
            tags.append(tag)
            return b"+ " + b64encode(b'{"status":"invalid_token"}') + b"\r\n"
        if tag == "AQ==":  # RFC 7628 §3.2.3
            return f"{tags[0]} NO expired\r\n".encode()
        return script("AUTH=OAUTHBEARER SASL-IR")(tag, rest)

    with pytest.raises(NotSignedIn, match="it says expired"):
        await attempt(pki, b"* OK hello\r\n", answer, mechanism="OAUTHBEARER")


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"* LIST () {99999999}\r\n", "more than was asked for"),
        (b"* LIST () {10}\r\nabc", "ended the connection"),
        (b"", "ended the connection"),
    ],
)
async def test_an_answer_is_bounded_and_its_end_is_noticed(pki: Path, said: bytes, why: str) -> None:
    def answer(tag: str, rest: str) -> bytes:
        if rest.startswith("LIST"):
            hanging.append(tag)
            return said
        return script("AUTH=PLAIN SASL-IR")(tag, rest)

    hanging: list[str] = []
    async with server(pki, b"* OK hello\r\n", answer) as port:
        source = await sign_in(account(pki, port))
        asking = asyncio.ensure_future(source.ask("LIST", '""', '"*"'))
        while not hanging:
            await asyncio.sleep(0.01)
        if said.endswith(b"abc"):
            source.protocol.transport.abort()
        with pytest.raises(Lost, match=why):
            await asking
        await source.leave()


async def test_names_come_as_they_were_sent_and_a_thousand_lines_are_read(pki: Path) -> None:
    lines = b"".join(b'* LIST () "/" "un * deux %d"\r\n' % number for number in range(3_000))
    answer = script("AUTH=PLAIN SASL-IR", {"LIST": lines + b"TAG OK\r\n", "LSUB": b"TAG NO not here\r\n"})
    async with server(pki, b"* OK hello\r\n", answer) as port:
        source = await sign_in(account(pki, port))
        found = answers.listed(await source.ask("LIST", '""', '"*"'))
        assert [folder.name for folder in found] == [b"un * deux %d" % number for number in range(3_000)]
        with pytest.raises(Declined, match="not here"):
            await source.ask("LSUB", '""', '"*"')
        await source.leave()
