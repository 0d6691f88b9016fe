"""The book: `make book` turns README, notebooks and figures, as committed, into a static site. Nothing is run."""

import inspect
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "notebooks")]

import series  # noqa: E402 - in notebooks/

project, author, copyright = "CRNN music tagging", "the CRNN music tagging authors", "MIT (code), CC BY 4.0 (prose)"
extensions = ["myst_nb"]
root_doc, include_patterns = "README", ["README.md", "notebooks/*.ipynb", "figures/README.md", "data/README.md"]
nb_execution_mode = "off"
myst_heading_anchors = 3
suppress_warnings = ["myst.xref_missing", "mystnb.unknown_mime_type"]  # links to folders, which are no pages
html_theme, html_title = "sphinx_book_theme", project
html_theme_options = {
    "repository_url": f"https://github.com/{series.REPO}",
    "repository_branch": series.REF,
    "use_repository_button": True,
    "launch_buttons": {"colab_url": "https://colab.research.google.com"},
    "show_toc_level": 2,
}
BADGE = re.compile(r" · \[!\[Open in Colab\][^)]*\)\]\([^)]*\)")
WIDGET = "application/vnd.jupyter.widget-view+json"
TOCTREE = "\n```{toctree}\n:hidden:\n:glob:\n\nnotebooks/*\nfigures/README\nData <data/README>\n```\n"


def setup(app):
    """Let Sphinx pass each page's source through `complete`."""
    app.connect("source-read", complete)


def complete(app, page, source):
    """Add the list of pages to the start page, and solutions, folded, below the exercises of a notebook.

    Colab's badge goes (the theme has a button for it), and so do widgets: both would be fetched from elsewhere.
    """
    if page == root_doc:
        source[0] += TOCTREE
    if page.startswith("notebooks/"):
        notebook = json.loads(BADGE.sub("", source[0]))
        notebook["metadata"].pop("widgets", None)
        codes = [(i, cell) for i, cell in enumerate(notebook["cells"]) if cell["cell_type"] == "code"]
        for i, cell in reversed(codes):
            cell["outputs"] = [output for output in cell["outputs"] if WIDGET not in output.get("data", {})]
            if "solutions." in "".join(cell["source"]):
                notebook["cells"].insert(i + 1, solution("".join(cell["source"])))
        source[0] = json.dumps(notebook)


def solution(code):
    """Return a Markdown cell with the functions of `notebooks/solutions.py` that `code` calls."""
    import solutions

    names = [name for name in vars(solutions) if f"solutions.{name}(" in code]
    text = "\n\n".join(inspect.getsource(getattr(solutions, name)) for name in names)
    text = f"<details><summary>Solution</summary>\n\n```python\n{text}```\n\n</details>"
    return {"cell_type": "markdown", "id": names[0].replace("_", "-"), "metadata": {}, "source": text}
