"""What papers claimed for their methods, to be shown beside a fair comparison."""

from dataclasses import dataclass

SONG = (
    'H. O. Song, Y. Xiang, S. Jegelka, S. Savarese. "Deep Metric Learning via Lifted '
    'Structured Feature Embedding". CVPR 2016'
)


@dataclass(frozen=True)
class Claim:
    """A published result on CUB-200-2011, the first 100 classes against the others.

    Attributes
    ----------
    recall : float
        Recall@1, in [0, 1].
    network : str
        Pretrained on ImageNet.
    n_components : int or None
        Width of the embedding; None where sources differ.
    paper : str
        Where it was published.
    """

    recall: float
    network: str
    n_components: int | None
    paper: str


# By the class of the embedder. Methods whose papers give no recall@1 on this collection
# have none.
CLAIMS = {
    "ContrastiveEmbedder": Claim(0.264, "GoogLeNet", None, f"{SONG}, as a baseline"),
    "TripletEmbedder": Claim(0.361, "GoogLeNet", None, f"{SONG}, as a baseline"),
    "LiftedStructureEmbedder": Claim(0.472, "GoogLeNet", None, SONG),
    "NPairsEmbedder": Claim(
        0.510,
        "GoogLeNet",
        None,
        'K. Sohn. "Improved Deep Metric Learning with Multi-class N-pair Loss '
        'Objective". NeurIPS 2016',
    ),
    "ProxyNCAEmbedder": Claim(
        0.492,
        "BN-Inception",
        64,
        'Y. Movshovitz-Attias et al. "No Fuss Distance Metric Learning Using Proxies". '
        "ICCV 2017",
    ),
    "MarginEmbedder": Claim(
        0.636,
        "ResNet-50",
        128,
        'C.-Y. Wu et al. "Sampling Matters in Deep Embedding Learning". ICCV 2017',
    ),
    "NormalizedSoftmaxEmbedder": Claim(
        0.613,
        "ResNet-50",
        512,
        'A. Zhai, H.-Y. Wu. "Classification is a Strong Baseline for Deep Metric '
        'Learning". BMVC 2019',
    ),
    "MultiSimilarityEmbedder": Claim(
        0.657,
        "BN-Inception",
        512,
        'X. Wang et al. "Multi-Similarity Loss with General Pair Weighting for Deep '
        'Metric Learning". CVPR 2019',
    ),
    "SoftTripleEmbedder": Claim(
        0.654,
        "BN-Inception",
        512,
        'Q. Qian et al. "SoftTriple Loss: Deep Metric Learning Without Triplet '
        'Sampling". ICCV 2019',
    ),
    "CircleEmbedder": Claim(
        0.667,
        "BN-Inception",
        512,
        'Y. Sun et al. "Circle Loss: A Unified Perspective of Pair Similarity '
        'Optimization". CVPR 2020',
    ),
    "ProxyAnchorEmbedder": Claim(
        0.684,
        "BN-Inception",
        512,
        'S. Kim et al. "Proxy Anchor Loss for Deep Metric Learning". CVPR 2020',
    ),
}


def claims_of(methods):
    """Find the claims for the methods of a comparison.

    Parameters
    ----------
    methods : list of dict
        As ``RealityCheckResult.methods``.

    Returns
    -------
    dict of str to Claim
        By the name of the method. Baselines have none, whatever they are made of.
    """
    return {
        entry["method"]: CLAIMS[entry["estimator"]]
        for entry in methods
        if entry["kind"] == "method" and entry["estimator"] in CLAIMS
    }
