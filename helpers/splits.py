"""Splits: two sorted int arrays of row numbers (train, held_out), in order or by artist; folds hold out a song once."""

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupKFold, GroupShuffleSplit

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
    return tuple(map(np.sort, next(splitter.split(artists, groups=artists))))


def artist_folds(artist_names, num_folds: int, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return `num_folds` splits by artist with about as many songs each."""
    artists = pd.factorize(pd.Series(artist_names).map(plain))[0]
    # GroupKFold breaks ties between artists with as many songs by their number: the seed shuffles the numbers.
    artists = np.random.default_rng(seed).permutation(artists.max() + 1)[artists]
    return list(GroupKFold(num_folds).split(artists, groups=artists))
