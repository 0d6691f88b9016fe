"""The book: every page is there, players are on them, inner links lead somewhere, nothing is fetched from elsewhere."""

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    pytest.importorskip("sphinx_book_theme", reason="the extra `book` is not installed")
    out = tmp_path_factory.mktemp("book")
    command = [sys.executable, "-m", "sphinx", "-q", "-c", "book", "-d", str(out / "cache"), ".", str(out / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert not done.stderr, done.stderr
    return out / "site"


def test_pages_players_and_solutions(book):
    names = {path.stem for path in (ROOT / "notebooks").glob("[0-9]*.ipynb")}
    assert {path.stem for path in (book / "notebooks").glob("*.html")} == names
    assert (book / "README.html").exists() and (book / "search.html").exists()
    pages = {name: (book / "notebooks" / f"{name}.html").read_text() for name in names}
    for name, page in pages.items():
        notebook = (ROOT / "notebooks" / f"{name}.ipynb").read_text()
        assert page.count("<audio") == notebook.count("<audio"), name
        assert ("solutions." in notebook) <= ("<summary>Solution</summary>" in page), name
        fetched = re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="(https?://[^"]*)"', page)
        assert [url for url in fetched if "mathjax" not in url] == [], name


def test_inner_links_lead_somewhere(book):
    for page in [book / "README.html", *book.glob("notebooks/*.html"), *book.glob("figures/*.html")]:
        for target in re.findall(r'(?:href|src)="([^"#?:]+)[#?"]', page.read_text()):
            assert (page.parent / unquote(target)).exists(), f"{page.name}: {target}"
