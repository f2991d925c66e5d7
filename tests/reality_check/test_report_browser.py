"""The report as a browser shows it.

Skipped where playwright or a browser is missing, unless SK_DML_REQUIRE_BROWSER is set.
"""

import io
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from tests.reality_check.results import made

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server():
    """Serve addresses that a page must not request; record the requests."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(204)
            self.send_header("Access-Control-Allow-Origin", "*")
            self.end_headers()

        def log_message(self, *args):
            pass

    asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def hostile(server):
    url, _ = server
    run = f"window.ran = 1; fetch('{url}/ran')"
    return {
        "mine": f'<img src="{url}/image" onerror="{run}">',
        "Circle": f"</title></style></script><script>{run}</script>",
        "out": f'"><svg onload="{run}"><a href="javascript:{run}">x</a>',
        "raw features": f"<iframe src='{url}/frame'></iframe> &lt;b&gt;",
        "Triplet": f"<link rel=stylesheet href={url}/style> @import url({url}/import);",
    }


@pytest.fixture
def page(browser, server, hostile, tmp_path):
    _, asked = server
    asked.clear()
    error = f"<script>{hostile['Circle']}</script>"
    result = made(names=hostile, error=error, data=hostile["mine"])
    result.notes.append(hostile["out"])
    path = tmp_path / "report.html"
    result.to_html(path)
    page = browser.new_page()
    page.set_default_timeout(60_000)
    page.requests, page.complaints = [], []
    page.on("request", lambda request: page.requests.append(request.url))
    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.goto(path.as_uri())
    page.wait_for_load_state("networkidle")
    yield page
    page.close()


RESULTS = "Results, concatenated"


def table(page, label=RESULTS):
    return page.get_by_role("region", name=label, exact=True).locator("table.sortable")


def column(page, header, label=RESULTS):
    """Read a column of a table from top to bottom, as it is shown."""
    names = table(page, label).locator("thead button").all_inner_texts()
    rows = table(page, label).locator("tbody tr")
    return [
        rows.nth(i)
        .locator("th, td")
        .nth(names.index(header))
        .inner_text()
        .split("\n")[0]
        for i in range(rows.count())
    ]


def press(page, header, label=RESULTS):
    button = table(page, label).get_by_role("button", name=header, exact=True)
    button.click()


def sorted_by(page, label=RESULTS):
    """Return the headers marked as sorted, with their order."""
    return [
        (header.inner_text().strip(), header.get_attribute("aria-sort"))
        for header in table(page, label).locator("thead th[aria-sort]").all()
    ]


def test_labels_are_text_and_nothing_runs(page, server, hostile):
    shown = page.locator("body").inner_text()
    for label in hostile.values():
        assert label in shown
    assert page.title() == f"Reality check on {hostile['mine']}"
    assert page.evaluate("window.ran") is None
    assert page.locator("iframe, link, object, embed").count() == 0
    assert page.locator("img:not([src^='data:'])").count() == 0
    widths = page.evaluate("[...document.images].map(image => image.naturalWidth)")
    assert len(widths) == 2
    assert min(widths) > 300  # they were drawn
    assert page.locator("script").count() == 1
    assert page.requests == [page.url]
    assert page.complaints == []
    assert server[1] == []


def test_policy_forbids_requests_and_scripts(browser, page, server):
    url, asked = server
    outcome = page.evaluate(
        """async (url) => {
            const image = new Image();
            image.src = url + "/image";
            const script = document.createElement("script");
            script.textContent = "window.ran = 1";
            document.body.append(image, script);
            const style = document.createElement("style");
            style.textContent = `body { background: url(${url}/background) }`;
            document.head.append(style);
            try { await fetch(url + "/fetch"); return "fetched"; }
            catch (error) { return error.name; }
        }""",
        url,
    )
    page.wait_for_timeout(300)
    assert outcome == "TypeError"
    assert page.evaluate("window.ran") is None
    assert asked == []
    # The server is there, and pages without the policy reach it.
    other = browser.new_page()
    other.set_content(f"<img src='{url}/image'>")
    other.wait_for_timeout(300)
    other.close()
    assert asked == ["/image"]


def test_numbers_sort_as_numbers_both_ways(page):
    dash = "\N{EN DASH}"
    assert sorted_by(page) == [("MAP@R", "descending")]
    best_first = ["1.000", "0.500", "0.250", "0.062", dash]
    assert column(page, "MAP@R") == best_first
    press(page, "MAP@R")
    assert sorted_by(page) == [("MAP@R", "ascending")]
    # What has no value stays last.
    assert column(page, "MAP@R") == [*best_first[-2::-1], dash]
    press(page, "MAP@R")
    assert column(page, "MAP@R") == best_first
    # 1e-05 is the smallest, though it begins with 1.
    chosen = "Chosen settings"
    best_first = ["0.750", "0.125", "0.000", dash]
    assert column(page, "validation MAP@R", chosen) == best_first
    press(page, "validation MAP@R", chosen)
    assert sorted_by(page, chosen) == [("validation MAP@R", "ascending")]
    ascending = ["0.000", "0.125", "0.750", dash]
    assert column(page, "validation MAP@R", chosen) == ascending
    press(page, "failed", chosen)
    assert sorted_by(page, chosen) == [("failed", "descending")]
    assert column(page, "failed", chosen) == ["3", "1", "0", "0"]


def test_names_sort_by_keyboard(page, hostile):
    table(page).get_by_role("button", name="method").focus()
    page.keyboard.press("Enter")
    assert sorted_by(page) == [("method", "ascending")]
    ascending = column(page, "method")
    page.keyboard.press("Space")
    assert sorted_by(page) == [("method", "descending")]
    assert column(page, "method") == ascending[::-1]
    assert sorted(ascending) == sorted(hostile.values())
    # Another table keeps its own order.
    assert column(page, "MAP@R", "Results, separated")[0] == "1.000"


@pytest.mark.parametrize("width", [320, 400, 1280])
def test_page_fits_the_screen(page, width):
    page.set_viewport_size({"width": width, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_page_and_pictures_follow_the_color_scheme(page):
    for scheme, is_dark in (("light", False), ("dark", True)):
        page.emulate_media(color_scheme=scheme)
        for part in (page.locator("h1"), page.locator("img").first):
            screenshot = Image.open(io.BytesIO(part.screenshot())).convert("L")
            pixels = np.sort(np.asarray(screenshot).ravel())
            background, text = np.median(pixels), pixels[-50 if is_dark else 50]
            assert (background < 60 and text > 160) == is_dark
            assert (background > 200 and text < 100) == (not is_dark)
