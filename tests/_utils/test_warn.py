import runpy
import warnings
from pathlib import Path

import numpy as np
import pytest
import sklearn
from sklearn.model_selection import cross_validate
from sklearn.preprocessing import StandardScaler

from sk_dml import metrics, scorers
from sk_dml._utils._warn import warn

X = np.array([[0.0], [0.1], [5.0], [5.1], [9.0], [9.0]])
y = [0, 0, 1, 1, 2, 3]

LEFT_OUT = "2 of 6 queries are left out"
CALLS = [
    (lambda: metrics.map_at_r_score(X, y), LEFT_OUT),
    (lambda: metrics.recall_at_k_score(X, y, k=[1, 2]), LEFT_OUT),
    (lambda: metrics.retrieval_scores(X, y), LEFT_OUT),
    (lambda: metrics.retrieval_values(X, y), LEFT_OUT),
    (lambda: scorers.map_at_r(StandardScaler().fit(X), X, y), LEFT_OUT),
    (lambda: metrics.nmi_score(X // 5, y), "2 distinct rows"),
    (lambda: metrics.clustering_scores(X // 5, y), "2 distinct rows"),
    (lambda: metrics.verification_scores(X, y, far=1e-3), "far=0.001 is below"),
    (lambda: metrics.class_bootstrap([0.0, 1.0, 0.5], [0, 1, 2]), "3 classes"),
]


@pytest.mark.parametrize(("call", "message"), CALLS)
def test_warnings_point_at_the_caller(call, message):
    with pytest.warns(UserWarning, match=message) as record:
        call()
    where = [(warning.filename, warning.lineno) for warning in record]
    assert where == [(__file__, call.__code__.co_firstlineno)]


def test_other_libraries_are_callers_too():
    with pytest.warns(UserWarning, match="are left out") as record:
        cross_validate(
            StandardScaler(), X, y, cv=[([0], range(6))], scoring=scorers.map_at_r
        )
    assert Path(record[0].filename).is_relative_to(Path(sklearn.__file__).parent)


def test_a_script_may_have_any_name(tmp_path):
    script = tmp_path / "sk_dml_of_mine.py"
    script.write_text("from sk_dml._utils._warn import warn\n\nwarn('mine')\n")
    with pytest.warns(UserWarning, match="mine") as record:
        runpy.run_path(str(script), run_name="sk_dml_of_mine")
    assert (record[0].filename, record[0].lineno) == (str(script), 3)


def test_category_and_filters():
    with pytest.warns(FutureWarning, match="later"):
        warn("later", FutureWarning)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="now"):
            warn("now")
