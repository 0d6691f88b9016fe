"""Bootstrap of macro ROC AUC: `helpers.metrics.bootstrap` against scikit-learn's `roc_auc_score` on each resample.

    python benchmarks/bootstrap.py

2,000 songs, 50 tags, 1,000 resamples of songs. Ours scores all resamples, and average precision too; scikit-learn
scores ten of the same resamples with ROC AUC alone, and its time is taken times 100. Both sides run in turn, so that
a busy machine slows both alike; the ratio is the median over rounds. Their AUCs must be equal. Last, the time and
memory for as many songs as Choi's test set has.
"""

import sys
import time
import tracemalloc
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from sklearn.metrics import roc_auc_score

from helpers import metrics

NUM_SONGS, NUM_TAGS, NUM_RESAMPLES, NUM_NAIVE, NUM_ROUNDS = 2_000, 50, 1_000, 10, 5
NUM_TEST_SONGS = 28_540  # Choi 2017


def make_songs(num_songs: int) -> tuple[np.ndarray, np.ndarray]:
    """Return labels, the rarest tag on 2 % of the songs, and scores that know something of them."""
    rng = np.random.default_rng(0)
    labels = (rng.random((num_songs, NUM_TAGS)) < np.geomspace(0.25, 0.02, NUM_TAGS)).astype(np.uint8)
    return labels, (rng.normal(size=labels.shape) + labels).astype(np.float32)


def naive(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return the macro AUC of the first resamples that `bootstrap` draws with seed 0."""
    rng, songs = np.random.default_rng(0), np.arange(len(labels))
    counts = rng.multinomial(len(songs), np.full(len(songs), 1 / len(songs)), NUM_NAIVE)
    drawn = [np.repeat(songs, count) for count in counts]
    return np.array([roc_auc_score(labels[rows], scores[rows], average="macro") for rows in drawn])


def main() -> None:
    """Time both sides in turn and compare their results."""
    labels, scores = make_songs(NUM_SONGS)
    times, difference = [], 0.0
    for _ in range(NUM_ROUNDS):
        start = time.perf_counter()
        expected = naive(labels, scores)
        middle = time.perf_counter()
        found = metrics.bootstrap(labels, scores, num_resamples=NUM_RESAMPLES)["macro_auc"]
        times.append(((middle - start) * NUM_RESAMPLES / NUM_NAIVE, time.perf_counter() - middle))
        difference = max(difference, np.abs(found[:NUM_NAIVE] - expected).max())
    assert difference < 1e-12, "the two sides differ"
    times = np.array(times)
    usual, ours = np.median(times, axis=0)
    print(f"{NUM_RESAMPLES:,} resamples of {NUM_SONGS:,} songs x {NUM_TAGS} tags; AUCs equal to {difference:.0e}")
    print(
        f"roc_auc_score: {usual:.1f} s ({NUM_NAIVE} resamples, times {NUM_RESAMPLES // NUM_NAIVE}), ours: {ours:.2f} s"
    )
    print(f"ratio: {np.median(times[:, 0] / times[:, 1]):.0f}x (median of {NUM_ROUNDS} rounds in turn)")

    labels, scores = make_songs(NUM_TEST_SONGS)
    tracemalloc.start()
    start = time.perf_counter()
    metrics.bootstrap(labels, scores, num_resamples=NUM_RESAMPLES)
    seconds, peak = time.perf_counter() - start, tracemalloc.get_traced_memory()[1]
    print(f"{NUM_TEST_SONGS:,} songs: {seconds:.1f} s, at most {peak / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
