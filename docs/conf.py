"""The documentation as a site: `make docs` builds it into `site/`, and the tests build it without warnings.

The pages are the Markdown files of this folder and some of the repository's own, as they stand. Here are only what
GitHub does not need: the navigation, titles of generated tables, and where links between these files lead on the site.
"""

import os
import re
import sys
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path.insert(0, str(ROOT))

from explorer import __version__  # noqa: E402

project = "CNN & ResNet Explorer"
author = "CNN & ResNet Explorer contributors"
copyright = f"2026 {author}"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
source_suffix = {".md": "markdown"}
nitpicky = True
nitpick_ignore_regex = [(r"py:.*", r".*")]  # types of other packages: their sites are not asked
suppress_warnings: list[str] = []
myst_heading_anchors = 4
myst_links_external_new_tab = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
add_module_names = False
python_use_unqualified_type_names = True
maximum_signature_line_length = 100

html_theme = "pydata_sphinx_theme"
html_title = project
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_last_updated_fmt = None
html_theme_options = {
    "logo": {"text": project},
    "navbar_align": "left",
    "header_links_before_dropdown": 6,
    "navbar_end": ["theme-switcher"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_prev_next": True,
    "collapse_navigation": True,
    "secondary_sidebar_items": ["page-toc"],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_sidebars: dict[str, list[str]] = {page: [] for page in ("index", "install", "deploy", "scale", "security")}
html_context = {"default_mode": "auto"}

# Files of the repository that are pages of the site too, by the name of the page.
FROM_THE_ROOT = {
    "security": "SECURITY.md",
    "contributing": "CONTRIBUTING.md",
    "changelog": "CHANGELOG.md",
    "pretrained": "pretrained/README.md",
}
# Below which page the others stand, in this order. The tables of benchmarks follow `measurements` by themselves.
BELOW: dict[str, list[str]] = {
    "index": ["install", "deploy", "guide", "recipes", "reference", "measurements", "scale", "security", "project"],
    "guide": [f"guide/{name}" for name in
              ("explore", "build", "compare", "gradients", "models", "experiments", "class", "bar", "take-home",
               "terminal", "data")],
    "recipes": [f"recipes/{name}" for name in
                ("own-pictures", "own-network", "studies-on-ray", "class-of-thirty")] + ["how-to"],
    "reference": [f"reference/{name}" for name in
                  ("networks", "pictures", "tracing", "attribution", "training", "experiments")],
    "measurements": ["pretrained"],
    "project": ["contributing", "changelog", "decisions/README"],
}  # fmt: skip
LINK = re.compile(r"\[([^\]]*)\]\((?!https?:|#|mailto:)([^)#\s]+)(#[^)\s]*)?\)")
TITLE = re.compile(r"^# ", re.MULTILINE)
# Sphinx writes a signature of several lines as a list of descriptions without anything described, which screen readers
# announce as broken.
SIGNATURE = re.compile(r"<dl>\s*((?:<dd>.*?</dd>\s*)+)</dl>", re.DOTALL)
CODE = re.compile(r"(`[^`]+`)")
MARKS = re.compile(r"([\\*_|<>])")


def file_of(page: str) -> Path:
    return ROOT / FROM_THE_ROOT[page] if page in FROM_THE_ROOT else DOCS / f"{page}.md"


PAGE_OF = {file_of(page): page for page in FROM_THE_ROOT}


def unplaced() -> list[str]:
    """Pages of this folder that `BELOW` does not name: they stand below the first one."""
    named = {"index", *(page for pages in BELOW.values() for page in pages)}
    return sorted(path.stem for path in DOCS.glob("*.md") if path.stem not in named and not is_table(path))


def prepared(page: str, text: str) -> str:
    """The Markdown of a page as the site needs it."""
    file = file_of(page)
    if page in FROM_THE_ROOT:
        text = file.read_text(encoding="utf-8")
    if not TITLE.search(text):  # a table as its command wrote it
        text = f"# {page.replace('-', ' ').capitalize()}\n\n[How it was measured](measurements.md)\n\n{text}"
    text = LINK.sub(lambda link: on_the_site(page, file, link), text)
    below = list(BELOW.get(page, []))
    if page == "index":
        below += unplaced()
    if page == "measurements":
        below += sorted(path.stem for path in DOCS.glob("*.md") if is_table(path))
    if page == "decisions/README":
        below += sorted(f"decisions/{path.stem}" for path in DOCS.glob("decisions/2*.md"))
    if below:
        lines = "\n".join(f"/{each}" for each in below)
        text += f"\n\n```{{toctree}}\n:hidden:\n:maxdepth: 1\n\n{lines}\n```\n"
    return text


def is_table(path: Path) -> bool:
    return path.stem not in FROM_THE_ROOT and not TITLE.search(path.read_text(encoding="utf-8"))


def on_the_site(page: str, file: Path, link: re.Match[str]) -> str:
    """The link to the page of a file. Other files of the repository are copied to the site; of a folder the name is
    left."""
    words, name, anchor = link[1], link[2], link[3] or ""
    target = (file.parent / name).resolve()
    if target.is_dir():
        return words
    if target in PAGE_OF:
        target = DOCS / f"{PAGE_OF[target]}.md"
    elif target == ROOT / "README.md":
        target = DOCS / "index.md"
    return f"[{words}]({os.path.relpath(target, (DOCS / page).parent)}{anchor})"


def as_restructured(lines: list[str]) -> list[str]:
    """Our docstrings for docutils: `code` in backticks, and every other mark of its own is a letter."""
    text = "\n".join(lines)
    parts = CODE.split(text)
    # An escaped blank shows nothing and ends a mark, also between letters: `layer`s.
    marked = (rf"\ `{part}`\ " if part.startswith("`") else MARKS.sub(r"\\\1", part) for part in parts)
    return "".join(marked).split("\n")


def setup(app: Sphinx) -> None:
    def read(_: Sphinx, page: str, source: list[str]) -> None:
        source[0] = prepared(page, source[0])

    def docstring(_: Sphinx, what: str, name: str, value: object, options: object, lines: list[str]) -> None:
        lines[:] = as_restructured(lines)

    def signature(
        _: Sphinx, what: str, name: str, value: object, options: object, written: str | None, returned: str | None
    ) -> tuple[str | None, str | None]:
        """The default of a field that a function makes has no name, and its whole signature would be unreadable."""
        return written and written.replace("<factory>", "..."), returned

    def lines_of_signature(_: Sphinx, page: str, template: str, context: dict[str, Any], tree: object) -> None:
        def as_lines(found: re.Match[str]) -> str:
            lines = found[1].replace("<dd>", '<span class="sig-line">').replace("</dd>", "</span>")
            return f'<span class="sig-lines">{lines}</span>'

        context["body"] = SIGNATURE.sub(as_lines, context.get("body", ""))

    app.connect("source-read", read)
    app.connect("html-page-context", lines_of_signature)
    app.connect("autodoc-process-signature", signature)
    app.connect("autodoc-process-docstring", docstring)
