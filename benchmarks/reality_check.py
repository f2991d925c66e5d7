"""Two workers on one study of a RealityCheck, beside one.

Every worker is a process of its own with one thread; all of them work on one sqlite
file. Seconds are from the start of the first process to the end of the last one;
medians, with one worker and two in turns. The results of the workers on one study are
compared, too, and those of all studies with one worker.
"""

import argparse
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from _report import header, in_process, parse

from sk_dml.reality_check import RealityCheck

METHODS = ["contrastive", "triplet", "softtriple"]


def work(url, n_samples, epochs, trials):
    """Work on the study until it is done; return what does not depend on the time."""
    rng = np.random.default_rng(0)
    y = np.arange(n_samples) % 40
    X = rng.normal(size=(40, 16))[y] + rng.normal(size=(n_samples, 16))
    result = RealityCheck(
        estimators=METHODS,
        embedder_params={"max_epochs": epochs},
        baselines=[],
        n_trials=trials,
        n_repeats=2,
        storage=url,
    ).run(X, y)
    tried = [[trial["params"], trial["fold_scores"]] for trial in result.trials]
    return [result.methods, result.repeats, tried]


def measure(n_workers, **settings):
    """Let workers do one study; return the seconds and the result of each worker."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor() as pool:
        settings["url"] = f"sqlite:///{folder}/check.db"
        start = time.perf_counter()
        calls = [
            pool.submit(in_process, __file__, "work", **settings)
            for _ in range(n_workers)
        ]
        results = [call.result() for call in calls]
        return time.perf_counter() - start, results


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--trials", type=int, default=8)
    given = parse(parser, globals())
    print(header("reality_check.py", "optuna"))
    print(
        f"\n{given.samples:,} rows x 16, 40 classes, {len(METHODS)} methods, "
        f"{given.trials} trials, 4 folds, 2 repeats, {given.epochs} epochs; medians of "
        f"{given.runs}.\n"
    )
    settings = {
        "n_samples": given.samples,
        "epochs": given.epochs,
        "trials": given.trials,
    }
    seconds: dict = {1: [], 2: []}
    studies: dict = {1: [], 2: []}
    for _ in range(given.runs):
        for n_workers, taken in seconds.items():
            duration, results = measure(n_workers, **settings)
            taken.append(duration)
            studies[n_workers].append(results)
    alike = [*studies[2], [result for (result,) in studies[1]]]
    same = all(result == results[0] for results in alike for result in results)
    died = [result for results in alike for result in results if type(result) is str]
    alone, together = (statistics.median(taken) for taken in seconds.values())
    print("| workers | s | each run | share of one worker's |\n|---|---|---|---|")
    for n_workers, taken in seconds.items():
        each = ", ".join(f"{duration:.1f}" for duration in taken)
        median = statistics.median(taken)
        print(f"| {n_workers} | {median:.1f} | {each} | {median / alone:.2f} |")
    print(f"\nResults agree: {'yes' if same and not died else f'no {died}'}.")
    print(f"At most .65: {'yes' if together <= 0.65 * alone else 'no'}.")


if __name__ == "__main__":
    main()
