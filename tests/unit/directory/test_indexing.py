"""Which terms texts stand for, and how names are heard."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from directory.folding import sound
from directory.indexing import FIELDS, KINDS, WORDS_OF_A_TEXT, Field, Vocabulary, field_of, folded


def words_of(vocabulary: Vocabulary, terms: list[int]) -> dict[str, Field]:
    names = {number: word for word, number in vocabulary.numbers.items()}
    return {names[term // 8]: field_of(term) for term in terms}


def test_a_name_is_found_by_its_words_and_written_as_one() -> None:
    vocabulary = Vocabulary()
    own, inside = KINDS["last_name"](vocabulary, "LE GOFF", "")
    assert words_of(vocabulary, own) == dict.fromkeys(("le", "goff", "legoff"), Field.LAST_NAME)
    assert inside == []


def test_an_organisation_has_terms_of_its_own_and_for_who_practises_there() -> None:
    vocabulary = Vocabulary()
    own, inside = KINDS["organisation"](vocabulary, "PHARMACIE DE L'HÔPITAL", "GRANDE PHARMACIE")
    expected = ("pharmacie", "hopital", "lhopital", "grande")
    assert words_of(vocabulary, own) == dict.fromkeys(expected, Field.OWN_NAME)
    assert words_of(vocabulary, inside) == dict.fromkeys(expected, Field.WORKPLACE)


def test_a_place_is_found_by_town_postcode_department_and_district() -> None:
    vocabulary = Vocabulary()
    own, _ = KINDS["place"](vocabulary, "Lyon 3e Arrondissement", "69003")
    found = words_of(vocabulary, own)
    assert {word for word, field in found.items() if field is Field.POSTCODE} == {"69003", "69"}
    assert {"lyon", "lyon3"} <= {word for word, field in found.items() if field is Field.TOWN}
    assert "974" in words_of(vocabulary, KINDS["place"](vocabulary, "Saint-Denis", "97400")[0])


def test_a_label_is_one_term_to_which_its_words_and_synonyms_lead() -> None:
    vocabulary = Vocabulary()
    (term,), _ = KINDS["know_how"](vocabulary, "Qualifié en médecine générale", "")
    assert field_of(term) is Field.LABEL
    for word in ("qualifie", "medecine", "generale", "generaliste", "mg"):
        assert term in vocabulary.terms(vocabulary.numbers[word])
    assert not any(vocabulary.is_name(number) for number in vocabulary.numbers.values())


def test_known_words_keep_their_numbers() -> None:
    vocabulary = Vocabulary(last=7)
    vocabulary.know("martin", 3, [3 * 8 + Field.LAST_NAME])
    own, _ = KINDS["first_name"](vocabulary, "Martin", "")
    assert own == [3 * 8 + Field.FIRST_NAME]
    assert vocabulary.terms(3) == [3 * 8 + Field.LAST_NAME, 3 * 8 + Field.FIRST_NAME]
    assert vocabulary.number("nouveau") == 8


@given(st.sampled_from(sorted(KINDS)), st.text(max_size=400), st.text(max_size=10))
def test_any_text_gives_few_terms_of_known_fields(kind: str, text: str, beside: str) -> None:
    vocabulary = Vocabulary()
    for terms in KINDS[kind](vocabulary, text, beside):
        assert len(terms) <= 4 * WORDS_OF_A_TEXT
        assert {field_of(term) for term in terms} <= set(FIELDS)
    assert folded(folded(text)) == folded(text)


@pytest.mark.parametrize(
    ("written", "otherwise"),
    [
        ("philippe", "filip"),
        ("mathieu", "mattieu"),
        ("dupont", "dupond"),
        ("moreau", "moro"),
        ("martin", "martain"),
        ("schmitt", "schmidt"),
        ("thomas", "toma"),
    ],
)
def test_what_is_heard_alike(written: str, otherwise: str) -> None:
    assert sound(written) == sound(otherwise) != ""


@given(st.text("abcdefghijklmnopqrstuvwxyz0123456789", max_size=40))
def test_a_sound_is_short_and_never_longer_than_the_word(word: str) -> None:
    assert len(sound(word)) <= len(word)
