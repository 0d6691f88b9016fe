"""Downloads from a small server on 127.0.0.1 that misbehaves in the ways real ones do; hostile archives."""

import hashlib
import io
import json
import random
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
import urllib.error
import urllib.request
import zipfile
from email import message_from_string
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from helpers import download, paths

CONTENT = random.Random(0).randbytes(1_000_000)
SIZE = len(CONTENT)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        server.requests.append((self.path, self.headers["Range"]))
        if self.path in server.redirects:
            self.send_response(302)
            self.send_header("Location", server.redirects[self.path])
            self.end_headers()
            return
        if self.path not in server.files:
            self.send_error(404)
            return
        body, start = server.files[self.path], 0
        asked = self.headers["Range"] if server.ranges else None
        fresh = self.headers["If-Range"] in (None, server.validators.get("ETag"), *server.validators.values())
        if asked and (fresh or not server.heeds_if_range):
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(body):
                self.send_error(416)
                return
        self.send_response(206 if start or server.always_partial else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        for name, value in server.validators.items():
            self.send_header(name, value)
        if server.says_length:
            self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        self.wfile.write(body[start:][: server.cuts.pop(0) if server.cuts else None])
        if server.stalls:
            time.sleep(server.stalls.pop())

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download, "WAIT", 0)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.files, server.redirects, server.cuts, server.requests = {"/a.bin": CONTENT}, {}, [], []
        server.validators = {"ETag": '"one"', "Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}
        server.stalls, server.always_partial = [], False
        server.handle_error = lambda *args: None  # a client that hangs up is no news
        server.ranges = server.heeds_if_range = server.says_length = True
        server.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def fetch(server, folder, **options):
    return download.fetch([server.url + "/a.bin"], folder / "a.bin", SIZE, **options)


def interrupt(server, folder, kept=600_000):
    """Leave a part of `kept` bytes, as a killed run does."""
    part = folder / "a.bin.part"
    part.write_bytes(CONTENT[:kept])
    note = {"validator": server.validators.get("ETag", server.validators.get("Last-Modified")), "total": SIZE}
    part.with_name("a.bin.part.json").write_text(json.dumps(note))


def ranges(server):
    return [asked for _, asked in server.requests]


def test_a_file_is_downloaded_once(server, tmp_path):
    path = fetch(server, tmp_path, sha256=hashlib.sha256(CONTENT).hexdigest())
    assert path.read_bytes() == CONTENT
    assert [file.name for file in tmp_path.iterdir()] == ["a.bin"]
    fetch(server, tmp_path)
    assert len(server.requests) == 1


@pytest.mark.parametrize("validators", [{"ETag": '"one"'}, {"ETag": 'W/"one"', "Last-Modified": "Mon"}])
def test_cut_connections_are_resumed(server, tmp_path, validators):
    server.validators, server.cuts = validators, [400_000, 300_000]
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert ranges(server) == [None, "bytes=400000-", "bytes=700000-"]


def test_a_server_that_falls_silent_is_asked_again(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", 0.2)
    server.cuts, server.stalls = [400_000], [0.6]
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert ranges(server) == [None, "bytes=400000-"]


def test_a_later_run_resumes(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "TRIES", 1)
    server.cuts = [400_000]
    with pytest.raises(ConnectionError, match="cut at 400,000 of 1,000,000 bytes"):
        fetch(server, tmp_path)
    assert not (tmp_path / "a.bin").exists()
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert ranges(server) == [None, "bytes=400000-"]


def test_a_server_that_ignores_range_starts_over(server, tmp_path):
    server.ranges, server.cuts = False, [400_000]
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert ranges(server) == [None, "bytes=400000-"]


def test_without_a_validator_nothing_is_joined(server, tmp_path, monkeypatch):
    interrupt(server, tmp_path)
    server.files["/a.bin"] = CONTENT[::-1]
    server.validators, server.cuts = {}, [400_000]
    with monkeypatch.context() as patch, pytest.raises(ConnectionError):
        patch.setattr(download, "TRIES", 1)
        fetch(server, tmp_path)
    server.requests.clear()
    server.cuts, server.files["/a.bin"] = [400_000], CONTENT
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert ranges(server) == [None, None]


def test_a_part_without_a_whole_note_is_not_continued(server, tmp_path):
    (tmp_path / "a.bin.part").write_bytes(b"of unknown origin")
    (tmp_path / "a.bin.part.json").write_text('{"validator": "half a no')
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert ranges(server) == [None]


def test_a_part_nobody_asked_for_is_refused(server, tmp_path):
    server.always_partial = True
    with pytest.raises(ConnectionError, match="changed"):
        fetch(server, tmp_path)
    assert not (tmp_path / "a.bin").exists()


def test_a_complete_part_needs_no_download(server, tmp_path):
    interrupt(server, tmp_path, SIZE)
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.requests == []


@pytest.mark.parametrize("heeds_if_range", [True, False])
@pytest.mark.parametrize("new", [CONTENT[::-1], CONTENT[::-1] + b"longer", CONTENT[:500_000][::-1]])
def test_a_file_that_changed_is_downloaded_anew(server, tmp_path, new, heeds_if_range):
    interrupt(server, tmp_path)
    server.files["/a.bin"], server.heeds_if_range = new, heeds_if_range
    server.validators = {"ETag": '"two"', "Last-Modified": "Tue, 02 Jan 2024 00:00:00 GMT"}
    assert fetch(server, tmp_path).read_bytes() == new


def test_a_changed_file_whose_validator_is_not_repeated(server, tmp_path):
    interrupt(server, tmp_path)
    server.files["/a.bin"], server.heeds_if_range, server.validators = CONTENT[::-1] + b"longer", False, {}
    assert fetch(server, tmp_path).read_bytes() == CONTENT[::-1] + b"longer"


def test_the_next_address_is_used_and_404_is_not_retried(server, tmp_path):
    urls = [server.url + "/gone", server.url + "/a.bin"]
    assert download.fetch(urls, tmp_path / "a.bin", SIZE).read_bytes() == CONTENT
    assert [path for path, _ in server.requests] == ["/gone", "/a.bin"]


def test_when_all_hosts_are_gone_the_error_says_what_to_do(server, tmp_path):
    with socket.socket() as taken, pytest.raises(ConnectionError) as caught:
        taken.bind(("127.0.0.1", 0))  # but not listening: refuses connections
        urls = [server.url + "/gone", f"http://127.0.0.1:{taken.getsockname()[1]}/a.bin"]
        download.fetch(urls, tmp_path / "a.bin", SIZE, advice="Use the demo set.")
    message = str(caught.value)
    assert all(text in message for text in [*urls, "404", "refused", str(tmp_path / "a.bin"), "Use the demo set."])


def test_a_wrong_checksum_is_refused_and_not_kept(server, tmp_path):
    server.files["/b.bin"] = CONTENT[::-1]
    right = hashlib.sha256(CONTENT).hexdigest()
    urls = [server.url + "/b.bin", server.url + "/a.bin"]
    assert download.fetch(urls, tmp_path / "a.bin", SIZE, right).read_bytes() == CONTENT
    with pytest.raises(ConnectionError, match="SHA-256"):
        download.fetch(urls[:1], tmp_path / "b.bin", SIZE, right)
    assert [file.name for file in tmp_path.iterdir()] == ["a.bin"]


def test_a_file_put_there_by_hand_is_used_if_it_is_the_right_one(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"by hand")
    assert download.fetch([], path, SIZE) == path
    with pytest.raises(ValueError, match="SHA-256"):
        download.fetch([], path, SIZE, "0" * 64)
    assert path.read_bytes() == b"by hand"


def test_a_web_page_does_not_replace_what_is_there(server, tmp_path):
    interrupt(server, tmp_path)
    server.files["/a.bin"], server.validators = b"<html>This domain is for sale", {}
    with pytest.raises(ConnectionError, match="offers 29 bytes"):
        fetch(server, tmp_path)
    server.files["/a.bin"], server.says_length = CONTENT, False
    with pytest.raises(ConnectionError, match="offers 0 bytes"):
        fetch(server, tmp_path)
    assert (tmp_path / "a.bin.part").stat().st_size == 600_000


def test_only_http_is_used(server, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(CONTENT)
    server.redirects["/a.bin"] = secret.as_uri()
    urls = {secret.as_uri(): "only http", "ftp://127.0.0.1/a.bin": "only http", server.url + "/a.bin": "302"}
    for url, reason in urls.items():
        with pytest.raises(ConnectionError, match=reason):
            download.fetch([url], tmp_path / "a.bin", SIZE)
    server.redirects["/a.bin"], server.files["/b.bin"] = "/b.bin", CONTENT
    assert fetch(server, tmp_path).read_bytes() == CONTENT


def test_a_redirect_to_ftp_is_refused(server, tmp_path, monkeypatch):
    def answer(handler, request):
        headers = message_from_string(f"Content-Length: {SIZE}\n")
        return urllib.request.addinfourl(io.BytesIO(CONTENT), headers, request.full_url, 200)

    monkeypatch.setattr(urllib.request.FTPHandler, "ftp_open", answer)
    server.redirects["/a.bin"] = "ftp://127.0.0.1/a.bin"
    with pytest.raises(ConnectionError, match="ftp"):
        fetch(server, tmp_path)
    assert list(tmp_path.iterdir()) == []


def make_tar(path, members, mode="w:gz"):
    """`members`: name -> bytes, or name -> (type, link target)."""
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
            else:
                info.type, info.linkname = content
                archive.addfile(info)
    return path


def make_zip(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


SONGS = {
    "Set/A/B/TRAB1.h5": b"one" * 1000,
    "Set/A/C/TRAC1.json": b"{}",
    "Set/LICENSE.txt": b"text",
    "Set/tool.py": b"import os",
    "Set/A/B/._TRAB1.h5": b"Finder's own",
}


def files_below(folder):
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if not file.is_dir())


@pytest.mark.parametrize(
    ("make", "name", "top"),
    [(make_tar, "x.tar.gz", "Set/"), (make_zip, "x.zip", "Set/"), (make_tar, "two_tops.tar.gz", "")],
)
def test_only_songs_are_unpacked_once(tmp_path, make, name, top):
    archive = make(tmp_path / name, {song.replace("Set/", top): content for song, content in SONGS.items()})
    folder = download.unpack(archive, tmp_path / "out" / "songs")
    assert files_below(folder) == ["A/B/TRAB1.h5", "A/C/TRAC1.json", "LICENSE.txt"]
    assert (folder / "A/B/TRAB1.h5").read_bytes() == SONGS["Set/A/B/TRAB1.h5"]
    assert [file.name for file in folder.parent.iterdir()] == ["songs"]
    archive.unlink()
    assert download.unpack(archive, folder) == folder


SYM, HARD = tarfile.SYMTYPE, tarfile.LNKTYPE


@pytest.mark.parametrize(
    "bad",
    [
        {"../evil.h5": b"x"},
        {"Set/../../evil.h5": b"x"},
        {"/evil.h5": b"x"},
        {"..\\evil.h5": b"x"},
        {"C:/evil.h5": b"x"},
        {"../skipped.py": b"x"},
        {"Set/link.h5": (SYM, "/etc/passwd")},
        {"Set/link": (SYM, "..")},
        {"Set/hard.h5": (HARD, "Set/A/B/TRAB1.h5")},
        {"Set/device.h5": (tarfile.CHRTYPE, "")},
        {"Set/pipe.h5": (tarfile.FIFOTYPE, "")},
    ],
    ids=str,
)
def test_a_hostile_tar_leaves_nothing(tmp_path, bad):
    archive = make_tar(tmp_path / "bad.tar.gz", SONGS | bad)
    with pytest.raises(ValueError, match="link, a device or outside"):
        download.unpack(archive, tmp_path / "out" / "songs")
    assert files_below(tmp_path) == ["bad.tar.gz"]


def zip_link():
    info = zipfile.ZipInfo("Set/link.h5")
    info.create_system, info.external_attr = 3, 0o120777 << 16
    return info


@pytest.mark.parametrize("name", ["../evil.h5", "/evil.h5", "..\\evil.h5", "C:\\evil.h5", zip_link()], ids=str)
def test_a_hostile_zip_leaves_nothing(tmp_path, name):
    archive = make_zip(tmp_path / "bad.zip", SONGS | {name: b"/etc/passwd"})
    with pytest.raises(ValueError, match="link, a device or outside"):
        download.unpack(archive, tmp_path / "out" / "songs")
    assert files_below(tmp_path) == ["bad.zip"]


@pytest.mark.parametrize("make", [make_tar, make_zip])
@pytest.mark.parametrize("name", ["Set/zeros.h5", "Set/zeros.bin"])
def test_a_bomb_is_refused(tmp_path, monkeypatch, make, name):
    monkeypatch.setattr(download, "MAX_UNPACKED", 1_000_000)
    archive = make(tmp_path / ("bomb.zip" if make is make_zip else "bomb.tar.gz"), {name: bytes(2_000_000)})
    with pytest.raises(ValueError, match="unpacks to over"):
        download.unpack(archive, tmp_path / "songs")
    assert not (tmp_path / "songs").exists()


def test_a_zip_that_understates_its_size_writes_no_more(tmp_path):
    archive = make_zip(tmp_path / "liar.zip", {"Set/zeros.h5": bytes(2_000_000)})
    archive.write_bytes(archive.read_bytes().replace((2_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    with pytest.raises(ValueError, match="damaged"):
        download.unpack(archive, tmp_path / "songs")
    assert files_below(tmp_path) == ["liar.zip"]


def truncated(data):
    return data[: len(data) // 2]


def flipped(data):
    # A bit of gzip's own checksum, or of a zip member's content: only the checksum can tell.
    place = len(data) - 6 if data.startswith(b"\x1f\x8b") else 60
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


@pytest.mark.parametrize("damage", [truncated, flipped, lambda data: b"<html>Not found", lambda data: b""])
@pytest.mark.parametrize("make", [make_tar, make_zip])
def test_a_damaged_archive_leaves_nothing(tmp_path, make, damage):
    archive = make(tmp_path / ("x.zip" if make is make_zip else "x.tar.gz"), SONGS | {"Set/z.h5": CONTENT})
    archive.write_bytes(damage(archive.read_bytes()))
    with pytest.raises(ValueError, match="damaged or no archive"):
        download.unpack(archive, tmp_path / "songs")
    assert files_below(tmp_path) == [archive.name]


def test_a_negative_size_is_refused(tmp_path):
    info = tarfile.TarInfo("Set/a.h5")
    info.size = -512
    archive = tmp_path / "x.tar"
    archive.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(10_240))
    with pytest.raises(ValueError, match=r"do not use it|damaged"):  # newer Pythons refuse it themselves
        download.unpack(archive, tmp_path / "songs")


def test_two_runs_at_once_do_not_make_half_a_folder(tmp_path, monkeypatch):
    archive, copy = make_tar(tmp_path / "x.tar.gz", SONGS), shutil.copyfileobj

    def interfere(source, file):
        copy(source, file)
        monkeypatch.setattr(shutil, "copyfileobj", copy)
        shutil.rmtree(next(tmp_path.glob(".songs-*")))  # as the start of a second run does

    monkeypatch.setattr(shutil, "copyfileobj", interfere)
    with pytest.raises(ValueError, match="another run"):
        download.unpack(archive, tmp_path / "songs")
    assert files_below(tmp_path) == ["x.tar.gz"]


def test_an_archive_without_songs_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no songs"):
        download.unpack(make_zip(tmp_path / "x.zip", {"a.py": b""}), tmp_path / "songs")
    assert not (tmp_path / "songs").exists()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_killed_while_unpacking_nothing_looks_finished(tmp_path):
    archive = make_tar(tmp_path / "x.tar.gz", {f"Set/{i}.h5": CONTENT[:1000] for i in range(20)})
    code = (
        "import shutil, sys, time\n"
        "from helpers import download\n"
        "shutil.copyfileobj = lambda source, file: (print('half', flush=True), time.sleep(60))\n"
        "download.unpack(sys.argv[1], sys.argv[2])\n"
    )
    command = [sys.executable, "-c", code, str(archive), str(tmp_path / "songs")]
    with subprocess.Popen(command, cwd=paths.ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout.readline() == b"half\n"
        process.kill()
    left = [file for file in files_below(tmp_path) if file.endswith(".h5")]
    assert len(left) == 1 and not (tmp_path / "songs").exists()
    assert len(files_below(download.unpack(archive, tmp_path / "songs"))) == 20
    assert sorted(file.name for file in tmp_path.iterdir()) == ["songs", "x.tar.gz"]


@pytest.fixture
def published(server, tmp_path, monkeypatch):
    """Serve two small archives in place of the real ones."""
    source = tmp_path / "source"
    source.mkdir()
    msd = make_tar(source / "m.tar.gz", {"MillionSongSubset/A/A/A/TRAAA1.h5": CONTENT}).read_bytes()
    lastfm = make_zip(source / "l.zip", {"lastfm_subset/A/A/A/TRAAA1.json": b"{}"}).read_bytes()
    files = {}
    for name, body in (("lastfm_subset", lastfm), ("MillionSongSubset", msd)):
        entry = download.FILES[name]
        server.files["/" + entry["archive"]] = body
        files[name] = entry | {"urls": [f"{server.url}/{entry['archive']}"], "size": len(body)}
    monkeypatch.setattr(download, "FILES", files)
    return server


def test_msd_subset_is_downloaded_unpacked_and_then_left_alone(published, tmp_path, capsys):
    published.cuts = [None, 300_000]
    root = download.msd_subset(tmp_path / "data")
    assert root == tmp_path / "data"
    assert {"MillionSongSubset/A/A/A/TRAAA1.h5", "lastfm_subset/A/A/A/TRAAA1.json"} < set(files_below(root))
    printed = capsys.readouterr().out
    assert "millionsongsubset.tar.gz, 1 MB" in printed and "non-commercial" in printed
    published.requests.clear()
    for archive in ("millionsongsubset.tar.gz", "lastfm_subset.zip"):
        (root / archive).unlink()
    download.msd_subset(root)
    assert published.requests == []


def test_an_archive_put_there_by_hand_is_unpacked(published, tmp_path):
    root = tmp_path / "data"
    root.mkdir()
    for name in ("millionsongsubset.tar.gz", "lastfm_subset.zip"):
        (root / name).write_bytes(published.files.pop("/" + name))
    download.msd_subset(root)
    assert published.requests == [] and (root / "MillionSongSubset/A/A/A/TRAAA1.h5").read_bytes() == CONTENT


def test_a_dead_host_is_reported_with_alternatives(published, tmp_path):
    del published.files["/millionsongsubset.tar.gz"]
    with pytest.raises(ConnectionError) as caught:
        download.msd_subset(tmp_path / "data")
    for text in ("404", "CRNN_DATA", "demo set", str(tmp_path / "data" / "millionsongsubset.tar.gz")):
        assert text in str(caught.value)


def test_a_small_disk_is_refused_before_anything(published, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "free_bytes", lambda folder: 2_000_000)
    with pytest.raises(OSError, match="GB needed"):
        download.msd_subset(tmp_path / "data")
    assert published.requests == [] and not (tmp_path / "data").exists()


def test_what_is_already_downloaded_needs_no_space(published, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "free_bytes", lambda folder: 2_000_000)
    root = tmp_path / "data"
    root.mkdir()
    (root / "millionsongsubset.tar.gz").write_bytes(published.files["/millionsongsubset.tar.gz"])
    download.msd_subset(root)


def test_the_registry_names_real_addresses_only():
    for entry in download.FILES.values():
        assert entry["sha256"] is None or len(entry["sha256"]) == 64
        assert all(url.startswith("http") and url.endswith("/" + entry["archive"]) for url in entry["urls"])
        assert entry["licence"] and entry["alternatives"] and entry["size"] > 1e7


def test_without_a_network_it_gives_up_at_once(tmp_path, monkeypatch):
    def no_host(*_, **__):
        raise urllib.error.URLError(socket.gaierror(-3, "Temporary failure in name resolution"))

    monkeypatch.setattr(download.urllib.request, "urlopen", no_host)
    monkeypatch.setattr(download.time, "sleep", lambda _: pytest.fail("waited for a network that is not there"))
    with pytest.raises(ConnectionError, match="name resolution"):
        download.fetch(["https://nowhere.invalid/a", "https://nowhere.invalid/b"], tmp_path / "a", 10)
