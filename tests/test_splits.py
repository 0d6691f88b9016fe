"""Splits: whole, disjoint, reproducible, fair to rare tags; leakage is found where it is."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import joining, lastfm, msd, splits
from helpers.tags import MASON_TOP50

NUM_SONGS = 300


@pytest.fixture(scope="module")
def songs():
    """Return `artist_name` and `labels` of 300 songs: some artists have many, some tags are rare."""
    rng = np.random.default_rng(0)
    artist_names = pd.Series([f"Artist {i}" for i in (rng.random(NUM_SONGS) ** 2 * 90).astype(int)])
    labels = (rng.random((NUM_SONGS, 12)) < np.geomspace(0.4, 0.02, 12)).astype(np.uint8)
    return artist_names, labels


def one_split(kind, songs, seed, share=0.2):
    artist_names, labels = songs
    return {
        "random": lambda: splits.random(NUM_SONGS, share, seed),
        "by_artist": lambda: splits.by_artist(artist_names, share, seed),
        "stratified": lambda: splits.stratified(labels, share, seed),
    }[kind]()


def folds(kind, songs, seed, num_folds=5):
    artist_names, labels = songs
    return {
        "random": lambda: splits.random_folds(NUM_SONGS, num_folds, seed),
        "by_artist": lambda: splits.artist_folds(artist_names, num_folds, seed),
        "stratified": lambda: splits.stratified_folds(labels, num_folds, seed),
    }[kind]()


def test_mason_holds_out_the_last_119():
    train, held_out = splits.last(2362, 0.05)
    assert len(train) == 2243 and list(held_out) == list(range(2243, 2362))
    with pytest.raises(ValueError, match="more songs"):
        splits.last(1, 0.05)


@pytest.mark.parametrize("kind", ["random", "by_artist", "stratified"])
def test_each_song_is_on_one_side_and_the_seed_decides(songs, kind):
    train, held_out = one_split(kind, songs, seed=0)
    assert sorted([*train, *held_out]) == list(range(NUM_SONGS))
    assert (np.diff(train) > 0).all() and (np.diff(held_out) > 0).all()
    drawn = [one_split(kind, songs, seed)[1] for seed in range(60)]
    assert abs(np.mean([len(rows) for rows in drawn]) - 60) < 4
    assert len(np.unique(np.concatenate(drawn))) == NUM_SONGS  # every song has its turn
    np.testing.assert_array_equal(held_out, one_split(kind, songs, seed=0)[1])
    assert set(held_out) != set(one_split(kind, songs, seed=1)[1])


@pytest.mark.parametrize("kind", ["random", "by_artist", "stratified"])
def test_folds_hold_out_each_song_once(songs, kind):
    found = folds(kind, songs, seed=0)
    assert sorted(np.concatenate([held_out for _, held_out in found])) == list(range(NUM_SONGS))
    assert all(sorted([*train, *held_out]) == list(range(NUM_SONGS)) for train, held_out in found)
    assert all(54 <= len(held_out) <= 66 for _, held_out in found)
    again, other = folds(kind, songs, seed=0), folds(kind, songs, seed=1)
    assert all((a[1] == b[1]).all() for a, b in zip(found, again, strict=True))
    assert {tuple(held_out) for _, held_out in found} != {tuple(held_out) for _, held_out in other}


def test_no_artist_is_on_both_sides(songs):
    artist_names, _ = songs
    spelt = artist_names.str.upper().where(np.arange(NUM_SONGS) % 2 == 0, artist_names)
    for train, held_out in [splits.by_artist(spelt, 0.2), *splits.artist_folds(spelt, 5)]:
        assert not set(artist_names[train]) & set(artist_names[held_out])


def test_stratified_splits_give_each_tag_its_share(songs):
    labels = songs[1]

    def error(kind):
        held_out = [one_split(kind, songs, seed)[1] for seed in range(10)]
        held_out += [rows for seed in range(2) for _, rows in folds(kind, songs, seed)]
        return np.mean([abs(labels[rows].sum(axis=0) - 0.2 * labels.sum(axis=0)) for rows in held_out], axis=0)

    stratified, random = error("stratified"), error("random")
    rare = labels.sum(axis=0).argsort()[:4]
    assert (stratified[rare] <= 0.8).all()  # songs: the whole number next to the share, or little more
    assert stratified[rare].mean() < 0.5 * random[rare].mean()
    assert stratified.mean() < 0.5 * random.mean()


def test_the_rarest_tag_is_dealt_out_evenly():
    labels = np.zeros((40, 2), np.uint8)
    labels[:4, 0], labels[:20, 1] = 1, 1
    found = [labels[held_out].sum(axis=0).tolist() for _, held_out in splits.stratified_folds(labels, 4)]
    assert found == [[1, 5]] * 4
    assert [len(held_out) for _, held_out in splits.stratified_folds(labels, 4)] == [10] * 4


@given(st.integers(2, 6), st.integers(0, 10), st.data())
def test_stratified_folds_hold_any_labels(num_folds, seed, data):
    rows = st.lists(st.lists(st.integers(0, 1), min_size=3, max_size=3), min_size=30, max_size=60)
    labels = np.array(data.draw(rows))
    found = splits.stratified_folds(labels, num_folds, seed)
    assert sorted(np.concatenate([held_out for _, held_out in found])) == list(range(len(labels)))
    counts = np.array([labels[held_out].sum(axis=0) for _, held_out in found])
    rarest = np.where(labels.any(axis=0), labels.sum(axis=0), np.inf).argmin()
    assert np.ptp(counts[:, rarest]) <= 1


def test_too_few_songs_are_an_error():
    with pytest.raises(ValueError, match="too few"):
        splits.stratified_folds(np.ones((3, 2)), 4)
    with pytest.raises(ValueError, match="too few"):
        splits.stratified(np.ones((3, 2)), 0.01)


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


def test_leakage_counts_shared_artists_and_near_duplicates():
    rows = [
        ("AC/DC", "Thunder"),
        ("Ac Dc", "Thunder (Live)"),
        ("ACDC", "Other"),
        ("Beyoncé", "Halo"),
        ("Beyonce", "Halo [Remix]"),
        ("Somebody", "Thunder"),
        ("ACDC", "thunder!"),
    ]
    songs = pd.DataFrame(rows, columns=["artist_name", "title"], index=[f"T{i}" for i in range(7)])
    summary, leaks = splits.leakage(songs, np.array([0, 3, 6]), np.array([1, 2, 4, 5]))
    assert summary == {
        "num_held_out": 4,
        "num_shared_artist": 3,
        "shared_artist_share": 0.75,
        "num_near_duplicates": 2,
    }
    assert list(leaks.itertuples(index=False, name=None)) == [
        (1, "Ac Dc", "Thunder (Live)", 2, "Thunder"),
        (2, "ACDC", "Other", 2, ""),
        (4, "Beyonce", "Halo [Remix]", 1, "Halo"),
    ]
    summary, leaks = splits.leakage(songs, np.array([3]), np.array([0, 5]))
    assert summary["shared_artist_share"] == summary["num_near_duplicates"] == 0 and leaks.empty
    assert list(leaks.columns) == ["row", "artist_name", "title", "num_train_songs", "train_title"]


def test_leakage_of_real_songs(real_data):
    tags, _ = lastfm.read_tags(real_data / "msd_real")
    tagged = tags[[any(tag in MASON_TOP50 for tag, _ in song) for song in tags["tags"]]]
    for num_songs, expected in ((618, 0.29), (2362, 0.65)):  # Mason's songs at 1,024 and at 252 segments
        drawn = [tagged.sample(num_songs, random_state=seed) for seed in range(20)]
        shares = [splits.leakage(s, *splits.random(num_songs, 0.05))[0]["shared_artist_share"] for s in drawn]
        assert np.mean(shares) == pytest.approx(expected, abs=0.04)
    summary, leaks = splits.leakage(tags, *splits.random(len(tags), 0.25))
    assert summary["shared_artist_share"] > 0.7 and summary["num_near_duplicates"] > 20
    assert len(leaks) == summary["num_shared_artist"]
    for split in (splits.by_artist(tags["artist_name"], 0.25), *splits.artist_folds(tags["artist_name"], 3)):
        assert splits.leakage(tags, *split)[0]["num_shared_artist"] == 0


def test_the_joined_real_songs_can_be_split_every_way(real_data):
    tracks, _ = msd.read_tracks(real_data / "msd_real")
    songs, _ = joining.join(tracks, lastfm.read_tags(real_data / "msd_real")[0], MASON_TOP50, 252)
    labels = joining.label_matrix(songs)
    for train, held_out in (
        splits.last(len(songs), 0.25),
        splits.random(len(songs), 0.25),
        splits.by_artist(songs["artist_name"], 0.25),
        splits.stratified(labels, 0.25),
    ):
        assert len(train) + len(held_out) == len(songs) == 39
        assert splits.leakage(songs, train, held_out)[0]["num_near_duplicates"] == 0
