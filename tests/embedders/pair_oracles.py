"""The losses on pairs. Adding a method adds one entry to ``PAIR_METHODS``."""

import numpy as np

from tests.embedders.oracles import (
    N_CLASSES,
    N_FEATURES,
    Method,
    mean_of_nonzero,
    pairs,
)


def circle(margin, gamma):
    def oracle(x, labels, _):
        terms = []
        for i, (positives, negatives) in enumerate(zip(*pairs(labels), strict=True)):
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
        for i, (positives, negatives) in enumerate(zip(*pairs(labels), strict=True)):
            pull += [np.linalg.norm(x[i] - x[p]) - pos_margin for p in positives]
            push += [neg_margin - np.linalg.norm(x[i] - x[n]) for n in negatives]
        return mean_of_nonzero(pull) + mean_of_nonzero(push)

    return oracle


def triplet(margin, mining):
    def oracle(x, labels, _):
        distance = np.linalg.norm(x[:, None] - x[None], axis=2)
        terms = []
        for a, (positives, negatives) in enumerate(zip(*pairs(labels), strict=True)):
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
        return mean_of_nonzero(terms)

    return oracle


def nt_xent(temperature):
    def oracle(x, labels, _):
        terms = []
        for i, (positives, negatives) in enumerate(zip(*pairs(labels), strict=True)):
            against = sum(np.exp(x[i] @ x[n] / temperature) for n in negatives)
            for p in positives:
                own = np.exp(x[i] @ x[p] / temperature)
                terms.append(-np.log(own / (own + against)))
        return np.mean(terms)

    return oracle


def sup_con(temperature):
    def oracle(x, labels, _):
        terms = []
        for i, (positives, negatives) in enumerate(zip(*pairs(labels), strict=True)):
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
        for i, (positives, negatives) in enumerate(zip(*pairs(labels), strict=True)):
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
        for i, (positives, negatives) in enumerate(zip(*pairs(labels), strict=True)):
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
        for i, (positives, negatives) in enumerate(zip(*pairs(labels), strict=True)):
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


def n_pairs(l2_weight):
    def oracle(x, labels, _):
        terms = []
        for a, (positives, _negatives) in enumerate(zip(*pairs(labels), strict=True)):
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
        positives, negatives = pairs(labels)
        terms = []
        for i in range(len(x)):
            for j in positives[i]:
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
        total = count = 0.0
        for a, (positives, negatives) in enumerate(zip(*pairs(labels), strict=True)):
            beta = (
                state["beta"] if state["beta"].ndim == 0 else state["beta"][labels[a]]
            )
            d = {j: np.linalg.norm(x[a] - x[j]) for j in positives + negatives}
            drawable = [n for n in negatives if d[n] < 1.4]
            weights = {n: 1 / density(d[n]) for n in drawable}
            for p in positives:
                terms = [(1, d[p] - beta + margin)]
                for n in drawable:
                    probability = weights[n] / sum(weights.values())
                    terms.append((probability, beta + margin - d[n]))
                total += sum(share * term for share, term in terms if term > 0)
                count += sum(share for share, term in terms if term > 0)
        return total / count

    return oracle


def snr_contrastive(pos_margin, neg_margin, regularization):
    def oracle(x, labels, _):
        pull, push = [], []
        for i, (positives, negatives) in enumerate(zip(*pairs(labels), strict=True)):
            ratio = [np.var(x[j] - x[i]) / np.var(x[i]) for j in range(len(x))]
            pull += [ratio[p] - pos_margin for p in positives]
            push += [neg_margin - ratio[n] for n in negatives]
        mean = np.mean([abs(row.sum()) for row in x])
        return mean_of_nonzero(pull) + mean_of_nonzero(push) + regularization * mean

    return oracle


def smooth_ap(temperature):
    def oracle(x, labels, _):
        def step(i, j, p):
            return 1 / (1 + np.exp(-(x[i] @ x[j] - x[i] @ x[p]) / temperature))

        terms = []
        for i, (positives, negatives) in enumerate(zip(*pairs(labels), strict=True)):
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


PAIR_METHODS = [
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
    Method("NTXentLoss", nt_xent(0.1)),
    Method("NTXentLoss", nt_xent(0.02), {"temperature": 0.02}),
    Method("SupConLoss", sup_con(0.1)),
    Method("SupConLoss", sup_con(0.5), {"temperature": 0.5}),
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
    Method("NPairsLoss", n_pairs(0.02), raw=True),
    Method("NPairsLoss", n_pairs(0.0), {"l2_weight": 0.0}, raw=True),
    Method("LiftedStructureLoss", lifted_structure(1.0), raw=True),
    Method("LiftedStructureLoss", lifted_structure(0.2), {"margin": 0.2}, raw=True),
    Method("MarginLoss", margin_loss(0.2), frozen=("_weights",)),
    Method(
        "MarginLoss",
        margin_loss(0.1),
        {"margin": 0.1, "learn_beta": "class", "n_classes": N_CLASSES},
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
