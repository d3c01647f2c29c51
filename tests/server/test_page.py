"""The page that the server shows: its policy, and what is shown without scripts. In a browser: tests/browser."""

import base64
import hashlib
import re

import pytest
from tests.helpers import page_assets

from maskpencil.server import page


def digest(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


@pytest.mark.slow
def test_the_policy_allows_the_pages_own_script_and_style_and_its_own_server(start, tmp_path):
    page_assets()
    (tmp_path / "token").write_text("0123456789abcdef")
    answer = start(token_file=tmp_path / "token").ask("/")
    assert answer.status == 200, "the page itself needs no token"
    text = answer.content.decode()
    (style,) = re.findall("<style>(.*?)</style>", text, re.DOTALL)
    (script,) = re.findall("<script>(.*?)</script>", text, re.DOTALL)
    rules = dict(rule.split(" ", 1) for rule in answer.headers["content-security-policy"].split("; "))
    assert rules == {
        "default-src": "'none'",
        "script-src": digest(script),
        "style-src": digest(style),
        "connect-src": "'self'",
        "img-src": "blob: data: 'self'",
        "media-src": "blob: 'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert "{{" not in text.replace(script, "")
    assert not re.findall(r"\sstyle=|\son\w+=|(?:src|href)=\"(?!data:)", text.replace(script, ""))


def test_where_the_scripts_are_not_built_the_page_says_what_to_do(start, monkeypatch):
    monkeypatch.setattr(page, "are_built", lambda: False)
    answer = start().ask("/")
    assert answer.status == 200
    assert "Type <code>make page-assets</code>" in answer.content.decode()
    assert answer.headers["content-security-policy"].startswith("default-src 'none'; frame-ancestors")
