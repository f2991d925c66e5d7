"""Made-up results of a comparison."""

import numpy as np

from sk_dml.reality_check import RealityCheckResult

# Means whose order by their digits is not that by their size.
MEANS = {"Circle": 0.5, "Triplet": 0.0625, "mine": 1.0, "raw features": 0.25}
VALIDATION = {"Circle": 0.75, "Triplet": 1e-5, "mine": 0.125}
CLASSES = {"Circle": "CircleEmbedder", "Triplet": "TripletEmbedder", "mine": "PCA"}


def made(*, names=None, error="it broke", n_repeats=3, data="some data"):
    """Return a result of three methods, a baseline, and "out", a failed method.

    ``names`` replaces their names; ``error`` is that of "out".
    """
    named = {name: name for name in (*MEANS, "out")} | (names or {})
    methods, trials, repeats = [], [], []
    for name in ("Circle", "Triplet", "mine", "out", "raw features"):
        methods.append(
            {
                "method": named[name],
                "kind": "baseline" if name == "raw features" else "method",
                "estimator": CLASSES.get(name, "FunctionTransformer"),
                "best_params": {"margin": 0.25} if name in VALIDATION else {},
                "best_score": VALIDATION.get(name),
                "reason": error if name == "out" else "",
            }
        )
        for trial in range(0 if name == "raw features" else 3):
            failed = name == "out" or (name == "mine" and trial == 1)
            value = VALIDATION.get(name, 0) * (1, 0.5, 0.75)[trial]
            trials.append(
                {
                    "method": named[name],
                    "trial": trial,
                    "state": "failed" if failed else "complete",
                    "value": None if failed else value,
                    "fold_scores": None if failed else [value, value],
                    "params": {"margin": 0.25 * trial},
                    "error": error if failed else None,
                    "start": None,
                    "duration": 1.0,
                }
            )
        for repeat in range(n_repeats if name in MEANS else 0):
            for scoring in ("separated", "concatenated"):
                noise = 0.01 * (repeat - (n_repeats - 1) / 2)
                value = MEANS[name] + (-noise if name == "Triplet" else noise)
                values = {"map_at_r": value, "nmi": value / 2}
                row = {"method": named[name], "kind": methods[-1]["kind"]}
                row |= {"scoring": scoring, "repeat": repeat, "seed": 7 + repeat}
                repeats.append(row | values)
    settings = {
        "study_name": "reality-check",
        "n_trials": 3,
        "n_random_trials": 2,
        "pruner": None,
        "n_folds": 2,
        "n_repeats": n_repeats,
        "n_jobs": None,
        "random_state": 0,
        "storage": None,
        "groups": False,
        "test_size": 0.5,
        "time_limit": None,
        "test_classes": ["last & least"],
        "metrics": ["map_at_r", "nmi"],
        "reference": named["Triplet"],
        "n_development_samples": 1234,
        "n_development_classes": 8,
        "n_test_samples": 99,
        "n_test_classes": 9,
        "estimators": {e["method"]: f"{e['estimator']}(a=1)" for e in methods[:4]},
        "search_spaces": {named["mine"]: {"margin": "uniform in [0, 0.5]"}},
        "versions": {"python": "3.11", "sk_dml": "0.1.0"},
        "hardware": {"processor": "x86_64", "gpus": []},
        "date": "2026-01-02",
        "data": data,
    }
    return RealityCheckResult(methods, trials, repeats, settings)


def mean(result, name, metric="map_at_r"):
    return np.mean([*result.values(name, "concatenated", metric).values()])
