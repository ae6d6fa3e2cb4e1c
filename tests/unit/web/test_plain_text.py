"""HTML mail as text."""

from __future__ import annotations

import pytest

from server.base.limits import WEB_TEXT_CHARACTERS
from server.web.plain_text import LIMIT, clean_line, from_html


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("<p>M. <b>Dupont</b>,</p><p>Voici&nbsp;l&#39;ordonnance.<br>A+</p>", "M. Dupont,\n\nVoici l'ordonnance.\nA+"),
        ("<ul><li>un<li>deux</ul>", "• un\n• deux"),
        ("avant<script>alert(1)</script><style>p{}</style>après", "avantaprès"),
        ("<svg><script>x</script></svg>ok", "ok"),
        ("<![if mso]>ok<![endif]>", "ok"),
        ("un &lt;script&gt; écrit", "un <script> écrit"),
        ("<a href='javascript:alert(1)'>lien</a>", "lien"),
        ("a&#0;b\u202ec", "a\ufffdbc"),
    ],
)  # fmt: skip
def test_text(markup: str, text: str) -> None:
    assert from_html(markup) == text


def test_more_than_the_limit_is_cut() -> None:
    assert len(from_html("a" * (LIMIT + 100))) == LIMIT
    assert LIMIT >= WEB_TEXT_CHARACTERS


def test_a_line_is_one_line() -> None:
    assert clean_line("ordonnance\r\n\u202efdp.exe ") == "ordonnance fdp.exe"
