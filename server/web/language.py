"""French first, then English: which language a visitor reads; words, dates and sizes as that language says them.

Templates are written in French; `locale/en.po` holds the English of each sentence and is read at start: nothing is
compiled. A sentence that has no English yet is shown in French, and a test fails.
"""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from pathlib import Path

from babel import Locale
from babel.dates import format_date, format_datetime
from babel.messages.pofile import read_po
from babel.numbers import format_decimal

LOCALE = Path(__file__).with_name("locale")
COOKIE = "__Host-langue"
_ACCEPT_LANGUAGE_CHARACTERS = 200  # a browser sends about 40


class Language(StrEnum):
    """What we speak. The order is the order of preference."""

    FRENCH = "fr"
    ENGLISH = "en"

    @property
    def other(self) -> Language:
        return Language.ENGLISH if self is Language.FRENCH else Language.FRENCH


def choose(cookie: str | None, accept_language: str) -> Language:
    """The visitor's own choice, else the best of Accept-Language (RFC 9110 §12.5.4), else French."""
    if cookie in set(Language):
        return Language(cookie)
    best, best_quality = Language.FRENCH, 0.0
    for item in accept_language[:_ACCEPT_LANGUAGE_CHARACTERS].split(","):
        tag, _, parameters = item.strip().partition(";")
        primary = tag.strip().lower().partition("-")[0]
        quality = _quality(parameters)
        if primary in set(Language) and quality > best_quality:
            best, best_quality = Language(primary), quality
    return best


def _quality(parameters: str) -> float:
    name, _, value = parameters.strip().partition("=")
    if name.strip().lower() != "q":
        return 1.0
    try:
        return min(1.0, max(0.0, float(value)))
    except ValueError:
        return 0.0


class Words:
    """The sentences of one language."""

    def __init__(self, language: Language) -> None:
        self.language = language
        self._locale = Locale.parse("en_GB" if language is Language.ENGLISH else "fr_FR")
        self._sentences = _catalogue(language)

    def say(self, sentence: str, /, **values: object) -> str:
        """A French sentence in this language; `%(name)s` is filled from `values`. Escaping is the template's."""
        text = self._sentences.get(sentence, sentence)
        return text % values if values else text

    def moment(self, value: datetime) -> str:
        """A date and hour in the time zone of this machine: "23 novembre 2026 à 14:05"."""
        local = value.astimezone().replace(tzinfo=None)
        return format_datetime(local, self._pattern, locale=self._locale)

    def day(self, value: date) -> str:
        """A day: "23 novembre 2026"."""
        return format_date(value, "d MMMM y", locale=self._locale)

    @property
    def _pattern(self) -> str:
        return "d MMMM y, HH:mm" if self.language is Language.ENGLISH else "d MMMM y 'à' HH:mm"

    def size(self, octets: int) -> str:
        """A size for people: "148 Ko", "1,2 Mo"."""
        units = ("bytes", "kB", "MB") if self.language is Language.ENGLISH else ("octets", "Ko", "Mo")
        if octets < 1_000:
            return f"{octets} {units[0]}"
        if octets < 1_000_000:
            return f"{format_decimal(octets // 1_000, locale=self._locale)} {units[1]}"
        return f"{format_decimal(octets / 1_000_000, '0.#', locale=self._locale)} {units[2]}"


def _catalogue(language: Language) -> dict[str, str]:
    if language is Language.FRENCH:
        return {}
    with (LOCALE / f"{language}.po").open("rb") as file:
        return {
            message.id: message.string
            for message in read_po(file)
            if isinstance(message.id, str) and isinstance(message.string, str) and message.id and message.string
        }


WORDS = {language: Words(language) for language in Language}
