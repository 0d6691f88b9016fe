"""Collections of tagged recordings that can still be had; `data/README.md` says where, and how to lay them out.

Readers return, in NFC, `labels`, uint8 (recordings, tags), by path below the folder, and `split`: train, valid or test.
"""

import hashlib
import io
from collections import Counter
from pathlib import Path, PureWindowsPath
from unicodedata import normalize

import pandas as pd

from helpers import audio, demo, joining, paths, streaming

PARTS = ["train", "valid", "test"]
MTAT_PARTS = dict.fromkeys("0123456789ab", "train") | {"c": "valid"} | dict.fromkeys("def", "test")  # by folder


def read(folder: Path) -> tuple[pd.DataFrame, pd.Series]:
    """Return (labels, split) of a collection. Raises FileNotFoundError if none is there, ValueError if malformed."""
    for name in (name for name in READERS if Path(folder, name).is_file()):
        return READERS[name](Path(folder))
    raise FileNotFoundError(f"{folder} has none of {', '.join(READERS)}; see data/README.md for what they hold.")


def audio_folder(data_folder: Path, tagged: bool = False) -> Path:
    """Return `data_folder`, or that of the demo's recordings if it has none or, `tagged`, no collection for `read`."""
    folder, synthetic = Path(data_folder), paths.is_synthetic(data_folder)
    there = any((folder / name).is_file() for name in READERS) if tagged or synthetic else audio.recordings(folder)
    return folder if there else demo.ensure(folder if synthetic else paths.DEMO, sound=True) / "audio"


def spectrograms(data_folder: Path, num_clips: int | None = None):
    """Return (x, labels, split, folder): the networks' input for a folder's tagged recordings, or else the demo's.

    `x`: `streaming.Rows` (clips, 96, 1366, 1), remade after changes, no broken ones. `num_clips`: of a part, at most.
    """
    folder = audio_folder(data_folder, tagged=True)
    labels, split = read(folder)
    packed = paths.SNAPSHOTS / f"{paths.provenance(folder)['dataset']}_mel.h5"
    try:
        broken = audio.extract(folder, packed, labels)
    except FileExistsError:
        packed.unlink()
        broken = audio.extract(folder, packed, labels)
    if len(broken):
        print(f"{len(broken)} of {len(labels)} recordings left out: {broken['path'][0]} ({broken['reason'][0]}) ...")
    x, labels = streaming.Rows([packed], "mel"), streaming.labels([packed])
    labels, split = _tagged(labels, split[labels.index], f"{folder}, leaving out what cannot be read")
    rank, size = split.groupby(split).cumcount(), split.groupby(split).transform("size")
    wanted = size.clip(upper=num_clips)  # taken evenly: paths are sorted, and folders may be genres
    keep = ((rank + 1) * wanted // size > rank * wanted // size).to_numpy()
    return x.take(keep), labels[keep], split[keep], folder


def artists(folder: Path, recordings: pd.Index) -> pd.Series:
    """Return the artist of each of a collection's `recordings`, `joining.plain`; its path where none is named."""
    if (Path(folder) / "annotations_final.csv").is_file():
        known = {path: path.split("/")[-1].split("-")[0] for path in recordings}  # MagnaTagATune's file names
    elif lists := sorted(Path(folder).glob("autotagging_top50tags-*.tsv")):
        rows = [line.split("\t") for source in lists for line in source.read_text("utf-8").splitlines()]
        known = {path: artist for _, artist, _, path, *_ in rows}
    else:
        known = dict(_read_table(Path(folder) / "tags.csv", ",", "path", "tags").get("artist", {}))
    named = [joining.plain(known.get(path, "").strip()) or path for path in recordings]
    return pd.Series(named, recordings, name="artist")


def magnatagatune(folder: Path, num_tags: int = 50) -> tuple[pd.DataFrame, pd.Series]:
    """Return (labels, split) of MagnaTagATune: `annotations_final.csv` beside the clips' folders 0 to 9, a to f.

    The `num_tags` most frequent tags and the clips that have one, split as by Lee et al. 2017 and Won et al. 2020.
    """
    source = Path(folder) / "annotations_final.csv"
    table = _read_table(source, "\t", "mp3_path", "clip_id").drop(columns="clip_id")
    split = pd.Series(table.index.str.split("/").str[0].map(MTAT_PARTS), table.index)
    labels = (table == "1").astype("uint8")
    return _tagged(labels[labels.sum().sort_index().nlargest(num_tags).index], split, source)


def tagged_folder(folder: Path, num_tags: int = 50) -> tuple[pd.DataFrame, pd.Series]:
    """Return (labels, split) of any recordings, listed in `tags.csv` (`data/README.md` has its columns).

    Kept are the `num_tags` most frequent tags and the recordings that have one. Without `split`, artists are sorted by
    the SHA-256 of their names in `joining.plain` form: the first 20 % test, the next 15 % valid, the rest train.
    """
    source = Path(folder) / "tags.csv"
    table = _read_table(source, ",", "path", "tags")
    carried = [{tag.strip() for tag in row.split("|")} - {""} for row in table["tags"]]
    counts = Counter(sorted(tag for row in carried for tag in row))  # those as frequent as others by name
    vocabulary = [tag for tag, _ in counts.most_common(num_tags)]
    labels = pd.DataFrame([[tag in row for tag in vocabulary] for row in carried], table.index, vocabulary, "uint8")
    if "split" in table:
        return _tagged(labels, table["split"], source)
    names = artists(folder, table.index)
    ranked = sorted(set(names), key=lambda name: hashlib.sha256(name.encode()).digest())
    num_test, num_valid = (max(1, round(share * len(ranked))) for share in (0.2, 0.15))
    sides = dict.fromkeys(ranked, "train") | dict.fromkeys(ranked[: num_test + num_valid], "valid")
    sides |= dict.fromkeys(ranked[:num_test], "test")
    return _tagged(labels, names.map(sides), source)


def mtg_jamendo(folder: Path) -> tuple[pd.DataFrame, pd.Series]:
    """Return (labels, split) of all tracks in MTG-Jamendo's lists `autotagging_top50tags-*.tsv`, split by artist.

    Tags are in alphabetical order, with their category as in the lists: "genre---rock". Beside the lists lie
    recordings (`48/948.mp3`) or the published spectrograms in their place (`48/948.npy`), any number of them.
    """
    carried, split = {}, {}
    for part, name in zip(PARTS, ("train", "validation", "test"), strict=True):
        source = Path(folder) / f"autotagging_top50tags-{name}.tsv"
        header, *rows = [line.split("\t") for line in source.read_text("utf-8").splitlines()] or [[]]
        if header[3:] != ["PATH", "DURATION", "TAGS"] or min(map(len, rows), default=0) < 6:
            raise ValueError(f"{source} is no list of tracks with their tags, separated by tabs; download it again.")
        for _, _, _, path, _, *names in rows:
            carried[path], split[path] = "|".join(names), part
    labels = pd.Series(carried, dtype=object).rename_axis("path").str.get_dummies().astype("uint8")
    return _tagged(labels, pd.Series(split, dtype=object), folder)


READERS = {"annotations_final.csv": magnatagatune, "autotagging_top50tags-train.tsv": mtg_jamendo}
READERS |= {"tags.csv": tagged_folder}


def _read_table(source, delimiter, path_column, other_column):
    """Return a table of text, by the paths in their plainest form: "./a//b" is "a/b"."""
    try:
        text = io.StringIO(normalize("NFC", Path(source).read_text("utf-8-sig")))
        table = pd.read_csv(text, sep=delimiter, header=None, dtype=object, keep_default_na=False)
    except ValueError as error:  # also what pandas finds wrong
        raise ValueError(f"{source} cannot be read ({error}); save it as UTF-8, or download it again.") from None
    header = table.iloc[0].tolist()
    if missing := [name for name in (path_column, other_column) if name not in header]:
        raise ValueError(f"{source} has no column {missing[0]!r}, only {header}; separate them by {delimiter!r}.")
    if len(set(header)) < len(header):
        raise ValueError(f"{source} has two columns {Counter(header).most_common(1)[0][0]!r}; keep one.")
    table = table[1:].set_axis(header, axis=1)
    files = [PureWindowsPath(name) for name in table[path_column]]  # which sees C:/ and \\ on every system
    for name, file in zip(table.pop(path_column), files, strict=True):
        if file.root or "\\" in name or ".." in file.parts or not file.parts:
            raise ValueError(f"{source}: the path {name!r} must be relative, with '/', and below the file's folder.")
    table.index = pd.Index([file.as_posix() for file in files], dtype=object, name="path")
    if not table.index.is_unique:
        raise ValueError(f"{source} lists {table.index[table.index.duplicated()][0]!r} twice; keep one line.")
    return table


def _tagged(labels, split, where):
    """Return both without the recordings that have none of the tags; no part may be empty, or of another name."""
    tagged = labels.any(axis=1)
    labels, split = labels[tagged], split[tagged].rename("split")
    for path, part in split[~split.isin(PARTS)].items():
        raise ValueError(f"{where}: the part of {path} is {part!r}, not one of {PARTS}.")
    for part in [part for part in PARTS if part not in set(split)]:
        raise ValueError(f"{where}: no recording with a tag is in {part!r}; name three artists or fill {PARTS}.")
    return labels, split
