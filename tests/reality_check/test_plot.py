import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure

from sk_dml.reality_check._plot import CLAIMS, claims_of, metric_label, ranked
from sk_dml.utils import all_embedders
from tests.reality_check.results import MEANS, made, mean

pytestmark = pytest.mark.usefixtures("figures")


def labels(ax):
    return [label.get_text() for label in ax.get_yticklabels()]


def errorbars(ax):
    """Return the middle and the ends of every interval, by index of the row."""
    intervals = {}
    for bar in ax.containers:
        point, _, (segments,) = bar.lines
        (x,), (y,) = point.get_data()
        intervals[round(float(y))] = (x, *segments.get_segments()[0][:, 0])
    return intervals


def test_claims_beside_the_comparison():
    result = made()
    claims, fair = result.plot()
    order = ["mine", "Circle", "raw features", "Triplet", "out"]
    assert labels(claims) == order
    (dots,) = claims.lines
    points = {order[round(y)]: x for x, y in zip(*dots.get_data(), strict=True)}
    assert points == {"Circle": 0.667, "Triplet": 0.361}
    rows = {r["method"]: r for r in result.rows() if r["scoring"] == "concatenated"}
    drawn = errorbars(fair)
    assert set(drawn) == {0, 1, 2, 3}
    for index, (middle, low, high) in drawn.items():
        row = rows[order[index]]
        assert middle == pytest.approx(row["map_at_r"])
        assert low == pytest.approx(row["map_at_r_low"])
        assert high == pytest.approx(row["map_at_r_high"])
    texts = [text.get_text() for text in fair.texts]
    assert "no result" in texts
    assert any("dotted: Triplet" in text.replace("\n", " ") for text in texts)
    (line,) = [line for line in fair.lines if line.get_linestyle() == ":"]
    assert line.get_xdata()[0] == pytest.approx(MEANS["Triplet"])
    assert claims.get_ylim() == fair.get_ylim()
    assert not plt.isinteractive()


def test_other_metric_and_scoring():
    result = made()
    *_, fair = result.plot(metric="nmi", scoring="separated")
    assert fair.get_xlabel() == "NMI on the test classes, separated"
    assert errorbars(fair)[0][0] == pytest.approx(mean(result, "mine", "nmi"))
    for ask in (result.plot, result.comparisons):
        message = r"metric must be .*\['map_at_r', 'nmi'\], got 'ami'"
        with pytest.raises(ValueError, match=message):
            ask(metric="ami")
        with pytest.raises(ValueError, match=r"scoring must be one of .*got 'both'"):
            ask(scoring="both")
    for wrong, message in (
        (("mine", "separated", "ami"), "metric must be"),
        (("mine", "both", "nmi"), "scoring must be"),
        (("Triplett", "separated", "nmi"), "method must be .* got 'Triplett'"),
    ):
        with pytest.raises(ValueError, match=message):
            result.values(*wrong)


def test_no_claim_no_panel():
    result = made()
    for entry in result.methods:
        entry["estimator"] = "PCA"
    (ax,) = result.plot()
    assert labels(ax)[0] == "mine"


def test_one_repeat_has_no_interval():
    result = made(n_repeats=1)
    *_, fair = result.plot()
    assert [bar.has_xerr for bar in fair.containers] == [False] * 4


def test_axes_may_be_given():
    result = made()
    axes = Figure().subplots(1, 2)
    assert [*result.plot(axes)] == [*axes]
    with pytest.raises(ValueError, match="ax must be 2 axes, got 1"):
        result.plot(Figure().subplots())
    panels = Figure().subplots(2, 2)
    assert [*result.plot_trials(panels)] == [*panels.ravel()]
    with pytest.raises(ValueError, match="ax must be 4 axes for the methods, got 2"):
        result.plot_trials(axes)
    assert not plt.get_fignums()


def test_trials_and_the_best_so_far():
    result = made()
    axes = result.plot_trials()
    titles = [ax.get_title(loc="left") for ax in axes]
    assert titles == [
        "Circle, best 0.750",
        "Triplet, best 0.000",
        "mine, best 0.125",
        "out",
    ]
    crosses, dots, best, top = axes[0].lines
    assert len(crosses.get_xdata()) == 0
    assert [*dots.get_xdata()] == [1, 2, 3]
    np.testing.assert_allclose(dots.get_ydata(), [0.75, 0.375, 0.5625])
    np.testing.assert_allclose(best.get_ydata(), 0.75)
    assert top.get_data() == ([1], [0.75])
    assert [*axes[2].lines[0].get_xdata()] == [2]
    assert [*axes[3].lines[0].get_xdata()] == [1, 2, 3]
    assert [text.get_text() for text in axes[3].texts] == ["none completed"]


def test_pruned_trials_differ_from_complete_ones():
    result = made()
    assert "pruned" not in result.plot_trials()[0].figure.get_supxlabel()
    result.trials[1] |= {"state": "pruned", "value": 0.9, "fold_scores": [0.9]}
    axes = result.plot_trials()
    assert axes[0].figure.get_supxlabel() == "trial (crosses: failed, bars: pruned)"
    bars, _, dots, best, _ = axes[0].lines
    assert bars.get_marker() == "|"
    assert bars.get_data() == ([2], [0.9])
    assert [*dots.get_xdata()] == [1, 3]
    assert max(best.get_ydata()) == 0.75


@pytest.mark.parametrize("n_methods", [1, 4, 5, 9])
def test_panels_for_any_number_of_methods(n_methods):
    result = made()
    result.methods = [
        {**result.methods[0], "method": f"method {i}"} for i in range(n_methods)
    ]
    axes = result.plot_trials()
    assert len(axes) == n_methods
    figure = axes[0].figure
    assert len(figure.axes) == n_methods
    figure.draw_without_rendering()
    # The lowest panel of every column has tick labels.
    for ax in axes[-min(n_methods, 4) :]:
        assert any(label.get_visible() for label in ax.get_xticklabels())
        assert ax.xaxis.get_tick_params()["labelbottom"]


def test_names_are_shown_as_they_are():
    hostile = r"$\frac{1$"
    result = made(names={"mine": hostile, "Triplet": "_x"})
    for axes in (result.plot(), result.plot_trials()):
        figure = axes[0].figure
        figure.draw_without_rendering()
        texts = [text for ax in axes for text in ax.findobj(mpl.text.Text)]
        assert any(hostile in text.get_text() for text in texts)


def test_claims_are_of_embedders_and_shares():
    assert set(CLAIMS) <= {name for name, _ in all_embedders()}
    for claim in CLAIMS.values():
        assert 0 < claim["recall"] < 1
        assert claim["network"]
        assert claim.get("n_components", 1) > 0
        assert claim["paper"].removesuffix(", as a baseline")[-4:].isdigit()


def test_claims_follow_the_class_and_not_the_name():
    methods = [
        {"method": "mine", "kind": "method", "estimator": "MarginEmbedder"},
        {"method": "Circle", "kind": "method", "estimator": "PCA"},
        {"method": "untrained", "kind": "baseline", "estimator": "TripletEmbedder"},
    ]
    assert claims_of(methods) == {"mine": CLAIMS["MarginEmbedder"]}


def test_ranks():
    rows = ranked(made(), "map_at_r", "separated")
    names = [row["method"] for row in rows]
    assert names == ["mine", "Circle", "raw features", "Triplet", "out"]
    assert metric_label("mean_reciprocal_rank") == "mean reciprocal rank"
