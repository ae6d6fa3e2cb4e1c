"""Names of operators: as lists write them, as certificates hold them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from server.trust.members import DistinguishedName, DistinguishedNameError
from server.trust.space import TrustSpace
from server.trust.white_list import Entry, WhiteList

# In the certificate's order: from the country down.
CERTIFICATE = x509.Name(
    [
        x509.NameAttribute(NameOID.COUNTRY_NAME, "FR"),
        x509.NameAttribute(NameOID.STATE_OR_PROVINCE_NAME, "Paris (75)"),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Opérateur, Santé & Cie"),
        x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "318751275100020"),
        x509.NameAttribute(NameOID.COMMON_NAME, "smtp.operateur.fr"),
    ]
)
SUBJECT = DistinguishedName.of(CERTIFICATE)
NOBODY = DistinguishedName.of(x509.Name([]))


@pytest.mark.parametrize(
    "text",
    [
        "CN=smtp.operateur.fr,OU=318751275100020,O=Opérateur\\, Santé & Cie,ST=Paris (75),C=FR",
        "CN=smtp.operateur.fr,OU=318751275100020,O=Opérateur, Santé & Cie,ST=Paris (75),C=FR",
        "C=FR, ST=Paris (75), O=Opérateur, Santé & Cie, OU=318751275100020, CN=SMTP.Operateur.FR",
        "/C=FR/ST=Paris (75)/O=Opérateur, Santé & Cie/OU=318751275100020/CN=smtp.operateur.fr",
        'CN = smtp.operateur.fr, OU = 318751275100020, O = "Opérateur,  Santé & Cie", S = Paris (75), C = fr',
        "2.5.4.3=smtp.operateur.fr,OID.2.5.4.11=318751275100020,O=Op\\C3\\A9rateur\\2C Santé & Cie,ST=Paris (75),C=FR",
    ],
)
def test_the_same_subject_as_lists_write_it(text: str) -> None:
    assert SUBJECT.either_way == DistinguishedName.parse(text).either_way
    assert TrustSpace({"operateur.fr": [text]}).may_speak_for(SUBJECT, "operateur.fr")


@pytest.mark.parametrize(
    "text",
    [
        "CN=smtp.operateur.fr,OU=318751275100021,O=Opérateur\\, Santé & Cie,ST=Paris (75),C=FR",
        "CN=smtp.operateur.fr,OU=318751275100020,O=Opérateur\\, Santé & Cie,ST=Paris (75)",
        "OU=318751275100020,CN=smtp.operateur.fr,O=Opérateur\\, Santé & Cie,ST=Paris (75),C=FR",
        "CN=smtp.operateur.fr",
    ],
)
def test_another_subject(text: str) -> None:
    assert SUBJECT.either_way != DistinguishedName.parse(text).either_way


def test_a_value_cannot_pretend_to_be_more_attributes() -> None:
    trick = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "smtp.operateur.fr,OU=318751275100020,C=FR")])
    listed = DistinguishedName.parse("CN=smtp.operateur.fr,OU=318751275100020,C=FR")
    assert DistinguishedName.of(trick).either_way != listed.either_way


def test_an_empty_subject_is_nobody() -> None:
    space = TrustSpace({})
    space.replace(WhiteList(datetime(2026, 1, 1, tzinfo=UTC), (Entry("un.fr", "", NOBODY),)))
    assert space.lists("un.fr")
    assert not space.may_speak_for(NOBODY, "un.fr")


def test_a_domain_that_is_not_listed_is_nobodys() -> None:
    members = TrustSpace({"operateur.fr": ["CN=smtp.operateur.fr"]})
    assert not members.may_speak_for(SUBJECT, "autre.fr")
    assert not TrustSpace({}).may_speak_for(SUBJECT, "operateur.fr")


@pytest.mark.parametrize("text", ["", "smtp.operateur.fr", "XX=a", "CN"])
def test_what_is_no_name_is_said_with_its_domain(text: str) -> None:
    with pytest.raises(DistinguishedNameError, match=r"operateur\.fr"):
        TrustSpace({"operateur.fr": [text]})


def test_a_new_list_takes_the_place_of_the_old_one_beside_the_settings() -> None:
    space = TrustSpace({"voisin.fr": ["CN=voisin"]})
    for domain in ("un.fr", "deux.fr"):
        space.replace(WhiteList(datetime(2026, 1, 1, tzinfo=UTC), (Entry(domain, "", SUBJECT),)))
        assert space.domains_of(SUBJECT) == {domain}
        assert space.lists("voisin.fr")
    assert not space.lists("un.fr")


def test_a_domain_may_have_several_certificates_and_a_certificate_several_domains() -> None:
    other = DistinguishedName.parse("CN=smtpv2.operateur.fr,C=FR")
    rows = [("un.fr", SUBJECT), ("un.fr", other), ("deux.fr", SUBJECT)]
    space = TrustSpace({})
    space.replace(WhiteList(datetime(2026, 1, 1, tzinfo=UTC), tuple(Entry(domain, "", name) for domain, name in rows)))
    assert space.may_speak_for(other, "un.fr")
    assert not space.may_speak_for(other, "deux.fr")
    assert space.domains_of(SUBJECT) == {"un.fr", "deux.fr"}
