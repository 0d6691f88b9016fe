"""Splits into training and held-out songs, in order, by chance or by artist, and what they leak.

A split is two sorted int arrays of row numbers, (train, held_out); folds hold out each song once.
"""

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupKFold, GroupShuffleSplit, KFold

from helpers.joining import plain


def last(num_songs: int, held_out_share: float) -> tuple[np.ndarray, np.ndarray]:
    """Hold out the last share, unshuffled, as Keras's validation_split: in Mason 2020 119 of 2,362 songs."""
    cut = int(num_songs * (1 - held_out_share))
    if not 0 < cut < num_songs:
        raise ValueError(f"{num_songs} songs cannot be split with {held_out_share:.0%} held out; use more songs.")
    return np.arange(cut), np.arange(cut, num_songs)


def by_artist(artist_names, held_out_share: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Hold out a random share of the artists with all their songs; `artist_names` (num_songs,) are made `plain`."""
    artists = pd.factorize(pd.Series(artist_names).map(plain))[0]
    splitter = GroupShuffleSplit(1, test_size=held_out_share, random_state=seed)
    train, held_out = next(splitter.split(artists, groups=artists))
    return np.sort(train), np.sort(held_out)


def random_folds(num_songs: int, num_folds: int, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return `num_folds` random splits: songs of one artist land on both sides, see `leakage`."""
    return list(KFold(num_folds, shuffle=True, random_state=seed).split(np.empty(num_songs)))


def artist_folds(artist_names, num_folds: int, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return `num_folds` splits by artist with about as many songs each."""
    artists = pd.factorize(pd.Series(artist_names).map(plain))[0]
    # GroupKFold breaks ties between artists with as many songs by their number: the seed shuffles the numbers.
    artists = np.random.default_rng(seed).permutation(artists.max() + 1)[artists]
    return list(GroupKFold(num_folds).split(artists, groups=artists))


def leakage(songs: pd.DataFrame, train: np.ndarray, held_out: np.ndarray) -> dict[str, float]:
    """Return `shared_artist_share`, the share of held-out `songs` whose artist is in training."""
    artists = songs["artist_name"].map(plain).to_numpy(str)
    return {"shared_artist_share": float(np.isin(artists[held_out], artists[train]).mean())}
