"""Every loss again, in float64 numpy loops, written from the papers.

Adding a method adds one entry to ``METHODS``.
"""

from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np

from sk_dml import losses

N_CLASSES, N_FEATURES = 4, 6


@dataclass
class Method:
    """A loss with its arguments and its oracle.

    ``oracle(rows, labels, state)`` gets the embeddings and the loss's parameters and
    buffers by name; rows and proxies of length one unless ``raw``. ``frozen`` names the
    methods of the loss whose result carries no gradient by definition.
    """

    name: str
    oracle: Any
    arguments: dict = field(default_factory=dict)
    has_proxies: bool = False
    raw: bool = False
    frozen: tuple = ()

    def make(self, n_classes=N_CLASSES, n_features=N_FEATURES):
        sizes = (n_classes, n_features) if self.has_proxies else ()
        return getattr(losses, self.name)(*sizes, **self.arguments)

    def __str__(self):
        return f"{self.name}({self.arguments})"


def _pairs(labels):
    n = len(labels)
    positives = [
        [j for j in range(n) if j != i and labels[j] == labels[i]] for i in range(n)
    ]
    negatives = [[j for j in range(n) if labels[j] != labels[i]] for i in range(n)]
    return positives, negatives


def _mean_of_nonzero(terms):
    active = [term for term in terms if term > 0]
    return sum(active) / len(active) if active else 0.0


def circle(margin, gamma):
    def oracle(x, labels, _):
        terms = []
        for i, (positives, negatives) in enumerate(zip(*_pairs(labels), strict=True)):
            if not positives or not negatives:
                continue
            s_p = np.array([x[i] @ x[j] for j in positives])
            s_n = np.array([x[i] @ x[j] for j in negatives])
            alpha_p = np.maximum(0, (1 + margin) - s_p)  # O_p = 1 + m
            alpha_n = np.maximum(0, s_n - (-margin))  # O_n = -m
            sum_n = np.exp(gamma * alpha_n * (s_n - margin)).sum()
            sum_p = np.exp(-gamma * alpha_p * (s_p - (1 - margin))).sum()
            terms.append(np.log(1 + sum_n * sum_p))
        return np.mean(terms)

    return oracle


def contrastive(pos_margin, neg_margin):
    def oracle(x, labels, _):
        pull, push = [], []
        for i, j in combinations(range(len(x)), 2):
            distance = np.linalg.norm(x[i] - x[j])
            if labels[i] == labels[j]:
                pull.append(max(0, distance - pos_margin))
            else:
                push.append(max(0, neg_margin - distance))
        return _mean_of_nonzero(pull) + _mean_of_nonzero(push)

    return oracle


def triplet(margin, mining):
    def oracle(x, labels, _):
        distance = np.linalg.norm(x[:, None] - x[None], axis=2)
        terms = []
        for a, (positives, negatives) in enumerate(zip(*_pairs(labels), strict=True)):
            if not positives or not negatives:
                continue
            if mining == "hard":
                d_p = max(distance[a, p] for p in positives)
                terms.append(d_p - min(distance[a, n] for n in negatives) + margin)
                continue
            for p in positives:
                d_n = [distance[a, n] for n in negatives]
                if mining == "semihard":
                    d_n = sorted(d for d in d_n if d > distance[a, p])[:1]
                terms += [distance[a, p] - d + margin for d in d_n]
        return _mean_of_nonzero(terms)

    return oracle


def normalized_softmax(temperature):
    def oracle(x, labels, state):
        proxies = state["proxies"]
        terms = []
        for row, label in zip(x, labels, strict=True):
            weights = np.exp(proxies @ row / temperature)
            terms.append(-np.log(weights[label] / weights.sum()))
        return np.mean(terms)

    return oracle


def soft_triple(scale, gamma, tau, margin):
    def oracle(x, labels, state):
        centers = state["proxies"]
        n_classes, n_centers, _ = centers.shape
        terms = []
        for row, label in zip(x, labels, strict=True):
            s = np.empty(n_classes)
            for c in range(n_classes):
                products = centers[c] @ row
                q = np.exp(products / gamma)
                s[c] = (q / q.sum()) @ products
            own = np.exp(scale * (s[label] - margin))
            others = sum(np.exp(scale * s[c]) for c in range(n_classes) if c != label)
            terms.append(-np.log(own / (own + others)))
        spread = sum(
            np.sqrt(2 - 2 * centers[c, s] @ centers[c, t])
            for c in range(n_classes)
            for s, t in combinations(range(n_centers), 2)
        )
        weight = tau / (n_classes * n_centers * (n_centers - 1)) if n_centers > 1 else 0
        return np.mean(terms) + weight * spread

    return oracle


def nt_xent(temperature):
    def oracle(x, labels, _):
        terms = []
        for i, (positives, negatives) in enumerate(zip(*_pairs(labels), strict=True)):
            against = sum(np.exp(x[i] @ x[n] / temperature) for n in negatives)
            for p in positives:
                own = np.exp(x[i] @ x[p] / temperature)
                terms.append(-np.log(own / (own + against)))
        return np.mean(terms)

    return oracle


def sup_con(temperature):
    def oracle(x, labels, _):
        terms = []
        for i, (positives, negatives) in enumerate(zip(*_pairs(labels), strict=True)):
            if not positives:
                continue
            others = sum(
                np.exp(x[i] @ x[a] / temperature) for a in positives + negatives
            )
            logs = [
                np.log(np.exp(x[i] @ x[p] / temperature) / others) for p in positives
            ]
            terms.append(-sum(logs) / len(positives))
        return np.mean(terms)

    return oracle


def multi_similarity(alpha, beta, base, epsilon):
    def oracle(x, labels, _):
        terms = []
        for i, (positives, negatives) in enumerate(zip(*_pairs(labels), strict=True)):
            if not positives or not negatives:
                continue
            s_p = np.array([x[i] @ x[p] for p in positives])
            s_n = np.array([x[i] @ x[n] for n in negatives])
            mined_p, mined_n = s_p, s_n
            if epsilon is not None:
                mined_p = s_p[s_p - epsilon < s_n.max()]
                mined_n = s_n[s_n + epsilon > s_p.min()]
            pull = np.log(1 + np.exp(-alpha * (mined_p - base)).sum()) / alpha
            push = np.log(1 + np.exp(beta * (mined_n - base)).sum()) / beta
            terms.append(pull + push)
        return np.mean(terms)

    return oracle


def nca(temperature):
    def oracle(x, labels, _):
        terms = []
        for i, (positives, negatives) in enumerate(zip(*_pairs(labels), strict=True)):
            if not positives:
                continue

            def weight(others, i=i):
                squares = [np.sum((x[i] - x[j]) ** 2) for j in others]
                return np.exp(-np.array(squares) / temperature).sum()

            terms.append(-np.log(weight(positives) / weight(positives + negatives)))
        return np.mean(terms)

    return oracle


def fast_ap(n_bins):
    def oracle(x, labels, _):
        width = 4 / n_bins
        terms = []
        for i, (positives, negatives) in enumerate(zip(*_pairs(labels), strict=True)):
            if not positives:
                continue

            def histogram(others, i=i):
                counts = np.zeros(n_bins + 1)
                for j in others:
                    place = np.sum((x[i] - x[j]) ** 2) / width
                    for edge in range(n_bins + 1):
                        counts[edge] += max(0, 1 - abs(place - edge))
                return counts

            h_positive = histogram(positives)
            h = h_positive + histogram(negatives)
            average = 0.0
            for j in range(n_bins + 1):
                if h[: j + 1].sum() > 0:
                    share = h_positive[: j + 1].sum() / h[: j + 1].sum()
                    average += share * h_positive[j] / len(positives)
            terms.append(1 - average)
        return np.mean(terms)

    return oracle


def proxy_anchor(margin, scale):
    def oracle(x, labels, state):
        proxies = state["proxies"]
        pull, push = [], []
        for c, proxy in enumerate(proxies):
            own = [
                row @ proxy for row, label in zip(x, labels, strict=True) if label == c
            ]
            rest = [
                row @ proxy for row, label in zip(x, labels, strict=True) if label != c
            ]
            if own:
                total = sum(np.exp(-scale * (s - margin)) for s in own)
                pull.append(np.log(1 + total))
            push.append(np.log(1 + sum(np.exp(scale * (s + margin)) for s in rest)))
        return np.mean(pull) + np.mean(push)

    return oracle


def margin_softmax(reduce, scale):
    """Softmax with the own cosine replaced by ``reduce`` of its angle."""

    def oracle(x, labels, state):
        proxies = state["proxies"]
        terms = []
        for row, label in zip(x, labels, strict=True):
            cosines = proxies @ row
            cosines[label] = reduce(np.arccos(cosines[label]))
            terms.append(np.log(np.exp(scale * cosines).sum()) - scale * cosines[label])
        return np.mean(terms)

    return oracle


def arc_face(margin, scale):
    def reduce(angle):
        if angle + margin > np.pi:
            return np.cos(angle) - margin * np.sin(margin)
        return np.cos(angle + margin)

    return margin_softmax(reduce, scale)


def cos_face(margin, scale):
    return margin_softmax(lambda angle: np.cos(angle) - margin, scale)


METHODS = [
    Method("CircleLoss", circle(0.4, 80.0), frozen=("_weights",)),
    Method(
        "CircleLoss",
        circle(0.25, 4.0),
        {"margin": 0.25, "gamma": 4.0},
        frozen=("_weights",),
    ),
    Method("ContrastiveLoss", contrastive(0.0, 0.5)),
    Method(
        "ContrastiveLoss", contrastive(0.3, 1.6), {"pos_margin": 0.3, "neg_margin": 1.6}
    ),
    *(
        Method(
            "TripletLoss", triplet(margin, mining), {"margin": margin, "mining": mining}
        )
        for mining in ("all", "semihard", "hard")
        for margin in (0.2, 0.05)
    ),
    Method("NormalizedSoftmaxLoss", normalized_softmax(0.05), has_proxies=True),
    Method(
        "NormalizedSoftmaxLoss",
        normalized_softmax(0.5),
        {"temperature": 0.5},
        has_proxies=True,
    ),
    Method("SoftTripleLoss", soft_triple(20.0, 0.1, 0.2, 0.01), has_proxies=True),
    Method(
        "SoftTripleLoss",
        soft_triple(5.0, 1.0, 0.7, 0.1),
        {"n_centers": 3, "scale": 5.0, "gamma": 1.0, "tau": 0.7, "margin": 0.1},
        has_proxies=True,
    ),
    Method(
        "SoftTripleLoss",
        soft_triple(20.0, 0.1, 0.2, 0.01),
        {"n_centers": 1},
        has_proxies=True,
    ),
    Method("NTXentLoss", nt_xent(0.1)),
    Method("NTXentLoss", nt_xent(0.02), {"temperature": 0.02}),
    Method("SupConLoss", sup_con(0.1)),
    Method("SupConLoss", sup_con(0.5), {"temperature": 0.5}),
    Method("ProxyAnchorLoss", proxy_anchor(0.1, 32.0), has_proxies=True),
    Method(
        "ProxyAnchorLoss",
        proxy_anchor(0.3, 4.0),
        {"margin": 0.3, "scale": 4.0},
        has_proxies=True,
    ),
    Method("MultiSimilarityLoss", multi_similarity(2.0, 50.0, 0.5, 0.1)),
    Method(
        "MultiSimilarityLoss",
        multi_similarity(18.0, 76.0, 0.77, None),
        {"alpha": 18.0, "beta": 76.0, "base": 0.77, "epsilon": None},
    ),
    Method("FastAPLoss", fast_ap(10)),
    Method("FastAPLoss", fast_ap(3), {"n_bins": 3}),
    Method("NCALoss", nca(0.2)),
    Method("NCALoss", nca(2.0), {"temperature": 2.0}),
    Method("ArcFaceLoss", arc_face(0.5, 64.0), has_proxies=True),
    Method(
        "ArcFaceLoss",
        arc_face(1.5, 4.0),
        {"margin": 1.5, "scale": 4.0},
        has_proxies=True,
    ),
    Method("CosFaceLoss", cos_face(0.35, 64.0), has_proxies=True),
    Method(
        "CosFaceLoss",
        cos_face(0.1, 4.0),
        {"margin": 0.1, "scale": 4.0},
        has_proxies=True,
    ),
]
