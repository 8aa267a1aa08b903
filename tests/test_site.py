"""The documentation as a site: it builds without a warning, asks no other host, and shows every public docstring."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
LOADED = {("img", "src"), ("script", "src"), ("link", "href"), ("source", "srcset"), ("iframe", "src")}
"""What a browser requests by itself, without a click."""


ELSEWHERE = re.compile(r"(?:url\(|@import )[\"']?(?:https?:)?//[^)\"']+")
"""What a style sheet requests from another host."""


class Page(HTMLParser):
    """Addresses that a page loads, those that it links to, and its ids."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.without_alt = 0
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if (tag, name) in LOADED and value:
                self.loaded.append(value)
            elif (tag, name) == ("a", "href") and value:
                self.links.append(value)
            elif name == "id" and value:
                self.ids.add(value)
        self.without_alt += tag == "img" and not dict(attrs).get("alt")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site. Warnings of the builder are errors, as in `make docs`."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-W", "--keep-going", "-q", "-d", str(folder / "trees")]
    done = subprocess.run([*command, "docs", str(folder / "html")], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "html"


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {file: Page(file) for file in site.rglob("*.html") if "_static" not in file.parts}


def test_no_page_asks_another_host(site: Path, pages: dict[Path, Page]) -> None:
    for file, page in pages.items():
        assert not [address for address in page.loaded if urlsplit(address).netloc], file
    for sheet in site.rglob("*.css"):
        assert not re.findall(r"(?:url\(|@import )[\"']?(?:https?:)?//[^)\"']+", sheet.read_text(encoding="utf-8")), (
            sheet
        )


def test_every_link_of_the_site_leads_somewhere(site: Path, pages: dict[Path, Page]) -> None:
    for file, page in pages.items():
        for address in [*page.links, *page.loaded]:
            link = urlsplit(address)
            if link.scheme or link.netloc:
                continue
            target = (file.parent / unquote(link.path)).resolve() if link.path else file
            assert target.is_file(), f"{file.relative_to(site)} links to {address}"
            anchor = unquote(link.fragment)
            if anchor and target in pages:
                assert anchor in pages[target].ids, f"{file.relative_to(site)} links to {address}"


def test_every_page_of_the_app_has_its_guide_with_a_picture(pages: dict[Path, Page], site: Path) -> None:
    for name in ("explore", "build", "compare", "gradients", "models", "experiments", "class"):
        page = pages[site / "guide" / f"{name}.html"]
        assert any("_images" in address for address in page.loaded), name
        assert not page.without_alt, name
    for picture in (ROOT / "docs" / "pictures").iterdir():
        assert picture.suffix == ".webp" and picture.stat().st_size < 150_000
        with Image.open(picture) as opened:
            assert opened.width >= 1000


def test_the_reference_has_the_first_line_of_every_docstring(site: Path) -> None:
    """autodoc leaves out silently what has none."""
    for file in sorted((ROOT / "docs" / "reference").glob("*.md")):
        names = re.findall(r"^\.\. auto\w+:: ([\w.]+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
        assert names, file
        shown = (site / "reference" / f"{file.stem}.html").read_text(encoding="utf-8")
        for name in names:
            found = re.search(
                rf'<dt class="[^"]*" id="{re.escape(name)}">.*?</dt>\s*<dd>(?:<p>)?(.{{20}})', shown, re.DOTALL
            )
            assert found, name
