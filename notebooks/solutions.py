"""Solutions to the exercises, by notebook and number; they show the expected results. Read them after you tried."""

import unicodedata
from collections.abc import Callable

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from helpers import joining, metrics, tag


def start_here_1(labels: np.ndarray) -> dict[str, float]:
    """00_start_here, exercise 1: score the constant predictor that gives each tag its share of songs.

    `labels` is (num_songs, num_tags) of 0 and 1. Returns `flattened` (ROC AUC of all song-tag cells together)
    and `macro` (mean of the tags' ROC AUCs), over the tags that some but not all songs carry.
    """
    share = labels.mean(axis=0)
    labels = labels[:, (share > 0) & (share < 1)]
    constant = np.tile(labels.mean(axis=0), (len(labels), 1))
    kinds = {"flattened": "micro", "macro": "macro"}
    return {name: float(roc_auc_score(labels, constant, average=kind)) for name, kind in kinds.items()}


def start_here_2(base_rates: np.ndarray) -> float:
    """00_start_here, exercise 2: the flattened AUC of the constant predictor, from the base rates alone.

    It is the chance that a positive cell lies in a more common tag than a negative cell; same tag counts half.
    """
    positive, negative = base_rates / base_rates.sum(), (1 - base_rates) / (1 - base_rates).sum()
    wins = np.greater.outer(base_rates, base_rates) + 0.5 * np.equal.outer(base_rates, base_rates)
    return float(positive @ wins @ negative)


def spectrogram_1(n_fft: int, sr: int = 12_000) -> float:
    """Notebook 02, exercise 1: the frequency, in Hz, from which a tone and its upper semitone are two bins apart."""
    return 2 * sr / n_fft / (2 ** (1 / 12) - 1)


def spectrogram_2(decibel: np.ndarray) -> np.ndarray:
    """Notebook 02, exercise 2: the log-mel-spectrogram of the released extractor from the ordinary one, in dB.

    The square of a power doubles its dB. Both floors, -100 dB and 80 dB below the maximum, are applied
    afterwards. What is raised to the second one cannot be found again: so there is no way back.
    """
    doubled = np.maximum(2 * decibel, -100)
    return np.maximum(doubled, doubled.max() - 80)


def spectrogram_3(first: np.ndarray, second: np.ndarray) -> int:
    """Notebook 02, exercise 3: by how many semitones, 0 to 11, `first` must go up to fit `second` best.

    Both are (segments, 12), of any numbers of segments; their mean chroma vectors are correlated.
    """
    first, second = first.mean(axis=0), second.mean(axis=0)
    return int(np.argmax([np.corrcoef(np.roll(first, shift), second)[0, 1] for shift in range(12)]))


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
    pools = [pool for pool in range(smallest, bins + 1) if bins % pool == 0]
    return [(pool, *rest) for pool in pools for rest in build_models_2(bins // pool, num_blocks - 1, pool)]


def build_models_3(pools: tuple[int, ...], kernel: int = 3) -> tuple[int, int]:
    """03_build_models, exercise 3: the segments that one step sees, and the segments from one step to the next."""
    seen, distance = 1, 1
    for pool in pools:
        seen += (kernel - 1 + pool - 1) * distance  # a kernel of 3 reaches one neighbour to each side
        distance *= pool
    return seen, distance


def build_models_4(widths: tuple[int, ...], budget: int, norm_entries: int, num_tags: int = 50) -> int:
    """03_build_models, exercise 4: the length k of 1 x k kernels that brings k1c2 nearest to `budget` parameters.

    `widths` are four of convolutions and two of dense layers (Choi 2017, Table 1), `norm_entries` those of the input
    norm, 0 for none. The count is a straight line in k.
    """
    a, b, c, d, e, f = widths
    slope = a + a * b + b * c + c * d
    biases_and_norms = 3 * sum(widths) + 2 * norm_entries
    dense = 96 * d * e + e * f + (f + 1) * num_tags
    return round((budget - biases_and_norms - dense) / slope)


def join_and_pickle_1(tracks, tag_table, vocabulary, segments) -> dict[str, int]:
    """Notebook 01, exercise 1: how many `pairs` have equal plain names, and how many of these are `usable`."""

    def plain(name):
        return "".join(char for char in unicodedata.normalize("NFKD", name.casefold()) if char.isalnum())

    names, known = ["title", "artist_name"], set(vocabulary)
    left, right = (table.assign(**table[names].map(plain)) for table in (tracks, tag_table))
    pairs = left.merge(right, on=["track_id", *names])
    tagged = pairs["tags"].map(lambda row: any(tag in known for tag, _ in row))
    return {"pairs": len(pairs), "usable": int((tagged & (pairs["num_segments"] >= segments)).sum())}


def join_and_pickle_2(songs: pd.DataFrame) -> dict[str, float]:
    """Notebook 01, exercise 2: vocabulary tags a song, on average, `with` opinions and `without`."""
    opinions = ("favorites", "Love", "Awesome", "cool", "Favorite", "Favourites")
    keep, labels = [tag not in opinions for tag in songs.attrs["vocabulary"]], joining.label_matrix(songs)
    means = {"with": labels.sum(axis=1).mean(), "without": labels[:, keep].sum(axis=1).mean()}
    return {name: round(float(mean), 2) for name, mean in means.items()}


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
    """Notebook 05, exercise 1: standard error, over seeds, of the mean last held-out macro AUC at 252 segments."""
    last = history.query("epoch == epoch.max() and segments == 252 and split == 'held_out'")
    return round(float(last["macro_auc"].sem()), 3)


def repeatability_2(labels: np.ndarray, scores: dict[int, list], artists: np.ndarray) -> float:
    """Notebook 05, exercise 2: width of the unpaired interval of the difference over that of the paired one."""

    def width(other_seed: int) -> float:
        first, second = (
            np.mean([metrics.bootstrap(labels, s, artists, seed=seed)["macro_auc"] for s in runs], axis=0)
            for seed, runs in zip((0, other_seed), scores.values(), strict=True)
        )
        return np.ptp(metrics.interval(second - first))

    return round(float(width(other_seed=1) / width(other_seed=0)), 2)


def tag_1(scores: np.ndarray, usual: np.ndarray, vocabulary: list[str], count: int = 5) -> dict[str, float]:
    """Notebook 09, exercise 1: the tags that score the most times what is usual, and how many times."""
    times = np.where(usual > 0, scores / np.maximum(usual, 1e-9), 0)  # what is never given has no usual score
    return {vocabulary[i]: round(float(times[i]), 1) for i in np.argsort(-times, kind="stable")[:count]}


def tag_2(hear: Callable[[np.ndarray], np.ndarray], samples: np.ndarray, gain: float = 0.1) -> float:
    """Notebook 09, exercise 2: how far any score of `hear` (from samples) moves at `gain` times the amplitude."""
    return round(float(np.abs(hear(gain * samples) - hear(samples)).max()), 3)


def tag_3(model, x: np.ndarray) -> dict[str, float]:
    """Notebook 09, exercise 3: move a chroma network's input `x` (1, 12, S, 1) to all 12 keys.

    Returns `largest range` of any tag's score, and how many different `first tags` there are.
    """
    scores = np.stack([tag.predict(model, np.roll(x, semitones, axis=1)) for semitones in range(12)])
    largest, first = np.ptp(scores, axis=0).max(), set(scores.argmax(axis=1).tolist())
    return {"largest range": round(float(largest), 3), "first tags": len(first)}


def own_tags_1(values: np.ndarray, auc: Callable[[np.ndarray], float]) -> dict[str, float]:
    """Notebook 11, exercise 1: the macro AUC from each convolution block alone, and from the GRU's last state alone.

    `values` (songs, 480) hold them side by side; `auc` learns from such values and scores the test songs.
    """
    names = ("block 1", "block 2", "block 3", "block 4", "GRU")
    parts = np.split(values, np.cumsum([64, 128, 128, 128]), axis=1)
    return {name: round(float(auc(part)), 3) for name, part in zip(names, parts, strict=True)}


def own_tags_2(labels: np.ndarray, scores: np.ndarray) -> float:
    """Notebook 11, exercise 2: macro F1 if each tag's threshold is the best one on the very songs that are scored.

    Both (songs, tags). All thresholds that matter are scores: with the k highest songs tagged, k = 1, 2, ...
    """
    best = []
    for truth, score in zip(labels.T, scores.T, strict=True):
        given = score >= score[:, np.newaxis]  # a row a threshold
        best.append((2 * (given @ truth.astype(int)) / (given.sum(axis=1) + truth.sum())).max())
    return round(float(np.mean(best)), 3)


def size_and_time_1(table: pd.DataFrame) -> str:
    """07_size_and_time, exercise 1: the quickest network whose score lies in the best one's interval."""
    best = table.loc[table["macro_auc"].idxmax()]
    chosen = table[table["macro_auc"].between(best["low"], best["high"])]
    chosen = chosen if len(chosen) else table.loc[[best.name]]  # too few clips for an interval
    return " ".join(chosen.loc[chosen["seconds_2500"].idxmin(), ["network", "budget"]])


def size_and_time_2(runs: dict[tuple, pd.DataFrame]) -> float:
    """07_size_and_time, exercise 2: share of all epochs that came after their run's best one."""
    held_out = [history.query("split == 'held_out'")["macro_auc"].fillna(-1).to_numpy() for history in runs.values()]
    wasted = sum(len(aucs) - 1 - int(aucs.argmax()) for aucs in held_out)
    return round(wasted / sum(map(len, held_out)), 2)


def size_and_time_3(labels: np.ndarray, scores: np.ndarray) -> float:
    """07_size_and_time, exercise 3: width of the interval on half of the clips over the width on all of them."""

    def width(clips: slice) -> float:
        return np.ptp(metrics.interval(metrics.bootstrap(labels[clips], scores[clips])["macro_auc"]))

    return round(float(width(slice(None, None, 2)) / width(slice(None))), 2)


def per_tag_1(table: pd.DataFrame) -> pd.DataFrame:
    """06_per_tag_auc, exercise 1: mean AUC over the tags of each category (rows), by network, and the best one."""
    means = table.dropna(subset="auc").groupby(["category", "network"])["auc"].mean().unstack()
    return means.round(3).assign(best=means.idxmax(axis=1))


def per_tag_2(labels: pd.DataFrame, count: int = 5) -> pd.DataFrame:
    """06_per_tag_auc, exercise 2: the tags that one other tag predicts best.

    `labels` (songs, tags) of 0 and 1, a column a tag. Returns `count` rows `tag`, `predicted_by`, `auc`, best first.
    The score of a yes-or-no answer is the mean of its hit rate and its rejection rate.
    """
    y = labels.to_numpy(float)
    hits = (y.T @ y) / y.sum(axis=0)[:, None]  # of the songs with the tag (row), the share with the other (column)
    false_alarms = ((1 - y).T @ y) / (1 - y).sum(axis=0)[:, None]
    aucs = (1 + hits - false_alarms) / 2
    np.fill_diagonal(aucs, 0)
    rows = {"tag": labels.columns, "predicted_by": labels.columns[aucs.argmax(axis=1)], "auc": aucs.max(axis=1)}
    return pd.DataFrame(rows).sort_values("auc", ascending=False, ignore_index=True).head(count)


def per_tag_3(labels: np.ndarray, first: np.ndarray, second: np.ndarray, num_repeats: int = 200) -> dict[str, int]:
    """06_per_tag_auc, exercise 3: on how many tags `second` beats `first`, and the range that luck alone gives.

    All are (clips, tags). Luck: the two swap their scores on a random half of the clips, on all tags at once. Scores
    become ranks first, for the networks may use different scales.
    """
    first, second = (scores.argsort(axis=0).argsort(axis=0) for scores in (first, second))

    def wins(swap: np.ndarray) -> int:
        pair = np.where(swap[:, None], second, first), np.where(swap[:, None], first, second)
        one, other = (metrics.tag_scores(labels, scores)[0] for scores in pair)
        return int((other > one).sum())

    rng = np.random.default_rng(0)
    lucky = [wins(rng.random(len(labels)) < 0.5) for _ in range(num_repeats)]
    low, high = np.quantile(lucky, [0.025, 0.975]).astype(int)
    return {"wins": wins(np.zeros(len(labels), bool)), "luck from": int(low), "luck to": int(high)}


def beyond_1(model, songs: list[np.ndarray], labels: np.ndarray, num_places: int = 5) -> dict[int, float]:
    """10_beyond, exercise 1: macro AUC of scores averaged over 1, 2, ... places, spread evenly over each song."""
    found = {}
    for count in range(1, num_places + 1):
        places = (np.arange(count) + 0.5) / count
        scores = [model.predict(joining.crops(songs, model.input_shape[2], place), verbose=0) for place in places]
        found[count] = round(metrics.macro(labels, np.mean(scores, axis=0))["macro_auc"], 3)
    return found


def beyond_2(table: pd.DataFrame) -> float:
    """10_beyond, exercise 2: Spearman's correlation of a tag's number of positives and its AUC's distance from 0.5."""
    return round(float(table["num_positives"].corr((table["auc"] - 0.5).abs(), method="spearman")), 2)


def is_it_real_1(labels: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """08_is_it_real, exercise 1: AUC as it is, and with each tag's scores shuffled among songs, mean of 20 shuffles."""
    rng, before = np.random.default_rng(0), metrics.averages(labels, scores)
    after = pd.DataFrame([metrics.averages(labels, rng.permuted(scores, axis=0)) for _ in range(20)]).mean()
    found = {"all cells": before["micro_auc"], "shuffled": after["micro_auc"], "macro, shuffled": after["macro_auc"]}
    return {name: round(float(auc), 3) for name, auc in found.items()}


def is_it_real_2(labels: np.ndarray, scores: np.ndarray, known: np.ndarray) -> dict[str, tuple[int, float]]:
    """08_is_it_real, exercise 2: number and macro AUC of the songs whose artist training knows, and of the others."""
    groups = {"known artists": known, "others": ~known}
    aucs = {name: metrics.macro(labels[rows], scores[rows])["macro_auc"] for name, rows in groups.items()}
    return {name: (int(rows.sum()), round(aucs[name], 3)) for name, rows in groups.items()}


def is_it_real_3(history: pd.DataFrame) -> float:
    """08_is_it_real, exercise 3: the best held-out macro AUC minus the mean of up to two epochs on each side of it."""
    aucs = history.query("split == 'held_out'")["macro_auc"].to_numpy()
    best = int(np.nanargmax(aucs))
    neighbours = np.delete(aucs, best)[max(best - 2, 0) : best + 2]
    return round(float(aucs[best] - np.nanmean(neighbours)), 3)
