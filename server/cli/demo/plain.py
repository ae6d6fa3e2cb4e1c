"""Plain HTTP in the place of a browser, for a machine without Chromium: the same pages, links and forms, no screen."""

from __future__ import annotations

import hashlib
import ssl
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.cookiejar import CookieJar
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self
from urllib.parse import urlencode, urljoin
from urllib.request import HTTPCookieProcessor, HTTPSHandler, Request, build_opener


class Pages(Protocol):
    """What the story asks of whoever looks at the record: a browser, or this."""

    def open(self, url: str) -> None: ...
    def fill(self, selector: str, text: str) -> None: ...
    def click(self, selector: str, holding: str = "") -> None: ...
    def text(self) -> str: ...
    def attribute(self, selector: str, name: str) -> str: ...
    def fetch_sha256(self, url: str) -> str: ...


@dataclass
class _Form:
    action: str
    fields: dict[str, str] = field(default_factory=dict)


class _Page(HTMLParser):
    """Links by class, forms by id, fields by id, buttons by value, and the text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: dict[str, list[tuple[dict[str, str], list[str]]]] = {}
        self.forms: dict[str, _Form] = {}
        self.names: dict[str, tuple[_Form, str]] = {}
        self.buttons: dict[str, tuple[_Form, str, str]] = {}
        self.words: list[str] = []
        self._form: _Form | None = None
        self._select = ""
        self._link: list[str] | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "a":
            self._link = []
            for kind in given.get("class", "").split():
                self.links.setdefault(f"a.{kind}", []).append((given, self._link))
        elif tag == "form":
            self._form = self.forms[f"#{given.get('id', '')} button"] = _Form(given.get("action", ""))
        elif tag == "button" and self._form and "name" in given:
            self.buttons[f'button[value="{given["value"]}"]'] = (self._form, given["name"], given["value"])
        elif tag == "option" and self._form and self._select:
            self._form.fields.setdefault(self._select, given.get("value", ""))
        elif tag == "select" and self._form:
            self._select = given["name"]
            self.names[f"#{given.get('id', '')}"] = (self._form, self._select)
        elif tag in ("input", "textarea") and self._form and "name" in given:
            self._form.fields[given["name"]] = given.get("value", "")
            self.names[f"#{given.get('id', '')}"] = (self._form, given["name"])

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._form = None
        elif tag == "select":
            self._select = ""
        elif tag == "a":
            self._link = None

    def handle_data(self, data: str) -> None:
        self.words.append(data.strip())
        if self._link is not None:
            self._link.append(data)


class PlainPages:
    """A session with the web edge; trusts the data directory's root."""

    def __init__(self, root: Path) -> None:
        context = ssl.create_default_context(cafile=str(root))
        self._opener = build_opener(HTTPSHandler(context=context), HTTPCookieProcessor(CookieJar()))
        self._url = ""
        self._page = _Page("")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opener.close()

    def open(self, url: str) -> None:
        self._go(Request(url))  # noqa: S310 - the story opens https addresses of its own server only

    def fill(self, selector: str, text: str) -> None:
        form, name = self._page.names[selector]
        form.fields[name] = text

    def click(self, selector: str, holding: str = "") -> None:
        if selector in self._page.links:
            link = next(link for link, words in self._page.links[selector] if holding in "".join(words))
            self.open(urljoin(self._url, link["href"]))
        else:
            if selector in self._page.buttons:
                form, name, value = self._page.buttons[selector]
                form.fields[name] = value
            else:
                form = self._page.forms[selector]
            request = Request(urljoin(self._url, form.action), urlencode(form.fields).encode())  # noqa: S310
            request.add_header("Origin", self._url.partition("://")[0] + "://" + self._url.split("/")[2])
            self._go(request)

    def text(self) -> str:
        return "\n".join(word for word in self._page.words if word)

    def attribute(self, selector: str, name: str) -> str:
        return self._page.links[selector][0][0][name]

    def fetch_sha256(self, url: str) -> str:
        with self._opener.open(urljoin(self._url, url), timeout=30) as answer:
            return hashlib.sha256(answer.read()).hexdigest()

    def _go(self, request: Request) -> None:
        with self._opener.open(request, timeout=30) as answer:
            self._url = answer.geturl()
            self._page = _Page(answer.read().decode())
