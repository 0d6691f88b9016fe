"""Splits: whole, disjoint, reproducible; no artist on both sides."""

import numpy as np
import pandas as pd
import pytest

from helpers import splits

NUM_SONGS = 300


@pytest.fixture
def artists():
    numbers = (np.random.default_rng(0).random(NUM_SONGS) ** 2 * 90).astype(int)
    return pd.Series([f"Artist {n}" if i % 2 else f"ARTIST {n}" for i, n in enumerate(numbers)])


def assert_apart(artists, train, held_out):
    assert sorted([*train, *held_out]) == list(range(NUM_SONGS))
    assert not set(artists[train].str.lower()) & set(artists[held_out].str.lower())


def test_mason_holds_out_the_last_119():
    train, held_out = splits.last(2362, 0.05)
    assert len(train) == 2243 and list(held_out) == list(range(2243, 2362))
    with pytest.raises(ValueError, match="more songs"):
        splits.last(1, 0.05)


def test_by_artist_each_song_is_on_one_side_and_the_seed_decides(artists):
    train, held_out = splits.by_artist(artists, 0.2)
    assert_apart(artists, train, held_out)
    drawn = [list(splits.by_artist(artists, 0.2, seed)[1]) for seed in range(60)]
    assert abs(np.mean(list(map(len, drawn))) - 60) < 4 and list(held_out) == drawn[0] != drawn[1]


def test_folds_hold_out_each_song_once(artists):
    for train, held_out in splits.artist_folds(artists, 5):
        assert_apart(artists, train, held_out)
    found, again, other = [[list(part) for _, part in splits.artist_folds(artists, 5, seed)] for seed in (0, 0, 1)]
    assert sorted(np.concatenate(found)) == list(range(NUM_SONGS)) and found == again != other
    assert all(54 <= len(held_out) <= 66 for held_out in found)
