"""The command line as an operator and a load test use it: real processes, a real data directory."""

from __future__ import annotations

import json
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates

from crypto.keyfile import write_private
from crypto.pki.issue import new_key
from crypto.pki.profile import KeyKind
from server.base.settings import load
from server.cli.admin import Admin
from server.roles import TABLE
from tests.serving import DOMAIN, INS, PATIENT_DOMAIN, caducee, ended, refused
from tests.signers import certificate


@pytest.fixture(scope="module")
def made() -> Iterator[Path]:
    """A data directory as `caducee init` leaves it."""
    with tempfile.TemporaryDirectory(prefix="caducee-cli-") as place:
        home = Path(place) / "home"
        caducee("init", str(home), "--domain", DOMAIN, home=home)
        yield home


def test_init_closes_the_folder_and_every_key(made: Path) -> None:
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    keys = [file for file in [*(made / "keys").rglob("*"), *(made / "pki").rglob("*.key")] if file.is_file()]
    assert keys
    assert [file for file in keys if file.stat().st_mode & 0o077] == []


def test_init_leaves_a_folder_that_holds_something_alone(made: Path) -> None:
    before = (made / "caducee.toml").read_bytes()
    assert "not empty" in refused("init", str(made), "--domain", DOMAIN, home=made)
    assert (made / "caducee.toml").read_bytes() == before


def test_init_refuses_a_domain_that_is_none_and_leaves_nothing(tmp_path: Path) -> None:
    said = refused("init", str(tmp_path / "home"), "--domain", "Pas Un Domaine", home=tmp_path)
    assert "msg.exemple.fr" in said
    assert not (tmp_path / "home").exists()


def test_a_command_without_a_data_directory_says_how_to_make_one(tmp_path: Path) -> None:
    assert "caducee init" in refused("check", home=tmp_path / "absent")


def test_a_wrong_setting_is_named_with_its_place(made: Path) -> None:
    said = refused("check", home=made, environment={"CADUCEE_IMAP__WORKERS": "none"})
    assert "CADUCEE_IMAP__WORKERS" in said
    assert "imap.workers" in said


def test_the_app_password_is_the_last_word_and_kept_nowhere(made: Path) -> None:
    address = f"secretariat@{DOMAIN}"
    caducee("mailbox", "add", address, "--type", "ORG", "--name", "Secrétariat", home=made)
    secret = caducee("mailbox", "app-password", address, home=made).split()[-1]
    assert len(secret.replace("-", "")) == 32  # 160 bits in base32
    again = json.loads(caducee("mailbox", "app-password", address, "--json", home=made))
    assert again["app_password"] != secret
    for file in made.rglob("*"):
        if file.is_file():
            assert secret.encode() not in file.read_bytes(), file


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["x@autre.example", "--type", "PER", "--name", "X"], "The domain of a mailbox here"),
        ([f"x@{DOMAIN}", "--type", "PER", "--name", "X", "--rpps", "10000000018"], "RPPS"),
        ([f"x@{DOMAIN}", "--type", "ORG", "--name", "X", "--finess", "690000014"], "FINESS"),
        ([f"{INS}@{PATIENT_DOMAIN}", "--type", "PATIENT", "--name", "X", "--ins", INS[:-1] + "0"], "INS"),
        (["pas une adresse", "--type", "PER", "--name", "X"], "not a mail address"),
        ([f"x@{DOMAIN}", "--type", "PER", "--name", " "], "name"),
    ],
)
def test_a_wrong_mailbox_is_refused_with_what_is_wrong(made: Path, words: list[str], sentence: str) -> None:
    said = refused("mailbox", "add", *words, home=made)
    assert sentence in said
    assert INS[:-1] + "0" not in said


def test_an_address_is_given_once(made: Path) -> None:
    caducee("mailbox", "add", f"unique@{DOMAIN}", "--type", "PER", "--name", "Une Seule", home=made)
    said = refused("mailbox", "add", f"UNIQUE@{DOMAIN}", "--type", "PER", "--name", "Une Autre", home=made)
    assert "address" in said


def test_import_makes_mailboxes_and_private_passwords(made: Path, tmp_path: Path) -> None:
    source, secrets = tmp_path / "boxes.csv", tmp_path / "secrets.csv"
    rows = "".join(f"boite{n}@{DOMAIN},PER,Boîte {n},,,\n" for n in range(300))
    source.write_text("address,type,name,rpps,finess,ins\n" + rows, encoding="utf-8")
    caducee("mailbox", "import", str(source), "--passwords", str(secrets), home=made)
    lines = secrets.read_text().splitlines()
    assert lines[0] == "address,app_password"
    assert len({line.split(",")[1] for line in lines[1:]}) == 300
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o600
    assert "exists already" in refused("mailbox", "import", str(source), "--passwords", str(secrets), home=made)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("adresse;type\n", "line 1: the header must be"),
        (f"address,type,name,rpps,finess,ins\nx@{DOMAIN},XXX,X,,,\n", "line 2: the type is one of"),
        (f"address,type,name,rpps,finess,ins\ny@{DOMAIN},PER,Y,,,\nx@{DOMAIN},PER,X,123,,\n", "line 3: The RPPS"),
    ],
)
def test_a_wrong_import_file_is_refused_with_its_line(made: Path, tmp_path: Path, text: str, sentence: str) -> None:
    source = tmp_path / "boxes.csv"
    source.write_text(text, encoding="utf-8")
    assert sentence in refused("mailbox", "import", str(source), home=made)


@pytest.mark.parametrize(
    ("octets", "sentence"),
    [
        (b"address,type,name,rpps,finess,ins\na2@msg.exemple.fr,PER,H\xe9l,,,\n", "line 2: this is not UTF-8"),
        (b"address,type,name,rpps,finess,ins\na1@msg.exemple.fr,PER,X,,,,,\n", "line 2: there must be 6 columns"),
        (b"address,type,name,rpps,finess,ins\na1@msg.exemple.fr,PER,X\0Y,,,\n", "control characters"),
        (b"address,type,name,rpps,finess,ins\na1@msg.exemple.fr,PATIENT,X,10000000017,,\n", "and not rpps"),
    ],
)
def test_a_damaged_import_file_is_refused_with_its_line(
    made: Path, tmp_path: Path, octets: bytes, sentence: str
) -> None:
    source = tmp_path / "boxes.csv"
    source.write_bytes(octets)
    assert sentence in refused("mailbox", "import", str(source), home=made)


def test_an_import_of_addresses_that_are_taken_names_some_of_them(made: Path, tmp_path: Path) -> None:
    source = tmp_path / "deux-fois.csv"
    rows = [f"prise{number}@{DOMAIN},PER,Dr Prise,,," for number in range(9)]
    source.write_text("\n".join(["address,type,name,rpps,finess,ins", *rows]))
    caducee("mailbox", "import", str(source), home=made)
    said = refused("mailbox", "import", str(source), home=made)
    assert said.count("prise") == 5
    assert "and 4 more; nothing was made." in said


def test_an_import_that_made_nothing_leaves_no_password_file(made: Path, tmp_path: Path) -> None:
    source, secrets = tmp_path / "boxes.csv", tmp_path / "secrets.csv"
    source.write_text(f"\ufeffaddress,type,name,rpps,finess,ins\nprise@{DOMAIN},PER,Prise,,,\n", encoding="utf-8")
    caducee("mailbox", "import", str(source), home=made)
    assert f"prise@{DOMAIN}" in refused("mailbox", "import", str(source), "--passwords", str(secrets), home=made)
    assert not secrets.exists()


@pytest.mark.parametrize("domain", ["a..b", "Bad Domain", 'a"b', "-a.fr", ""])
def test_init_names_a_domain_that_is_none(tmp_path: Path, domain: str) -> None:
    assert "--domain" in refused("init", str(tmp_path / "home"), "--domain", domain, home=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_role_is_named(made: Path) -> None:
    assert f"there are: {', '.join(TABLE)}." in refused("serve", "--role", "foo", home=made)


def test_a_role_that_is_off_is_not_started_alone(made: Path) -> None:
    assert "facility is off: set facility.workers to 1" in refused("serve", "--role", "facility", home=made)


def test_doctor_finds_an_open_key_and_a_swapped_certificate(made: Path) -> None:
    key = made / "keys" / "edge.json"
    assert "share a file system" in caducee("doctor", home=made)
    key.chmod(0o644)
    try:
        assert "edge.json" in subprocess_output(made)
    finally:
        key.chmod(0o600)
    secret = made / "keys" / "identity" / "developpement"
    kept = secret.read_text()
    assert "(developpement) is set up" in caducee("doctor", home=made)
    secret.unlink()
    assert "developpement: " in subprocess_output(made)
    secret.write_text(kept)
    secret.chmod(0o600)
    swapped = {"CADUCEE_IMAP__PRIVATE_KEY": "pki/root.key"}
    assert "is not the key of" in subprocess_output(made, swapped)
    assert "server.pem is not for mail.ailleurs.fr" in caducee(
        "doctor", home=made, environment={"CADUCEE_IMAP__NAME": "mail.ailleurs.fr"}
    )
    assert "is not for" not in caducee("doctor", home=made)


def subprocess_output(home: Path, environment: dict[str, str] | None = None) -> str:
    """What `doctor` prints when it finds something bad."""
    done = ended("doctor", home=home, environment=environment)
    assert done.returncode == 1
    return done.stdout


def test_check_of_a_fresh_store_finds_nothing(made: Path) -> None:
    assert json.loads(caducee("check", "--json", home=made)) == {"problems": []}


def test_upgrade_of_a_current_database_applies_nothing(made: Path) -> None:
    assert json.loads(caducee("db", "upgrade", "--json", home=made)) == {"applied": []}


def test_the_terms_of_a_mailbox_are_shown_changed_and_checked(made: Path) -> None:
    address, patient = f"pharmacie.du.port@{DOMAIN}", f"289035121518909@{PATIENT_DOMAIN}"
    caducee("mailbox", "add", address, "--type", "ORG", "--name", "Pharmacie du Port", home=made)
    caducee("mailbox", "add", patient, "--type", "PATIENT", "--name", "Une Personne", home=made)
    assert "takes messages" in caducee("mailbox", "show", address, home=made)
    said = caducee("mailbox", "set", address, "--quota", "2GB", "--open-to-patients", "--json", home=made)
    assert json.loads(said) == {
        "address": address,
        "type": "ORG",
        "state": "active",
        "used_bytes": 0,
        "quota_bytes": 2_000_000_000,
        "refuses_mail": False,
        "open_to_patients": True,
        "unlisted": False,
        "entrusted_keys": 0,
    }
    shown = caducee("mailbox", "show", address, home=made)
    assert "0.0 MB of 2,000 MB" in shown
    assert "patients may write first" in shown
    assert "of 5,000 MB" in caducee("mailbox", "set", address, "--quota", "default", home=made)
    assert "no limit" in caducee("mailbox", "set", address, "--quota", "none", home=made)
    assert "refuses messages" in caducee("mailbox", "refuse", patient, home=made)
    assert "takes messages" in caducee("mailbox", "accept-mail", patient, home=made)
    assert "500MB or 2GB" in refused("mailbox", "set", address, "--quota", "lots", home=made)
    assert "type ORG" in refused("mailbox", "set", patient, "--open-to-patients", home=made)
    assert "No mailbox here" in refused("mailbox", "refuse", f"nobody@{DOMAIN}", home=made)


def test_a_key_is_entrusted_and_withdrawn(made: Path, tmp_path: Path) -> None:
    address = f"laboratoire@{DOMAIN}"
    caducee("mailbox", "add", address, "--type", "ORG", "--name", "Laboratoire", home=made)
    holder, word = certificate("LABORATOIRE", key=new_key(KeyKind.P256), self_signed=True), b"mot de passe"
    closed = BestAvailableEncryption(word)
    write_private(
        tmp_path / "it.p12", serialize_key_and_certificates(b"", holder.key, holder.certificate, None, closed)
    )
    write_private(tmp_path / "it.key", holder.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, closed))
    (tmp_path / "it.pem").write_bytes(holder.certificate_pem())
    (tmp_path / "word").write_bytes(word + b"\n")
    entrust = "mailbox", "entrust", address, "--password-file", str(tmp_path / "word")
    assert "LABORATOIRE" in caducee(*entrust, str(tmp_path / "it.p12"), home=made)
    again = caducee(*entrust, str(tmp_path / "it.key"), str(tmp_path / "it.pem"), "--json", home=made)
    assert json.loads(again)["subject"] == "CN=LABORATOIRE"
    assert "1 S/MIME key" in caducee("mailbox", "show", address, home=made)
    (tmp_path / "word").write_text("autre")
    assert "another password" in refused(*entrust, str(tmp_path / "it.p12"), home=made)
    signs = certificate("SIGNE", key=new_key(KeyKind.ED25519))
    signs.save(tmp_path, "signs")
    assert "only signs" in refused(*entrust, str(tmp_path / "signs.key"), str(tmp_path / "signs.pem"), home=made)
    assert json.loads(caducee("mailbox", "withdraw", address, "--json", home=made))["withdrawn"] == 1


async def test_doctor_tells_a_volume_out_of_the_usual(made: Path) -> None:
    async with Admin(load(made)) as admin:
        await admin.connection.execute(
            "INSERT INTO alarm VALUES ('received', 'p-abc@msg.exemple.fr', current_date, 7, 412, 8, now()), "
            "('received', 'p-old@msg.exemple.fr', current_date - 2, 7, 412, 8, now() - interval '2 days')"
        )
    said = caducee("doctor", home=made)
    assert "p-abc@msg.exemple.fr (mailbox number 7) received 412 messages in a day, usually 8" in said
    assert "p-old" not in said
