import base64
import re
from html.parser import HTMLParser

import matplotlib as mpl
import pytest

from sk_dml.reality_check import _report
from tests.reality_check.results import made
from tests.reality_check.small import data, small

VOID = {"meta", "img"}


class Page(HTMLParser):
    """Collect text, elements and attributes, and check that all are closed."""

    def __init__(self, page):
        super().__init__()
        self.open, self.elements, self.words = [], [], []
        self.feed(page)
        assert self.open == []
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, text):
        if not {"style", "script"} & set(self.open):
            self.words.append(text)


def pictures(page):
    """Return the SVG of the pictures of a page."""
    images = [attributes for tag, attributes in page.elements if tag == "img"]
    assert all(image["alt"] for image in images)
    sources = [image["src"].split(";base64,") for image in images]
    assert {head for head, _ in sources} <= {"data:image/svg+xml"}
    return [base64.b64decode(content).decode() for _, content in sources]


@pytest.fixture
def no_pictures(monkeypatch):
    """Leave out the pictures, where a test is about the text alone."""
    monkeypatch.setattr(_report, "_picture", lambda draw, layout: "data:,")


@pytest.fixture(scope="module")
def page():
    result = made()
    result.notes.append("The time limit of 2 h 00 min ended the search.")
    return Page(result.to_html())


def test_page_shows_everything(page):
    for words in (
        "Reality check on some data",
        "The time limit of 2 h 00 min ended the search.",
        "The method with the highest MAP@R on the test classes (concatenated) is mine, "
        "with 1.000 (0.975 to 1.025).",
        "The baseline with the highest MAP@R on the test classes (concatenated) is raw "
        "features, with 0.250 (0.225 to 0.275).",
        "Compared with Triplet at corrected p-values below 0.05: better: mine, Circle; "
        "worse: none; undecided: none.",
        "Methods with a higher mean than the best baseline: 2 of 3.",
        "0.438 0.388 to 0.487",  # a difference with its interval
        "class-disjoint cross-validation",  # the protocol
        "Holm's method",
        "out : it broke",  # failures
        "margin = 0.25",  # what was chosen
        "seeds of the repeats 7, 8, 9",
        "python 3.11",
        "processor x86_64",
        "CircleEmbedder(a=1)",
        "margin: uniform in [0, 0.5]",
        "last & least",
        "What papers claim",
        "Sun et al.",
    ):
        assert words in page.text
    assert "NMI: papers used such clustering metrics" in page.text


def test_worse_and_undecided_methods(no_pictures):
    result = made()
    result.settings["reference"] = "Circle"
    for row in result.repeats:
        row["map_at_r"] *= 1 + (row["method"] == "mine") * (row["repeat"] - 1.5)
    page = Page(result.to_html())
    assert "better: none; worse: Triplet; undecided: mine." in page.text
    assert "\N{MINUS SIGN}0.438 \N{MINUS SIGN}0.487 to \N{MINUS SIGN}0.388" in page.text


def test_nothing_compared(no_pictures):
    page = Page(made(n_repeats=1).to_html())
    assert "Nothing is compared with Triplet: a test takes two repeats" in page.text
    result = made(n_repeats=10)
    assert "< 0.0001" in Page(result.to_html()).text
    for row in result.repeats:
        row["map_at_r"] = 0.1
    page = Page(result.to_html())
    assert "Nothing is compared with Triplet" in page.text
    assert "0.100 constant" in page.text


def test_reference_without_a_result(no_pictures):
    result = made()
    result.settings["reference"] = "out"
    text = Page(result.to_html()).text
    assert "Nothing is compared with out, which has no result." in text


def test_methods_that_are_not_tested_are_named(no_pictures):
    result = made()
    for row in result.repeats:
        if row["method"] in ("mine", "Triplet"):
            row["map_at_r"] = 0.1
    text = Page(result.to_html()).text
    assert "better: Circle; worse: none; undecided: none." in text
    assert "Not tested, as there is one difference or all are the same: mine." in text


def test_reference_that_is_a_baseline_is_both(no_pictures):
    result = made()
    result.settings["reference"] = "raw features"
    assert "raw features baseline, reference" in Page(result.to_html()).text


def test_page_needs_nothing_else(page):
    for _, attributes in page.elements:
        assert not {"srcset", "action", "data"} & set(attributes)
        assert attributes.get("src", "data:").startswith("data:")
        assert not any(name.startswith("on") for name in attributes)
        assert attributes.get("href", "#").startswith("#")
    assert not re.search(r"@import|url\(", made().to_html())
    assert not re.search(r"@import|url\(\s*['\"]?(?!#)", "".join(pictures(page)))
    metas = [attributes for tag, attributes in page.elements if tag == "meta"]
    (policy,) = [m["content"] for m in metas if "http-equiv" in m]
    assert policy.startswith("default-src 'none'; ")


def test_identifiers_are_unique_and_found(page):
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(set(ids)) == len(ids)
    for _, attributes in page.elements:
        assert attributes.get("href", "#" + ids[0])[1:] in ids
    assert len(pictures(page)) == 2


def test_no_failures_without_failed_methods(no_pictures):
    result = made()
    assert "Failures" in result.to_html()
    result.methods = [e for e in result.methods if not e["reason"]]
    result.trials = [t for t in result.trials if not t["error"]]
    assert "Failures" not in result.to_html()


def test_file_and_string_are_the_same(tmp_path):
    result = made(names={"mine": "\u00fc\u6f22\ud800"})
    assert result.to_html(tmp_path / "report.html") is None
    written = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert written == result.to_html()


def test_drawing_leaves_the_users_style():
    before = dict(mpl.rcParams)
    with mpl.rc_context({"text.usetex": True, "font.size": 40}):
        styled = made().to_html()
    assert styled == made().to_html()
    assert dict(mpl.rcParams) == before


def test_page_without_matplotlib(monkeypatch):
    found = _report.util.find_spec
    monkeypatch.setattr(
        _report.util,
        "find_spec",
        lambda name: None if name == "matplotlib" else found(name),
    )
    page = made().to_html()
    assert page.count("Plots need matplotlib") == 2
    assert "<img" not in page


def test_panels_for_any_number_of_methods():
    result = made()
    for name in ("one", "more"):
        result.methods.insert(0, {**result.methods[0], "method": name})
    page = Page(result.to_html())
    for name in ("one", "more", "mine, best 0.125"):
        assert f">{name}<" in pictures(page)[1]


def test_pruned_trials_are_counted_where_there_is_a_pruner(no_pictures):
    result = made()
    heads = "validation MAP@R completed failed chosen setting"
    assert heads in Page(result.to_html()).text
    result.settings["pruner"] = "MedianPruner()"
    result.trials[1]["state"] = "pruned"
    text = Page(result.to_html()).text
    assert heads.replace("failed", "pruned failed") in text
    assert "Circle 0.750 2 1 0 margin = 0.25" in text
    assert "MedianPruner() could stop a trial early." in text


def test_text_is_escaped_once_and_replaced_where_it_does_not_print():
    hostile = "<script>alert('1')</script> & \"x\""
    page = made(names={"mine": hostile, "out": "a\x00b\u202ec\ud800d"}).to_html()
    assert "<script>alert" not in page
    escaped = "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt; &amp; &#34;x&#34;"
    assert f'<th scope="row" data-value="{escaped}">{escaped}</th>' in page
    mark = "\N{REPLACEMENT CHARACTER}"
    assert f">a{mark}b{mark}c{mark}d</th>" in page


def test_no_result_at_all():
    result = made()
    result.repeats, result.trials = [], []
    for entry in result.methods:
        entry.update(best_score=None, best_params={}, reason="nothing worked")
    page = Page(result.to_html())
    assert "No method has a result. No baseline has a result." in page.text
    assert "Compared with" not in page.text
    assert page.text.count("nothing worked") == 5


def test_real_results(page):
    result = small(n_trials=1, n_repeats=1).run(*data())
    assert result.settings.keys() | {"data"} == made().settings.keys()
    shown = Page(result.to_html()).text
    assert "Triplet" in shown
    assert "one repeat" in shown
    assert "one repeat" not in page.text
    for row in result.rows():
        assert f"{row['map_at_r']:.3f}" in shown
