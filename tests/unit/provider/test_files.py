"""The provider's files: people and clients."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from directory.identifiers import is_rpps
from server.base.sections import DevelopmentProvider
from server.base.settings import Settings
from server.provider import clients, people
from server.provider.claims import userinfo
from server.provider.model import Client

ON = DevelopmentProvider(workers=1)


def settings(home: Path, provider: DevelopmentProvider = ON) -> Settings:
    return Settings(home=home, domain="msg.exemple.fr", provider=provider)


def test_the_first_people_are_nobody(tmp_path: Path) -> None:
    file = people.file_of(settings(tmp_path))
    people.write_people(file, people.FIRST)
    known = people.read_people(file)
    assert list(known.values()) == list(people.FIRST)
    assert all(name.startswith("899") and is_rpps(name[1:]) for name in known)
    assert [bool("SubjectRefPro" in userinfo(person)) for person in known.values()] == [True, True, True, False]


def test_who_gets_a_mailbox_can_sign_in(tmp_path: Path) -> None:
    here = settings(tmp_path)
    people.write_people(people.file_of(here), people.FIRST)
    people.enrol(here, {"10000000017": "Dr Aline DE LA TOUR", "": "Nobody", "99000000010": "Dr Other NAME"})
    known = people.read_people(people.file_of(here))
    assert len(known) == len(people.FIRST) + 1
    new = known["810000000017"]
    assert (new.given_name, new.family_name, new.profession) == ("Aline", "DE LA TOUR", "10")
    assert known["899000000010"].family_name == "ESSAI"  # who stands there already stays


@pytest.mark.parametrize("provider", [DevelopmentProvider(), ON])
def test_nobody_is_written_where_no_provider_is_set_up(tmp_path: Path, provider: DevelopmentProvider) -> None:
    people.enrol(settings(tmp_path, provider), {"10000000017": "Dr Aline MARTIN"})
    assert list(tmp_path.iterdir()) == []


def test_a_name_without_capitals_ends_with_the_family_name(tmp_path: Path) -> None:
    here = settings(tmp_path)
    people.write_people(people.file_of(here), ())
    people.enrol(here, {"10000000017": "Aline Martin"})
    [person] = people.read_people(people.file_of(here)).values()
    assert (person.given_name, person.family_name) == ("Aline", "Martin")


def test_clients_are_closed_to_others_and_know_where_the_web_is(tmp_path: Path) -> None:
    file = clients.file_of(settings(tmp_path))
    clients.write_clients(file, clients.new_clients())
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    known = clients.read_clients(file, ["https://localhost:1", "https://msg.exemple.fr:1"])
    web, software = known[clients.WEB], known[clients.SOFTWARE]
    assert {uri.partition(":1/")[0] for uri in web.redirect_uris} == {"https://localhost", "https://msg.exemple.fr"}
    assert web.backchannel_logout_uri.startswith("https://localhost:1/")
    assert not web.ciba
    assert software.ciba
    assert len({web.secret, software.secret, *(one.secret for one in clients.new_clients())}) == 4
    assert web.secret not in repr(web)


@pytest.mark.parametrize("text", ["{", "[{}]", '[{"client_id": "a"}]', "[1]"])
def test_files_that_are_wrong_are_told(tmp_path: Path, text: str) -> None:
    file = tmp_path / "file.json"
    file.write_text(text)
    with pytest.raises(ValueError):
        clients.read_clients(file)
    with pytest.raises(ValueError):
        people.read_people(file)


def test_an_address_that_is_written_out_stays(tmp_path: Path) -> None:
    file = tmp_path / "provider" / "clients.json"
    clients.write_clients(file, [Client("a", "A", "s", ("https://a.example/",))])
    assert clients.read_clients(file)["a"].redirect_uris == ("https://a.example/",)
    assert json.loads(file.read_text())[0]["ciba"] is False
