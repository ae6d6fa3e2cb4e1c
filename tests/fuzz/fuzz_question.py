"""What people type into the box.

Invariant: any text folds to at most QUESTION_WORDS words of small ASCII letters and digits, none longer than a word may
be; folding a folded word changes nothing; the keys of a word hold the word's start; and a word with one mistake in its
first letters shares a key with the word itself, which is what makes it findable.
"""

from __future__ import annotations

from directory.folding import LONGEST_WORD, NEAR_PREFIX, distance, joined, mistakes, near, sound, words
from directory.indexing import FIELDS
from directory.question import QUESTION_WORDS, asked_words


def fuzz(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    for word in (*words(text), *joined(text)):
        assert 0 < len(word) <= LONGEST_WORD
        assert word.isascii()
        assert word.isalnum()
        assert words(word) == [word]
    asked = asked_words(text, FIELDS)
    assert len(asked) <= QUESTION_WORDS
    for one in asked:
        keys = near(one.word)
        assert len(keys) <= 1 + NEAR_PREFIX
        assert len(sound(one.word)) <= LONGEST_WORD
        if keys:
            assert one.word[:NEAR_PREFIX] in keys
            shorter = one.word[:1] + one.word[2:]
            assert distance(one.word, shorter, 2) <= 1
            assert mistakes(shorter) == 0 or set(keys) & set(near(shorter))
