"""Time reading and joining MSD and last.fm files against the usual way; print the ratio.

    python benchmarks/reading.py [folder]

The usual way, as in the Million Song Dataset's own tools and the notebooks built on them: open each file with
PyTables, call one getter per field, append to lists, in one process; `json.load` each last.fm file; merge.

The songs of `folder` (default: `CRNN_DATA`, or the demo data) that can be read, and their last.fm files, are
copied under new track ids into a temporary folder (up to 4 GB) until there are as many as in the MSD's subset,
10,000. The usual way reads them once; ours reads all of them five times in between, starting its worker
processes anew each time, and the median counts. At last ours reads them on a Dask cluster of as many processes on
this machine, if distributed is installed: what the cluster costs where none is needed.
"""

import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import joblib
import pandas as pd
import tables
from joblib.externals.loky import get_reusable_executor
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from helpers import demo, paths
from helpers.joining import join
from helpers.lastfm import read_tags
from helpers.msd import read_tracks
from helpers.reading import find_files
from helpers.tags import MASON_TOP50

SONGS, SEGMENTS, PASSES = 10_000, 252, 5


def ours(root: Path) -> list[str]:
    tracks, _ = read_tracks(root)
    tags, _ = read_tags(root)
    return sorted(join(tracks, tags, MASON_TOP50, SEGMENTS)[0]["track_id"])


def usual(root: Path) -> list[str]:
    ids, titles, artists, all_pitches = [], [], [], []
    lastfm_ids, lastfm_titles, lastfm_artists, all_tags = [], [], [], []
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)
            if name.endswith(".h5"):
                file = tables.open_file(path, mode="r")
                ids.append(get_track_id(file).decode())
                titles.append(get_title(file).decode())
                artists.append(get_artist_name(file).decode())
                all_pitches.append(get_segments_pitches(file))
                file.close()
            elif name.endswith(".json"):
                with open(path, encoding="utf-8") as file:
                    song = json.load(file)
                lastfm_ids.append(song["track_id"])
                lastfm_titles.append(song["title"])
                lastfm_artists.append(song["artist"])
                all_tags.append([tag for tag, _ in song["tags"]])
    keys = ["track_id", "title", "artist_name"]
    msd = pd.DataFrame(dict(zip([*keys, "pitches"], (ids, titles, artists, all_pitches), strict=True)))
    lastfm = pd.DataFrame(
        dict(zip([*keys, "tags"], (lastfm_ids, lastfm_titles, lastfm_artists, all_tags), strict=True))
    )
    songs = msd.merge(lastfm, on=keys)
    songs = songs[[any(tag in MASON_TOP50 for tag in tags) for tags in songs["tags"]]]
    return sorted(songs["track_id"][[len(pitches) >= SEGMENTS for pitches in songs["pitches"]]])


def get_track_id(file):
    return file.root.analysis.songs.cols.track_id[0]


def get_title(file):
    return file.root.metadata.songs.cols.title[0]


def get_artist_name(file):
    return file.root.metadata.songs.cols.artist_name[0]


def get_segments_pitches(file):
    # Where the song's rows begin: the format allows several songs a file.
    return file.root.analysis.segments_pitches[file.root.analysis.songs.cols.idx_segments_pitches[0] :]


def copy_songs(source: Path, target: Path) -> tuple[int, int]:
    """Copy songs and their last.fm files to `target` under new ids; return how many of each."""
    tracks, broken = read_tracks(source)
    tags, broken_tags = read_tags(source)
    if tracks.empty:
        raise SystemExit(f"{source} holds no MSD file that can be read; give the folder with the data.")
    songs = dict(zip(tracks["track_id"], good(source, ".h5", broken), strict=True))
    lastfm = dict(zip(tags["track_id"], good(source, ".json", broken_tags), strict=True))
    copies = -(-SONGS // len(songs))
    num_tags = 0
    for copy in tqdm(range(copies), "copies"):
        folder = target / f"{copy:03}"
        folder.mkdir()
        for track_id, path in songs.items():
            new_id = f"{track_id}-{copy}"
            shutil.copyfile(path, folder / f"{new_id}.h5")
            os.chmod(folder / f"{new_id}.h5", 0o600)
            with h5py.File(folder / f"{new_id}.h5", "r+") as file:
                rows = file["analysis/songs"][:]
                rows["track_id"] = new_id.encode()
                file["analysis/songs"][:] = rows
            if track_id in lastfm:
                song = json.loads(lastfm[track_id].read_bytes()) | {"track_id": new_id}
                (folder / f"{new_id}.json").write_text(json.dumps(song))
                num_tags += 1
    return copies * len(songs), num_tags


def good(folder: Path, suffix: str, broken: pd.DataFrame) -> list[Path]:
    return [path for path in find_files(folder, suffix) if str(path) not in set(broken["path"])]


def main() -> None:
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else paths.data_folder()
    if source == paths.DEMO:
        demo.ensure()
    with tempfile.TemporaryDirectory() as folder:
        num_songs, num_tags = copy_songs(source, Path(folder))
        print(f"{num_songs:,} MSD files and {num_tags:,} last.fm files: copies of those in {source}")
        folders = sorted(Path(folder).iterdir())
        found, usual_seconds, our_seconds = [], 0.0, []
        for i, part in enumerate(folders):
            seconds, joined = timed(usual, part)
            usual_seconds += seconds
            found += joined
            if (i + 1) * PASSES // len(folders) > len(our_seconds):
                get_reusable_executor().shutdown()
                seconds, joined = timed(ours, Path(folder))
                our_seconds.append(seconds)
        cluster_seconds = on_cluster(Path(folder), joined)
    assert sorted(found) == joined, "the two ways join different songs"
    median = statistics.median(our_seconds)
    print(f"{len(found):,} songs joined with at least {SEGMENTS} segments, the same ones both ways")
    print(f"usual: {usual_seconds:.1f} s, {1e3 * usual_seconds / num_songs:.2f} ms a song")
    each = ", ".join(f"{seconds:.1f}" for seconds in our_seconds)
    print(f"ours: {median:.1f} s ({each}), {1e3 * median / num_songs:.2f} ms a song")
    print(f"ratio: {usual_seconds / median:.1f} on {os.cpu_count()} cores")
    if cluster_seconds:
        print(f"on a Dask cluster of these cores: {cluster_seconds:.1f} s, {cluster_seconds / median:.2f} times ours")


def on_cluster(folder: Path, expected: list[str]) -> float | None:
    """Return the seconds that ours takes on a cluster that has been started, or None where there is none."""
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        return None
    with (
        LocalCluster(os.cpu_count(), threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster),
        joblib.parallel_config("dask"),
    ):
        seconds, joined = timed(ours, folder)
    assert joined == expected, "the cluster joins different songs"
    return seconds


def timed(way: Callable[[Path], list[str]], folder: Path) -> tuple[float, list[str]]:
    start = time.perf_counter()
    found = way(folder)
    return time.perf_counter() - start, found


if __name__ == "__main__":
    main()
