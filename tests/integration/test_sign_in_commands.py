"""The commands that say who may sign in, on a Caducée that serves: what they make works at once, and ends at once."""

from __future__ import annotations

import base64
import imaplib
import json
import re
import smtplib
import tempfile
import time
from datetime import timedelta
from email import message_from_bytes, policy
from pathlib import Path

import httpx
import pytest

from crypto.pki import development
from server.base import clock
from tests.serving import DOCTOR, DOMAIN, PHARMACY, Served, caducee, refused


@pytest.fixture(scope="module")
def running(provided: Served) -> Served:
    """With the development provider."""
    return provided


def test_a_program_is_given_a_certificate(running: Served) -> None:
    lab, doctor = f"labo@{DOMAIN}", f"dr.sans.programme@{DOMAIN}"
    caducee("mailbox", "add", lab, "--type", "APP", "--name", "Laboratoire", home=running.home)
    caducee("mailbox", "add", doctor, "--type", "PER", "--name", "Sans PROGRAMME", home=running.home)
    assert "No certificate" in caducee("mailbox", "certificates", lab, home=running.home)
    caducee("mailbox", "certificate", lab, str(running.home / "pki" / "organisation.pem"), home=running.home)
    (bound,) = json.loads(caducee("mailbox", "certificates", lab, "--json", home=running.home))
    assert "CADUCEE DEVELOPPEMENT" in bound["subject"]
    assert bound["subject"] in caducee("mailbox", "certificates", lab, home=running.home)
    organisation = str(running.home / "pki" / "organisation.pem")
    assert "APP" in refused("mailbox", "certificate", doctor, organisation, home=running.home)
    assert "client authentication" in refused(
        "mailbox", "certificate", lab, signing_certificate(running.home), home=running.home
    )
    assert "authority" in refused(
        "mailbox", "certificate", lab, str(running.home / "pki" / "root.pem"), home=running.home
    )
    assert "PEM" in refused("mailbox", "certificate", lab, str(running.home / "caducee.toml"), home=running.home)
    assert "cannot be read" in refused(
        "mailbox", "certificate", lab, str(running.home / "absent.pem"), home=running.home
    )
    with tempfile.TemporaryDirectory() as place:
        development.create(Path(place), DOMAIN, clock.now())
        assert "trust.anchors" in refused("mailbox", "certificate", lab, f"{place}/organisation.pem", home=running.home)
    assert (as_the_program(running, lab), as_the_program(running, "")) == (235, 235)
    caducee("mailbox", "remove-certificate", lab, str(bound["number"]), home=running.home)
    assert as_the_program(running, lab) == 535
    assert "no certificate" in refused("mailbox", "remove-certificate", lab, str(bound["number"]), home=running.home)


def test_a_facility_signs_in_its_people(running: Served) -> None:
    team, shown = f"cardiologie@{DOMAIN}", str(running.home / "pki" / "organisation.pem")
    caducee("mailbox", "add", team, "--type", "ORG", "--name", "Cardiologie", home=running.home)
    assert "None" in caducee("mailbox", "facilities", team, home=running.home)
    for until, text in (("2020-01-01", "has passed"), ("demain", "is no day")):
        assert text in refused("mailbox", "facility", team, "--certificate", shown, "--until", until, home=running.home)
    last = f"{clock.now() + timedelta(days=30):%Y-%m-%d}"
    given = ("--certificate", shown, "--rights", "read,manage", "--until", last)
    assert f"until {last}" in caducee("mailbox", "facility", team, *given, home=running.home)
    (bound,) = json.loads(caducee("mailbox", "facilities", team, "--json", home=running.home))
    assert bound["rights"] == ["read", "manage"]
    assert bound["subject"] in caducee("mailbox", "facilities", team, home=running.home)
    token = facility_token(running, team).json()["access_token"]
    said = f"user={team}\1auth=Bearer {token}\1\1"
    with imaplib.IMAP4_SSL("localhost", running.ports["imap_tls"], ssl_context=running.tls(), timeout=30) as client:
        client.authenticate("XOAUTH2", lambda challenge: said.encode())
        assert client.create("Dossier")[0] == "OK"
    told = json.loads(caducee("trace", team, "--json", home=running.home))
    named = f"{bound['subject']}: i.durand Inès DURAND"
    assert named in [event.get("actor") for event in told if event["event"] == "facility-admitted"]
    caducee("mailbox", "remove-facility", team, str(bound["number"]), home=running.home)
    assert facility_token(running, team).json()["error"] == "unauthorized_client"
    with (
        imaplib.IMAP4_SSL("localhost", running.ports["imap_tls"], ssl_context=running.tls(), timeout=30) as client,
        pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"),
    ):
        client.authenticate("XOAUTH2", lambda challenge: said.encode())
    assert "no facility" in refused("mailbox", "remove-facility", team, str(bound["number"]), home=running.home)


def facility_token(served: Served, mailbox: str) -> httpx.Response:
    """What the facility's server is answered that shows the organisation's certificate."""
    tls = served.tls()
    tls.load_cert_chain(served.home / "pki" / "organisation.pem", served.home / "pki" / "organisation.key")
    form = {"grant_type": "client_credentials", "mailbox": mailbox, "actor": "i.durand", "actor_name": "Inès DURAND"}
    return httpx.post(f"https://localhost:{served.ports['facility']}/oauth2/token", data=form, verify=tls)


def as_the_program(served: Served, mailbox: str) -> int:
    """The reply to AUTH EXTERNAL with the organisation's certificate."""
    tls = served.tls()
    tls.load_cert_chain(served.home / "pki" / "organisation.pem", served.home / "pki" / "organisation.key")
    with smtplib.SMTP("localhost", served.ports["submission"], timeout=30) as client:
        client.starttls(context=tls)
        client.ehlo()
        return client.docmd("AUTH EXTERNAL", base64.b64encode(mailbox.encode()).decode() or "=")[0]


def signing_certificate(home: Path) -> str:
    return str(next((home / "pki" / "smime").glob("*.pem")))


def test_an_app_password_is_listed_and_revoked(running: Served) -> None:
    address = f"dr.telephone@{DOMAIN}"
    caducee("mailbox", "add", address, "--type", "PER", "--name", "Du TELEPHONE", home=running.home)
    assert "None" in caducee("mailbox", "app-passwords", address, home=running.home)
    for label in ("telephone", "cabinet"):
        secret = caducee("mailbox", "app-password", address, "--label", label, home=running.home).split()[-1]
        running.passwords[address] = secret
    running.submission(address).quit()
    telephone, office = json.loads(caducee("mailbox", "app-passwords", address, "--json", home=running.home))
    assert (telephone["label"], telephone["used_on"], office["label"]) == ("telephone", None, "cabinet")
    listed = caducee("mailbox", "app-passwords", address, home=running.home)
    assert "never used" in listed
    assert f"last used {office['used_on']}" in listed
    assert secret not in listed
    caducee("mailbox", "revoke-app-password", address, str(office["number"]), home=running.home)
    with pytest.raises(smtplib.SMTPAuthenticationError):
        running.submission(address)
    assert "no app password" in refused(
        "mailbox", "revoke-app-password", address, str(office["number"]), home=running.home
    )
    assert "cabinet" not in caducee("mailbox", "app-passwords", address, home=running.home)


def test_a_team_mailbox_is_shared(running: Served) -> None:
    team, doctor = f"equipe@{DOMAIN}", f"dr.equipe@{DOMAIN}"
    caducee("mailbox", "add", team, "--type", "ORG", "--name", "Équipe", home=running.home)
    caducee("mailbox", "add", doctor, "--type", "PER", "--name", "D’ÉQUIPE", home=running.home)
    assert "Nobody" in caducee("mailbox", "delegations", team, home=running.home)
    caducee(
        "mailbox",
        "delegate",
        team,
        "--to",
        doctor,
        "--rights",
        "send,manage",
        "--until",
        "2999-12-31",
        home=running.home,
    )
    (shared,) = json.loads(caducee("mailbox", "delegations", team, "--json", home=running.home))
    assert (shared["delegate"], shared["rights"]) == (doctor, ["read", "send", "manage"])
    assert "until 2999-12-31" in caducee("mailbox", "delegations", team, home=running.home)
    caducee("mailbox", "delegate", team, "--to", DOCTOR, home=running.home)
    message = f"From: {team}\r\nTo: {PHARMACY}\r\nSubject: Tournee\r\n\r\nBonjour\r\n"
    with running.submission(DOCTOR) as client:
        assert client.sendmail(team, [PHARMACY], message) == {}
    caducee("mailbox", "revoke-delegation", team, "--to", DOCTOR, home=running.home)
    with running.submission(DOCTOR) as client, pytest.raises(smtplib.SMTPSenderRefused):
        client.sendmail(team, [PHARMACY], message)
    caducee("mailbox", "delegate", team, "--to", doctor, home=running.home)
    assert "read, send  until revoked" in caducee("mailbox", "delegations", team, home=running.home)
    for words, sentence in (
        (["--rights", "read,write"], "read, send and manage"),
        (["--until", "demain"], "2027-06-30"),
        (["--until", "2001-01-01"], "has passed"),
    ):
        assert sentence in refused("mailbox", "delegate", team, "--to", doctor, *words, home=running.home)
    assert "366 days" in refused("mailbox", "delegate", doctor, "--to", DOCTOR, home=running.home)
    until = ["--until", f"{clock.now() + timedelta(days=9):%Y-%m-%d}"]
    assert "another" in refused("mailbox", "delegate", doctor, "--to", doctor, *until, home=running.home)
    caducee("mailbox", "delegate", doctor, "--to", DOCTOR, *until, home=running.home)
    assert "type PER" in refused("mailbox", "delegate", team, "--to", team, home=running.home)
    caducee("mailbox", "revoke-delegation", team, "--to", doctor, home=running.home)
    assert "not shared" in refused("mailbox", "revoke-delegation", team, "--to", doctor, home=running.home)


def test_a_mailbox_is_bound_to_its_professional(running: Served) -> None:
    address = f"dr.lien@{DOMAIN}"
    caducee("mailbox", "add", address, "--type", "PER", "--name", "Dr LIEN", home=running.home)
    assert "no RPPS" in refused("identity", "bind", address, home=running.home)
    assert "Luhn" in refused("identity", "bind", address, "10000000018", home=running.home)
    before = json.loads(caducee("identity", "status", "--json", home=running.home))
    assert before["missing"] == []
    caducee("identity", "bind", address, "99000000010", home=running.home)
    after = json.loads(caducee("identity", "status", "--json", home=running.home))
    assert after["people"] == before["people"] + 1
    caducee("identity", "unbind", address, home=running.home)
    assert "Nobody is bound" in refused("identity", "unbind", address, home=running.home)
    assert "ORG" in refused("identity", "bind", PHARMACY, "10000000017", home=running.home)


def test_a_patient_is_invited_and_an_operator_sees_and_ends_what_signs_in(running: Served) -> None:
    patient, doctor = f"280019900100182@patient.{DOMAIN}", f"dr.acces@{DOMAIN}"
    told = caducee("mailbox", "add", patient, "--type", "PATIENT", "--name", "Jeanne MARTIN", home=running.home)
    assert f"caducee mailbox invite {patient}" in told
    caducee("mailbox", "add", doctor, "--type", "PER", "--name", "Doc ACCES", home=running.home)
    line = caducee("mailbox", "invite", patient, home=running.home)
    assert re.fullmatch(rf"{patient}  ([2-9A-Z]{{4}}-){{4}}[2-9A-Z]{{4}}  until \d{{4}}-\d\d-\d\d\n", line)
    (again,) = json.loads(caducee("mailbox", "invite", patient, "--anew", "--json", home=running.home))
    assert again["code"] not in line
    assert "identity provider" in refused("mailbox", "invite", doctor, home=running.home)
    assert "No mailbox" in refused("mailbox", "invite", patient, f"personne@{DOMAIN}", home=running.home)
    with httpx.Client(
        base_url=f"https://localhost:{running.ports['web']}", verify=running.tls(), headers={"Accept": "text/html"}
    ) as browser:
        form = {"jeton": field_of(browser.get("/activation").text), "adresse": patient, "code": again["code"]}
        assert browser.post("/activation", data=form).headers["location"] == "/activation/moyen"
        form = {"jeton": field_of(browser.get("/").text), "adresse": doctor}
        assert browser.post("/connexion", data=form).headers["location"] == "/messages"
        secret = caducee("mailbox", "app-password", doctor, home=running.home).split()[-1]
        assert "Sécurité de votre messagerie" in first_subject(running, doctor, secret)
        found = json.loads(caducee("mailbox", "access", doctor, "--json", home=running.home))
        assert [len(found[kind]) for kind in ("passkeys", "app_passwords", "sessions", "devices")] == [0, 1, 1, 1]
        listed = caducee("mailbox", "access", doctor, home=running.home)
        assert f"session {found['sessions'][0]['session_id']}" in listed
        assert "last used" in listed
        assert "code good until" in caducee("mailbox", "access", patient, home=running.home)
        for way, which in (("passkey", "1"), ("device", "x"), ("session", "0" * 32)):
            assert f"no {way} {which}" in refused("mailbox", "end-access", doctor, way, which, home=running.home)
        device = str(found["devices"][0]["number"])
        caducee("mailbox", "end-access", doctor, "device", device, home=running.home)
        caducee("mailbox", "end-access", doctor, "session", "all", home=running.home)
        assert browser.get("/messages").headers["location"] == "/?fin=1"
    found = json.loads(caducee("mailbox", "access", doctor, "--json", home=running.home))
    assert (found["sessions"], found["devices"]) == ([], [])


def first_subject(served: Served, address: str, secret: str) -> str:
    """The subject of the first message in a mailbox, once it is there."""
    with imaplib.IMAP4_SSL("localhost", served.ports["imap_tls"], ssl_context=served.tls(), timeout=60) as reader:
        reader.login(address, secret)
        reader.select("INBOX")
        while reader.search(None, "ALL")[1] == [b""]:
            time.sleep(0.2)
            reader.noop()
        _, data = reader.fetch("1", "(BODY.PEEK[HEADER])")
    return str(message_from_bytes(data[0][1], policy=policy.default)["subject"])


def field_of(page: str) -> str:
    """The token of a page's form."""
    return re.findall(r'name="jeton" value="([0-9a-f]{64})"', page)[0]


def test_practice_software_gets_a_token_of_the_development_provider(running: Served) -> None:
    """By CIBA, for the holder of a mailbox who was enrolled when the mailbox was made, and for the provider's own."""
    known = json.loads(caducee("identity", "people", "--json", home=running.home))
    assert "810000000017" in {person["national_id"] for person in known}
    assert "899000000044  Sacha APPRENTI  no profession" in caducee("identity", "people", home=running.home)
    for person, national_id in ((DOCTOR, "810000000017"), ("99000000010", "899000000010")):
        made = json.loads(caducee("identity", "token", person, "--json", home=running.home))
        said = json.loads(base64.urlsafe_b64decode(made["access_token"].split(".")[1] + "=="))
        assert (said["SubjectNameID"], said["azp"], made["expires_in"]) == (national_id, "logiciel", 120)
    assert caducee("identity", "token", "810000000017", home=running.home).count(".") == 2
    token = caducee("identity", "token", DOCTOR, home=running.home).strip()
    with imaplib.IMAP4_SSL("localhost", running.ports["imap_tls"], ssl_context=running.tls(), timeout=30) as reader:
        reader.authenticate("XOAUTH2", lambda challenge: f"user={DOCTOR}\1auth=Bearer {token}\1\1".encode())
        assert reader.select("INBOX")[0] == "OK"
    assert "no RPPS" in refused("identity", "token", PHARMACY, home=running.home)
    assert "unknown_user_id" in refused("identity", "token", "899000000051", home=running.home)
    assert "no client caducee-web for CIBA" in refused(
        "identity", "token", DOCTOR, "--client", "caducee-web", home=running.home
    )
    off = {"CADUCEE_PROVIDER__WORKERS": "0"}
    assert "provider.workers is 0" in refused("identity", "token", DOCTOR, home=running.home, environment=off)
    production = {"CADUCEE_PRODUCTION": "true", "CADUCEE_IDENTITY__DEVELOPMENT_SIGN_IN": "false"}
    assert "provider: workers must be 0" in refused("identity", "people", home=running.home, environment=production)
    assert "may be anybody" in caducee("doctor", home=running.home)
