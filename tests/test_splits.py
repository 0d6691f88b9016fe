"""Splits: whole, disjoint, reproducible; no artist on both sides; leakage is found where it is."""

import numpy as np
import pandas as pd
import pytest

from helpers import lastfm, splits
from helpers.tags import MASON_TOP50

NUM_SONGS = 300


@pytest.fixture(scope="module")
def artists():
    """Return the artists of 300 songs: some have many, most have few."""
    rng = np.random.default_rng(0)
    return pd.Series([f"Artist {i}" for i in (rng.random(NUM_SONGS) ** 2 * 90).astype(int)])


def test_mason_holds_out_the_last_119():
    train, held_out = splits.last(2362, 0.05)
    assert len(train) == 2243 and list(held_out) == list(range(2243, 2362))
    with pytest.raises(ValueError, match="more songs"):
        splits.last(1, 0.05)


def test_by_artist_each_song_is_on_one_side_and_the_seed_decides(artists):
    train, held_out = splits.by_artist(artists, 0.2)
    assert sorted([*train, *held_out]) == list(range(NUM_SONGS))
    assert (np.diff(train) > 0).all() and (np.diff(held_out) > 0).all()
    drawn = [splits.by_artist(artists, 0.2, seed)[1] for seed in range(60)]
    assert abs(np.mean([len(rows) for rows in drawn]) - 60) < 4
    assert len(np.unique(np.concatenate(drawn))) == NUM_SONGS  # every song has its turn
    assert np.array_equal(held_out, drawn[0]) and set(held_out) != set(drawn[1])


@pytest.mark.parametrize("kind", ["random", "by_artist"])
def test_folds_hold_out_each_song_once(artists, kind):
    def folds(seed):
        by_artist = kind == "by_artist"
        return splits.artist_folds(artists, 5, seed) if by_artist else splits.random_folds(NUM_SONGS, 5, seed)

    found = folds(0)
    assert sorted(np.concatenate([held_out for _, held_out in found])) == list(range(NUM_SONGS))
    assert all(sorted([*train, *held_out]) == list(range(NUM_SONGS)) for train, held_out in found)
    assert all(54 <= len(held_out) <= 66 for _, held_out in found)
    assert all((a[1] == b[1]).all() for a, b in zip(found, folds(0), strict=True))
    assert {tuple(held_out) for _, held_out in found} != {tuple(held_out) for _, held_out in folds(1)}


def test_no_artist_is_on_both_sides(artists):
    spelt = artists.str.upper().where(np.arange(NUM_SONGS) % 2 == 0, artists)
    for train, held_out in [splits.by_artist(spelt, 0.2), *splits.artist_folds(spelt, 5)]:
        assert not set(artists[train]) & set(artists[held_out])


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("Title", "TITLE (Live)", True),
        ("Title, Part 1", "Title (Part 2)", True),
        ("Title Pt. II", "Title [Remastered] - 2009 Digital Remaster", True),
        ("(I Can't Get No) Satisfaction", "Satisfaction", True),
        ("Être - Radio Edit", "Etre", True),
        ("A Part of Me", "A Me", False),
        ("Symphony No. 5 - Allegro", "Symphony No. 5 - Presto", False),
        ("(Untitled)", "(Hidden)", False),
        ("Part 2", "Part 3", False),
        ("???", "!!!", False),
    ],
)
def test_titles_that_name_the_same_song(first, second, same):
    assert (splits.base_title(first) == splits.base_title(second)) is same


def test_leakage_finds_shared_artists_and_near_duplicates():
    rows = [("AC/DC", "Thunder"), ("Ac Dc", "Thunder (Live)"), ("ACDC", "Other"), ("Beyoncé", "Halo")]
    rows += [("Beyonce", "Halo [Remix]"), ("Somebody", "Thunder"), ("ACDC", "thunder!")]
    songs = pd.DataFrame(rows, columns=["artist_name", "title"], index=[f"T{i}" for i in range(7)])
    leaks = splits.leakage(songs, np.array([0, 3, 6]), np.array([1, 2, 4, 5]))
    assert leaks == {"shared_artist_share": 0.75, "near_duplicate_share": 0.5}
    leaks = splits.leakage(songs, np.array([3]), np.array([0, 5]))
    assert leaks == {"shared_artist_share": 0, "near_duplicate_share": 0}


def test_leakage_of_real_songs(real_data):
    tags, _ = lastfm.read_tags(real_data / "msd_real")
    tagged = tags[[any(tag in MASON_TOP50 for tag, _ in song) for song in tags["tags"]]]
    for num_songs, expected in ((618, 0.29), (2362, 0.65)):  # Mason's songs at 1,024 and at 252 segments
        drawn = [tagged.sample(num_songs, random_state=seed) for seed in range(20)]
        shares = [splits.leakage(songs, *splits.last(num_songs, 0.05))["shared_artist_share"] for songs in drawn]
        assert np.mean(shares) == pytest.approx(expected, abs=0.04)
    for split in (splits.by_artist(tags["artist_name"], 0.25), *splits.artist_folds(tags["artist_name"], 3)):
        assert splits.leakage(tags, *split) == {"shared_artist_share": 0, "near_duplicate_share": 0}
