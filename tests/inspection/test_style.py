from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sk_dml.inspection import _base


def test_text_is_of_one_line_and_can_be_shown():
    assert _base.plain("a\n b\t\x00c") == "a b \N{REPLACEMENT CHARACTER}c"
    assert _base.plain(7) == "7"


def test_long_names_keep_both_ends():
    name = "Sanskrit/character41"
    assert _base.plain(name, 20) == name
    for width in range(2, 20):
        short = _base.plain(name, width)
        start, _, end = short.partition("…")
        assert len(short) == width
        assert name.startswith(start)
        assert name.endswith(end)
    assert _base.plain(name, 9) == "Sans…er41"


def test_text_breaks_into_few_lines():
    lines = _base.wrapped("some words " * 20 + "x" * 90, 12, 3).split("\n")
    assert len(lines) == 3
    assert max(map(len, lines)) <= 12
    assert lines[-1].endswith("…")
    assert _base.wrapped("$x$ y", 12, 3) == "$x$ y"


def test_legends_show_all_names_as_they_are():
    ax = Figure().subplots()
    names = ["_hidden", "$x^2$", "same", "same"]
    legend = _base.add_legend(ax, [Line2D([], []) for _ in names], names)
    assert [text.get_text() for text in legend.get_texts()] == names
    assert not any(text.get_parse_math() for text in legend.get_texts())


def test_written_text_never_reaches_tex():
    ax = Figure().subplots()
    text = _base.write(ax.text(0, 0, "", usetex=True), r"\input{x}")
    assert not text.get_usetex()
    assert not text.get_parse_math()
    assert text.get_text() == r"\input{x}"


def test_long_notes_break_inside_the_picture():
    figure = Figure(figsize=(3, 3), layout="constrained")
    ax = figure.subplots()
    _base.describe(ax, "Title", "a note that is much longer than the axes " * 3)
    figure.draw_without_rendering()
    (note,) = ax.texts
    assert note.get_window_extent().x1 <= figure.bbox.x1
    title = ax._left_title.get_window_extent()
    assert title.y0 >= note.get_window_extent().y1 - 1


def test_own_titles_stay_and_the_note_finds_room():
    figure = Figure(layout="constrained")
    ax = figure.subplots()
    ax.set_title("mine", color="red")
    for note in ("first", "second " * 40):
        _base.describe(ax, "Title", note)
    assert ax.get_title() == "mine"
    assert ax.title.get_color() == "red"
    assert ax.get_title(loc="left") == ""
    (artist,) = ax.texts
    assert artist.get_text().startswith("second")
    figure.draw_without_rendering()
    assert "\n" in artist.get_text()
    note, title = artist.get_window_extent(), ax.title.get_window_extent()
    assert title.y0 >= note.y1 - 1
    assert title.y1 <= figure.bbox.y1


def test_our_own_title_is_replaced():
    ax = Figure().subplots()
    for title, note in (("First", "a"), ("Second", "b"), ("Third", "")):
        _base.describe(ax, title, note)
        assert ax.get_title(loc="left") == title
        assert [text.get_text() for text in ax.texts] == ([note] if note else [])
