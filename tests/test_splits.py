"""Splits: whole, disjoint, reproducible; no artist on both sides; leakage is found."""

import numpy as np
import pandas as pd
import pytest

from helpers import lastfm, splits
from helpers.tags import MASON_TOP50

NUM_SONGS = 300


@pytest.fixture
def artists():
    """Return the artists of the songs, in two spellings: some have many, most have few."""
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
    for draw, songs in ((splits.artist_folds, artists), (splits.random_folds, NUM_SONGS)):
        found, again, other = [[list(held_out) for _, held_out in draw(songs, 5, seed)] for seed in (0, 0, 1)]
        assert sorted(np.concatenate(found)) == list(range(NUM_SONGS)) and found == again != other
        assert all(54 <= len(held_out) <= 66 for held_out in found)


def test_leakage_finds_shared_artists_however_they_are_spelt():
    songs = pd.DataFrame({"artist_name": ["AC/DC", "Ac Dc", "ACDC", "Beyoncé", "Beyonce", "Somebody", "ACDC"]})
    assert splits.leakage(songs, np.array([0, 3, 6]), np.array([1, 2, 4, 5])) == {"shared_artist_share": 0.75}


def test_leakage_of_real_songs(real_data):
    tags, _ = lastfm.read_tags(real_data / "msd_real")
    tagged = tags[[any(tag in MASON_TOP50 for tag, _ in song) for song in tags["tags"]]]
    for num_songs, expected in ((618, 0.29), (2362, 0.65)):  # Mason's songs at 1,024 and at 252 segments
        drawn = [tagged.sample(num_songs, random_state=seed) for seed in range(20)]
        shares = [splits.leakage(songs, *splits.last(num_songs, 0.05))["shared_artist_share"] for songs in drawn]
        assert np.mean(shares) == pytest.approx(expected, abs=0.04)
