"""Synthetic demo data in the real formats: an MSD-like tree of HDF5 files and a last.fm tree of JSON files.

Every song has a latent style. The style sets its keys, chord loops, modulation, density and section form, and
the probability of each tag. So tags can be learned from `segments_pitches`, but only up to a limit that the
generator knows: the *oracle*. Nothing here comes from a real song, artist or listener.
"""

import json
import os
import shutil
import tempfile
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from joblib import Parallel, delayed

from helpers import paths
from helpers.tags import CHOI_TOP50, MASON_TOP50

VERSION = 1
TAGS = list(dict.fromkeys([*MASON_TOP50, *CHOI_TOP50]))

# Semitones above the root.
CHORDS = {
    "5": (0, 7),
    "maj": (0, 4, 7),
    "min": (0, 3, 7),
    "7": (0, 4, 7, 10),
    "maj7": (0, 4, 7, 11),
    "min7": (0, 3, 7, 10),
    "sus": (0, 5, 7),
}

# keys: favourite pitch classes (0 = C). loops: chords as "semitones above the key:quality", one a bar.
# modulation: chance that a section changes key. density: segments a second. floor: energy between the chord
# notes. drums: share of segments that are noise. sustain: how much of a segment rings on into the next.
# form: the sections. tempo: beats a minute. tags: what listeners call it.
STYLES = {
    "rock": dict(
        keys=(4, 9, 2, 7), loops=("0:5 5:5 7:5 5:5", "0:5 8:5 10:5 0:5"), modulation=0.05, density=4.2,
        floor=0.30, drums=0.20, sustain=0.15, form="AABABCBB", tempo=128,
        tags="rock|alternative|indie|alternative rock|classic rock|indie rock|hard rock|punk|guitar|seen live|"
        "Progressive rock|90s|male vocalists|british",
    ),
    "metal": dict(
        keys=(4, 2, 11, 4), loops=("0:5 1:5 0:5 3:5", "0:5 0:5 6:5 5:5"), modulation=0.15, density=5.2,
        floor=0.48, drums=0.38, sustain=0.05, form="ABABCB", tempo=150,
        tags="metal|heavy metal|hard rock|rock|guitar|seen live|Awesome|male vocalists",
    ),
    "pop": dict(
        keys=(0, 7, 5, 9), loops=("0:maj 7:maj 9:min 5:maj", "9:min 5:maj 0:maj 7:maj"), modulation=0.30,
        density=3.6, floor=0.20, drums=0.15, sustain=0.20, form="ABABCB", tempo=112,
        tags="pop|female vocalists|female vocalist|dance|Love|catchy|sexy|party|00s|80s|happy|indie pop",
    ),
    "electronic": dict(
        keys=(9, 5, 2, 10), loops=("0:min 0:min 8:maj 10:maj", "0:min7 0:min7 0:min7 5:min7"), modulation=0.02,
        density=4.6, floor=0.12, drums=0.30, sustain=0.10, form="AAAABBBBAAAA", tempo=126,
        tags="electronic|electronica|dance|House|electro|party|experimental|chillout|00s",
    ),
    "hip-hop": dict(
        keys=(1, 6, 8, 3), loops=("0:min 0:min 0:min 0:min", "0:min 1:maj 0:min 1:maj"), modulation=0.01,
        density=3.9, floor=0.42, drums=0.45, sustain=0.05, form="ABABAB", tempo=92,
        tags="Hip-Hop|rnb|00s|90s|american|party|cool|male vocalists|sexy",
    ),
    "jazz": dict(
        keys=(5, 10, 3, 8), loops=("2:min7 7:7 0:maj7 9:min7", "0:maj7 9:min7 2:min7 7:7"), modulation=0.35,
        density=3.3, floor=0.10, drums=0.08, sustain=0.25, form="AABAAABA", tempo=140,
        tags="jazz|instrumental|easy listening|oldies|Mellow|60s|chill|beautiful",
    ),
    "folk": dict(
        keys=(7, 0, 2, 9), loops=("0:maj 5:maj 0:maj 7:maj", "0:maj 9:min 5:maj 7:sus"), modulation=0.02,
        density=2.9, floor=0.06, drums=0.02, sustain=0.35, form="AAAAAA", tempo=100,
        tags="folk|acoustic|singer-songwriter|country|american|guitar|Mellow|sad|beautiful|70s",
    ),
    "soul": dict(
        keys=(10, 3, 5, 0), loops=("0:7 5:7 0:7 7:7", "0:min7 5:7 0:min7 5:7"), modulation=0.20, density=3.4,
        floor=0.24, drums=0.18, sustain=0.20, form="AABAAB", tempo=96,
        tags="soul|blues|funk|rnb|oldies|70s|60s|Love|female vocalists|classic rock",
    ),
    "ambient": dict(
        keys=(2, 0, 7, 5), loops=("0:sus 0:sus 7:sus 7:sus", "0:maj7 0:maj7 5:maj7 5:maj7"), modulation=0.05,
        density=2.0, floor=0.14, drums=0.01, sustain=0.70, form="AABB", tempo=80,
        tags="ambient|chillout|chill|instrumental|experimental|electronica|beautiful|Mellow|sad",
    ),
}  # fmt: skip
STYLE_SHARES = dict(zip(STYLES, (0.22, 0.09, 0.16, 0.13, 0.09, 0.09, 0.10, 0.07, 0.05), strict=True))
LABEL_NOISE = 0.10  # share of listeners who tag without regard to style

# Shares of the real last.fm subset (section 4 of the project's facts, and its 9,330 files).
HAS_JSON, HAS_TAGS, HAS_TOP50_TAG = 0.933, 0.518, 0.664
QUIRKS = {"case": 0.114, "artist": 0.071, "punctuation": 0.050, "diacritics": 0.025, "title": 0.007}


def tag_probabilities() -> pd.DataFrame:
    """Return P(tag | style) of a song that has vocabulary tags: a float64 table, styles x tags."""
    rank = np.arange(len(TAGS))
    base = 0.30 * (rank + 1.0) ** -0.40
    table = pd.DataFrame(0.0, index=list(STYLES), columns=TAGS)
    for style, spec in STYLES.items():
        own = set(spec["tags"].split("|"))
        # Tags such as "favorites" belong to no style: every song has them at the base rate.
        anywhere = {tag for tag in TAGS if not any(tag in s["tags"].split("|") for s in STYLES.values())}
        factor = [1.0 if tag in anywhere else 5.0 if tag in own else 0.12 for tag in TAGS]
        table.loc[style] = (1 - LABEL_NOISE) * np.minimum(base * factor, 0.9) + LABEL_NOISE * base
    return table


def compose(style: str, num_bars: int, rng: np.random.Generator) -> dict:
    """Write a song of a style: its `key`, `mode`, `tempo` and, for each bar, `roots` and `chords`.

    `roots` is an int array (num_bars,) of pitch classes, `chords` a float64 array (num_bars, 12) of chord-note
    weights with the root first among equals, `section_starts` the bars at which sections begin.
    """
    spec = STYLES[style]
    key = int(rng.choice(spec["keys"]) if rng.random() < 0.8 else rng.integers(12))
    loops = {name: spec["loops"][int(rng.integers(len(spec["loops"])))].split() for name in "ABC"}
    roots, chords, starts, shift = [], [], [], 0
    bars_in_section = int(rng.choice([8, 8, 16]))
    while len(roots) < num_bars:
        name = spec["form"][len(starts) % len(spec["form"])]
        starts.append(len(roots))
        if rng.random() < spec["modulation"]:
            shift += int(rng.choice([1, 2, 5, 7]))
        for bar in range(bars_in_section):
            offset, quality = loops[name][bar % len(loops[name])].split(":")
            root = (key + shift + int(offset)) % 12
            weights = np.zeros(12)
            weights[(root + np.array(CHORDS[quality])) % 12] = 0.7
            weights[root] = 1.0
            roots.append(root)
            chords.append(weights)
    minor = loops["A"][0].endswith(("min", "min7"))
    return {
        "key": key,
        "mode": 0 if minor else 1,
        "tempo": spec["tempo"] * rng.lognormal(0, 0.12),
        "roots": np.array(roots[:num_bars]),
        "chords": np.array(chords[:num_bars]),
        "section_starts": np.array([start for start in starts if start < num_bars]),
    }


def draw_song(style: str, rng: np.random.Generator) -> tuple[int, float, dict]:
    """Return a song's number of segments, its duration in seconds, and what `compose` wrote for it.

    The first thing drawn from a song's generator, `default_rng([seed, number])`: who seeds anew gets it again.
    """
    # Lengths as in the real subset: median about 770 segments, 23 % above 1,024, a few far too short.
    num_segments = (
        int(np.clip(rng.lognormal(np.log(770), 0.40), 5, 3300)) if rng.random() > 0.05 else int(rng.integers(5, 252))
    )
    spec = STYLES[style]
    duration = num_segments / (spec["density"] * rng.lognormal(0, 0.1))
    return num_segments, duration, compose(style, max(4, round(duration * spec["tempo"] / 240)), rng)


def chroma_segments(style: str, song: dict, num_segments: int, rng: np.random.Generator) -> np.ndarray:
    """Play a composed song as `segments_pitches`: float64 (num_segments, 12), each row's maximum exactly 1."""
    spec = STYLES[style]
    # Every song has its own recording: the style's settings, blurred, so that styles overlap.
    floor, drums, sustain = np.clip(
        np.array([spec["floor"], spec["drums"], spec["sustain"]]) * rng.lognormal(0, 0.25, 3), 0, 0.8
    )
    bar = np.arange(num_segments) * len(song["roots"]) // num_segments
    played = song["chords"][bar] * rng.beta(2.0, 1.5, (num_segments, 12))
    melody = (song["roots"][bar] + rng.choice([0, 2, 4, 7, 9, 11], num_segments)) % 12
    played[np.arange(num_segments), melody] += rng.random(num_segments)
    for i in range(1, num_segments):
        played[i] += sustain * played[i - 1]
    hit = rng.random(num_segments) < drums
    played[hit] = 0.6 + 0.4 * rng.random((int(hit.sum()), 12))
    played += floor * rng.gamma(2.0, 0.5, (num_segments, 12)) * played.max(axis=1, keepdims=True)
    # The power widens the gap between chord notes and the rest to that of real recordings.
    return np.round((played / played.max(axis=1, keepdims=True)) ** 1.4, 3)


def generate(folder: Path, num_tracks: int = 920, seed: int = 0) -> Path:
    """Write a synthetic data set of `num_tracks` songs to `folder` and return it; the same seed, the same bytes.

    `MillionSongSubset/A/B/C/TR*.h5` have the layout of real MSD files, `lastfm_subset/A/B/C/TR*.json` that of
    last.fm's, with the quirks of both in their real proportions; four files are broken on purpose.
    `oracle.csv` holds each song's style and true tag probabilities. The folder appears whole or not at all.
    An older demo set is replaced; raises FileExistsError rather than touch a folder with other files.
    """
    folder = Path(folder)
    if folder.exists() and not paths.is_synthetic(folder) and any(folder.iterdir()):
        raise FileExistsError(f"{folder} holds files that are not demo data; choose another folder.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary, paths.naming(folder):
        root = Path(temporary) / "new"
        names = _names(num_tracks, np.random.default_rng([seed, num_tracks]))
        template = Path(temporary) / "template.h5"
        _write_template(template)
        chunks = np.array_split(np.arange(num_tracks), min(num_tracks, 4 * (os.cpu_count() or 1)))
        rows = Parallel(n_jobs=-1 if num_tracks > 300 else 1)(
            delayed(_write_songs)(root, template, names.iloc[chunk], seed) for chunk in chunks
        )
        pd.DataFrame([row for chunk in rows for row in chunk]).to_csv(root / "oracle.csv", index=False)
        _break_files(root)
        marker = {
            "note": "Synthetic demo data: no real song, artist or listener.",
            "version": VERSION,
            "seed": seed,
        }
        (root / paths.DEMO_MARKER).write_text(json.dumps(marker | {"num_tracks": num_tracks}) + "\n")
        if folder.exists():  # moved, not deleted: a run killed meanwhile must not leave half of it
            folder.rename(Path(temporary) / "old")
        root.rename(folder)
    return folder


def ensure() -> Path:
    """Return `data/demo`, generated first if it is missing or was made by an older version of this module."""
    marker = paths.DEMO / paths.DEMO_MARKER
    if not marker.is_file() or json.loads(marker.read_text())["version"] != VERSION:
        generate(paths.DEMO)
    return paths.DEMO


def oracle(songs: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Return the best ROC AUC that any model could expect from the style: columns `tag`, `auc`, one row a tag.

    `songs` is what `joining.join` made of the demo set in `folder`. For each tag it is the chance that a song
    with the tag has a higher true probability of it than a song without, ties counting half; NaN for a tag
    that the generator does not know. Their mean is the macro AUC at which learning ends.
    """
    vocabulary = songs.attrs["vocabulary"]
    table = pd.read_csv(Path(folder) / "oracle.csv").set_index("track_id")
    probability = table.reindex(columns=vocabulary).loc[songs["track_id"]].to_numpy()
    # Only songs with at least one vocabulary tag were kept, which makes each tag of theirs more likely.
    kept = 1 - np.prod(1 - np.nan_to_num(probability), axis=1, keepdims=True)
    probability = np.minimum(probability / kept, 1)
    aucs = [_expected_auc(column) for column in probability.T]
    return pd.DataFrame({"tag": vocabulary, "auc": aucs})


def _expected_auc(probability: np.ndarray) -> float:
    """Return P(score of a positive > score of a negative) + half the ties, if the score is the probability."""
    if np.isnan(probability).any():
        return float("nan")
    wins = (probability[:, None] > probability) + 0.5 * (probability[:, None] == probability)
    weights = probability[:, None] * (1 - probability)
    np.fill_diagonal(weights, 0)
    return float((wins * weights).sum() / weights.sum())


# --- Names ---------------------------------------------------------------------------------------------------

WORDS = (
    "amber anchor arrow ash aurora autumn bell birch bridge candle canyon cedar chalk cloud copper coral crane dawn "
    "delta dust echo ember falcon fern field flint fog forest fox garden glass gold harbor hazel heron hollow iron "
    "island ivory jade kite lantern lark linen maple marble meadow mirror moss needle north oak ocean olive opal "
    "orbit paper pearl pepper pine plum quartz raven reef river rose saffron salt sand shadow silver smoke snow "
    "sparrow spring stone storm summer thistle thunder tide timber topaz valley velvet violet water willow winter wolf"
).split()  # fmt: skip
ACCENTS = {"a": "á", "e": "é", "i": "í", "o": "ö", "u": "ü", "n": "ñ"}
OTHER_TAGS = (
    "albums I own",
    "demo playlist",
    "driving",
    "my music",
    "summer",
    "under 2000 listeners",
    "workout",
)


def _names(num_tracks: int, rng: np.random.Generator) -> pd.DataFrame:
    """Return `number, track_id, title, artist_name, artist_id, style`; artists have 2.6 songs on average."""
    artists = []
    for number in range(max(1, round(num_tracks / 2.6))):
        name = f"The {_words(1, rng)} {_words(1, rng)}s" if rng.random() < 0.4 else _words(2, rng)
        artists.append((_accented(name, rng, 0.05), f"ARDEMO{number:06d}{'ABCDEF'[number % 6]}", _draw_style(rng)))
    rows = []
    for number in range(num_tracks):
        artist, artist_id, home = artists[int(rng.integers(len(artists)))]
        title = _accented(_words(int(rng.integers(1, 4)), rng), rng, 0.05)
        if rng.random() < 0.2:
            title += _one([" (Part 2)", " (Live)", "_ Again", "_ Slowly"], rng)  # the MSD writes _ for a comma
        if rng.random() < 0.007:
            title += "\x13"  # two of 295 real titles hold a control character
        # Letters as in real ids: the files of the subset lie under A and B.
        letters = "".join(rng.choice(list("ABCDEFGHIJKLMNOPQRSTUVWXYZ"), 4))
        track_id = f"TR{'AB'[number % 2]}{letters}128F{number:07X}"
        style = home if rng.random() < 0.85 else _draw_style(rng)
        rows.append((number, track_id, title, artist, artist_id, style))
    return pd.DataFrame(rows, columns=["number", "track_id", "title", "artist_name", "artist_id", "style"])


def _draw_style(rng) -> str:
    return str(rng.choice(list(STYLE_SHARES), p=list(STYLE_SHARES.values())))


def _one(options, rng) -> str:
    return str(options[int(rng.integers(len(options)))])


def _words(count: int, rng) -> str:
    return " ".join(_one(WORDS, rng).capitalize() for _ in range(count))


def _accented(name: str, rng, share: float) -> str:
    return "".join(ACCENTS.get(c, c) for c in name) if rng.random() < share else name


def _lastfm_names(title: str, artist: str, rng) -> tuple[str, str]:
    """Return title and artist as last.fm writes them: the same in three of four songs, else with one quirk."""
    quirk = str(rng.choice([*QUIRKS, "none"], p=[*QUIRKS.values(), 1 - sum(QUIRKS.values())]))
    if quirk == "case":
        return title.lower(), artist
    if quirk == "artist":
        return title, _words(2, rng)
    if quirk == "diacritics":
        return _accented(title, rng, 1.0), artist
    if quirk == "title":
        return _words(2, rng), artist
    if quirk == "punctuation":
        changed = title.replace("_", ",").replace("(", "[").replace(")", "]")
        return (changed if changed != title else title + "..."), artist
    return title, artist


# --- Files ---------------------------------------------------------------------------------------------------


def _write_songs(root: Path, template: Path, names: pd.DataFrame, seed: int) -> list[dict]:
    """Write the HDF5 and the JSON file of each song; return the rows of oracle.csv."""
    table = tag_probabilities()
    rows = []
    for song in names.itertuples():
        rng = np.random.default_rng([seed, song.number])
        _write_h5(_tree(root / "MillionSongSubset", song.track_id, ".h5"), template, song, rng)
        if rng.random() < HAS_JSON:
            content = json.dumps(_lastfm_song(song, table.loc[song.style], rng))
            _tree(root / "lastfm_subset", song.track_id, ".json").write_text(content)
        probabilities = table.loc[song.style].round(6).to_dict()
        rows.append({"track_id": song.track_id, "style": song.style, **probabilities})
    return rows


def _tree(root: Path, track_id: str, suffix: str) -> Path:
    path = root / track_id[2] / track_id[3] / track_id[4] / f"{track_id}{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _lastfm_song(song, probabilities: pd.Series, rng) -> dict:
    title, artist = _lastfm_names(song.title, song.artist_name, rng)
    names: list[str] = []
    if rng.random() < HAS_TAGS:
        top50 = rng.random() < HAS_TOP50_TAG
        while top50 and not names:
            names = [tag for tag, p in probabilities.items() if rng.random() < p]
        names = list(rng.permutation(names)) + list(rng.permutation(OTHER_TAGS))[: int(rng.integers(1, 6))]
    # Counts fall from 100 and are strings; the last of a long list is often "0".
    counts = [str(int(100 / (1 + i) ** 1.2)) for i in range(len(names))]
    tags = [[str(name), count] for name, count in zip(names, counts, strict=True)]
    if tags and song.number % 100 == 7:
        tags.append([tags[0][0], "1"])  # a few real files repeat a tag
    return {
        "artist": artist,
        "timestamp": "2011-08-01 00:00:00.000000",
        "similars": [],
        "tags": tags,
        "track_id": song.track_id,
        "title": title,
    }


def _break_files(root: Path) -> None:
    """Empty, cut and overwrite a few files, as happened to real ones."""
    h5, json_files = sorted(root.rglob("*.h5")), sorted(root.rglob("*.json"))
    h5[5].write_bytes(b"")
    h5[-5].write_bytes(h5[-5].read_bytes()[:5000])
    h5[len(h5) // 2].write_text("<html><body>404 Not Found</body></html>\n")
    json_files[-3].write_text(json_files[-3].read_text()[:40])


# The 24 datasets of an MSD file, with PyTables' titles and the number it gives each growing array.
ARRAYS = {
    "analysis/bars_confidence": ("array of confidence of bars", 2000),
    "analysis/bars_start": ("array of start times of bars", 1999),
    "analysis/beats_confidence": ("array of confidence of sections", 1998),
    "analysis/beats_start": ("array of start times of beats", 1997),
    "analysis/sections_confidence": ("array of confidence of sections", 1996),
    "analysis/sections_start": ("array of start times of sections", 1995),
    "analysis/segments_confidence": ("array of confidence of segments", 1989),
    "analysis/segments_loudness_max": ("array of max loudness of segments", 1992),
    "analysis/segments_loudness_max_time": ("array of max loudness time of segments", 1993),
    "analysis/segments_loudness_start": ("array of loudness of segments at start time", 1994),
    "analysis/segments_pitches": ("array of pitches of segments (chromas)", 1990),
    "analysis/segments_start": ("array of start times of segments", 1988),
    "analysis/segments_timbre": ("array of timbre of segments (MFCC-like)", 1991),
    "analysis/tatums_confidence": ("array of confidence of tatums", 2002),
    "analysis/tatums_start": ("array of start times of tatums", 2001),
    "metadata/artist_terms": ("array of terms (Echo Nest tags) for an artist", 1985),
    "metadata/artist_terms_freq": ("array of term (Echo Nest tags) frequencies for an artist", 1986),
    "metadata/artist_terms_weight": ("array of term (Echo Nest tags) weights for an artist", 1987),
    "metadata/similar_artists": ("array of similar artists Echo Nest id", 1984),
    "musicbrainz/artist_mbtags": ("array of tags from MusicBrainz for an artist", 2003),
    "musicbrainz/artist_mbtags_count": ("array of tag counts from MusicBrainz for an artist", 2004),
}
# Those that are not float64 in chunks of 1024: dtype, shape of one row, rows a chunk.
SPECIAL = {
    "analysis/segments_pitches": ("f8", (12,), 85),
    "analysis/segments_timbre": ("f8", (12,), 85),
    "metadata/artist_terms": ("S256", (), 32),
    "metadata/similar_artists": ("S20", (), 409),
    "musicbrainz/artist_mbtags": ("S256", (), 32),
    "musicbrainz/artist_mbtags_count": ("i4", (), 2048),
}
GROUPS = {
    "/": "H5 Song File",
    "analysis": "Echo Nest analysis of the song",
    "metadata": "metadata about the song",
    "musicbrainz": "data about the song coming from MusicBrainz",
}
# The tables: title, rows a chunk, then fields in PyTables' (alphabetical) order.
TABLES = {
    "analysis/songs": (
        "table of Echo Nest analysis for one song", 37,
        "analysis_sample_rate:i4 audio_md5:S32 danceability:f8 duration:f8 end_of_fade_in:f8 energy:f8 "
        "idx_bars_confidence:i4 idx_bars_start:i4 idx_beats_confidence:i4 idx_beats_start:i4 "
        "idx_sections_confidence:i4 idx_sections_start:i4 idx_segments_confidence:i4 idx_segments_loudness_max:i4 "
        "idx_segments_loudness_max_time:i4 idx_segments_loudness_start:i4 idx_segments_pitches:i4 "
        "idx_segments_start:i4 idx_segments_timbre:i4 idx_tatums_confidence:i4 idx_tatums_start:i4 key:i4 "
        "key_confidence:f8 loudness:f8 mode:i4 mode_confidence:f8 start_of_fade_out:f8 tempo:f8 time_signature:i4 "
        "time_signature_confidence:f8 track_id:S32",
    ),
    "metadata/songs": (
        "table of metadata for one song", 3,
        "analyzer_version:S32 artist_7digitalid:i4 artist_familiarity:f8 artist_hotttnesss:f8 artist_id:S32 "
        "artist_latitude:f8 artist_location:S1024 artist_longitude:f8 artist_mbid:S40 artist_name:S1024 "
        "artist_playmeid:i4 genre:S1024 idx_artist_terms:i4 idx_similar_artists:i4 release:S1024 "
        "release_7digitalid:i4 song_hotttnesss:f8 song_id:S32 title:S1024 track_7digitalid:i4",
    ),
    "musicbrainz/songs": (
        "table of data coming from MusicBrainz", 1024,
        "idx_artist_mbtags:i4 year:i4",
    ),
}  # fmt: skip


def _write_template(path: Path) -> None:
    """Write an MSD file without songs, with the attributes that PyTables reads; each song's file is a copy of it."""
    options = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
    with h5py.File(path, "w") as file:
        for group, title in GROUPS.items():
            attrs = file.require_group(group).attrs
            _set(attrs, CLASS=b"GROUP", FILTERS=np.int64(65793), TITLE=title.encode(), VERSION=b"1.0")
        _set(file.attrs, PYTABLES_FORMAT_VERSION=b"2.0")
        for name, (title, number) in ARRAYS.items():
            dtype, row, rows = SPECIAL.get(name, ("f8", (), 1024))
            dataset = file.create_dataset(name, (0, *row), dtype, maxshape=(None, *row), chunks=(rows, *row), **options)
            _set(dataset.attrs, CLASS=b"EARRAY", EXTDIM=np.int32(number), TITLE=title.encode(), VERSION=b"1.0")
        for name, (title, rows, fields) in TABLES.items():
            dtype = np.dtype([tuple(field.split(":")) for field in fields.split()])
            dataset = file.create_dataset(name, (1,), dtype, maxshape=(None,), chunks=(rows,), **options)
            _set(dataset.attrs, CLASS=b"TABLE", NROWS=np.int64(1), TITLE=title.encode(), VERSION=b"2.6")
            for i, field in enumerate(dtype.names):
                fill = np.bytes_(b"") if dtype[field].kind == "S" else dtype[field].type(0)
                _set(dataset.attrs, **{f"FIELD_{i}_FILL": fill, f"FIELD_{i}_NAME": field.encode()})


def _set(attrs, **values) -> None:
    for name, value in values.items():
        attrs[name] = np.bytes_(value) if isinstance(value, bytes) else value


def _write_h5(path: Path, template: Path, song, rng) -> None:
    """Write one song's MSD file: composed, played as segments, with every field an analysis would have."""
    num_segments, duration, plan = draw_song(song.style, rng)
    pitches = chroma_segments(song.style, plan, num_segments, rng)
    start = np.sort(rng.random(num_segments)) * duration
    start[0] = 0.0
    beats = np.arange(0.1, duration, 60 / plan["tempo"])
    # A style has a centre in timbre space; the first value is loudness.
    centre = np.random.default_rng(list(STYLES).index(song.style)).normal(0, 30, 12)
    timbre = np.round(centre + rng.normal(0, 15, 12) + rng.normal(0, 35, (num_segments, 12)), 3)
    timbre[:, 0] = np.round(np.clip(45 + 8 * rng.normal(size=num_segments), 0, 60), 3)
    loudness = np.round(timbre[:, 0] - 60, 3)
    arrays = {
        "analysis/segments_pitches": pitches, "analysis/segments_timbre": timbre, "analysis/segments_start": start,
        "analysis/segments_confidence": rng.random(num_segments).round(3),
        "analysis/segments_loudness_max": loudness,
        "analysis/segments_loudness_max_time": (0.1 * rng.random(num_segments)).round(5),
        "analysis/segments_loudness_start": loudness - 10,
        "analysis/sections_start": plan["section_starts"] * 240 / plan["tempo"],
        "analysis/bars_start": beats[::4], "analysis/beats_start": beats,
        "analysis/tatums_start": np.arange(0.1, duration, 30 / plan["tempo"]),
        "metadata/artist_terms": np.array([b"demo", song.style.encode()]),
        "metadata/artist_terms_freq": np.ones(2), "metadata/artist_terms_weight": np.ones(2),
    }  # fmt: skip
    for name in ("sections", "bars", "beats", "tatums"):
        arrays[f"analysis/{name}_confidence"] = rng.random(len(arrays[f"analysis/{name}_start"])).round(3)
    songs = {
        "analysis/songs": dict(
            analysis_sample_rate=22050, audio_md5=f"{song.number:032x}", duration=duration, key=plan["key"],
            key_confidence=0.5, loudness=loudness.mean(), mode=plan["mode"], mode_confidence=0.5,
            start_of_fade_out=duration, tempo=plan["tempo"], time_signature=4, time_signature_confidence=1.0,
            track_id=song.track_id,
        ),
        "metadata/songs": dict(
            artist_familiarity=0.5, artist_hotttnesss=0.4, artist_id=song.artist_id, artist_latitude=np.nan,
            artist_location="Synthetic demo data", artist_longitude=np.nan, artist_name=song.artist_name,
            release="Synthetic demo data", song_hotttnesss=np.nan, song_id=f"SODEMO{song.number:012d}",
            title=song.title,
        ),
        "musicbrainz/songs": dict(year=0 if rng.random() < 0.5 else int(rng.integers(1960, 2011))),
    }  # fmt: skip
    shutil.copyfile(template, path)
    with h5py.File(path, "r+") as file:
        for name, values in arrays.items():
            file[name].resize(len(values), axis=0)
            file[name][...] = values
        for name, fields in songs.items():
            row = np.zeros(1, file[name].dtype)
            for field, value in fields.items():
                row[field] = value.encode() if isinstance(value, str) else value
            file[name][...] = row
