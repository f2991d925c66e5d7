"""The losses with proxies. Adding a method adds one entry to ``PROXY_METHODS``."""

from itertools import combinations

import numpy as np

from tests.embedders.oracles import N_CLASSES, N_FEATURES, Method


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


PROXY_METHODS = [
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
    Method("ProxyAnchorLoss", proxy_anchor(0.1, 32.0), has_proxies=True),
    Method(
        "ProxyAnchorLoss",
        proxy_anchor(0.3, 4.0),
        {"margin": 0.3, "scale": 4.0},
        has_proxies=True,
    ),
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
    Method("ProxyNCALoss", proxy_nca(1.0), has_proxies=True),
    Method("ProxyNCALoss", proxy_nca(9.0), {"scale": 9.0}, has_proxies=True),
]
