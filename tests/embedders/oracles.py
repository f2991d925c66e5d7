"""Every loss again, in float64 numpy loops, written from the papers.

Adding a method adds one entry to ``METHODS``.
"""

from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
import torch

from sk_dml import losses

N_CLASSES, N_FEATURES = 4, 6


@dataclass
class Method:
    """A loss with its arguments and its oracle.

    ``oracle(rows, labels, state)`` gets the embeddings and the loss's parameters and
    buffers by name; rows and proxies of length one unless ``raw``. ``frozen`` names the
    methods of the loss whose result carries no gradient by definition. ``state``
    replaces parameters and buffers that begin with other values.
    """

    name: str
    oracle: Any
    arguments: dict = field(default_factory=dict)
    has_proxies: bool = False
    raw: bool = False
    frozen: tuple = ()
    state: dict = field(default_factory=dict)

    def make(self, n_classes=N_CLASSES, n_features=N_FEATURES):
        sizes = (n_classes, n_features) if self.has_proxies else ()
        loss = getattr(losses, self.name)(*sizes, **self.arguments)
        given = {name: torch.tensor(value) for name, value in self.state.items()}
        loss.load_state_dict({**loss.state_dict(), **given})
        return loss

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


def linear_softmax(x, labels, state):
    terms = []
    for row, label in zip(x, labels, strict=True):
        weights = np.exp(state["proxies"] @ row + state["bias"])
        terms.append(-np.log(weights[label] / weights.sum()))
    return np.mean(terms)


def center(weight):
    def oracle(x, labels, state):
        distances = [
            np.sum((row - state["centers"][label]) ** 2)
            for row, label in zip(x, labels, strict=True)
        ]
        return linear_softmax(x, labels, state) + weight / 2 * np.mean(distances)

    return oracle


def sphere_face(margin):
    def oracle(x, labels, state):
        annealing = max(5, 1000 / (1 + 0.12 * state["n_steps"]))
        terms = []
        for row, label in zip(x, labels, strict=True):
            length = np.linalg.norm(row)
            cosines = (state["proxies"] @ row) / length
            cosines /= np.linalg.norm(state["proxies"], axis=1)
            angle = np.arccos(cosines[label])
            k = next(
                k for k in range(margin) if angle * margin <= (k + 1) * np.pi + 1e-12
            )
            psi = (-1) ** k * np.cos(margin * angle) - 2 * k
            cosines[label] = (annealing * cosines[label] + psi) / (1 + annealing)
            weights = np.exp(length * cosines)
            terms.append(-np.log(weights[label] / weights.sum()))
        return np.mean(terms)

    return oracle


def sub_center_arc_face(margin, scale):
    def oracle(x, labels, state):
        terms = []
        for row, label in zip(x, labels, strict=True):
            nearest = np.array([max(w @ row for w in c) for c in state["proxies"]])
            angle = np.arccos(nearest[label])
            if angle + margin > np.pi:
                nearest[label] -= margin * np.sin(margin)
            else:
                nearest[label] = np.cos(angle + margin)
            terms.append(np.log(np.exp(scale * nearest).sum()) - scale * nearest[label])
        return np.mean(terms)

    return oracle


def ada_cos(x, labels, state):
    scale = np.sqrt(2) * np.log(len(state["proxies"]) - 1)
    return margin_softmax(np.cos, scale)(x, labels, state)


def proxy_nca(scale):
    def oracle(x, labels, state):
        terms = []
        for row, label in zip(x, labels, strict=True):
            weights = np.exp(-scale * np.sum((state["proxies"] - row) ** 2, axis=1))
            others = sum(w for c, w in enumerate(weights) if c != label)
            terms.append(-np.log(weights[label] / others))
        return np.mean(terms)

    return oracle


def n_pairs(l2_weight):
    def oracle(x, labels, _):
        terms = []
        for a, (positives, _negatives) in enumerate(zip(*_pairs(labels), strict=True)):
            for p in positives:
                total = 1.0
                for c in set(labels) - {labels[a]}:
                    members = np.flatnonzero(labels == c)
                    total += np.mean([np.exp(x[a] @ (x[n] - x[p])) for n in members])
                terms.append(np.log(total))
        return np.mean(terms) + l2_weight * np.mean([row @ row for row in x])

    return oracle


def lifted_structure(margin):
    def oracle(x, labels, _):
        distance = np.linalg.norm(x[:, None] - x[None], axis=2)
        _, negatives = _pairs(labels)
        terms = []
        for i, j in combinations(range(len(x)), 2):
            if labels[i] == labels[j]:
                total = sum(np.exp(margin - distance[i, k]) for k in negatives[i])
                total += sum(np.exp(margin - distance[j, k]) for k in negatives[j])
                terms.append(max(0, np.log(total) + distance[i, j]) ** 2)
        return sum(terms) / (2 * len(terms))

    return oracle


def margin_loss(margin, n_features=N_FEATURES):
    def density(d):
        d = max(d, 0.5)
        return d ** (n_features - 2) * (1 - d**2 / 4) ** ((n_features - 3) / 2)

    def oracle(x, labels, state):
        pull, push, drawn = [], 0.0, 0.0
        for a, (positives, negatives) in enumerate(zip(*_pairs(labels), strict=True)):
            beta = np.broadcast_to(state["beta"], N_CLASSES)[labels[a]]
            d = {j: np.linalg.norm(x[a] - x[j]) for j in positives + negatives}
            pull += [d[p] - beta + margin for p in positives]
            reached = [n for n in negatives if d[n] < beta + margin]
            total = sum(1 / density(d[n]) for n in reached)
            for _ in positives:
                for n in reached:
                    probability = 1 / density(d[n]) / total
                    push += probability * (beta + margin - d[n])
                    drawn += probability
        return _mean_of_nonzero(pull) + (push / drawn if drawn else 0)

    return oracle


def snr_contrastive(pos_margin, neg_margin, regularization):
    def oracle(x, labels, _):
        pull, push = [], []
        for i, (positives, negatives) in enumerate(zip(*_pairs(labels), strict=True)):
            ratio = [np.var(x[j] - x[i]) / np.var(x[i]) for j in range(len(x))]
            pull += [ratio[p] - pos_margin for p in positives]
            push += [neg_margin - ratio[n] for n in negatives]
        mean = np.mean([abs(row.sum()) for row in x])
        return _mean_of_nonzero(pull) + _mean_of_nonzero(push) + regularization * mean

    return oracle


def smooth_ap(temperature):
    def oracle(x, labels, _):
        def step(i, j, p):
            return 1 / (1 + np.exp(-(x[i] @ x[j] - x[i] @ x[p]) / temperature))

        terms = []
        for i, (positives, negatives) in enumerate(zip(*_pairs(labels), strict=True)):
            precisions = []
            for p in positives:
                in_class = 1 + sum(step(i, j, p) for j in positives if j != p)
                precisions.append(
                    in_class / (in_class + sum(step(i, n, p) for n in negatives))
                )
            if precisions:
                terms.append(1 - np.mean(precisions))
        return np.mean(terms)

    return oracle


def circle_by_class(margin, gamma):
    def oracle(x, labels, state):
        terms = []
        for row, label in zip(x, labels, strict=True):
            s = state["proxies"] @ row
            alpha = max(0, 1 + margin - s[label])
            own = np.exp(-gamma * alpha * (s[label] - 1 + margin))
            others = sum(
                np.exp(gamma * max(0, s[c] + margin) * (s[c] - margin))
                for c in range(len(s))
                if c != label
            )
            terms.append(np.log(1 + own * others))
        return np.mean(terms)

    return oracle


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
    Method("NormalizedSoftmaxLoss", normalized_softmax(0.1), has_proxies=True),
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
    Method("ArcFaceLoss", arc_face(0.5, 16.0), has_proxies=True),
    Method(
        "ArcFaceLoss",
        arc_face(1.5, 4.0),
        {"margin": 1.5, "scale": 4.0},
        has_proxies=True,
    ),
    Method("CosFaceLoss", cos_face(0.35, 16.0), has_proxies=True),
    Method(
        "CosFaceLoss",
        cos_face(0.1, 4.0),
        {"margin": 0.1, "scale": 4.0},
        has_proxies=True,
    ),
    Method(
        "CircleLoss",
        circle_by_class(0.25, 16.0),
        {
            "margin": 0.25,
            "gamma": 16.0,
            "n_classes": N_CLASSES,
            "n_features": N_FEATURES,
        },
        frozen=("_weights",),
    ),
    Method("SoftmaxLoss", linear_softmax, has_proxies=True, raw=True),
    Method("CenterLoss", center(0.003), has_proxies=True, raw=True),
    Method(
        "CenterLoss",
        center(0.5),
        {"weight": 0.5},
        has_proxies=True,
        raw=True,
        state={"centers": np.arange(24.0).reshape(N_CLASSES, N_FEATURES) / 12 - 1},
    ),
    Method("SphereFaceLoss", sphere_face(4), has_proxies=True, raw=True),
    Method(
        "SphereFaceLoss",
        sphere_face(3),
        {"margin": 3},
        has_proxies=True,
        raw=True,
        state={"n_steps": np.array(10**5)},
    ),
    Method("SubCenterArcFaceLoss", sub_center_arc_face(0.5, 16.0), has_proxies=True),
    Method(
        "SubCenterArcFaceLoss",
        sub_center_arc_face(1.5, 4.0),
        {"n_centers": 2, "margin": 1.5, "scale": 4.0},
        has_proxies=True,
    ),
    Method("AdaCosLoss", ada_cos, has_proxies=True),
    Method("AdaCosLoss", ada_cos, {"dynamic": False}, has_proxies=True),
    Method("ProxyNCALoss", proxy_nca(1.0), has_proxies=True),
    Method("ProxyNCALoss", proxy_nca(9.0), {"scale": 9.0}, has_proxies=True),
    Method("NPairsLoss", n_pairs(0.02), raw=True),
    Method("NPairsLoss", n_pairs(0.0), {"l2_weight": 0.0}, raw=True),
    Method("LiftedStructureLoss", lifted_structure(1.0), raw=True),
    Method("LiftedStructureLoss", lifted_structure(0.2), {"margin": 0.2}, raw=True),
    Method("MarginLoss", margin_loss(0.2), frozen=("_weights",)),
    Method(
        "MarginLoss",
        margin_loss(0.1),
        {"margin": 0.1, "beta": 0.8, "n_classes": N_CLASSES},
        frozen=("_weights",),
        state={"beta": np.array([0.8, 0.9, 1.3, 1.2])},
    ),
    Method(
        "MarginLoss",
        margin_loss(0.3),
        {"margin": 0.3, "learn_beta": False},
        frozen=("_weights",),
    ),
    Method("SNRContrastiveLoss", snr_contrastive(0.0, 1.0, 0.1)),
    Method(
        "SNRContrastiveLoss",
        snr_contrastive(0.2, 3.0, 0.0),
        {"pos_margin": 0.2, "neg_margin": 3.0, "regularization": 0.0},
    ),
    Method("SmoothAPLoss", smooth_ap(0.01)),
    Method("SmoothAPLoss", smooth_ap(0.3), {"temperature": 0.3}),
]
