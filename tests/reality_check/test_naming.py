import pytest
from sklearn.decomposition import PCA

from sk_dml import CircleEmbedder
from sk_dml.reality_check._naming import name_estimators
from sk_dml.utils import all_embedders


def test_names_of_methods():
    assert len(name_estimators(None)) == len(all_embedders())
    named = name_estimators(["circle", "SoftTripleEmbedder", "multi-similarity"])
    assert list(named) == ["Circle", "SoftTriple", "MultiSimilarity"]
    assert list(name_estimators([CircleEmbedder(3), PCA(2)])) == ["Circle", "PCA"]
    with pytest.raises(ValueError, match=r"'circel', which is no embedder.*'Circle'"):
        name_estimators(["circel"])
    with pytest.raises(ValueError, match="two methods named 'Circle'"):
        name_estimators(["circle", CircleEmbedder()])
    with pytest.raises(ValueError, match="got none"):
        name_estimators([])
