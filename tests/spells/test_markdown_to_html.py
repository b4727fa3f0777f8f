"""The supported part of CommonMark, compared with another implementation, and what must never come through."""

import re
from collections.abc import Callable
from html.parser import HTMLParser

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from .conftest import Cast

SPELL = "markdown-to-html"
CASES = [
    "# T\n\ntext *em* **strong** ***both***",
    "a\nb  \nc\\\nd",
    "> q\n> r\nlazy\n\nend",
    "- a\n- b\n  - c\n\n  - d\n- e",
    "- a\n\n- b",
    "1. x\n2. y\n\n   para\n3) z",
    "3. a\n4. b",
    "```py\nx<1\n```\n",
    "~~~\nopen\n",
    "    code\n\n    more\n\ntext",
    "a `b` ``c ` d`` `unclosed",
    "[a](http://x.y \"t\") ![i *m*](p.png) [b](</my url>) [c]( d 'e' )",
    "Setext\n===\n\nTwo\n---\n",
    "***\n---\n_ _ _",
    "* a\n+ b\n- c",
    "<http://a.b?c=d&e> <x@y.zz> <b>bold</b>",
    "a*b*c a_b_c _a_ __b__ *a **b** c*",
    "**a *b* c**",
    "*a [b*](c)",
    "[a [b](c) d](e)",
    "\\*not\\* \\a",
    "- > quote\n  > more\n- ```\n  code\n  ```",
    "> - a\n> - b\n>\n> c",
    "> ```\n> x\ny",
    "- a\n\n\n  b\n",
    "-\n  a",
    "- a\n-\n- c",
    "1. a\n   - b\n     - c\n2. d",
    "# a #\n## b ##\n### c#\n#d",
    "para\n# h\npara\n> q\npara\n- l",
    "para\n2. not list",
    "foo ***bar** baz*",
    "**foo*bar**",
    "*foo**bar**baz*",
    "a\n\n\n\nb",
    "\tcode tab",
    "- a\n\n      code in item",
    "  - x\n    y\n  z",
    "![a][b] [c]",
    "<a href=x>",
    "[a](b(c)d) [e](f g)",
    "***a** b*",
    "* * *\n- - -\n- a\n***\n- b",
    "Line with trailing   \n",
    "`a\nb`",
    "[`c]`](d)",
    "é*é*é “*x*”",
    "- a\n  ===\n- b",
    "> a\n---",
    "> a\n===",
    "- foo\n\n  bar\n- baz\n  - q\n    - r\n\n      s",
    "`` ` ``",
    "*a*b **c",
    "!not [x",
    "1) a\n1) b\n\n\n1. c",
    "- a\n - b\n  - c\n   - d\n    - e",
    "~~~ `x`\na\n~~~",
    "``` `x\na",
    "#\n##  ",
    "[a](<b)c>)",
    "[x](y\n'z')",
    "-   a\n\n    b",
    "-     a",
    "10) a\n\n    b\n   c",
]
HOSTILE = [
    "<script>alert(1)</script>",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](java\tscript:alert(1))",
    "[x](<java\tscript:alert(1)>)",
    "[x](\x01javascript:alert(1))",
    "[x](javascript&colon;alert(1))",
    "[x](&#106;avascript:alert(1))",
    "[x](java\\script:alert(1))",
    "[x](javascript\\:alert(1))",
    "[x](data:text/html;base64,PHNjcmlwdD4=)",
    "[x](vbscript:msgbox)",
    "![x](javascript:alert(1))",
    "<javascript:alert(1)>",
    "[![x](javascript:a)](javascript:b)",
    '[x](http://a "\\" onmouseover=alert(1) x=\\"")',
    '[x](http://a"onmouseover=alert(1))',
    '![" onerror="alert(1)](x)',
    '```"><script>\n```',
    "[*x](javascript:alert(1))*",
]
TAGS = {
    "a", "blockquote", "br", "code", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "img", "li", "ol", "p", "pre",
    "strong", "ul",
}  # fmt: skip
ATTRIBUTES = {"href", "src", "alt", "title", "class", "start"}
SAFE_URL = re.compile(r"(https?|mailto|tel):|[^:]*$|[^:]*[/?#]", re.IGNORECASE)


class Inspector(HTMLParser):
    """Fails on a tag, an attribute or an address that has no place in the result, and on tags that do not nest."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS
        for name, value in attrs:
            assert name in ATTRIBUTES
            assert name not in {"href", "src"} or SAFE_URL.match(value or "")
        self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in {"br", "hr", "img"}
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open
        assert self.open.pop() == tag


def inspect(html: str) -> None:
    inspector = Inspector()
    inspector.feed(html)
    inspector.close()
    assert not inspector.open


def render(cast: Cast, markdown: str) -> str:
    ending = cast(SPELL, msgspec.json.encode(markdown))
    assert ending.exit_code == 0, ending.log
    return ending.output.decode()


def test_the_sample_gives_the_recorded_html(cast: Cast, sample: Callable[[str], bytes]) -> None:
    assert cast(SPELL, sample("guide.md")).output == sample("guide.html")


@pytest.mark.parametrize("markdown", CASES)
def test_agrees_with_another_implementation(cast: Cast, markdown: str) -> None:
    expected = MarkdownIt("commonmark", {"html": False}).render(markdown)
    assert render(cast, markdown) == expected
    inspect(expected)


@pytest.mark.parametrize("markdown", HOSTILE)
def test_nothing_hostile_comes_through(cast: Cast, markdown: str) -> None:
    html = render(cast, markdown)
    inspect(html)
    assert "<script" not in html


@pytest.mark.parametrize(
    ("markdown", "html"),
    [
        ("", ""),
        ("\n \n", ""),
        ("a\0b", "<p>a\ufffdb</p>\n"),
        ("&copy; &#65; & &x y;", "<p>&copy; &#65; &amp; &amp;x y;</p>\n"),
        ("[a]\n\n[a]: /url", "<p>[a]</p>\n<p>[a]: /url</p>\n"),
        ("|a|\n|-|", "<p>|a|\n|-|</p>\n"),
        ("[a](javascript:b)", "<p>a</p>\n"),
        ("![a](javascript:b)", "<p>a</p>\n"),
        ("[a](/é b)", "<p>[a](/é b)</p>\n"),
        ("[a](/é)", '<p><a href="/%C3%A9">a</a></p>\n'),
    ],
)
def test_what_the_readme_promises(cast: Cast, markdown: str, html: str) -> None:
    assert render(cast, markdown) == html


@pytest.mark.parametrize(
    "markdown",
    [
        ">" * 5000 + "a",
        "- " * 5000 + "a",
        "*a " * 20000,
        "*a_ " * 20000,
        "[" * 50000,
        "![" * 30000 + "a](b)",
        "[a](" * 20000,
        "[a](b" * 20000,
        "[a](<b" * 20000,
        "<" * 50000,
        "`" * 50000,
        "".join("`" * length + "a" for length in range(1, 400)),
        "a\n" * 40000,
        "# a\n" * 20000,
        "x" * 500000,
        "**a **" * 10000,
        "> " * 15 + "- " * 10 + "a\n" * 3000,
    ],
    ids=lambda markdown: f"{markdown[:6]!r}",
)
def test_hostile_repetition_stays_within_the_default_limits(cast: Cast, markdown: str) -> None:
    inspect(render(cast, markdown))


@pytest.mark.parametrize("data", [b"\xff", b"ok\xe2\x82", b'{"markdown": 1}', b'{"text": "a"}', b'"\\udc00"'])
def test_bad_input_is_explained(cast: Cast, data: bytes) -> None:
    ending = cast(SPELL, data)
    assert (ending.exit_code, ending.output) == (1, b"")
    assert ending.log.endswith("\n")


pieces = st.sampled_from(
    ["*", "**", "_", "`", "``", "[", "](", ")", "![", "<", ">", "\\", "&", "a", "b ", " ", "\n", "\n\n", "- ", "1. ",
     "> ", "    ", "```\n", "#", "===", "---", '"', "javascript:", "http://x", "\t", "é"]
)  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(markdown=st.lists(pieces, max_size=40).map("".join))
def test_any_markdown_gives_well_formed_safe_html(cast: Cast, markdown: str) -> None:
    inspect(render(cast, markdown))
