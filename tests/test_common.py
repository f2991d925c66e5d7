"""scikit-learn's checks of every embedder."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from sk_dml.utils import all_embedders


# Some checks set n_components to 1.
@pytest.mark.filterwarnings("ignore:n_components=1 leaves rows:UserWarning")
@parametrize_with_checks(
    [
        cls(max_epochs=2, net_params={"module__hidden": (16,)})
        for _, cls in all_embedders()
    ]
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)
