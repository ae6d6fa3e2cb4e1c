"""Templates to pages: words in the visitor's language, autoescape always, undefined names are errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

from server.base.settings import Settings
from server.web.language import COOKIE, WORDS, Language, Words, choose

TEMPLATES = Path(__file__).with_name("templates")


class Renderer:
    """Renders pages of one installation."""

    def __init__(self, settings: Settings) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals["domain"] = settings.domain

    def page(
        self,
        request: Request,
        template: str,
        *,
        status: int = 200,
        headers: dict[str, str] | None = None,
        **values: Any,
    ) -> HTMLResponse:
        """One page. Every template may use `visitor` (None when nobody is signed in) and `say`, `moment`,
        `say_day`, `size`."""
        language = language_of(request)
        words = WORDS[language]
        text = self._environment.get_template(template).render(
            visitor=getattr(request.state, "visitor", None),
            language=language,
            say=words.say,
            moment=words.moment,
            say_day=words.day,
            size=words.size,
            status=status,
            **values,
        )
        return HTMLResponse(
            text, status, {"Content-Language": language.value, "Vary": "Accept-Language, Cookie"} | (headers or {})
        )


def words_of(request: Request) -> Words:
    """The words of this visitor's language."""
    return WORDS[language_of(request)]


def language_of(request: Request) -> Language:
    """The language of this visitor."""
    return choose(request.cookies.get(COOKIE), request.headers.get("accept-language", ""))
