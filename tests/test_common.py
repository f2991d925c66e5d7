"""What holds for every embedder, found by discovery."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from sk_dml.utils import all_embedders


@parametrize_with_checks([cls(max_epochs=2) for _, cls in all_embedders()])
def test_scikit_learn_checks(estimator, check):
    check(estimator)
