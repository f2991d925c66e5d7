from sk_dml.reality_check._claims import CLAIMS, claims_of
from sk_dml.utils import all_embedders


def test_claims_are_of_embedders_and_shares():
    assert set(CLAIMS) <= {name for name, _ in all_embedders()}
    for claim in CLAIMS.values():
        assert 0 < claim.recall < 1
        assert claim.paper[-4:].isdigit() or claim.paper.endswith("as a baseline")


def test_claims_follow_the_class_and_not_the_name():
    methods = [
        {"method": "mine", "kind": "method", "estimator": "MarginEmbedder"},
        {"method": "Circle", "kind": "method", "estimator": "PCA"},
        {"method": "untrained", "kind": "baseline", "estimator": "TripletEmbedder"},
    ]
    assert claims_of(methods) == {"mine": CLAIMS["MarginEmbedder"]}
