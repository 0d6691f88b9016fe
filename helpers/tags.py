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
