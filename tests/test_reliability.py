"""Reliability: killed writers, full disks, read-only folders, damaged and hostile files, and who is left unharmed."""

import contextlib
import functools
import io
import itertools
import json
import os
import pickle
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import traceback
import zlib
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from xml.etree import ElementTree

import h5py
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import soundfile
from conftest import _write_song as write_song
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers import (
    audio,
    demo_audio,
    demo_data,
    download,
    joining,
    lastfm,
    msd,
    paths,
    plots,
    reading,
    snapshots,
    streaming,
)

resource = pytest.importorskip("resource", reason="Windows has no limits of this kind")
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks, limits and signals as Linux has them")
MANY = settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
FACTS = {"dataset": "set", "synthetic": False}
CONTENT = random.Random(0).randbytes(300_000)
PITCHES = "analysis/segments_pitches"
MEGABYTE = 2**20


# --- What writes: each job makes its files in a folder -------------------------------------------------------------


class Noon(datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2020, 1, 1, 12, tzinfo=tz)


def make_songs(title, num_songs=5):
    """Return joined songs that say and hold something that belongs to `title`."""
    rng = np.random.default_rng(len(title) + ord(title[0]))
    songs = pd.DataFrame({"track_id": [f"TR{i}" for i in range(num_songs)], "title": title, "artist_name": "a"})
    songs["num_segments"], songs["segments_pitches"] = 12, list(rng.random((num_songs, 12, 12), np.float32))
    tags = songs[["track_id", "title", "artist_name"]].assign(tags=[[("rock", 1)]] * num_songs)
    return joining.join(songs, tags, ["rock", "pop"], 12)[0]


def write_data(folder, title="A Title"):
    for number in range(4):
        track_id = f"TRAAAAA128F000000{number}"
        write_song(folder / f"{track_id}.h5", track_id, title)
        song = {"track_id": track_id, "title": title, "artist": "An Artist", "tags": [["rock", "100"]]}
        (folder / f"{track_id}.json").write_text(json.dumps(song))
        soundfile.write(folder / f"{number}.wav", np.random.default_rng(number).normal(0, 0.1, 6_000), 12_000)


def read_join_save(folder):
    snapshots.datetime = Noon
    tracks, tags = msd.read_tracks(folder / "data", 1)[0], lastfm.read_tags(folder / "data", 1)[0]
    songs, report = joining.join(tracks, tags, ["rock", "pop"], 12)
    snapshots.save(songs, folder / "data", report, folder)


def extract(folder):
    audio.extract(folder / "data", folder / "mel.h5", num_workers=1)


def save_figure(folder):
    plots.datetime, paths.FIGURES = Noon, folder
    plots.style()
    plt.rcParams["savefig.dpi"] = 30
    fig, _ = plots.show_pitches(np.eye(12))
    plots.save(fig, "mason_figure_1", FACTS, pd.DataFrame({"a": [1.5]}))


def generate(folder):
    demo_data.VERSION, demo_data._write_h5 = 2, lambda path, template, *_: shutil.copyfile(template, path)
    demo_data.generate(folder / "demo", 12)


def older_demo(folder):
    demo_data._write_h5 = lambda path, template, *_: shutil.copyfile(template, path)
    demo_data.generate(folder / "demo", 12)


def record(folder):
    demo_audio.VERSION, demo_audio.render = 2, lambda *_: np.full(1_000, 0.5, np.float32)
    demo_audio.ensure(folder / "demo")


def older_recordings(folder):
    older_demo(folder)
    demo_audio.render = lambda *_: np.zeros(1_000, np.float32)
    demo_audio.ensure(folder / "demo")


class Bar(download.tqdm):
    def update(self, n=1):
        sys.audit("reliability.chunk")  # a moment to be killed at


def fetch(folder):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            start = int(self.headers["Range"].split("=")[1].strip("-")) if self.headers["Range"] else 0
            self.send_response(206 if start else 200)
            self.send_header("ETag", '"one"')
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
            self.send_header("Content-Length", str(len(CONTENT) - start))
            self.end_headers()
            self.wfile.write(CONTENT[start:])

        def log_message(self, *_):
            pass

    os.environ["no_proxy"], download.CHUNK, download.tqdm, download.WAIT = "127.0.0.1", 1 << 15, Bar, 0
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    download.fetch([f"http://127.0.0.1:{server.server_port}/a.bin"], folder / "a.bin", len(CONTENT))


JOBS = {  # what is there before, and what is killed
    "snapshot": (lambda folder: write_data(folder / "data"), read_join_save),
    "features": (lambda folder: write_data(folder / "data"), extract),
    "figure": (lambda folder: None, save_figure),
    "demo": (older_demo, generate),
    "recordings": (older_recordings, record),
    "download": (lambda folder: None, fetch),
}


def visible(folder):
    """Return {name: content} of what a reader would find: no hidden files and no beginnings kept for later."""
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    kept = (".part", ".part.json", ".partial")
    return {
        name: path.read_bytes()
        for name, path in found.items()
        if not name.endswith(kept) and not any(part.startswith(".") for part in name.split("/"))
    }


# --- Killing and limiting: these run in a process of their own, which forks ----------------------------------------


def in_child(work, last_moment=None, max_bytes=None, deadly=False, patience=60):
    """Run `work` in a fork; return (exit status, its error, moments, most memory in MB).

    It is killed at its `last_moment`-th operation on files of the current folder. A file that would exceed
    `max_bytes` is cut there: its writer gets an error, or is killed if that is `deadly`.
    """
    report, moments = Path.cwd().parent / "report.json", itertools.count()
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    report.unlink(missing_ok=True)
    pid = os.fork()
    if not pid:
        code, error = 0, ""
        try:
            signal.alarm(patience)
            if max_bytes is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (max_bytes, unlimited[1]))
                signal.signal(signal.SIGXFSZ, signal.SIG_DFL if deadly else signal.SIG_IGN)
            here = str(Path.cwd())

            def count(event, arguments):
                inside = any(isinstance(a, str | os.PathLike) and os.fspath(a).startswith(here) for a in arguments)
                changing = event in ("os.remove", "os.rmdir", "os.rename", "os.mkdir", "os.chmod", "reliability.chunk")
                if (changing or inside) and next(moments) == last_moment:
                    os.kill(os.getpid(), signal.SIGKILL)

            sys.addaudithook(count)
            work()
        except BaseException as caught:
            code, error = 1, f"{type(caught).__name__}: {caught}"
            if not isinstance(caught, (*reading.READ_ERRORS, pickle.UnpicklingError)):
                code = 2
                traceback.print_exc()
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
        report.write_text(json.dumps([error, next(moments)]))
        os._exit(code)
    _, status, usage = os.wait4(pid, 0)
    error, count = json.loads(report.read_text()) if report.exists() else ("", 0)
    return os.waitstatus_to_exitcode(status), error, count, usage.ru_maxrss // 1024


def places(root, name):
    """Return (folder to write in, function that puts there what was there before, the job)."""
    (prepare, work), root = JOBS[name], Path(root) / name
    root.mkdir(mode=0o755)
    here, template = root / "here", root / "template"
    template.mkdir()
    os.chdir(template)
    assert in_child(lambda: prepare(template))[0] == 0

    def begin():
        shutil.rmtree(here, ignore_errors=True)
        shutil.copytree(template, here)
        os.chdir(here)
        return visible(here)

    return here, begin, lambda: work(here)


def kill_at_every_moment(root, name):
    here, begin, work = places(root, name)
    before = begin()
    code, _, total, _ = in_child(work)
    whole = visible(here)
    assert code == 0 and whole != before and total > 4
    size = max(len(content) for path, content in whole.items() if content != before.get(path))
    kills = [{"last_moment": moment} for moment in {*range(0, total, 1 + total // 8), *range(total - 4, total)}]
    for kill in kills + [{"max_bytes": limit, "deadly": True} for limit in (1, size // 2, size - 1)]:
        begin()
        code, *_ = in_child(work, **kill)
        assert code < 0 or name == "download", (kill, code)  # it comes in chunks of chance
        left = visible(here)
        assert left == before or left.items() <= whole.items(), f"neither the old nor the new after {kill}"
        code, error, *_ = in_child(work)
        assert code == 0, f"after {kill} of {total} moments: {error}"
        assert visible(here) == whole, f"after {kill} of {total} moments"


def fill_the_disk(root, name):
    here, begin, work = places(root, name)
    before = begin()
    in_child(work)
    whole = visible(here)
    size = max(len(content) for path, content in whole.items() if content != before.get(path))
    for limit in (0, 100, size // 2, size - 1):
        begin()
        code, error, *_ = in_child(work, max_bytes=limit)
        assert code == 1 and ("File too large" in error or "errno = 27" in error), (limit, code, error)
        assert str(here) in error, f"no file is named: {error}"
        assert all(content in (before.get(path), whole[path]) for path, content in visible(here).items()), limit
    code, *_ = in_child(work)
    assert code == 0


def close_the_folder(root, name):
    here, begin, work = places(root, name)
    before, is_root = begin(), os.geteuid() == 0

    def without_powers():
        os.seteuid(65534 if is_root else os.geteuid())  # permissions do not bind root
        try:
            work()
        finally:
            os.seteuid(0 if is_root else os.geteuid())

    folders = [here, *(path for path in here.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    code, error, *_ = in_child(without_powers)
    for folder in folders:
        folder.chmod(0o755)
    assert code == 1 and "Permission denied" in error and str(here) in error, error
    assert visible(here) == before


def write_at_once(root, _):
    """Four processes write one snapshot over and over; what is read at any time is the whole of one of them."""
    here = Path(root)
    os.chdir(here)
    written, pids = {}, []
    for number in range(4):
        songs = make_songs(str(number), 300)
        written[str(number)] = joining.pitches(songs)
        pid = os.fork()
        if not pid:
            for _ in range(30):
                snapshots.save(songs, here / "set", None, here)
            os._exit(0)
        pids.append(pid)
    path, seen = snapshots.path_of(here / "set", 12, folder=here), 0
    while pids:
        if path.exists():
            songs = snapshots.load(path)
            (title,) = set(songs["title"])
            np.testing.assert_array_equal(joining.pitches(songs), written[title])
            seen += 1
        for pid in list(pids):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                assert status == 0
                pids.remove(pid)
    assert seen > 5 and os.listdir(here) == [path.name]


def extract_at_once(root, _):
    here, begin, work = places(root, "features")
    for _ in range(5):
        begin()
        pids = []
        for _ in range(3):
            if not (pid := os.fork()):
                try:
                    work()
                except BaseException:
                    traceback.print_exc()
                    os._exit(1)
                os._exit(0)
            pids.append(pid)
        codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
        assert codes == [0] * 3
        with h5py.File(here / "mel.h5") as file:
            assert file["ids"].asstr()[:].tolist() == [f"{i}.wav" for i in range(4)]
            assert np.isfinite(file["mel"][:]).all()
        assert sorted(os.listdir(here)) == ["data", "mel.h5"]


def open_hostile_file(root, name):
    """Read it in a fork with little memory and time; no file may change."""
    (write, read, expected), path = HOSTILE[name], Path(root) / name / "x"
    path.parent.mkdir()
    os.chdir(path.parent)
    in_child(lambda: write(path))
    before = sorted(Path(root).rglob("*"))
    usual = in_child(lambda: None)[3]
    code, error, _, peak = in_child(lambda: read(path), patience=30)
    assert code == 1 and expected in error, (code, error)
    assert peak - usual < 400, f"{peak} MB"
    assert sorted(Path(root).rglob("*")) == before


def in_a_process(function, root, *names):
    """Call a function of this file with each name, in a new process: nothing runs there that a fork would break."""
    code = f"import sys; import test_reliability as t; t.for_each(t.{function.__name__}, *sys.argv[1:])"
    command = [sys.executable, "-c", code, str(root), *names]
    found = os.pathsep.join([str(paths.ROOT), str(paths.ROOT / "tests")])
    environment = os.environ | {"PYTHONPATH": found, "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, cwd=paths.ROOT)
    assert done.returncode == 0, done.stderr[-3_000:]


def for_each(function, root, *names):
    audio._window_and_filters(), "x".encode("idna")  # else every fork would load them
    failed = []
    for name in names:
        try:
            function(root, name)
        except Exception:
            failed.append(f"{name}: {traceback.format_exc()}")
    sys.exit("\n".join(failed) or 0)


# --- The tests -----------------------------------------------------------------------------------------------------


@linux
def test_killed_at_any_moment_a_job_leaves_the_old_or_the_new_and_then_ends_the_same(tmp_path):
    in_a_process(kill_at_every_moment, tmp_path, *JOBS)


@linux
def test_a_full_disk_is_named_and_leaves_what_was_there(tmp_path):
    in_a_process(fill_the_disk, tmp_path, *JOBS)


@linux
@pytest.mark.parametrize("function", [write_at_once, extract_at_once])
def test_processes_that_write_one_file_at_once(function, tmp_path):
    in_a_process(function, tmp_path, "once")


@linux
def test_a_folder_that_cannot_be_written_is_named():
    root = Path(tempfile.mkdtemp())  # pytest's own folders are closed to others
    try:
        root.chmod(0o755)
        in_a_process(close_the_folder, root, *JOBS)
    finally:
        shutil.rmtree(root)


@linux
def test_a_full_disk_leaves_the_last_epoch_of_a_training_run(tmp_path):
    keras, training = pytest.importorskip("keras"), pytest.importorskip("helpers.training")
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3_000)])
    history = pd.DataFrame({"epoch": 1, "split": ["train", "held_out"], "macro_auc": 0.5, "seconds": 1.0})
    training._save(tmp_path, model, history, {"patience": 1}, FACTS)
    whole, (soft, hard) = visible(tmp_path), resource.getrlimit(resource.RLIMIT_FSIZE)
    for name in ("history.csv", "run.json", "best.keras"):
        with pytest.raises(OSError, match=name):
            try:
                resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole[name]) - 1, hard))
                training._save(tmp_path, model, history, {"patience": 1}, FACTS)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        left = visible(tmp_path)
        assert left.keys() == whole.keys() and left["model.keras"] == whole["model.keras"]
        assert left["best.keras"] == whole["best.keras"] and not list(tmp_path.glob(".*"))


# --- Damaged files -------------------------------------------------------------------------------------------------


def damage(raw, flips, cut):
    damaged = bytearray(raw)
    for flip in flips:
        damaged[flip // 8 % len(damaged)] ^= 1 << flip % 8
    return bytes(damaged[: len(damaged) - cut if cut < len(damaged) // 2 else None])


FLIPS, CUT = st.lists(st.integers(0, 10**7), max_size=6), st.integers(0, 10**5)


@contextlib.contextmanager
def patience():
    """End this process if what is within takes long: on damaged strings of any length HDF5 can go round for ever."""
    signal.alarm(5)
    try:
        yield
    finally:
        signal.alarm(0)


def all_fields(path):
    with patience():
        return {"song": msd._read_one(path, tuple(dict.fromkeys([*msd.COLUMNS, *msd.SCALARS, *msd.ARRAYS])))}


def copies(folder, raw, count):
    """Write damaged copies; HDF5's own structures, at the start, get most of the flips."""
    rng, written = random.Random(0), []
    for number in range(count):
        flips = [rng.randrange(8 * rng.choice([1_000, 10_000, len(raw)])) for _ in range(rng.choice([0, 1, 1, 4]))]
        written.append(folder / f"{number}.h5")
        written[-1].write_bytes(damage(raw, flips, rng.randrange(len(raw)) if number % 4 == 0 else 0))
    return written


def test_damaged_songs_give_sound_rows_or_reasons_even_if_they_crash_hdf5(tmp_path):
    demo = demo_data.generate(tmp_path / "demo", 12)
    raw = min((path.read_bytes() for path in demo.rglob("*.h5") if path.stat().st_size > 20_000), key=len)
    rows, broken = reading.read_all(all_fields, copies(tmp_path, raw, 300), 2, "damaged songs")
    assert len(rows) > 20 and len(broken) > 100 and broken["reason"].str.len().gt(5).all()
    for row in (row["song"] for row in rows):
        pitches = row["segments_pitches"]
        assert pitches.dtype == np.float32 and pitches.shape == (row["num_segments"], 12)
        assert pitches.min() >= 0 and pitches.max() <= 1 and isinstance(row["title"], str)


def read_damaged_features(root, _):
    with h5py.File(Path(root) / "whole", "w") as file:
        file.create_dataset("mel", data=np.ones((5, 12, 24), "f2"), chunks=(1, 12, 24))
        file["labels"], file["tags"], file["ids"] = np.eye(5, 3, dtype="u1"), list("abc"), list("vwxyz")
    os.chdir(root)

    def read(path):
        x, labels = streaming.Rows([path], "mel")[:], streaming.labels([path])
        assert x.dtype == np.float32 and x.ndim == 4 and len(labels) == len(x)

    written = copies(Path(root), (Path(root) / "whole").read_bytes(), 150)
    codes = [in_child(lambda path=path: read(path), patience=1)[0] for path in written]
    assert min(codes.count(0), codes.count(1)) > 30, codes
    assert codes.count(2) == 0 and len(codes) - codes.count(0) - codes.count(1) < 3, codes  # HDF5 crashed or hung


@linux
def test_damaged_features_are_refused_or_keep_their_shape(tmp_path):
    in_a_process(read_damaged_features, tmp_path, "once")


@MANY
@given(FLIPS, CUT)
def test_damaged_snapshots_are_refused(tmp_path_factory, flips, cut):
    folder = tmp_path_factory.getbasetemp() / "damaged-snapshot"
    path = folder / "set_segments-12_exact.pkl"
    if not path.exists():
        snapshots.save(make_songs("t"), folder / "set", None, folder)
        path.with_suffix(".whole").write_bytes(path.read_bytes())
    raw = path.with_suffix(".whole").read_bytes()
    path.write_bytes(damage(raw, flips, cut))
    if path.read_bytes() == raw:
        assert len(snapshots.load(path)) == 5
        return
    with pytest.raises((ValueError, pickle.UnpicklingError), match=r"segments-12_exact\.pkl"):
        snapshots.load(path)


def encoded(name, subtype):
    buffer = io.BytesIO()
    soundfile.write(buffer, np.random.default_rng(0).normal(0, 0.1, (2_000, 2)), 16_000, subtype, format=name)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["WAV PCM_16", "WAV FLOAT", "FLAC PCM_16", "OGG VORBIS", "MP3 MPEG_LAYER_III"])
def test_damaged_recordings_give_finite_numbers_or_reasons(kind, tmp_path, monkeypatch):
    if kind.split()[0] not in soundfile.available_formats():
        pytest.skip(f"this libsndfile has no {kind}")
    monkeypatch.setattr(shutil, "which", lambda name: None)  # ffmpeg would be asked for each
    raw, outcomes = encoded(*kind.split()), []

    @MANY
    @given(FLIPS, CUT)
    def check(flips, cut):
        (tmp_path / "x").write_bytes(damage(raw, [flip % (8 * len(raw)) for flip in flips], cut))
        try:
            samples = audio.load(tmp_path / "x")
        except ValueError as error:
            assert str(tmp_path / "x") in str(error)
            outcomes.append("reason")
            return
        outcomes.append("samples")
        assert samples.dtype == np.float32 and samples.ndim == 1 and np.isfinite(samples).all()
        mel = audio.log_mel(samples, squared_twice=True)
        assert mel.shape == (96, 1 + len(samples) // 256) and np.isfinite(mel.astype(np.float16)).all()

    check()
    assert min(outcomes.count("reason"), outcomes.count("samples")) > 20


# --- Hostile files -------------------------------------------------------------------------------------------------


class Call:
    """Pickles as a call of `function`, and then as setting `state`."""

    def __init__(self, function, *arguments, state=None):
        self.reduced = function, arguments, state

    def __reduce__(self):
        return self.reduced


def pickled(data):
    return lambda path: path.write_bytes(b"\x80\x05" + data)


def with_title(title):
    """Return a writer of a snapshot whose titles are `title`."""

    def write(path):
        content = pickle.loads(snapshots.save(make_songs("t"), path, None, path.parent).read_bytes())
        content["columns"]["title"] = title
        path.write_bytes(pickle.dumps(content))

    return write


LAUGHS = functools.reduce(lambda part, _: [part] * 1_000, range(5), "ha")  # a few kB in a pickle
SMUGGLED = Call(np.dtype, "V8", False, True, state=(3, "|", None, ("a",), {"a": (np.dtype("O"), 0)}, 8, 1, 0))
BOMBS = {
    "memo": pickled(b"Nr" + struct.pack("<I", 2**27) + b"."),
    "bytearray": pickled(b"\x96" + struct.pack("<Q", 2**40) + b"."),
    "bytes": pickled(b"\x8e" + struct.pack("<Q", 2**40) + b"."),
    "text": pickled(b"\x8d" + struct.pack("<Q", 2**40) + b"."),
    "frame": pickled(b"\x95" + struct.pack("<Q", 2**40) + b"."),
    "long": pickled(b"\x8b" + struct.pack("<i", 2**31 - 1) + b"."),
    "hash": pickled(b"})" + b"2\x86" * 60 + b"Ns."),  # a key of 2**60 equal parts
    "shared": pickled(b"})\x940" + b"".join(b"h%ch%c\x86\x940" % (i, i) for i in range(60)) + b"h\x3cNs."),
    "deep key": pickled(b"})" + b"\x85" * 300_000 + b"Ns."),
    "deep list": pickled(b"]" * 10**5 + b"a" * (10**5 - 1) + b"."),
    "repeated": with_title(Call(np.ndarray, (2**28,), "i1", b"x", 0, (0,))),
    "nothing": with_title(Call(np.ndarray, (2**28,), "S0")),
    "allocated": with_title(Call(np.ndarray, (2**28,), "i1")),
    "other lengths": with_title(["t"] * 4),
    "numbers": with_title([1] * 5),
    "laughs": with_title([LAUGHS] * 5),
    "no columns": lambda path: path.write_bytes(pickle.dumps({"format": snapshots.FORMAT})),
    "pointers": with_title(Call(np.zeros(1).__reduce_ex__(5)[0], b"\1" * 40, SMUGGLED, (5,), "C")),
}


def inflating(times):
    """Return a writer of a song whose one chunk of 8 kB unpacks to 600 MB, packed so many times."""

    def write(path):
        storage, bomb = h5py.h5p.create(h5py.h5p.DATASET_CREATE), bytes(600_000_000)
        storage.set_chunk((85, 12))
        for _ in range(times):
            storage.set_deflate(9)
            bomb = zlib.compress(bomb, 1)
        with h5py.File(write_song(path.with_suffix(".h5")), "r+") as file:
            del file[PITCHES]
            space = h5py.h5s.create_simple((85, 12))
            data = h5py.h5d.create(file.id, PITCHES.encode(), h5py.h5t.NATIVE_DOUBLE, space, storage)
            data.write_direct_chunk((0, 0), bomb)

    return write


def raise_broken(read):
    def reader(path):
        rows, broken = read(path.parent, 1)
        raise ValueError(f"{len(rows)} rows; {broken['reason'].tolist()}")

    return reader


def text(content):
    return lambda path: path.with_suffix(".json").write_text(content)


def song(**changes):
    return json.dumps({"track_id": "TR", "title": "t", "artist": "a", "tags": []} | changes)


def slow_wave(path):
    soundfile.write(path, np.zeros(100_000), 1, format="WAV")


def endless_flac(path):
    raw = bytearray(encoded("FLAC", "PCM_16"))
    raw[21:26] = bytes([raw[21] | 15, 255, 255, 255, 255])  # 2**36 - 1 samples
    path.write_bytes(raw)


def pipe(suffix):
    return lambda path: os.mkfifo(path.with_suffix(suffix))


H5, JSON = raise_broken(msd.read_tracks), raise_broken(lastfm.read_tags)
HOSTILE = {
    **{name: (write, snapshots.load, "/x ") for name, write in BOMBS.items()},
    "inflating": (inflating(1), H5, "0 rows; ["),
    "twice": (inflating(2), H5, "0 rows; ["),
    "h5 pipe": (pipe(".h5"), H5, "0 rows; ["),
    "json pipe": (pipe(".json"), JSON, "0 rows; ["),
    "100 MB title": (lambda path: text(song(title="x" * 10**8))(path), JSON, "not the file of a single song"),
    "many lists": (text("[" + "[]," * 1_000_000 + "[]]"), JSON, "not a JSON object"),
    "not a number": (text(song(tags=[["rock", float("nan")]])), JSON, "not an integer from 0 to 100: nan"),
    "1e999": (text(song(tags=[["rock", 1]]).replace("1]", "1e999]")), JSON, "not an integer from 0 to 100: inf"),
    "digits": (text(song(tags=[["rock", 1]]).replace("1]", "1" * 10**6 + "]")), JSON, "not JSON"),
    "slow wave": (slow_wave, audio.load, "x"),
    "endless": (endless_flac, audio.load, "x"),
    "audio pipe": (os.mkfifo, audio.load, "x"),
}


@linux
def test_hostile_files_are_refused_in_bounded_memory_and_time(tmp_path):
    in_a_process(open_hostile_file, tmp_path, *HOSTILE)


# --- Names and pipes -----------------------------------------------------------------------------------------------

NAME = "A\x13B\x1b[31m \x00$a$ $\\frac{$ <b>\r\n&-->\u202e🎵, \"'"


def test_control_characters_in_names_harm_nothing(tmp_path, monkeypatch):
    write_data(tmp_path / "data", NAME)
    monkeypatch.setattr(paths, "FIGURES", tmp_path / "figures")
    tracks, tags = msd.read_tracks(tmp_path / "data")[0], lastfm.read_tags(tmp_path / "data")[0]
    songs, report = joining.join(tracks, tags, ["rock"], 12)
    assert songs["title"].tolist() == [NAME] * 4
    loaded = snapshots.load(snapshots.save(songs, tmp_path / "data", report, tmp_path))
    assert loaded["title"].tolist() == [NAME] * 4
    fig, _ = plots.tag_bars(np.array([0.5, 0.1]), np.array([0.1, 0.1]), [NAME, "pop"], title=NAME)
    figure = plots.save(fig, "names", FACTS, loaded[["track_id", "title"]])
    plt.close(fig)
    assert pd.read_csv(figure.with_suffix(".csv"))["title"].tolist() == [NAME] * 4
    ElementTree.parse(figure.with_suffix(".svg"))
    for fig, _ in (plots.show_pitches(np.eye(12), NAME), plots.show_wave(np.zeros(100), NAME)):
        fig.canvas.draw()
        plt.close(fig)


MANY_FILES = """
import sys
import numpy as np
from helpers import tag
class Model:
    name, input_shape, output_shape = "", (None, 12, 24, 1), (None, 50)
    def predict_on_batch(self, x): return np.zeros((1, 50))
tag._network, tag.features = lambda options: Model, lambda path, model: np.zeros(1)
Model = Model()
sys.exit(tag.main([*(f"{i}.mp3" for i in range(5_000)), *sys.argv[1:]]))
"""


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_reader_that_has_seen_enough_is_no_error(options):
    command = [sys.executable, "-c", MANY_FILES, *options]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=paths.ROOT, **pipes) as process:
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == "" and process.wait() == 1
