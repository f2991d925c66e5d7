"""The site, built as for readers but without running the examples of the gallery."""

import functools
import os
import re
import shutil
import subprocess
import sys
import threading
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import pytest

import sk_dml
from sk_dml.utils import all_embedders
from tests.test_docs import MODULES

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    for part in ("docs", "examples", "benchmarks"):
        # A path without spaces, of which sphinx-gallery warns, and no earlier build.
        left_out = shutil.ignore_patterns("_build", "gallery", "generated")
        shutil.copytree(ROOT / part, folder / "source" / part, ignore=left_out)
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going"]
    command += ["-b", "html", "-D", "plot_gallery=0", "-d", folder / "doctrees"]
    subprocess.run(
        [*command, "docs", folder / "html"],
        cwd=folder / "source",
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=True,
        timeout=500,
    )
    return folder / "html"


class Page(HTMLParser):
    """The anchors and the links of a page."""

    def __init__(self, path):
        super().__init__()
        self.anchors, self.links = set(), set()
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.anchors |= {attributes.get("id"), attributes.get("name")}
        self.links |= {attributes.get("href"), attributes.get("src")} - {None}


@pytest.fixture(scope="module")
def pages(site):
    paths = [path for path in site.rglob("*.html") if "_static" not in path.parts]
    return {path: Page(path) for path in paths}


def test_internal_links_and_anchors_hold(site, pages):
    broken = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve()
            target = target if parts.path else path
            anchors = pages[target].anchors if target in pages else {}
            anchor = unquote(parts.fragment)
            if not target.is_file() or (anchor and anchor not in anchors):
                broken.append(f"{path.relative_to(site)}: {link}")
    assert not broken


def test_link_of_every_embedder_leads_to_its_methods_and_parameters(site):
    for name, embedder in all_embedders():
        address = urlsplit(embedder()._get_doc_link()).path
        page = (site / address.removeprefix("/en/stable/")).read_text()
        assert f'id="sk_dml.{name}.fit"' in page
        for parameter in embedder().get_params(deep=False):
            assert page.count(f"<strong>{parameter}</strong>") == 1


def test_every_public_name_has_a_page(site, pages):
    for module in MODULES:
        if module is sk_dml:
            continue  # its names are of other modules, or embedders
        for name in module.__all__:
            name = f"{module.__name__}.{name}"
            assert name in pages[site / "api" / "generated" / f"{name}.html"].anchors


@pytest.fixture
def address(site):
    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = functools.partial(Handler, directory=site)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("MAP@R", "user_guide/evaluation.html"),
        ("early stopping", "user_guide/training.html"),
        ("NaN", "faq.html"),
    ],
)
def test_search_finds(browser, address, words, expected):
    page = browser.new_page()
    page.goto(f"{address}/search.html?q={quote(words)}")
    page.wait_for_selector("#search-results .search-summary:not(:empty)")
    links = page.locator("#search-results ul.search > li > a")
    links.first.wait_for()
    found = [a.get_attribute("href") for a in links.all()[:3]]
    page.close()
    assert any(re.match(rf"{expected}\b", link) for link in found), found
