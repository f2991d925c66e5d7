"""Coverage of confidence intervals of a mean over queries.

Classes have a size and a probability that their queries succeed, each drawn from a
known distribution; the queries are drawn from it. Intervals of 95 % should hold the
expected score in 95 % of the repeats, of which 500 leave a standard error of 1 %.
"""

import argparse
import warnings

import numpy as np
from _report import header
from scipy.stats import DegenerateDataWarning, bootstrap, norm

from sk_dml.metrics import class_bootstrap

CLASSES = (20, 60, 120)
AVERAGES = ("micro", "macro")
# Expected score of a class, and how alike classes are (sum of the beta's parameters).
SCORES = {0.05: 8, 0.2: 6, 0.5: 4, 0.8: 6, 0.95: 8}
PEERS = {"percentile": "percentile", "BCa": "BCa"}


def unequal(rng, n, _):
    """Draw from 2 to about 70, 22 on average."""
    return 2 + rng.poisson(rng.gamma(2, 10, n))


def few_large(rng, n, _):
    """Draw sizes of which the largest hold most of the queries."""
    return 2 + rng.lognormal(2.5, 1.0, n).astype(int)


def better_if_large(rng, n, is_upper):
    """Make classes large whose probability is from the upper one of two betas."""
    return 2 + rng.poisson(np.where(is_upper, 30, 6))


SIZES = {
    "unequal": unequal,
    "large ones are better": better_if_large,
    "few large ones": few_large,
}


def draw(rng, n_classes, sizes, mean, alike):
    """Draw labels and values of queries; return them and the expected scores."""
    is_upper = rng.random(n_classes) < 0.5
    means = np.full(n_classes, mean)
    expected = dict.fromkeys(AVERAGES, mean)
    if sizes is better_if_large:
        apart = min(mean, 1 - mean) / 2
        means += np.where(is_upper, apart, -apart)
        expected["micro"] = (32 * (mean + apart) + 8 * (mean - apart)) / 40
    probabilities = rng.beta(means * alike, (1 - means) * alike)
    labels = np.repeat(np.arange(n_classes), sizes(rng, n_classes, is_upper))
    return rng.binomial(1, probabilities[labels]), labels, expected


def intervals(values, labels, average, rng):
    """Compute every kind of interval."""
    found = {
        "class_bootstrap": class_bootstrap(
            values, labels, average=average, random_state=int(rng.integers(2**31))
        )
    }
    sizes = np.bincount(labels)
    sums = np.bincount(labels, values)
    if average == "macro":
        sums, sizes = sums / sizes, np.ones(len(sizes))
    for name, method in PEERS.items():
        found[name] = bootstrap(
            (sums, sizes),
            lambda s, n, axis: s.sum(axis) / n.sum(axis),
            paired=True,
            vectorized=True,
            n_resamples=1000,
            method=method,
            rng=rng,
        ).confidence_interval
    # As if queries were independent.
    weights = 1 / (len(sizes) * np.bincount(labels)[labels])
    weights = weights if average == "macro" else np.full(len(values), 1 / len(values))
    score = weights @ values
    error = np.sqrt((weights**2) @ (values - score) ** 2)
    margin = norm.ppf(0.975) * error
    found["queries as independent"] = (score - margin, score + margin)
    return found


def coverage(n_classes, sizes, mean, repeats):
    """Simulate; return coverage and mean width by average and kind."""
    rng = np.random.default_rng(
        [n_classes, round(100 * mean), *sizes.__name__.encode()]
    )
    held, width = {}, {}
    for _ in range(repeats):
        values, labels, expected = draw(rng, n_classes, sizes, mean, SCORES[mean])
        for average in AVERAGES:
            for name, (low, high) in intervals(values, labels, average, rng).items():
                if name == "class_bootstrap":
                    assert 0 <= low <= high <= 1
                key = average, name
                # scipy's BCa is nan where all classes have the same mean.
                hit = low <= expected[average] <= high
                held[key] = held.get(key, 0) + hit / repeats
                width[key] = width.get(key, 0) + (high - low) / repeats
    return held, width


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=500)
    repeats = parser.parse_args().repeats
    warnings.simplefilter("ignore", DegenerateDataWarning)
    names = ["class_bootstrap", *PEERS, "queries as independent"]
    print(header("intervals.py", "scipy"))
    print(
        f"\nShare of {repeats} intervals of 95 % that hold the expected score, in %, "
        f"with {', '.join(map(str, CLASSES))} classes, and the mean width of "
        "class_bootstrap.\n"
    )
    columns = ["average", "class sizes", "expected score", *names, "width"]
    print("|", " | ".join(columns), "|")
    print("|" + "---|" * len(columns))
    every = {name: [] for name in names}
    for title, sizes in SIZES.items():
        for mean in SCORES:
            found = [coverage(n, sizes, mean, repeats) for n in CLASSES]
            for average in AVERAGES:
                cells = []
                for name in names:
                    shares = [100 * held[average, name] for held, _ in found]
                    every[name] += shares
                    cells.append(", ".join(f"{share:.1f}" for share in shares))
                key = average, "class_bootstrap"
                cells.append(", ".join(f"{width[key]:.2f}" for _, width in found))
                row = [average, title, f"{mean:.2f}", *cells]
                print("|", " | ".join(row), "|", flush=True)
    print("\n| interval | lowest | mean | highest | cells within 93 to 97 |")
    print("|---|---|---|---|---|")
    for name, shares in every.items():
        within = sum(92.95 <= share <= 97.05 for share in shares)
        print(
            f"| {name} | {min(shares):.1f} | {np.mean(shares):.1f} | {max(shares):.1f} "
            f"| {within} of {len(shares)} |"
        )


if __name__ == "__main__":
    main()
