"""Downloads from a small server on 127.0.0.1 that misbehaves in the ways real ones do; damaged and hostile archives."""

import hashlib
import io
import random
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from helpers import download

CONTENT = random.Random(0).randbytes(1_000_000)
SIZE = len(CONTENT)
PAGE = b"<html>This domain is for sale"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server, asked = self.server, self.headers["Range"]
        server.requests.append((self.path, asked))
        if self.path not in server.files:
            return self.send_error(404)
        body = server.files[self.path]
        start = int(asked[len("bytes=") : -1]) if asked else 0
        if start and start >= len(body):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        self.wfile.write(body[start:][: server.cuts.pop(0) if server.cuts else None])

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.files, server.cuts, server.requests = {"/a.bin": CONTENT, "/page": PAGE}, [], []
        server.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def fetch(server, folder, *names, **options):
    urls = [f"{server.url}/{name}" for name in names or ("a.bin",)]
    return download.fetch(urls, folder / "a.bin", SIZE, **options)


@pytest.mark.parametrize("kind", [hashlib.sha256, hashlib.md5])
def test_a_file_is_downloaded_once_and_known_by_its_checksum(server, tmp_path, kind):
    right = kind(CONTENT).hexdigest()
    server.files["/b.bin"] = CONTENT[::-1][:600_000]
    with pytest.raises(ConnectionError, match="other checksum"):
        fetch(server, tmp_path, "b.bin", checksum=right)
    assert fetch(server, tmp_path, "b.bin", "a.bin", checksum=right).read_bytes() == CONTENT
    assert [file.name for file in tmp_path.iterdir()] == ["a.bin"]
    server.requests.clear()
    fetch(server, tmp_path, checksum=right)
    assert not server.requests
    with pytest.raises(ValueError, match=r"a\.bin is not the published file"):  # put there by hand
        fetch(server, tmp_path, checksum=right[::-1])


def test_cut_connections_are_resumed_also_by_a_later_run(server, tmp_path, monkeypatch):
    server.cuts = [400_000, 300_000]
    with monkeypatch.context() as patch, pytest.raises(ConnectionError, match="cut at 400,000 of 1,000,000 bytes"):
        patch.setattr(download, "TRIES", 1)
        fetch(server, tmp_path)
    assert not (tmp_path / "a.bin").exists()
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.requests[1][1] == "bytes=400000-" and len(server.requests) == 3


def test_the_next_address_is_used_and_the_error_names_all(server, tmp_path):
    with pytest.raises(ConnectionError) as caught:
        fetch(server, tmp_path, "gone", "page")
    for text in ("/gone: HTTP Error 404", f"/page offers {len(PAGE)} bytes", f"put a copy at {tmp_path / 'a.bin'}"):
        assert text in str(caught.value)
    server.requests.clear()
    assert fetch(server, tmp_path, "gone", "page", "a.bin").read_bytes() == CONTENT
    assert [path for path, _ in server.requests] == ["/gone", "/page", "/a.bin"]  # each is asked once


SONGS = {"Set/A/B/TRAB1.h5": b"one" * 1000, "Set/A/C/TRAC1.json": b"{}", "Set/LICENSE.txt": CONTENT}


def make(path, members=SONGS):
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return path
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def test_a_hostile_archive_leaves_nothing_outside(tmp_path):
    hostile = SONGS | {"Set/../../evil.h5": b"x"}
    with pytest.raises(ValueError, match="no safe archive"):
        download.unpack(make(tmp_path / "bad.tar.gz", hostile), tmp_path / "songs")
    download.unpack(make(tmp_path / "bad.zip", hostile), tmp_path / "songs")  # keeps it inside
    assert {path.name for path in tmp_path.iterdir()} == {"bad.tar.gz", "bad.zip", "songs"}


@pytest.mark.parametrize("name", ["x.tar.gz", "x.zip"])
def test_a_damaged_archive_leaves_nothing(tmp_path, name):
    archive = make(tmp_path / name)
    whole = archive.read_bytes()
    place = 60 if name == "x.zip" else len(whole) - 6  # only the checksum can tell
    flipped = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
    for damaged in (whole[: len(whole) // 2], flipped, PAGE, b""):
        archive.write_bytes(damaged)
        with pytest.raises(ValueError, match="damaged or no safe archive"):
            download.unpack(archive, tmp_path / "songs")
        assert list(tmp_path.iterdir()) == [archive]


def test_msd_subset_is_downloaded_unpacked_and_then_left_alone(server, tmp_path, monkeypatch, capsys):
    files, archives = dict(download.FILES), {entry[0] for entry in download.FILES.values()}
    monkeypatch.setattr(download, "FILES", files)
    for name, (file, _, licence, _) in download.FILES.items():
        archive = make(tmp_path / file)
        server.files[f"/{file}"] = archive.read_bytes()
        files[name] = file, archive.stat().st_size, licence, [f"{server.url}/{file}"]
    root = download.msd_subset(tmp_path / "data")
    assert {path.name for path in root.iterdir()} == files.keys() | archives
    assert all((root / song.replace("Set", name)).read_bytes() == SONGS[song] for song in SONGS for name in files)
    assert "millionsongsubset.tar.gz, 1 MB" in (printed := capsys.readouterr().out) and "non-commercial" in printed
    for file in archives:
        (root / file).unlink()
    download.msd_subset(root)
    assert len(server.requests) == 2
