"""Collections of tagged recordings that can still be had; `data/README.md` says where, and how to lay them out.

Every reader returns (labels, split). `labels`: uint8 (recordings, tags), a column a tag, by `path`, which is relative
to the folder and has "/": what `audio.extract` takes. `split`: "train", "valid" or "test", by the same `path`.
No recording is opened or looked for here: `audio.extract` lists those that are missing or damaged.
"""

import csv
import hashlib
from collections import Counter
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
import pandas as pd

from helpers import audio, demo_audio, joining, paths, streaming, tags
from helpers.reading import find_files

PARTS = ["train", "valid", "test"]
MTAT_PARTS = dict.fromkeys("0123456789ab", "train") | {"c": "valid"} | dict.fromkeys("def", "test")  # by folder


def read(folder: Path) -> tuple[pd.DataFrame, pd.Series]:
    """Return (labels, split) of the collection in `folder`, whichever of the three below it is.

    Raises FileNotFoundError if it is none, ValueError if it is malformed.
    """
    readers = {
        "annotations_final.csv": magnatagatune,
        "tags.csv": lambda folder: tagged_folder(folder / "tags.csv"),
        "train_x_msd_id.txt": choi_split,
    }
    for name, reader in readers.items():
        if (Path(folder) / name).is_file():
            return reader(Path(folder))
    raise FileNotFoundError(f"{folder} has none of {', '.join(readers)}; see data/README.md for what they hold.")


def audio_folder(data_folder: Path) -> Path:
    """Return the folder with recordings for a notebook: `data_folder`, or the demo's if no recording lies below it.

    The demo's recordings are synthetic, and written if they are not there yet. Raises FileNotFoundError if
    `data_folder` is not a folder.
    """
    folder = Path(data_folder)
    if paths.is_synthetic(folder) and not (folder / "tags.csv").is_file():
        return demo_audio.ensure(folder)
    # The same search as `audio.extract`'s, so that hidden files do not count and links to folders are followed.
    found = any(path.suffix.lower() in audio.SUFFIXES for path in find_files(folder, ""))
    return folder if found else demo_audio.ensure()


def spectrograms(data_folder: Path, num_clips: int | None = None):
    """Return (x, labels, split, folder): the networks' input for the tagged recordings a notebook uses.

    `x` is `streaming.Rows` of shape (clips, 96, 1366, 1), which stay on the disk, `labels` and `split` as above,
    `folder` where the recordings lie: the demo's, if `data_folder` has no tagged recordings. `num_clips`: at most so
    many of each part. The features are extracted once, to `data/snapshots/<data set>_mel.h5`; broken recordings are
    listed there and left out.
    """
    folder = audio_folder(data_folder)
    try:
        labels, split = read(folder)
    except FileNotFoundError:
        folder = demo_audio.ensure()
        labels, split = read(folder)
    packed = paths.SNAPSHOTS / f"{paths.provenance(folder)['dataset']}_mel.h5"
    try:
        audio.extract(folder, packed, labels)
    except FileExistsError:
        if not paths.is_synthetic(folder):
            raise
        packed.unlink()  # of an older demo set, and made in seconds
        audio.extract(folder, packed, labels)
    x, labels = streaming.Rows([packed], "mel"), streaming.labels([packed])
    split = split[labels.index]
    if num_clips:
        keep = (split.groupby(split).cumcount() < num_clips).to_numpy()
        x, labels, split = x.take(keep), labels[keep], split[keep]
    return x, labels, split, folder


def magnatagatune(folder: Path, num_tags: int = 50) -> tuple[pd.DataFrame, pd.Series]:
    """Return (labels, split) of MagnaTagATune: `annotations_final.csv` beside the clips' folders 0 to 9, a to f.

    The tags are the `num_tags` that most clips have. Clips with none of them are left out, as by Lee et al. 2017 and
    Won et al. 2020; others keep them, so compare scores on the same clips only. The usual split: folders 0 to b
    train, c valid, d to f test. Three clips are empty files as published. Raises ValueError if the table is malformed.
    """
    source = Path(folder) / "annotations_final.csv"
    try:
        table = pd.read_csv(source, sep="\t", dtype={"mp3_path": str})
    except ValueError as error:  # so are all of pandas' own
        raise ValueError(f"{source} cannot be read ({error}); download it again.") from None
    if not {"clip_id", "mp3_path"} < set(table):
        raise ValueError(f"{source} needs tab-separated columns clip_id, one a tag, and mp3_path; download it again.")
    names = table.pop("mp3_path").fillna("")
    table = table.drop(columns="clip_id")
    if not table.isin([0, 1]).all(axis=None):
        raise ValueError(f"{source} has tags that are neither 0 nor 1; download it again.")
    table.index = index = _index(names, source)
    split = pd.Series(index.str.split("/").str[0].map(MTAT_PARTS), index, name="split")
    if split.isna().any():
        raise ValueError(f"{source}: {split[split.isna()].index[0]} is in none of the folders 0 to 9, a to f.")
    return _tagged(table[_most_frequent(table.sum(), num_tags, source)].astype(np.uint8), split)


def tagged_folder(source: Path, num_tags: int = 50) -> tuple[pd.DataFrame, pd.Series]:
    """Return (labels, split) of any recordings, listed in `source`: a CSV file in UTF-8, with commas and a header.

    Columns: `path`, relative to the file's folder; `tags`, joined by "|"; if known, `artist` and `split`. The tags
    are the `num_tags` that most recordings have (all if there are fewer); recordings with none are left out.
    Without `split`, artists are sorted by the SHA-256 of their names: the first 20 % are test, the next 15 % valid
    (at least one each), the rest train. So it is the same every time, and no artist is on two sides. Case, diacritics
    and punctuation do not make another artist; a recording without artist is one of its own.
    Raises ValueError if the file is malformed, has a path twice or outside the folder, or fewer than three artists.
    """
    table = _read_csv(source)
    index = _index(table["path"], source)
    carried = [{tag.strip() for tag in row.split("|")} - {""} for row in table["tags"]]
    vocabulary = _most_frequent(Counter(tag for row in carried for tag in row), num_tags, source)
    labels = pd.DataFrame([[tag in row for tag in vocabulary] for row in carried], index, vocabulary, np.uint8)
    if "split" in table:
        split = table["split"].set_axis(index)
        if len(wrong := split[~split.isin(PARTS)]):
            raise ValueError(f"{source}: the split of {wrong.index[0]} is {wrong.iloc[0]!r}, not one of {PARTS}.")
    else:
        artists = [joining.plain(artist.strip()) for artist in table.get("artist", [""] * len(table))]
        split = _by_artist([a or path for a, path in zip(artists, index, strict=True)], source).set_axis(index)
    return _tagged(labels, split.rename("split"))


def choi_split(folder: Path) -> tuple[pd.DataFrame, pd.Series]:
    """Return (labels, split) of Choi's split of the MSD, with the tags CHOI_TOP50. Choi et al. 2017, section 3.

    `folder`: the files of the repository MSD_split_for_tagging, 201,680 / 12,634 / 28,540 lines. A `path` is that of
    the preview clip: "3/6/36122424.clip.mp3" for the line "3/6/36122424.npy". Should two lines name the same clip, the
    first counts. `choi_tracks` has the MSD ids.
    Raises FileNotFoundError if a file is missing, ValueError if the files of a part do not fit together.
    """
    tracks, labels = choi_tracks(folder), []
    for part in PARTS:
        rows, source = tracks[tracks["split"] == part], Path(folder) / f"{part}_y.npy"
        try:
            y = np.asarray(np.load(source, allow_pickle=False))
        except (ValueError, EOFError) as error:
            raise ValueError(f"{source} cannot be read ({error}); download it again.") from None
        need = len(rows), len(tags.CHOI_TOP50)
        if y.shape != need or not ((y == 0) | (y == 1)).all():
            raise ValueError(f"{source} holds {y.shape} {y.dtype}, not zeros and ones {need}; download it again.")
        labels.append(pd.DataFrame(y.astype(np.uint8), rows.index, tags.CHOI_TOP50))
    first = ~tracks.index.duplicated()
    return pd.concat(labels)[first], tracks["split"][first]


def choi_tracks(folder: Path) -> pd.DataFrame:
    """Return the `track_id` and the `split` of each line of Choi's files, by `path`; see `choi_split`."""
    names = [f"{part}_{end}" for part in PARTS for end in ("x_filename.txt", "x_msd_id.txt", "y.npy")]
    if missing := [name for name in names if not (Path(folder) / name).is_file()]:
        raise FileNotFoundError(f"{folder} lacks {', '.join(missing)}; see data/README.md for where they are.")
    parts = []
    for part in PARTS:
        names = [f"{part}_x_filename.txt", f"{part}_x_msd_id.txt"]
        clips, ids = ((Path(folder) / name).read_text("utf-8-sig", "replace").split() for name in names)
        if len(clips) != len(ids):
            raise ValueError(f"{folder}: {names[0]} has {len(clips)} lines, {names[1]} {len(ids)}; get both again.")
        clips = [f"{clip[:-4]}.clip.mp3" if clip.endswith(".npy") else clip for clip in clips]
        parts.append(pd.DataFrame({"track_id": ids, "split": part}, pd.Index(clips, name="path")))
    return pd.concat(parts)


def _read_csv(source):
    rows = []
    try:
        with open(source, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            header = reader.fieldnames or []
            for row in reader:
                if None in row or None in row.values():  # what csv puts for a field too many, or too few
                    raise ValueError(f"{source}, line {reader.line_num}, has not as many fields as the header.")
                rows.append(row)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{source} cannot be read ({error}); save it as CSV in UTF-8.") from None
    if missing := [name for name in ("path", "tags") if name not in header]:
        raise ValueError(f"{source} has no column {missing[0]!r}, only {header}; commas must separate them.")
    if not rows:
        raise ValueError(f"{source} lists no recordings; write a line for each.")
    return pd.DataFrame(rows)


def _index(names, source):
    """Return `names` as paths in their plainest form ("./a//b" is "a/b"), if all are below the folder and differ."""
    for name in names:
        path, absolute = PurePosixPath(name), name.startswith("/") or PureWindowsPath(name).is_absolute()
        if absolute or "\\" in name or ".." in path.parts or not path.parts:
            raise ValueError(f"{source}: the path {name!r} must be relative, with '/', and below the file's folder.")
    index = pd.Index([str(PurePosixPath(name)) for name in names], name="path")
    if not index.is_unique:
        raise ValueError(f"{source} lists {index[index.duplicated()][0]!r} twice; keep one line.")
    return index


def _most_frequent(counts, num_tags, source):
    """Return the `num_tags` tags with the highest counts, ties in alphabetical order; see `tags.top_tags`."""
    if not len(counts) or num_tags < 1:
        raise ValueError(f"{source} has {len(counts)} tags, num_tags is {num_tags}; neither may be 0.")
    return sorted(counts.keys(), key=lambda tag: (-counts[tag], tag))[:num_tags]


def _by_artist(names, source):
    artists = sorted(set(names), key=lambda name: hashlib.sha256(name.encode()).digest())
    if len(artists) < 3:
        raise ValueError(f"{source} has {len(artists)} artists, too few to split; add a column 'split'.")
    num_test, num_valid = (max(1, round(share * len(artists))) for share in (0.2, 0.15))
    sides = ["test"] * num_test + ["valid"] * num_valid + ["train"] * (len(artists) - num_test - num_valid)
    return pd.Series(names).map(dict(zip(artists, sides, strict=True)))


def _tagged(labels, split):
    """Return both without the recordings that have none of the tags."""
    tagged = labels.any(axis=1)
    return labels[tagged], split[tagged]
