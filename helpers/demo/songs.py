"""Songs of the demo set: what a style plays and how listeners tag it; names; songs as chroma. See `helpers.demo`.

A song's latent style sets its keys, chords, modulation, density and form, and the probability of each tag. So tags
can be learned from `segments_pitches`, but only up to a limit: the oracle.
"""

from functools import partial
from string import ascii_uppercase

import numpy as np
import pandas as pd

from helpers.tags import CHOI_TOP50, MASON_TOP50

TAGS = list(dict.fromkeys([*MASON_TOP50, *CHOI_TOP50]))

# Semitones above the root.
CHORDS = {"5": (0, 7), "maj": (0, 4, 7), "min": (0, 3, 7), "sus": (0, 5, 7)}
CHORDS |= {"7": (0, 4, 7, 10), "maj7": (0, 4, 7, 11), "min7": (0, 3, 7, 10)}

# keys: pitch classes (0 = C). loops: chords, "semitones above the key:quality", one a bar. modulation: chance that a
# section changes key. density: segments a second. floor: energy between the notes. drums: share of segments that are
# noise. sustain: share that rings on. form: sections. tempo: beats a minute. tags: what listeners call it.
STYLES = {
    "rock": dict(keys=(4, 9, 2, 7), loops=("0:5 5:5 7:5 5:5", "0:5 8:5 10:5 0:5"), modulation=0.05, density=4.2,
        floor=0.30, drums=0.20, sustain=0.15, form="AABABCBB", tempo=128,
        tags="rock|alternative|indie|alternative rock|classic rock|indie rock|hard rock|punk|guitar|seen live|"
        "Progressive rock|90s|male vocalists|british"),
    "metal": dict(keys=(4, 2, 11, 4), loops=("0:5 1:5 0:5 3:5", "0:5 0:5 6:5 5:5"), modulation=0.15, density=5.2,
        floor=0.48, drums=0.38, sustain=0.05, form="ABABCB", tempo=150,
        tags="metal|heavy metal|hard rock|rock|guitar|seen live|Awesome|male vocalists"),
    "pop": dict(keys=(0, 7, 5, 9), loops=("0:maj 7:maj 9:min 5:maj", "9:min 5:maj 0:maj 7:maj"), modulation=0.30,
        density=3.6, floor=0.20, drums=0.15, sustain=0.20, form="ABABCB", tempo=112,
        tags="pop|female vocalists|female vocalist|dance|Love|catchy|sexy|party|00s|80s|happy|indie pop"),
    "electronic": dict(keys=(9, 5, 2, 10), loops=("0:min 0:min 8:maj 10:maj", "0:min7 0:min7 0:min7 5:min7"),
        modulation=0.02, density=4.6, floor=0.12, drums=0.30, sustain=0.10, form="AAAABBBBAAAA", tempo=126,
        tags="electronic|electronica|dance|House|electro|party|experimental|chillout|00s"),
    "hip-hop": dict(keys=(1, 6, 8, 3), loops=("0:min 0:min 0:min 0:min", "0:min 1:maj 0:min 1:maj"), modulation=0.01,
        density=3.9, floor=0.42, drums=0.45, sustain=0.05, form="ABABAB", tempo=92,
        tags="Hip-Hop|rnb|00s|90s|american|party|cool|male vocalists|sexy"),
    "jazz": dict(keys=(5, 10, 3, 8), loops=("2:min7 7:7 0:maj7 9:min7", "0:maj7 9:min7 2:min7 7:7"), modulation=0.35,
        density=3.3, floor=0.10, drums=0.08, sustain=0.25, form="AABAAABA", tempo=140,
        tags="jazz|instrumental|easy listening|oldies|Mellow|60s|chill|beautiful"),
    "folk": dict(keys=(7, 0, 2, 9), loops=("0:maj 5:maj 0:maj 7:maj", "0:maj 9:min 5:maj 7:sus"), modulation=0.02,
        density=2.9, floor=0.06, drums=0.02, sustain=0.35, form="AAAAAA", tempo=100,
        tags="folk|acoustic|singer-songwriter|country|american|guitar|Mellow|sad|beautiful|70s"),
    "soul": dict(keys=(10, 3, 5, 0), loops=("0:7 5:7 0:7 7:7", "0:min7 5:7 0:min7 5:7"), modulation=0.20, density=3.4,
        floor=0.24, drums=0.18, sustain=0.20, form="AABAAB", tempo=96,
        tags="soul|blues|funk|rnb|oldies|70s|60s|Love|female vocalists|classic rock"),
    "ambient": dict(keys=(2, 0, 7, 5), loops=("0:sus 0:sus 7:sus 7:sus", "0:maj7 0:maj7 5:maj7 5:maj7"),
        modulation=0.05, density=2.0, floor=0.14, drums=0.01, sustain=0.70, form="AABB", tempo=80,
        tags="ambient|chillout|chill|instrumental|experimental|electronica|beautiful|Mellow|sad"),
}  # fmt: skip
STYLE_SHARES = dict(zip(STYLES, (0.22, 0.09, 0.16, 0.13, 0.09, 0.09, 0.10, 0.07, 0.05), strict=True))
LABEL_NOISE = 0.10  # share of listeners who tag without regard to style
# Shares of the real last.fm subset (9,330 files), and of 281 pairs of names in it and in the MSD.
HAS_JSON, HAS_TAGS, HAS_TOP50_TAG = 0.933, 0.518, 0.664
QUIRKS = {"case": 0.114, "artist": 0.071, "punctuation": 0.050, "diacritics": 0.025, "title": 0.007}


def tag_probabilities() -> pd.DataFrame:
    """Return P(tag | style) of a song that has tags of the vocabularies: a float64 table, styles x tags."""
    own = np.array([[tag in spec["tags"].split("|") for tag in TAGS] for spec in STYLES.values()])
    base = 0.30 * np.arange(1.0, len(TAGS) + 1) ** -0.40
    # Tags such as "favorites" belong to no style: every song has them at the base rate.
    factor = np.where(own, 5.0, np.where(own.any(axis=0), 0.12, 1.0))
    probabilities = (1 - LABEL_NOISE) * np.minimum(base * factor, 0.9) + LABEL_NOISE * base
    return pd.DataFrame(probabilities, index=list(STYLES), columns=TAGS)


def compose(style: str, num_bars: int, rng: np.random.Generator) -> dict:
    """Write a song's `key`, `mode`, `tempo`, `section_starts` (bars); `roots`, `chords` (num_bars, 12) of each bar."""
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
    mode, tempo = 1 - loops["A"][0].endswith(("min", "min7")), spec["tempo"] * rng.lognormal(0, 0.12)
    roots, chords = np.array(roots[:num_bars]), np.array(chords[:num_bars])
    starts = np.array([start for start in starts if start < num_bars])
    return dict(key=key, mode=mode, tempo=tempo, roots=roots, chords=chords, section_starts=starts)


def draw_song(style: str, rng: np.random.Generator) -> tuple[int, float, dict]:
    """Return a song's number of segments, its duration in seconds, and what `compose` wrote for it."""
    # Lengths as in the real subset: median about 770 segments, 23 % above 1,024, a few far too short.
    long = rng.random() > 0.05
    num_segments = int(np.clip(rng.lognormal(np.log(770), 0.40), 5, 3300)) if long else int(rng.integers(5, 252))
    duration = num_segments / (STYLES[style]["density"] * rng.lognormal(0, 0.1))
    return num_segments, duration, compose(style, max(4, round(duration * STYLES[style]["tempo"] / 240)), rng)


def chroma_segments(style: str, song: dict, num_segments: int, rng: np.random.Generator) -> np.ndarray:
    """Play a composed song as `segments_pitches`: float64 (num_segments, 12), each row's maximum exactly 1."""
    # Every song has its own recording: the style's settings, blurred, so that styles overlap.
    settings = np.array([STYLES[style][name] for name in ("floor", "drums", "sustain")])
    floor, drums, sustain = np.clip(settings * rng.lognormal(0, 0.25, 3), 0, 0.8)
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


WORDS = (
    "amber anchor arrow ash aurora autumn bell birch bridge candle canyon cedar chalk cloud copper coral crane dawn "
    "delta dust echo ember falcon fern field flint fog forest fox garden glass gold harbor hazel heron hollow iron "
    "island ivory jade kite lantern lark linen maple marble meadow mirror moss needle north oak ocean olive opal "
    "orbit paper pearl pepper pine plum quartz raven reef river rose saffron salt sand shadow silver smoke snow "
    "sparrow spring stone storm summer thistle thunder tide timber topaz valley velvet violet water willow winter wolf"
).split()  # fmt: skip
ACCENTS = {"a": "á", "e": "é", "i": "í", "o": "ö", "u": "ü", "n": "ñ"}
OTHER_TAGS = ("albums I own", "demo playlist", "driving", "my music", "summer", "under 2000 listeners", "workout")


def names(num_tracks: int, seed: int) -> pd.DataFrame:
    """Return `number, track_id, title, artist_name, artist_id, style`; artists have 2.6 songs on average."""
    rng, artists = np.random.default_rng([seed, num_tracks]), []
    draw_style = partial(rng.choice, list(STYLE_SHARES), p=list(STYLE_SHARES.values()))
    for number in range(max(1, round(num_tracks / 2.6))):
        name = f"The {_words(1, rng)} {_words(1, rng)}s" if rng.random() < 0.4 else _words(2, rng)
        artists.append((_accented(name, rng, 0.05), f"ARDEMO{number:06d}{'ABCDEF'[number % 6]}", str(draw_style())))
    rows = []
    for number in range(num_tracks):
        artist, artist_id, home = artists[int(rng.integers(len(artists)))]
        title = _accented(_words(int(rng.integers(1, 4)), rng), rng, 0.05)
        if rng.random() < 0.2:
            title += (" (Part 2)", " (Live)", "_ Again", "_ Slowly")[rng.integers(4)]  # the MSD writes _ for a comma
        if rng.random() < 0.007:
            title += "\x13"  # two of 295 real titles hold a control character
        # Letters as in real ids: the files of the subset lie under A and B.
        track_id = f"TR{'AB'[number % 2]}{''.join(rng.choice(list(ascii_uppercase), 4))}128F{number:07X}"
        rows.append((number, track_id, title, artist, artist_id, home if rng.random() < 0.85 else str(draw_style())))
    return pd.DataFrame(rows, columns=["number", "track_id", "title", "artist_name", "artist_id", "style"])


def _words(count, rng):
    return " ".join(WORDS[rng.integers(len(WORDS))].capitalize() for _ in range(count))


def _accented(name, rng, share):
    return "".join(ACCENTS.get(c, c) for c in name) if rng.random() < share else name


def _lastfm_names(title, artist, rng):
    """Return title and artist as last.fm writes them: the same in three of four songs, else with one quirk."""
    other = title.translate(str.maketrans("_()", ",[]"))
    written = {
        "case": lambda: (title.lower(), artist),
        "artist": lambda: (title, _words(2, rng)),
        "diacritics": lambda: (_accented(title, rng, 1.0), artist),
        "title": lambda: (_words(2, rng), artist),
        "punctuation": lambda: (other if other != title else title + "...", artist),
        "none": lambda: (title, artist),
    }
    return written[str(rng.choice([*QUIRKS, "none"], p=[*QUIRKS.values(), 1 - sum(QUIRKS.values())]))]()


def lastfm_song(song, probabilities: pd.Series, rng: np.random.Generator) -> tuple[str, str, list[tuple[str, int]]]:
    """Return title, artist and (tag, count) pairs of a song of `names`, as last.fm has them."""
    title, artist = _lastfm_names(song.title, song.artist_name, rng)
    found: list[str] = []
    if rng.random() < HAS_TAGS:
        top50 = rng.random() < HAS_TOP50_TAG
        while top50 and not found:
            found = [tag for tag, p in probabilities.items() if rng.random() < p]
        found = list(rng.permutation(found)) + list(rng.permutation(OTHER_TAGS))[: int(rng.integers(1, 6))]
    tags = [(str(tag), int(100 / (1 + i) ** 1.2)) for i, tag in enumerate(found)]  # counts fall from 100
    if tags and song.number % 100 == 7:
        tags.append((tags[0][0], 1))  # a few real files repeat a tag
    return title, artist, tags
