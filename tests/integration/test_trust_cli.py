"""`caducee trust …` as an operator uses it, and `caducee doctor` on what it leaves."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crypto.pki import development
from server.base import clock
from tests.serving import CADUCEE, DOMAIN, REPOSITORY, caducee
from tests.web_server import WebServer, web_server

SIGNER = ["--name", "Liste du Groupe", "--unit", "3190000019"]


def ended(status: int, *words: str, home: Path) -> str:
    """What a command says that ends with this status, and no traceback."""
    done = subprocess.run(
        [*CADUCEE, *words],
        env=os.environ | {"CADUCEE_HOME": str(home)},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A private trust space with its authority and signer, and another operator's certificate in it."""
    folder = tmp_path_factory.mktemp("group") / "space"
    caducee("trust", "new", str(folder), *SIGNER, home=folder)
    development.create(folder / "voisin", "voisin.fr", clock.now())
    members(folder, 5)
    return folder


def members(folder: Path, count: int) -> None:
    rows = ["domain,certificate,description", "voisin.fr,voisin/server.pem,Clinique voisine"]
    rows += [f'hôpital{n}.fr,"CN=mx.hopital{n}.fr,O=Hôpital {n},C=FR",' for n in range(count)]
    (folder / "members.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def site(space: Path) -> Iterator[WebServer]:
    with web_server(space / "voisin" / "server.pem", space / "voisin" / "server.key") as running:
        yield running


@pytest.fixture
def followed(home: Path, space: Path, site: WebServer) -> Path:
    """A data directory that follows the space."""
    anchors = json.dumps(["pki/root.pem", str(space / "root.pem"), str(space / "voisin" / "root.pem")])
    with (home / "caducee.toml").open("a", encoding="utf-8") as file:
        file.write(
            f'\n[trust]\nanchors = {anchors}\nwhite_list = "{site.url("/liste.xml")}"\n'
            'signer_name = "Liste du Groupe"\nsigner_unit = "3190000019"\n'
        )
    return home


def sign(space: Path, site: WebServer) -> Any:
    answer = json.loads(caducee("trust", "sign", str(space), "--json", home=space))
    site.put("/liste.xml", Path(answer["list"]).read_bytes())
    return answer


def findings(home: Path, about: str) -> list[tuple[str, str]]:
    """What the doctor says about one thing."""
    done = subprocess.run(
        [*CADUCEE, "doctor", "--json"],
        env=os.environ | {"CADUCEE_HOME": str(home)},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    return [(one["level"], one["finding"]) for one in json.loads(done.stdout) if one["about"] == about]


def test_a_group_of_hospitals_runs_its_own_space(followed: Path, space: Path, site: WebServer) -> None:
    members(space, 5)
    ((level, text),) = findings(followed, "white list")
    assert (level, text) == ("bad", "none was accepted: it was not fetched yet.")
    assert sign(space, site)["rows"] == 6

    (lists, white_list) = json.loads(caducee("trust", "refresh", "--json", home=followed))
    assert (lists["kind"], lists["failure"]) == ("crl", "")
    assert (white_list["changed"], len(white_list["added"])) == (True, 6)
    shown = json.loads(caducee("trust", "show", "--json", home=followed))
    assert shown["kept"]["entries"] == 6
    assert {one["kind"]: one["failure"] for one in shown["sources"]} == {"crl": "", "white-list": ""}
    assert "6 rows" in caducee("trust", "show", home=followed)

    found = json.loads(caducee("trust", "check", "dr@Hôpital1.fr", "--json", home=followed))
    assert (found["domain"], found["listed"]) == ("xn--hpital1-t0a.fr", True)
    assert [one["name"] for one in found["names"]] == ["CN=mx.hopital1.fr,O=Hôpital 1,C=FR"]
    assert "Clinique voisine" in caducee("trust", "check", "voisin.fr", home=followed)
    assert "not in the trust space" in ended(1, "trust", "check", "gmail.example", home=followed)
    ((level, text),) = findings(followed, "white list")
    assert level == "good"

    # Half of the members leave: a person has to say that this is right.
    members(space, 2)
    sign(space, site)
    assert "--accept-loss" in ended(1, "trust", "refresh", home=followed)
    ((level, text),) = findings(followed, "white list")
    assert level == "warning"
    assert "lost 3 of 6 domains" in text
    assert "3 removed" in caducee("trust", "refresh", "--accept-loss", home=followed)
    changed = json.loads(caducee("trust", "diff", "--json", home=followed))
    assert [(one["added"], one["domain"].startswith("xn--hpital")) for one in changed] == [(False, True)] * 3
    assert "- xn--hpital3" in caducee("trust", "diff", home=followed)


def test_a_revoked_certificate_is_known_after_a_refresh(followed: Path, space: Path, site: WebServer) -> None:
    members(space, 5)
    sign(space, site)
    caducee("trust", "refresh", home=followed)
    caducee("trust", "revoke", str(followed / "pki" / "organisation.pem"), home=followed)
    again = json.loads(caducee("trust", "refresh", "--json", home=followed))
    assert {one["kind"]: one["changed"] for one in again} == {"crl": True, "white-list": False}
    stranger = space / "voisin" / "server.pem"
    assert "was not issued by" in ended(1, "trust", "revoke", str(stranger), home=followed)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("domain,certificate\n", "no member yet"),
        ("name;cert\n", "its first line must be"),
        ("domain,certificate\nvoisin.fr,absent.pem\n", "line 2: "),
        ("domain,certificate\npas un domaine,CN=a\n", "line 2: 'pas un domaine' is no domain"),
        ("domain,certificate\nvoisin.fr,XX=a\n", "line 2: unknown attribute type"),
    ],
)
def test_a_wrong_file_of_members_is_said_with_its_line(space: Path, tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "members.csv"
    file.write_text(text)
    assert why in ended(1, "trust", "sign", str(space), "--members", str(file), home=space)


def test_a_space_is_made_once(space: Path) -> None:
    before = (space / "root.pem").read_bytes()
    assert "there is a trust space already" in ended(1, "trust", "new", str(space), *SIGNER, home=space)
    assert (space / "root.pem").read_bytes() == before


def test_the_settings_say_what_is_missing(home: Path) -> None:
    with (home / "caducee.toml").open("a", encoding="utf-8") as file:
        file.write('\n[trust]\nwhite_list = "http://liste.fr/l.xml"\n')
    assert "https://" in ended(1, "trust", "show", home=home)
    text = (home / "caducee.toml").read_text().replace("http://", "https://")
    (home / "caducee.toml").write_text(text)
    assert "signer_name" in ended(1, "trust", "show", home=home)


def test_a_new_data_directory_follows_its_own_revocation_list(home: Path) -> None:
    (lists,) = json.loads(caducee("trust", "refresh", "--json", home=home))
    assert (lists["kind"], lists["changed"]) == ("crl", True)
    assert "not in the trust space" in ended(1, "trust", "check", DOMAIN, home=home)
