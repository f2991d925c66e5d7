from sk_dml.reality_check._html import Html, element, text


def test_text_is_text():
    hostile = "<script>alert('1')</script> & \"x\""
    assert text(hostile) == (
        "&lt;script&gt;alert(&#x27;1&#x27;)&lt;/script&gt; &amp; &quot;x&quot;"
    )
    shown = element("b", hostile, title=hostile)
    assert shown == f'<b title="{text(hostile)}">{text(hostile)}</b>'
    assert text([1, None, Html("<br>")]) == "1None<br>"


def test_markup_is_escaped_once():
    inner = element("i", "a < b")
    assert element("p", inner, [inner]) == f"<p>{inner}{inner}</p>"


def test_attributes():
    assert element("p", class_="x", aria_sort=None, data_value="") == (
        '<p class="x" data-value=""></p>'
    )


def test_what_does_not_print_is_replaced():
    mark = "\N{REPLACEMENT CHARACTER}"
    assert text("a\x00b\u202ec\ud800\nd") == f"a{mark}b{mark}c{mark}\nd"
