"""Splits into training and held-out songs, by chance, by artist or stratified by tag, and what they leak.

A split is two sorted int arrays of row numbers, (train, held_out). The functions named `_folds` return a list of
them, in which each song is held out once. The same seed gives the same split.
"""

import re

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupKFold, GroupShuffleSplit, KFold, ShuffleSplit

from helpers.joining import plain


def last(num_songs: int, held_out_share: float) -> tuple[np.ndarray, np.ndarray]:
    """Return train and held-out row numbers: the last share is held out, unshuffled, as Keras's validation_split.

    Mason 2020 holds out the last 5 %: 119 of 2,362 songs at 252 segments.
    """
    cut = int(num_songs * (1 - held_out_share))
    if not 0 < cut < num_songs:
        raise ValueError(f"{num_songs} songs cannot be split with {held_out_share:.0%} held out; use more songs.")
    return np.arange(cut), np.arange(cut, num_songs)


def random(num_songs: int, held_out_share: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Hold out songs drawn by chance. Songs of one artist land on both sides: see `leakage`."""
    return _first(ShuffleSplit(1, test_size=held_out_share, random_state=seed).split(np.empty(num_songs)))


def by_artist(artist_names, held_out_share: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Hold out a share of the artists, drawn by chance, with all their songs.

    `artist_names` (num_songs,) are compared without case, diacritics and punctuation. As artists have different
    numbers of songs, the share of songs that is held out comes only near `held_out_share`.
    """
    artists = _artist_numbers(artist_names)
    splitter = GroupShuffleSplit(1, test_size=held_out_share, random_state=seed)
    return _first(splitter.split(artists, groups=artists))


def stratified(labels: np.ndarray, held_out_share: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Hold out songs such that each tag has its share of them, rare tags too (Sechidis et al. 2011).

    `labels` is (num_songs, num_tags) of 0 and 1. The tags come first: the number of songs is only near the share.
    """
    part = _stratify(labels, np.array([1 - held_out_share, held_out_share]), seed)
    return np.flatnonzero(part == 0), np.flatnonzero(part == 1)


def random_folds(num_songs: int, num_folds: int, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return `num_folds` random splits."""
    return list(KFold(num_folds, shuffle=True, random_state=seed).split(np.empty(num_songs)))


def artist_folds(artist_names, num_folds: int, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return `num_folds` splits by artist with about as many songs each."""
    artists = _artist_numbers(artist_names)
    # GroupKFold breaks ties between artists with as many songs by their number: the seed shuffles the numbers.
    artists = np.random.default_rng(seed).permutation(artists.max() + 1)[artists]
    return list(GroupKFold(num_folds).split(artists, groups=artists))


def stratified_folds(labels: np.ndarray, num_folds: int, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return `num_folds` splits stratified by tag."""
    part = _stratify(labels, np.full(num_folds, 1 / num_folds), seed)
    return [(np.flatnonzero(part != fold), np.flatnonzero(part == fold)) for fold in range(num_folds)]


def leakage(songs: pd.DataFrame, train: np.ndarray, held_out: np.ndarray) -> tuple[dict[str, float], pd.DataFrame]:
    """Return what a split gives away: (summary, leaks).

    `songs` has `artist_name` and `title`. `leaks` has one row for each held-out song whose artist is in training too:
    `row` (in `songs`), `artist_name`, `title`, `num_train_songs` of the artist, and `train_title`, the title of one of
    these with the same `base_title`, else "". `summary` counts: `num_held_out`, `num_shared_artist` (rows of `leaks`),
    `shared_artist_share` (of the held-out songs) and `num_near_duplicates` (rows with a `train_title`).
    """
    names = songs[["artist_name", "title"]].reset_index(drop=True).rename_axis("row").reset_index()
    names = names.assign(artist=names["artist_name"].map(plain), base=names["title"].map(base_title))
    train, leaks = names.iloc[train], names.iloc[held_out]
    leaks = leaks.assign(num_train_songs=leaks["artist"].map(train["artist"].value_counts()))
    leaks = leaks.dropna(subset="num_train_songs").astype({"num_train_songs": int})
    titles = train.rename(columns={"title": "train_title"}).drop_duplicates(["artist", "base"])
    leaks = leaks.merge(titles[["artist", "base", "train_title"]], "left").fillna({"train_title": ""})
    summary = {
        "num_held_out": len(held_out),
        "num_shared_artist": len(leaks),
        "shared_artist_share": len(leaks) / max(len(held_out), 1),
        "num_near_duplicates": int((leaks["train_title"] != "").sum()),
    }
    return summary, leaks.drop(columns=["artist", "base"])


def base_title(title: str) -> str:
    """Return `title` in plain form without what is in brackets, "Part 2" and the like, and " - Live" and the like."""
    short = re.sub(r"\([^)]*\)|\[[^]]*\]", " ", title)
    short = re.sub(r"(?i)\b(part|pt)\b\.? *(\d+|[ivx]+|one|two|three)\b", "", short)
    short = re.sub(r"(?i) - .*\b(live|original|instrumental|demo|edit|version|\w*mix|\w*master\w*)\b.*", "", short)
    return plain(short) if re.search(r"\w", short) else plain(title)


def _artist_numbers(artist_names):
    return pd.factorize(pd.Series(artist_names).map(plain))[0]


def _first(splits):
    train, held_out = next(splits)
    return np.sort(train), np.sort(held_out)


def _stratify(labels, shares, seed):
    """Return the part each song goes to: the iterative stratification of Sechidis et al. 2011, Algorithm 1.

    The rarest tag goes first, each song to the part that lacks most songs with this tag, then most songs at all.
    """
    rng = np.random.default_rng(seed)
    # The last column, which every song has, counts songs: its turn comes when no tag is left.
    labels = np.column_stack([np.asarray(labels) > 0, np.ones(len(labels), bool)])
    wanted = np.outer(shares, labels.sum(axis=0))
    part = np.full(len(labels), -1)
    while (left := part < 0).any():
        counts = labels[left].sum(axis=0)
        tag = np.where(counts > 0, counts, np.inf).argmin()
        for song in rng.permutation(np.flatnonzero(left & labels[:, tag])):
            part[song] = np.lexsort((rng.random(len(shares)), wanted[:, -1], wanted[:, tag]))[-1]
            wanted[part[song]] -= labels[song]
    if len(np.unique(part)) < len(shares):
        raise ValueError(f"{len(labels)} songs are too few for parts of {np.round(shares, 3)}; use more songs.")
    return part
