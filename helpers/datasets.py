"""Collections of tagged recordings that can still be had; `data/README.md` says where, and how to lay them out.

Every reader returns (labels, split). `labels`: uint8 (recordings, tags), a column a tag, by `path`, which is relative
to the folder and has "/": what `audio.extract` takes. `split`: "train", "valid" or "test", by the same `path`.
Text is in NFC. No recording is looked for here: `audio.extract` lists those that are missing or damaged.
"""

import csv
import hashlib
import io
from collections import Counter
from pathlib import Path, PureWindowsPath
from unicodedata import normalize

import numpy as np
import pandas as pd

from helpers import audio, demo, joining, paths, streaming
from helpers.reading import find_files

PARTS = ["train", "valid", "test"]
MTAT_PARTS = dict.fromkeys("0123456789ab", "train") | {"c": "valid"} | dict.fromkeys("def", "test")  # by folder


def read(folder: Path) -> tuple[pd.DataFrame, pd.Series]:
    """Return (labels, split) of a collection. Raises FileNotFoundError if none is there, ValueError if malformed."""
    for name, reader in READERS.items():
        if (Path(folder) / name).is_file():
            return reader(Path(folder))
    raise FileNotFoundError(f"{folder} has none of {', '.join(READERS)}; see data/README.md for what they hold.")


def audio_folder(data_folder: Path) -> Path:
    """Return `data_folder`, or the folder of the demo's recordings if none lies below `data_folder`."""
    folder = Path(data_folder)
    if paths.is_synthetic(folder) and not (folder / "tags.csv").is_file():
        return demo.ensure(folder, sound=True) / "audio"
    found = any(path.suffix.lower() in audio.SUFFIXES for path in find_files(folder, ""))
    return folder if found else demo.ensure(sound=True) / "audio"


def spectrograms(data_folder: Path, num_clips: int | None = None):
    """Return (x, labels, split, folder): the networks' input for a folder's tagged recordings, or else the demo's.

    `x`: `streaming.Rows` (clips, 96, 1366, 1), on the disk, in `data/snapshots/<data set>_mel.h5`, which is made anew
    if anything has changed. Broken recordings are left out. `num_clips`: at most so many of each part.
    """
    folder = audio_folder(data_folder)
    if not any((folder / name).is_file() for name in READERS):
        folder = demo.ensure(sound=True) / "audio"
    labels, split = read(folder)
    packed = paths.SNAPSHOTS / f"{paths.provenance(folder)['dataset']}_mel.h5"
    try:
        audio.extract(folder, packed, labels)
    except FileExistsError:
        packed.unlink()
        audio.extract(folder, packed, labels)
    x, labels = streaming.Rows([packed], "mel"), streaming.labels([packed])
    labels, split = _tagged(labels, split[labels.index], f"{folder}, leaving out what cannot be read")
    if num_clips:
        keep = (split.groupby(split).cumcount() < num_clips).to_numpy()
        x, labels, split = x.take(keep), labels[keep], split[keep]
    return x, labels, split, folder


def magnatagatune(folder: Path, num_tags: int = 50) -> tuple[pd.DataFrame, pd.Series]:
    """Return (labels, split) of MagnaTagATune: `annotations_final.csv` beside the clips' folders 0 to 9, a to f.

    The `num_tags` most frequent tags; clips with none are left out, as by Lee et al. 2017 and Won et al. 2020. The
    usual split: folders 0 to b train, c valid, d to f test.
    """
    source = Path(folder) / "annotations_final.csv"
    table = _read_table(source, "\t", ["clip_id", "mp3_path"])
    table = table.set_index(_index(table["mp3_path"], source)).drop(columns=["clip_id", "mp3_path"])
    if not table.isin(["0", "1"]).all(axis=None):
        raise ValueError(f"{source} has tags that are neither 0 nor 1; download it again.")
    split = pd.Series(table.index.str.split("/").str[0].map(MTAT_PARTS), table.index)
    labels = (table == "1").astype(np.uint8)
    return _tagged(labels[_most_frequent(labels.sum(), num_tags)], split, source)


def tagged_folder(source: Path, num_tags: int = 50) -> tuple[pd.DataFrame, pd.Series]:
    """Return (labels, split) of any recordings, listed in `source`: a CSV file in UTF-8, with commas and a header.

    Columns: `path`, relative to the file's folder; `tags`, joined by "|"; if known, `artist` and `split`. Kept are the
    `num_tags` most frequent tags and the recordings that have one. Without `split`, artists are sorted by the SHA-256
    of their names (without case, diacritics, punctuation): the first 20 % test, the next 15 % valid, the rest train.
    """
    table = _read_table(source, ",", ["path", "tags"])
    index = _index(table["path"], source)
    carried = [{tag.strip() for tag in row.split("|")} - {""} for row in table["tags"]]
    vocabulary = _most_frequent(Counter(tag for row in carried for tag in row), num_tags)
    labels = pd.DataFrame([[tag in row for tag in vocabulary] for row in carried], index, vocabulary, np.uint8)
    artists = [joining.plain(artist.strip()) for artist in table.get("artist", [""] * len(table))]
    split = table["split"] if "split" in table else _by_artist([a or i for a, i in zip(artists, index, strict=True)])
    return _tagged(labels, split.set_axis(index), source)


READERS = {  # each takes the folder in which its file lies
    "annotations_final.csv": magnatagatune,
    "tags.csv": lambda folder: tagged_folder(folder / "tags.csv"),
}


def _read_table(source, delimiter, needed):
    """Return a table of text; every line has as many fields as the header, every column another name."""
    try:
        text = io.StringIO(normalize("NFC", Path(source).read_text("utf-8-sig")), newline="")
        header, *rows = [row for row in csv.reader(text, delimiter=delimiter, strict=True) if row] or [[]]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{source} cannot be read ({error}); save it as UTF-8, or download it again.") from None
    if missing := [name for name in needed if name not in header]:
        raise ValueError(f"{source} has no column {missing[0]!r}, only {header}; separate them by {delimiter!r}.")
    if len(set(header)) < len(header):
        raise ValueError(f"{source} has two columns {Counter(header).most_common(1)[0][0]!r}; keep one.")
    if wrong := [row for row in rows if len(row) != len(header)]:
        raise ValueError(f"{source} has a line with not as many fields as the header: {wrong[0][:5]}; repair it.")
    return pd.DataFrame(rows, columns=header, dtype=object)


def _index(names, source):
    """Return `names` as paths in their plainest form ("./a//b" is "a/b"), if all are below the folder and differ."""
    for name, path in zip(names, found := [PureWindowsPath(name) for name in names], strict=True):
        if path.root or "\\" in name or ".." in path.parts or not path.parts:
            raise ValueError(f"{source}: the path {name!r} must be relative, with '/', and below the file's folder.")
    index = pd.Index([path.as_posix() for path in found], dtype=object, name="path")
    if not index.is_unique:
        raise ValueError(f"{source} lists {index[index.duplicated()][0]!r} twice; keep one line.")
    return index


def _most_frequent(counts, num_tags):
    return sorted(counts.keys(), key=lambda tag: (-counts[tag], tag))[:num_tags]


def _by_artist(names):
    artists = sorted(set(names), key=lambda name: hashlib.sha256(name.encode()).digest())
    num_test, num_valid = (max(1, round(share * len(artists))) for share in (0.2, 0.15))
    sides = ["test"] * num_test + ["valid"] * num_valid + ["train"] * len(artists)
    return pd.Series(names).map(dict(zip(artists, sides, strict=False)))


def _tagged(labels, split, where):
    """Return both without the recordings that have none of the tags; no part may be empty, or of another name."""
    tagged = labels.any(axis=1)
    labels, split = labels[tagged], split[tagged].rename("split")
    for path, part in split[~split.isin(PARTS)].items():
        raise ValueError(f"{where}: the part of {path} is {part!r}, not one of {PARTS}.")
    for part in PARTS:
        if part not in set(split):
            raise ValueError(f"{where}: no recording with a tag is in {part!r}; training needs all of {PARTS}.")
    return labels, split
