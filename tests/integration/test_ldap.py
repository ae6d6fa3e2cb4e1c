"""The directory by LDAP as programs ask it: OpenLDAP's ldapsearch, what Thunderbird and Outlook ask, raw bytes."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from directory.fhir.answering import Request, answer
from server.base.limits import LDAP_NETWORK_CONNECTIONS, LDAP_SIGN_INS
from server.base.settings import load as load_settings
from server.db.pool import admin_dsn
from tests.ldap_messages import bind, cookie, encode, extended, page, search
from tests.ldap_server import CERTIFICATE, SUFFIX, Client, Listening, ldapsearch, prepared
from tests.programs import need
from tests.serving import REPOSITORY, caducee

PEOPLE, STRUCTURES = f"ou=personnes,{SUFFIX}", f"ou=structures,{SUFFIX}"
CLAIRE = f"uid=889990000013:10:R10000000001,{PEOPLE}"
PAGED = "1.2.840.113556.1.4.319"


@pytest.fixture(scope="module")
def ldap() -> Iterator[Listening]:
    with tempfile.TemporaryDirectory(prefix="caducee-ldap-") as place:
        listening = prepared(Path(place) / "home")
        try:
            yield listening
        finally:
            listening.served.stop()


@pytest.fixture
def client(ldap: Listening) -> Iterator[Client]:
    """Signed in, over TLS."""
    made = Client(ldap)
    made.sign_in()
    yield made
    made.close()


def found(ldap: Listening, *words: str) -> str:
    """What a signed-in ldapsearch finds below the suffix."""
    status, output = ldapsearch(ldap, ldap.ldaps, *ldap.signed_in(), "-b", SUFFIX, *words)
    assert status == 0, output
    return output


def values(output: str, kind: str) -> list[str]:
    return re.findall(rf"^{kind}: (.*)$", output, re.MULTILINE)


def code(answers: list[dict[str, Any]]) -> str:
    return str(answers[-1]["protocolOp"][1]["resultCode"])


def entries(answers: list[dict[str, Any]]) -> list[dict[str, list[str]]]:
    return [
        {a["type"].decode(): [v.decode("utf-8", "replace") for v in a["vals"]] for a in value["attributes"]}
        for kind, value in (one["protocolOp"] for one in answers)
        if kind == "searchResEntry"
    ]


@pytest.mark.parametrize("way", ["clear", "starttls", "tls"])
def test_anybody_reads_the_root_dse(ldap: Listening, way: str) -> None:
    words = ["-ZZ"] if way == "starttls" else []
    status, output = ldapsearch(ldap, ldap.ldaps if way == "tls" else ldap.ldap, *words, "-s", "base", "-b", "", "+")
    assert status == 0, output
    assert values(output, "namingContexts") == [SUFFIX]
    assert values(output, "subschemaSubentry") == ["cn=subschema"]
    assert PAGED in values(output, "supportedControl")
    assert ("1.3.6.1.4.1.1466.20037" in values(output, "supportedExtension")) == (way == "clear")
    assert values(output, "supportedSASLMechanisms") == ([] if way == "clear" else ["PLAIN"])


def test_anybody_reads_the_schema(ldap: Listening) -> None:
    status, output = ldapsearch(ldap, ldap.ldap, "-s", "base", "-b", "cn=subschema", "(objectClass=subschema)", "+")
    assert status == 0, output
    assert any("NAME 'inetOrgPerson'" in one for one in values(output, "objectClasses"))
    assert any("NAME 'caduceeSpecialty'" in one for one in values(output, "attributeTypes"))


def test_strangers_read_nothing_of_the_directory(ldap: Listening) -> None:
    status, output = ldapsearch(ldap, ldap.ldaps, "-b", SUFFIX, "(sn=martin)")
    assert status == 50, output
    assert "sign in first" in output


@pytest.mark.parametrize("way", ["starttls", "tls"])
def test_ldapsearch_finds_a_doctor(ldap: Listening, way: str) -> None:
    words = [*(["-ZZ"] if way == "starttls" else []), *ldap.signed_in(), "-b", SUFFIX, "(sn=martin)"]
    status, output = ldapsearch(ldap, ldap.ldaps if way == "tls" else ldap.ldap, *words)
    assert status == 0, output
    # The three of the national files, and the doctor whose mailbox is of this operator.
    assert sorted(values(output, "cn")) == ["Aline MARTIN", "Claire MARTIN", "Louis MARTIN", "Zoé MARTIN"]
    claire = output[output.index(f"dn: {CLAIRE}") :].partition("\n\n")[0]
    assert values(claire, "mail") == ["claire.martin@msg.exemple.fr"]
    assert values(claire, "title") == ["Médecin"]
    assert values(claire, "caduceeSpecialty") == ["Médecine générale"]
    assert values(claire, "employeeNumber") == ["89990000013"]
    assert values(claire, "l") == ["Lyon 3e Arrondissement"]
    assert set(values(claire, "objectClass")) >= {"person", "inetOrgPerson", "caduceeProfessional"}


FILTERS = {
    "(&(sn=LE GOFF)(l=saint-etienne))": ["Jean-Pierre LE GOFF"],
    "(&(givenName=jean pierre)(sn=le-goff)(postalCode=42000))": ["Jean-Pierre LE GOFF"],
    "(&(sn=Martin)(l=lyon*))": ["Claire MARTIN", "Zoé MARTIN"],
    "(&(sn=Martin)(!(l=lyon*)))": ["Aline MARTIN", "Louis MARTIN"],
    "(&(sn=martin)(title=infirmier))": ["Zoé MARTIN"],
    "(&(objectClass=inetOrgPerson)(caduceeSpecialty=*cardio*)(l=saint etienne)(sn=le*))": ["Jean-Pierre LE GOFF"],
    "(sn~=matrineau)": ["Anaïs MARTINEAU"],
    "(mail=Claire.Martin@msg.exemple.fr)": ["Claire MARTIN"],
    "(mail=claire.mart*)": ["Claire MARTIN"],
    "(employeeNumber=89990000013)": ["Claire MARTIN"],
    "(caduceeNationalId=889990000013)": ["Claire MARTIN"],
    "(uid=889990000013:10:R10000000001)": ["Claire MARTIN"],
    "(sn:caseIgnoreMatch:=martineau)": ["Anaïs MARTINEAU"],
    "(sn:2.5.13.2:=martineau)": ["Anaïs MARTINEAU"],
    "(&(sn=martineau)(ou:dn:=personnes))": ["Anaïs MARTINEAU"],
    "(&(cn=pharmacie du centre)(postalCode=69003))": ["PHARMACIE DU CENTRE"],
    "(&(objectClass=organization)(o=pharmacie du centre)(l=grenoble))": ["PHARMACIE DU CENTRE"],
    "(&(sn=martin)(unknownType=x))": [],
    "(&(sn=martin)(objectClass=device))": [],
    "(mail=nobody@msg.exemple.fr)": [],
    # What an injection would try: each is a value that nobody has.
    r"(sn=martin\29\28objectClass=\2a)": [],
    r"(mail=\2a)": [],
    "(sn=' OR 1=1 --)": [],
    "(mail=%)": [],
    "(cn=_______)": [],
    r"(cn=\00\ff\fe)": [],
    "(mail=x':*|&)": [],
}


@pytest.mark.parametrize("asked", FILTERS)
def test_filters(ldap: Listening, asked: str) -> None:
    assert sorted(values(found(ldap, asked, "cn"), "cn")) == FILTERS[asked]


def test_the_examples_of_the_guide(ldap: Listening) -> None:
    need("ldapsearch")
    guide = (REPOSITORY / "docs/ldap.md").read_text(encoding="utf-8")
    (function,) = re.findall(r"^    (look\(\) .*)$", guide, re.MULTILINE)
    examples = re.findall(r"^    (look .*)$", guide, re.MULTILINE)
    assert len(examples) > 3
    doctor = ldap.served.doctor
    given = {"LDAPS": ldap.ldaps, "ROOT": str(ldap.root), "BASE": SUFFIX, "ADDRESS": doctor}
    for example in examples:
        done = subprocess.run(
            ["sh", "-c", f"{function}\n{example}"],
            env=os.environ | given | {"PASSWORD": ldap.served.passwords[doctor]},
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert done.returncode == 0, example + done.stderr
        assert "dn: uid=" in done.stdout, example


def test_names_lead_to_entries(ldap: Listening) -> None:
    odd = f"UID = 889990000013:10:r10000000001 ,OU=Personnes, {SUFFIX.upper()}"
    status, output = ldapsearch(ldap, ldap.ldaps, *ldap.signed_in(), "-s", "base", "-b", odd)
    assert status == 0, output
    assert values(output, "dn") == [CLAIRE]
    one = ldapsearch(ldap, ldap.ldaps, *ldap.signed_in(), "-s", "one", "-b", SUFFIX)[1]
    assert values(one, "dn") == [PEOPLE, STRUCTURES]
    assert ldapsearch(ldap, ldap.ldaps, *ldap.signed_in(), "-s", "base", "-b", PEOPLE)[1].startswith(f"dn: {PEOPLE}")
    below = ldapsearch(
        ldap, ldap.ldaps, *ldap.signed_in(), "-b", STRUCTURES, "(|(cn=pharmacie du c*)(sn=martin))", "cn"
    )
    assert {name.upper() for name in values(below[1], "cn")} == {"PHARMACIE DU CENTRE"}
    status, output = ldapsearch(ldap, ldap.ldaps, *ldap.signed_in(), "-b", f"uid=1:2:3,{PEOPLE}", "(sn=martin)")
    assert (status, f"Matched DN: {PEOPLE}" in output) == (32, True)
    assert ldapsearch(ldap, ldap.ldaps, *ldap.signed_in(), "-b", "dc=autre", "(sn=martin)")[0] == 32
    assert ldapsearch(ldap, ldap.ldaps, *ldap.signed_in(), "-b", "no name", "(sn=martin)")[0] == 34
    # A program without a base means all.
    assert "Claire MARTIN" in ldapsearch(ldap, ldap.ldaps, *ldap.signed_in(), "-b", "", "(sn=martin)", "cn")[1]


def test_attributes_are_those_asked_for(ldap: Listening) -> None:
    base = ("-s", "base", "-b", CLAIRE)

    def kinds(*wanted: str) -> set[str]:
        output = ldapsearch(ldap, ldap.ldaps, *ldap.signed_in(), *base, "(objectClass=*)", *wanted)[1]
        return {line.partition(":")[0] for line in output.splitlines() if line} - {"dn"}

    assert kinds("1.1") == set()
    assert kinds("CN", "surname", "2.5.4.42", "nothing") == {"cn", "sn", "givenName"}
    assert kinds("entryUUID") == {"entryUUID"}
    assert kinds("name") >= {"cn", "sn", "givenName", "title", "l"}
    assert not kinds() & {"entryUUID", "entryDN"}
    assert kinds("*", "+") >= {"mail", "entryUUID", "entryDN", "structuralObjectClass", "userCertificate;binary"}


def test_certificates_that_hold_are_given(client: Client) -> None:
    asked = {"attributeDesc": b"mail", "assertionValue": b"claire.martin@msg.exemple.fr"}
    wanted = [b"mail", b"userCertificate;binary"]
    answers = client.ask(
        search(
            2,
            baseObject=SUFFIX.encode(),
            scope="wholeSubtree",
            filter=("equalityMatch", asked),
            attributes=wanted,
        )
    )
    held = {a["type"]: a["vals"] for a in answers[0]["protocolOp"][1]["attributes"]}
    assert held[b"userCertificate;binary"] == [CERTIFICATE]


def test_an_unlisted_mailbox_is_nowhere(ldap: Listening) -> None:
    assert values(found(ldap, "(&(sn=martin)(givenName=louis))", "cn", "mail"), "mail") == []
    for asked in ("(mail=louis.martin@msg.exemple.fr)", "(mail=louis.*)", "(mail=*louis*)"):
        assert values(found(ldap, asked, "mail"), "mail") == []


def test_an_own_mailbox_that_is_unlisted_is_in_no_answer(ldap: Listening) -> None:
    shown, hidden = "a.valmont@msg.exemple.fr", "b.valmont@msg.exemple.fr"
    add = "--type", "PER", "--name", "Dr Aline VALMONT", "--rpps", "10000000025"
    caducee("mailbox", "add", shown, *add, home=ldap.served.home)
    caducee("mailbox", "add", hidden, *add, "--unlisted", home=ldap.served.home)

    async def by_fhir(*queries: str) -> list[str]:
        connection = await asyncpg.connect(admin_dsn(load_settings(ldap.served.home)))
        asked = [
            Request("GET", "https://x/fhir", tuple(path.split("/")), b"_count=200&" + query.encode())
            for path, _, query in (one.partition("?") for one in queries)
        ]
        found = [str((await answer(connection, one)).body) for one in asked]
        await connection.close()
        return found

    assert values(found(ldap, "(sn=valmont)", "mail"), "mail") == [shown]
    for pattern in (hidden, "b.*", "*valmont*", "*"):
        assert hidden not in found(ldap, f"(&(sn=valmont)(mail={pattern}))")
    assert found(ldap, f"(mail={hidden})") == ""
    named, *others = asyncio.run(
        by_fhir(
            "Practitioner?family=valmont&_revinclude=PractitionerRole:practitioner",
            "PractitionerRole",
            "HealthcareService",
            f"Practitioner?mailbox-mss={hidden}",
            f"PractitionerRole?mailbox-mss={hidden}",
            "Practitioner/810000000025",
        )
    )
    assert shown in named
    assert all(hidden not in one for one in (named, *others))


# What Thunderbird 153 sends, in clear after an anonymous bind, as "mart" and as "zoé mart" are typed for an addressee:
# (|(cn=*mart*)(mail=*mart*)(givenName=*mart*)(sn=*mart*)), and
# (|(cn=*zoé*mart*)(mail=*zoé mart*)(givenName=*zoé*)(sn=*zoé mart*)). 100 at most, all attributes.
THUNDERBIRD_WORD = bytes.fromhex(
    "3072020102636d041764633d6d73672c64633d6578656d706c652c64633d66720a01020a0100020164020100010100a141a4"
    "0c0402636e300681046d617274a40e04046d61696c300681046d617274a4130409676976656e4e616d65300681046d617274"
    "a40c0402736e300681046d6172743000"
)
THUNDERBIRD_WORDS = bytes.fromhex(
    "308182020102637d041764633d6d73672c64633d6578656d706c652c64633d66720a01020a0100020164020100010100a151"
    "a4120402636e300c81047a6fc3a981046d617274a41304046d61696c300b81097a6fc3a9206d617274a4130409676976656e"
    "4e616d65300681047a6fc3a9a4110402736e300b81097a6fc3a9206d6172743000"
)


def test_thunderbird_completes(client: Client) -> None:
    answers = client.ask(THUNDERBIRD_WORD)
    assert code(answers) == "success"
    assert {one["cn"][0] for one in entries(answers)} >= {"Claire MARTIN", "Anaïs MARTINEAU"}
    assert all(re.search(r"\bmart", str(one).lower()) for one in entries(answers))
    # It asks for whoever is called Zoé too, and chooses itself.
    names = [one["cn"][0] for one in entries(client.ask(THUNDERBIRD_WORDS))]
    assert "Zoé MARTIN" in names
    assert all(name.startswith("Zoé ") for name in names)


def test_outlook_completes(client: Client) -> None:
    def begins(kind: bytes) -> Any:
        return "substrings", {"type": kind, "substrings": [("initial", b"claire.mart" if kind == b"mail" else b"mart")]}

    kinds = [b"mail", b"cn", b"sn", b"givenName", b"displayName"]
    asked = ("and", [("present", b"mail"), ("or", [begins(kind) for kind in kinds])])
    wanted = [b"cn", b"commonName", b"mail", b"roleOccupant", b"display-name", b"displayName", b"sn", b"co", b"title"]
    fields = {"baseObject": SUFFIX.encode(), "scope": "wholeSubtree", "sizeLimit": 100, "attributes": wanted}
    answers = client.ask(search(2, **fields, filter=asked))
    assert code(answers) == "success"
    found = entries(answers)
    assert "claire.martin@msg.exemple.fr" in [address for one in found for address in one["mail"]]
    assert "Louis MARTIN" not in [one["cn"][0] for one in found]  # whose only mailbox is unlisted


def test_what_no_index_answers_is_refused_with_what_would_help(client: Client) -> None:
    fields = {"baseObject": SUFFIX.encode(), "scope": "wholeSubtree"}
    broad: list[Any] = [
        ("present", b"objectClass"),
        ("present", b"mail"),
        ("not", ("present", b"cn")),
        ("equalityMatch", {"attributeDesc": b"telephoneNumber", "assertionValue": b"0199000001"}),
        ("substrings", {"type": b"cn", "substrings": [("initial", b"m")]}),
        ("substrings", {"type": b"mail", "substrings": [("final", b"@msg.exemple.fr")]}),
        ("or", [("equalityMatch", {"attributeDesc": b"sn", "assertionValue": b"x"}), ("present", b"l")]),
        ("greaterOrEqual", {"attributeDesc": b"caduceeFiness", "assertionValue": b"0"}),
        ("or", [("equalityMatch", {"attributeDesc": b"sn", "assertionValue": b"n%d" % n}) for n in range(60)]),
        ("and", []),
    ]
    for number, asked in enumerate(broad, 2):
        (answer,) = client.ask(search(number, **fields, filter=asked))
        assert answer["protocolOp"][1]["resultCode"] == "adminLimitExceeded", asked
        assert len(answer["protocolOp"][1]["diagnosticMessage"]) > 20


def test_pages(ldap: Listening, client: Client) -> None:
    fields = {"baseObject": SUFFIX.encode(), "scope": "wholeSubtree", "attributes": [b"entryDN"]}
    asked: Any = ("substrings", {"type": b"o", "substrings": [("initial", b"cabinet")]})
    whole = [one["entryDN"][0] for one in entries(client.ask(search(2, **fields, filter=asked)))]
    assert len(whole) > 40
    pages, mark, number = [], b"", 3
    while True:
        answers = client.ask(search(number, (PAGED, True, page(15, mark)), **fields, filter=asked))
        assert code(answers) == "success"
        pages.append([one["entryDN"][0] for one in entries(answers)])
        number, mark = number + 1, cookie(answers[-1])
        if not mark:
            break
    assert [len(one) for one in pages[:-1]] == [15] * (len(pages) - 1)
    assert [name for one in pages for name in one] == whole
    assert len(set(whole)) == len(whole)
    # OpenLDAP's client does the same.
    output = found(ldap, "-E", "pr=10/noprompt", "(o=cabinet*)", "entryDN")
    assert sorted(values(output, "entryDN")) == sorted(whole)


def test_a_cookie_is_of_its_question_and_connection(ldap: Listening, client: Client) -> None:
    fields = {"baseObject": SUFFIX.encode(), "scope": "wholeSubtree", "attributes": [b"1.1"]}
    asked: Any = ("substrings", {"type": b"o", "substrings": [("initial", b"cabinet")]})
    other: Any = ("substrings", {"type": b"o", "substrings": [("initial", b"pharmacie")]})
    mark = cookie(client.ask(search(2, (PAGED, False, page(5)), **fields, filter=asked))[-1])
    assert code(client.ask(search(3, (PAGED, False, page(5, mark)), **fields, filter=other))) == "unwillingToPerform"
    mark = cookie(client.ask(search(4, (PAGED, False, page(5)), **fields, filter=asked))[-1])
    stranger = Client(ldap)
    stranger.sign_in()
    assert code(stranger.ask(search(2, (PAGED, False, page(5, mark)), **fields, filter=asked))) == "unwillingToPerform"
    stranger.close()
    assert code(client.ask(search(5, (PAGED, False, page(0, mark)), **fields, filter=asked))) == "success"
    assert code(client.ask(search(6, (PAGED, False, page(5, mark)), **fields, filter=asked))) == "unwillingToPerform"
    # Enough searches that nobody goes on with, and the first is forgotten.
    marks = [cookie(client.ask(search(n, (PAGED, False, page(5)), **fields, filter=asked))[-1]) for n in range(10, 16)]
    assert code(client.ask(search(20, (PAGED, False, page(5, marks[0])), **fields, filter=asked))) != "success"
    assert code(client.ask(search(21, (PAGED, False, page(5, marks[-1])), **fields, filter=asked))) == "success"
    assert code(client.ask(search(22, (PAGED, False, b"\x30\x00"), **fields, filter=asked))) == "protocolError"


def test_sizes_are_kept(client: Client) -> None:
    fields = {"baseObject": SUFFIX.encode(), "scope": "wholeSubtree", "attributes": [b"cn"]}
    asked: Any = ("and", [("equalityMatch", {"attributeDesc": b"sn", "assertionValue": b"martin"}), ("present", b"l")])
    answers = client.ask(search(2, **fields, sizeLimit=2, filter=asked))
    assert (len(entries(answers)), code(answers)) == (2, "sizeLimitExceeded")
    answers = client.ask(search(3, **fields, sizeLimit=3, filter=asked))
    assert (len(entries(answers)), code(answers)) == (3, "success")
    answers = client.ask(search(4, (PAGED, True, page(2)), **fields, sizeLimit=2, filter=asked))
    assert (len(entries(answers)), code(answers)) == (2, "sizeLimitExceeded")
    answers = client.ask(search(5, **fields, typesOnly=True, filter=asked))
    assert [one["cn"] for one in entries(answers)] == [[], [], []]


def test_sign_in(ldap: Listening) -> None:
    password = ldap.served.passwords[ldap.served.doctor]
    plain = {"mechanism": b"PLAIN", "credentials": b"\0dr.martin@msg.exemple.fr\0" + password.encode()}
    for_another = plain | {"credentials": b"u:x@y.fr" + plain["credentials"]}

    def bound(client: Client, method: str, value: Any, version: int = 3, name: str = "") -> str:
        fields = {"version": version, "name": name.encode(), "authentication": (method, value)}
        return code(client.ask(encode(2, "bindRequest", fields)))

    def who(client: Client) -> bytes:
        (answer,) = client.ask(extended(3, "1.3.6.1.4.1.4203.1.11.3"))
        return bytes(answer["protocolOp"][1]["responseValue"])

    client = Client(ldap)
    assert who(client) == b""
    for name in (ldap.served.doctor, f"mail={ldap.served.doctor},{PEOPLE}", f"uid={ldap.served.doctor.upper()}"):
        assert code(client.ask(bind(2, name, password))) == "success", name
        assert who(client).lower() == b"u:dr.martin@msg.exemple.fr"
    assert bound(client, "simple", b"") == "success"
    assert who(client) == b""
    assert bound(client, "sasl", plain) == "success"
    assert who(client) == b"u:dr.martin@msg.exemple.fr"
    assert code(client.ask(bind(2, ldap.served.doctor, "wrong"))) == "invalidCredentials"
    assert who(client) == b""
    assert bound(client, "sasl", for_another) == "invalidCredentials"
    assert bound(client, "sasl", {"mechanism": b"GSSAPI"}) == "authMethodNotSupported"
    assert bound(client, "simple", b"", name="cn=x") == "unwillingToPerform"
    assert bound(client, "simple", b"x", version=2) == "protocolError"
    patient = ldap.served.patient
    assert code(client.ask(bind(2, patient, ldap.served.passwords[patient]))) == "success"
    assert code(client.ask(search(3, baseObject=PEOPLE.encode()))) == "insufficientAccessRights"
    client.close()
    clear = Client(ldap, tls=False)
    assert code(clear.ask(bind(2, ldap.served.doctor, password))) == "confidentialityRequired"
    clear.close()


def test_who_fails_again_and_again_is_left(ldap: Listening) -> None:
    client = Client(ldap)
    for number in range(LDAP_SIGN_INS):
        assert code(client.ask(bind(number + 1, ldap.served.doctor, "wrong"))) in ("invalidCredentials", "busy")
    assert client.rest() == b""
    client.close()


def test_compare(client: Client) -> None:
    def compared(kind: bytes, value: bytes, name: str = CLAIRE) -> str:
        ava = {"attributeDesc": kind, "assertionValue": value}
        return code(client.ask(encode(2, "compareRequest", {"entry": name.encode(), "ava": ava})))

    assert compared(b"sn", b"martin") == "compareTrue"
    assert compared(b"sn", b"durand") == "compareFalse"
    assert compared(b"caduceeSiret", b"1") == "noSuchAttribute"
    assert compared(b"nothing", b"1") == "undefinedAttributeType"
    assert compared(b"entryDN", b"=") == "inappropriateMatching"
    assert compared(b"sn", b"martin", f"uid=1:2:3,{PEOPLE}") == "noSuchObject"
    assert compared(b"sn", b"martin", "=") == "invalidDNSyntax"


def test_many_requests_at_once_are_each_answered(client: Client) -> None:
    fields = {"baseObject": SUFFIX.encode(), "scope": "wholeSubtree", "attributes": [b"cn"]}
    asked: Any = ("equalityMatch", {"attributeDesc": b"sn", "assertionValue": b"martin"})
    answers = client.ask(b"".join(search(number, **fields, filter=asked) for number in range(2, 42)), answers=40)
    ended = {one["messageID"]: one["protocolOp"][1]["resultCode"] for one in answers if len(one["protocolOp"][1]) > 2}
    assert set(ended) == set(range(2, 42))
    assert set(ended.values()) <= {"success", "busy"}
    assert list(ended.values()).count("success") >= 16


def test_garbage_is_answered_and_closed(ldap: Listening) -> None:
    for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"\x30\x84\x7f\xff\xff\xff"):
        client = Client(ldap, tls=False)
        client.socket.sendall(garbage)
        answer = client.rest()
        assert b"1.3.6.1.4.1.1466.20036" in answer
        assert b"Traceback" not in answer
        client.close()


def test_what_follows_start_tls_in_clear_is_not_answered(ldap: Listening) -> None:
    client = Client(ldap, tls=False)
    client.socket.sendall(extended(1, "1.3.6.1.4.1.1466.20037") + encode(2, "delRequest", b"cn=x"))
    assert b"requests came along with StartTLS" in client.rest()
    client.close()


def test_a_network_opens_only_so_many_connections(ldap: Listening) -> None:
    clients = [Client(ldap, tls=False) for _ in range(LDAP_NETWORK_CONNECTIONS)]
    late = Client(ldap, tls=False)
    try:
        assert late.rest() == b""
        assert code(clients[0].ask(search(1))) == "success"
    finally:
        for one in (*clients, late):
            one.close()
