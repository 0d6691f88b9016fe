"""Joining songs and tags: which songs are kept, in what form, and what the report says."""

import unicodedata

import numpy as np
import pandas as pd
import pytest

from helpers import joining, metrics, tags
from helpers.joining import join, label_matrix, pitches, read_mismatches
from helpers.lastfm import read_tags
from helpers.msd import read_tracks
from helpers.tags import CHOI_TOP50, MASON_TOP50

VOCABULARY = ["rock", "Love", "jazz"]
# track_id, MSD title, MSD artist, last.fm title, last.fm artist, kind of difference
NAMES = [
    ("T0", "Same", "Same", "Same", "Same", None),
    ("T1", "Gold Flames Of Angels", "Große Clp", "Gold Flames of Angels", "GROSSE CLP", "case"),
    ("T2", "Bewitched_ Bothered", "J.B.Lenoir", "Bewitched, Bothered", "J.B. Lenoir", "punctuation"),
    ("T3", "Zig-Zag Walk", "Nick Cave & The Bad Seeds", "Zig Zag walk", "Nick Cave and the Bad Seeds", "punctuation"),
    ("T4", "Etre Une Femme й", "Krystof η", "être une femme и", "Kryštof Ή", "diacritics"),
    ("T5", "Angeles", "Elliot Smith", "Angeles", "Johnny Cash", "artist differs"),
    ("T6", "पिता", "Metallica", "पता", "Metallica", "title differs"),  # such marks are no diacritics
    ("T7", "!!!", "何韻詩 が", "???", "何韻詩 か", "title and artist differ"),
]


COLUMNS = ["track_id", "title", "artist_name"]


def make_tracks(names, lengths=None):
    songs = [np.random.default_rng(n).random((n, 12), np.float32) for n in (lengths or [20] * len(names))]
    return pd.DataFrame(names, columns=COLUMNS).assign(num_segments=list(map(len, songs)), segments_pitches=songs)


def make_tags(names, tags=None):
    return pd.DataFrame(names, columns=COLUMNS).assign(tags=tags or [[("rock", 100)]] * len(names))


@pytest.fixture
def pair():
    tags = [(row[0], row[3], row[4]) for row in NAMES][::-1]
    return make_tracks([row[:3] for row in NAMES]), make_tags([("T9", "x", "y"), *tags])


@pytest.mark.parametrize(("match", "num_kept"), [("exact", 1), ("normalized", 5), ("track_id", 8)])
def test_ways_to_match(pair, match, num_kept):
    songs, report = join(*pair, VOCABULARY, 12, match)
    assert list(songs["track_id"]) == [row[0] for row in NAMES[:num_kept]] and list(songs.index) == [*range(num_kept)]
    mismatches = report["mismatches"]
    assert list(mismatches["kind"]) == [row[5] for row in NAMES[1:]]
    assert list(mismatches["kept"]) == [i < num_kept for i in range(1, 8)]


def test_tags_and_names_in_two_unicode_forms_are_the_same():
    composed, decomposed = (unicodedata.normalize(form, "Café") for form in ("NFC", "NFD"))
    table = make_tags([("T0", decomposed, "A"), ("T1", composed, "A")], [[(decomposed, 100)], [(composed, 100)]])
    tracks = make_tracks([("T0", composed, "A"), ("T1", decomposed, "A")])
    for vocabulary in ([composed], [decomposed]):
        songs, report = join(tracks, table, vocabulary, 12)
        assert report["mismatches"].empty and label_matrix(songs).tolist() == [[1], [1]]
    assert tags.top_tags(table, 1) == [composed]


def test_first_segments_and_labels_of_songs_that_are_tagged_and_long_enough():
    given = [[("Love", 0), ("rock", 1)], [("love", 9), ("Rock", 9)], [("pop", 3), ("rock", 9)], [("rock", 9)], []]
    names = [(f"T{i}", "t", "a") for i in range(5)]
    tracks = make_tracks(names, [13, 14, 15, 12, 13]).assign(tempo=np.arange(5))
    songs, _ = join(tracks, make_tags(names, given), VOCABULARY, 13)
    assert list(songs["track_id"]) == ["T0", "T2"]
    assert list(songs["num_segments"]) == [13, 15] and list(songs["tempo"]) == [0, 2]
    assert label_matrix(songs).dtype == np.uint8 and label_matrix(songs).tolist() == [[1, 1, 0], [1, 0, 0]]
    image = pitches(songs)
    assert image.shape == (2, 12, 13, 1) and image.dtype == np.float32
    for i, whole in enumerate(tracks["segments_pitches"].iloc[[0, 2]]):
        np.testing.assert_array_equal(image[i, :, :, 0], whole[:13].T)
        assert not np.shares_memory(songs["segments_pitches"][i], whole)


def test_crops_lie_where_they_should_and_short_songs_are_padded():
    songs = [np.arange(24 * n, dtype=float).reshape(n, 24) for n in (100, 50, 20, 101)]
    for place, starts in ((0, (0, 0, 0, 0)), (0.5, (25, 0, 0, 26)), ([1, 1, 1, 0.1], (50, 0, 0, 5))):
        x = joining.crops(songs, 50, place)
        assert x.shape == (4, 24, 50, 1)
        for image, song, start in zip(x, songs, starts, strict=True):
            part = song[start : start + 50]
            np.testing.assert_array_equal(image[:, : len(part), 0], part.T)
            assert not image[:, len(part) :].any()


def test_steps_add_up(pair):
    tracks, tags = pair
    tags.at[8, "tags"] = [("pop", 100)]  # T0
    _, report = join(tracks, tags[:-1], VOCABULARY, 12, "normalized", mismatches={"T1", "T99"})
    steps = ["read", "not a known mismatch", "in last.fm", "names match", "has a vocabulary tag", "long enough"]
    assert report["steps"]["step"].tolist() == steps
    assert report["steps"]["kept"].tolist() == [8, 7, 6, 3, 3, 3]
    assert report["steps"]["dropped"].tolist() == [0, 1, 1, 3, 0, 0]
    songs, report = join(tracks, tags, VOCABULARY, 21)  # no song is as long
    assert len(songs) == 0 and report["steps"]["kept"].iloc[-1] == 0
    assert label_matrix(songs).shape == (0, 3) and pitches(songs).shape == (0, 12, 21, 1)


def test_wrong_arguments_are_refused(pair):
    tracks, tags = pair
    for arguments, reason in (
        ((tracks, tags, [], 12), "vocabulary"),
        ((tracks, tags, ["Caf\u00e9", "Cafe\u0301"], 12), "without repeats"),
        ((tracks, tags, VOCABULARY, 11), "segments is 11"),
        ((tracks, tags, VOCABULARY, 12, "fuzzy"), "match is 'fuzzy'"),
        ((pd.concat([tracks, tracks[:1]]), tags, VOCABULARY, 12), "T0"),
    ):
        with pytest.raises(ValueError, match=reason):
            join(*arguments)


def test_list_of_mismatches(tmp_path):
    assert read_mismatches(tmp_path) == set()
    path = tmp_path / "sid_mismatches.txt"
    path.write_bytes(b"ERROR: <SOCMRBE12AB018C546 TRMMREB12903CEB1B1> Jimmy Reed  -  \xff  !=  Slim Harpo  -  Love\n")
    assert read_mismatches(tmp_path) == {"TRMMREB12903CEB1B1"}
    path.write_text("<html>404</html>")
    with pytest.raises(ValueError, match=r"sid_mismatches\.txt has no line"):
        read_mismatches(tmp_path)


def test_real_data(real_data):
    tracks, _ = read_tracks(real_data / "msd_real" / "MillionSongSubset")
    table, _ = read_tags(real_data / "msd_real" / "lastfm_subset")
    listed = read_mismatches(real_data / "msd_real")
    assert len(listed) == 18_972
    counts = {"exact": [39, 36, 7, 38, 35, 7], "normalized": [49, 46, 10, 48, 45, 10]}
    counts["track_id"] = [54, 51, 11, 52, 49, 11]
    ways = [(segments, wrong) for wrong in ((), listed) for segments in (252, 512, 1024)]
    for match, expected in counts.items():
        assert [len(join(tracks, table, MASON_TOP50, n, match, wrong)[0]) for n, wrong in ways] == expected
    _, report = join(tracks, table, CHOI_TOP50, 252)
    kinds = report["mismatches"]["kind"].value_counts().to_dict()
    assert kinds == {"case": 19, "punctuation": 8, "artist differs": 8, "diacritics": 7}
    labels = np.array([row for song in table["tags"] if any(row := [tag in dict(song) for tag in MASON_TOP50])])
    assert len(labels) == 3211 and metrics.constant(labels, labels)["micro_auc"] == pytest.approx(0.635, abs=0.005)


def test_the_vocabularies_are_the_papers():
    for vocabulary in (MASON_TOP50, CHOI_TOP50):
        assert len(vocabulary) == len(set(vocabulary)) == 50 and vocabulary[:2] == ["rock", "pop"]
    assert MASON_TOP50[13] == "singer-songwriter" and CHOI_TOP50[10] == "beautiful" and CHOI_TOP50[-1] == "happy"


def test_top_tags_counts_songs_and_breaks_ties_by_name():
    table = pd.DataFrame({"tags": [[("b", 9), ("b", 1), ("a", 3)], [("c", 5), ("b", 0)], [("c", 1), ("a", 1)], []]})
    assert tags.top_tags(table, 2) == ["a", "b"]
    with pytest.raises(ValueError, match="4 tags were asked for, but the data holds 3"):
        tags.top_tags(table, 4)


def test_mason_s_list_is_the_reference_s(real_data):
    reference = real_data.parent / "reference" / "mason_top50_lastfm_tags.csv"
    if not reference.is_file():
        pytest.skip(f"no {reference.name} beside the real data")
    rows = reference.read_text(encoding="utf-8-sig").splitlines()[1:]
    assert [row.split(",")[1] for row in rows] == MASON_TOP50
