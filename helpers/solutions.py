"""Solutions to the exercises, one short function each, named after its notebook and number.

The notebooks call them to show the expected result. Read them after you have tried.
"""

import numpy as np
import pandas as pd

from helpers import joining, metrics


def start_here_1(labels: np.ndarray) -> dict[str, float]:
    """00_start_here, exercise 1: score the constant predictor that gives each tag its share of songs.

    `labels` is (num_songs, num_tags) of 0 and 1. Returns `flattened` (ROC AUC of all song-tag cells together)
    and `macro` (mean of the tags' ROC AUCs), over the tags that some but not all songs carry.
    """
    from sklearn.metrics import roc_auc_score

    share = labels.mean(axis=0)
    labels = labels[:, (share > 0) & (share < 1)]
    constant = np.tile(labels.mean(axis=0), (len(labels), 1))
    return {
        "flattened": float(roc_auc_score(labels, constant, average="micro")),
        "macro": float(roc_auc_score(labels, constant, average="macro")),
    }


def start_here_2(base_rates: np.ndarray) -> float:
    """00_start_here, exercise 2: the flattened AUC of the constant predictor, from the base rates alone.

    It is the chance that a positive cell lies in a more common tag than a negative cell; same tag counts half.
    """
    positive, negative = base_rates / base_rates.sum(), (1 - base_rates) / (1 - base_rates).sum()
    wins = np.greater.outer(base_rates, base_rates) + 0.5 * np.equal.outer(base_rates, base_rates)
    return float(positive @ wins @ negative)


def build_models_1(filters: int, units: int, num_tags: int = 50) -> int:
    """03_build_models, exercise 1: trainable parameters of Mason's network with one bias per gate (as in 2016)."""
    norms = 2 * 12 + 3 * 2 * filters
    convolutions = (9 * 1 + 1) * filters + 2 * (9 * filters + 1) * filters
    grus = sum(3 * (n * units + units * units + units) for n in (filters, units))
    return norms + convolutions + grus + (units + 1) * num_tags


def build_models_2(bins: int, num_blocks: int, smallest: int = 2) -> list[tuple[int, ...]]:
    """03_build_models, exercise 2: all rising tuples of `num_blocks` poolings, 2 or more, with the product `bins`."""
    if num_blocks == 1:
        return [(bins,)] if bins >= smallest else []
    return [
        (pool, *rest)
        for pool in range(smallest, bins + 1)
        if bins % pool == 0
        for rest in build_models_2(bins // pool, num_blocks - 1, pool)
    ]


def build_models_3(pools: tuple[int, ...], kernel: int = 3) -> tuple[int, int]:
    """03_build_models, exercise 3: the segments that one step sees, and the segments from one step to the next."""
    seen, distance = 1, 1
    for pool in pools:
        seen += (kernel - 1) * distance  # the convolution reaches one neighbour to each side
        seen += (pool - 1) * distance
        distance *= pool
    return seen, distance


def join_and_pickle_1(songs: pd.DataFrame) -> float:
    """Notebook 01, exercise 1: vocabulary tags a song, on average."""
    return round(float(joining.label_matrix(songs).sum(axis=1).mean()), 2)


def join_and_pickle_2(songs: pd.DataFrame) -> int:
    """Notebook 01, exercise 2: songs whose only vocabulary tags are opinions."""
    opinions = ("favorites", "Love", "Awesome", "cool", "Favorite", "Favourites")
    keep = [tag not in opinions for tag in songs.attrs["vocabulary"]]
    return int((joining.label_matrix(songs)[:, keep].sum(axis=1) == 0).sum())


def join_and_pickle_3(songs: pd.DataFrame) -> float:
    """Notebook 01, exercise 3: share of songs whose artist has another song in the snapshot."""
    return round(float(songs["artist_name"].duplicated(keep=False).mean()), 3)


def train_1(history: pd.DataFrame) -> dict[str, float]:
    """Notebook 04, exercise 1: the small network's best epoch at 252 segments, and what is lost until the last."""
    rows = history.query("size == 'small' and segments == 252 and split == 'held_out'").set_index("epoch")["macro_auc"]
    best, last = float(rows.max()), float(rows.iloc[-1])
    return {"best epoch": int(rows.idxmax()), "best": round(best, 3), "lost": round(best - last, 3)}


def train_2(history: pd.DataFrame) -> dict[str, float]:
    """Notebook 04, exercise 2: the network with the largest gap between training and held-out Keras AUC at the end."""
    last = history[history["epoch"] == history.groupby("size")["epoch"].transform("max")]
    table = last.set_index(["size", "segments", "split"])["streaming_auc"].unstack("split")
    gap = table["train"] - table["held_out"]
    return {"network": "{} {}".format(*gap.idxmax()), "gap": round(float(gap.max()), 3)}


def repeatability_1(history: pd.DataFrame) -> float:
    """Notebook 05, exercise 1: standard deviation over seeds of the last held-out macro AUC at 252 segments."""
    last = history.query("epoch == epoch.max() and segments == 252 and split == 'held_out'")
    return round(float(last["macro_auc"].std()), 3)


def repeatability_2(labels: np.ndarray, scores: dict[int, list], artists: np.ndarray) -> float:
    """Notebook 05, exercise 2: width of the unpaired interval of the difference over that of the paired one."""

    def width(other_seed: int) -> float:
        first, second = (
            np.mean([metrics.bootstrap(labels, s, artists, seed=seed)["macro_auc"] for s in runs], axis=0)
            for seed, runs in zip((0, other_seed), scores.values(), strict=True)
        )
        low, high = metrics.interval(second - first)
        return high - low

    return round(width(other_seed=1) / width(other_seed=0), 2)
