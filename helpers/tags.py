"""Tag vocabularies: Mason's 50 tags, Choi's 50 tags, or the most frequent tags of the data at hand."""

import unicodedata
from collections import Counter
from pathlib import Path

import pandas as pd

# The 50 most frequent tags of all of last.fm, most frequent first (Mason 2020, "Data").
MASON_TOP50 = (
    "rock, pop, alternative, indie, electronic, female vocalists, favorites, Love, dance, 00s, alternative rock, jazz, "
    "beautiful, singer-songwriter, metal, chillout, male vocalists, Awesome, classic rock, soul, indie rock, Mellow, "
    "electronica, 80s, folk, british, 90s, chill, american, instrumental, punk, oldies, seen live, blues, hard rock, "
    "cool, Favorite, ambient, acoustic, experimental, Favourites, female vocalist, guitar, Hip-Hop, 70s, party, "
    "country, easy listening, sexy, catchy"
).split(", ")

# In the order of the released 2016 models (Choi et al. 2017, section 3).
CHOI_TOP50 = (
    "rock, pop, alternative, indie, electronic, female vocalists, dance, 00s, alternative rock, jazz, beautiful, "
    "metal, chillout, male vocalists, classic rock, soul, indie rock, Mellow, electronica, 80s, folk, 90s, chill, "
    "instrumental, punk, oldies, blues, hard rock, ambient, acoustic, experimental, female vocalist, guitar, Hip-Hop, "
    "70s, party, country, easy listening, sexy, catchy, funk, electro, heavy metal, Progressive rock, 60s, rnb, "
    "indie pop, sad, House, happy"
).split(", ")


def nfc(text: str) -> str:
    """Return `text` in the Unicode form in which names and tags are compared ("é" can be one character or two)."""
    return unicodedata.normalize("NFC", text)


def vocabulary(folder: Path) -> list[str]:
    """Return the tags to predict: `folder`'s `vocabulary.txt`, one a line, else Mason's 50. ValueError if malformed."""
    if not (file := Path(folder, "vocabulary.txt")).is_file():
        return MASON_TOP50
    try:
        tags = [nfc(line.strip()) for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not in UTF-8 ({error}); save it anew.") from None
    if not len(set(tags)) == len(tags) > 0:
        raise ValueError(f"{file} holds {len(tags)} tags, {len(set(tags))} different; give each once, one a line.")
    return tags


def top_tags(tags: pd.DataFrame, k: int) -> list[str]:
    """Return the `k` tags that most songs of `lastfm.read_tags` carry, ties by name. ValueError if there are fewer."""
    counts = Counter(tag for row in tags["tags"] for tag in {nfc(tag) for tag, _ in row})
    if len(counts) < k:
        raise ValueError(f"{k} tags were asked for, but the data holds {len(counts)} different tags.")
    return sorted(counts, key=lambda tag: (-counts[tag], tag))[:k]
