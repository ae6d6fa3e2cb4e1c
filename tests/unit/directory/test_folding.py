"""Words without case, accents and punctuation; near words; everyday words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from directory.folding import distance, fold, joined, mistakes, near, words
from directory.synonyms import district, district_asked, of_specialty

LETTERS = st.text("abcdeéèçlmnorstu", min_size=4, max_size=14)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Lefèvre", ["lefevre"]),
        ("D'ARC", ["d", "arc"]),
        ("L’Haÿ-les-Roses", ["l", "hay", "les", "roses"]),
        ("ŒTING  Cœur æ ß", ["oeting", "coeur", "ae", "ss"]),
        ("MUÑOZ, José (Dr)", ["munoz", "jose", "dr"]),
        ("e\u0301ric", ["eric"]),
        ("69003 LYON CEDEX 03", ["69003", "lyon", "cedex", "03"]),
        ("日本", []),
        ("", []),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_joined_writes_neighbours_as_one() -> None:
    assert joined("Jean-Pierre LE GOFF") == ["jeanpierre", "pierrele", "legoff"]
    assert joined("69003 12") == []


@given(st.text(max_size=80))
def test_folding_twice_is_folding_once(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@pytest.mark.parametrize(
    ("left", "right", "gap"),
    [
        ("martin", "martin", 0),
        ("martin", "matrin", 1),
        ("martin", "marin", 1),
        ("martin", "marton", 1),
        ("martin", "amrtni", 2),
    ],
)
def test_distance(left: str, right: str, gap: int) -> None:
    assert distance(left, right, 2) == distance(right, left, 2) == gap


def test_distance_stops_at_its_limit() -> None:
    assert distance("martin", "durand", 2) == 3
    assert distance("a" * 40, "b" * 10, 2) == 3


@given(LETTERS, st.data())
def test_one_mistake_still_shares_a_key(text: str, data: st.DataObject) -> None:
    word = fold(text)
    at = data.draw(st.integers(0, len(word) - 1))
    other = data.draw(st.sampled_from("abcde"))
    for mistaken in (
        word[:at] + word[at + 1 :],
        word[:at] + other + word[at:],
        word[:at] + other + word[at + 1 :],
        word[:at] + word[at + 1 : at + 2] + word[at : at + 1] + word[at + 2 :],
    ):
        assert distance(word, mistaken, 2) <= 1
        if mistakes(mistaken):
            assert set(near(word)) & set(near(mistaken)), (word, mistaken)


def test_short_words_and_numbers_are_exact() -> None:
    assert near("roy") == []
    assert near("69003") == []


def test_everyday_words_of_a_specialty() -> None:
    assert {"dermatologue", "dermato"} <= set(of_specialty("Dermatologie et vénéréologie"))
    assert "generaliste" in of_specialty("Qualifié en médecine générale")
    assert "pediatre" in of_specialty("Pédiatrie")
    assert "generaliste" not in of_specialty("Chirurgie générale")


def test_arrondissements() -> None:
    assert district("69003", "Lyon 3e Arrondissement") == "lyon3"
    assert district("75116", "PARIS") == "paris16"  # the sixteenth has two postcodes
    assert district("75800", "PARIS") == ""
    assert district("13003", "MARSEILLE") == "marseille3"
    assert district("42000", "Saint-Étienne") == ""
    assert district("69100", "Lyon") == ""
    assert [district_asked("lyon", n) for n in ("3", "03", "3e", "3eme", "1er", "33", "x")] == [
        *["lyon3"] * 4,
        "lyon1",
        "",
        "",
    ]
    assert district_asked("rennes", "3") == ""
