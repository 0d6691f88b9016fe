"""Tag vocabularies: Mason's 50 tags, Choi's 50 tags, or the most frequent tags of the data at hand."""

import pandas as pd

# The 50 most frequent tags of all of last.fm, most frequent first (Mason 2020, "Data").
MASON_TOP50 = (
    """
rock, pop, alternative, indie, electronic, female vocalists, favorites, Love, dance, 00s,
alternative rock, jazz, beautiful, singer-songwriter, metal, chillout, male vocalists, Awesome,
classic rock, soul, indie rock, Mellow, electronica, 80s, folk, british, 90s, chill, american,
instrumental, punk, oldies, seen live, blues, hard rock, cool, Favorite, ambient, acoustic,
experimental, Favourites, female vocalist, guitar, Hip-Hop, 70s, party, country, easy listening,
sexy, catchy
""".strip()
    .replace("\n", " ")
    .split(", ")
)

# In the order of the released 2016 models (Choi et al. 2017, section 3).
CHOI_TOP50 = (
    """
rock, pop, alternative, indie, electronic, female vocalists, dance, 00s, alternative rock, jazz,
beautiful, metal, chillout, male vocalists, classic rock, soul, indie rock, Mellow, electronica,
80s, folk, 90s, chill, instrumental, punk, oldies, blues, hard rock, ambient, acoustic,
experimental, female vocalist, guitar, Hip-Hop, 70s, party, country, easy listening, sexy, catchy,
funk, electro, heavy metal, Progressive rock, 60s, rnb, indie pop, sad, House, happy
""".strip()
    .replace("\n", " ")
    .split(", ")
)

# The four categories of Choi et al. 2017, section 3.3 and Figure 3, in the paper's order. Section 3 names rock, pop;
# sad, happy; female vocalist, guitar; and 60s to 00s. The rest is our own reading: "oldies" could be a genre, too.
CHOI_CATEGORIES = {
    tag: category
    for category, names in {
        "genre": "rock, pop, alternative, indie, electronic, dance, alternative rock, jazz, metal, classic rock, soul, "
        "indie rock, electronica, folk, punk, blues, hard rock, ambient, experimental, Hip-Hop, country, funk, "
        "electro, heavy metal, Progressive rock, rnb, indie pop, House",
        "mood": "beautiful, chillout, Mellow, chill, party, easy listening, sexy, catchy, sad, happy",
        "instrument": "female vocalists, male vocalists, instrumental, acoustic, female vocalist, guitar",
        "era": "00s, 80s, 90s, oldies, 70s, 60s",
    }.items()
    for tag in names.split(", ")
}


def top_tags(tags: pd.DataFrame, k: int) -> list[str]:
    """Return the `k` tags that most songs of `tags` carry, most frequent first, ties in alphabetical order.

    `tags` comes from `helpers.lastfm.read_tags`. A tag counts once per song, whatever its last.fm count.
    Raises ValueError if the data holds fewer than `k` different tags.
    """
    names = pd.Series([name for row in tags["tags"] for name in {tag for tag, _ in row}], dtype=object)
    counts = names.value_counts().rename_axis("tag").reset_index(name="songs")
    if len(counts) < k:
        raise ValueError(f"{k} tags were asked for, but the data holds {len(counts)} different tags.")
    return list(counts.sort_values(["songs", "tag"], ascending=[False, True])["tag"].head(k))
