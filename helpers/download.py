"""Download real data (`msd_subset`, `billboard`) or any published file (`fetch`). Importing downloads nothing."""

import hashlib
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from gzip import BadGzipFile
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from urllib.error import URLError
from urllib.request import Request, urlopen

from tqdm import tqdm

from helpers import paths
from helpers.billboard import convert

# Archive, approximate bytes, licence, addresses. No checksum was ever published: no host that may have a new owner.
HOSTS = ("millionsongdataset.com", "labrosa.ee.columbia.edu/millionsong")
TAGS = [f"http://{host}/sites/default/files/lastfm/lastfm_subset.zip" for host in HOSTS]
SONGS = [f"{http}://labrosa.ee.columbia.edu/~dpwe/tmp/millionsongsubset.tar.gz" for http in ("https", "http")]
RESEARCH = "last.fm: research only, strictly non-commercial (millionsongdataset.com/lastfm)"
ECHO_NEST = "terms of The Echo Nest's API; cite Bertin-Mahieux et al., ISMIR 2011"
FILES = {
    "lastfm_subset": ("lastfm_subset.zip", 12_000_000, RESEARCH, TAGS),
    "MillionSongSubset": ("millionsongsubset.tar.gz", 1_860_000_000, ECHO_NEST, SONGS),
}
# The McGill Billboard collection: file, its place on the host, bytes (the last: estimated), MD5.
BILLBOARD = [
    ("billboard-2.0-index.csv", "o0olz0uwl9z9stb", 61_542, "c47d304c212725998839cf9bb1a417aa"),
    ("billboard-2.0-salami_chords.tar.gz", "2lvny9ves8kns4o", 334_079, "6954a6fad962a111e69c9c80cb87d3a5"),
    ("billboard-2.0-chordino.tar.gz", "e9dm23vbawg9dsw", 300_000_000, "530218e8d7077bbd4b08b45f447f5e8f"),
]
TIMEOUT, TRIES = 20, 4  # seconds without a byte; how often one address is asked, if the connection is cut


def msd_subset(folder: Path | str | None = None) -> Path:
    """Download and unpack what `folder` (`data/msd-subset`) lacks of both data sets; return it, for `CRNN_DATA`."""
    root = Path(folder or paths.DATA / "msd-subset").expanduser().resolve()
    for name, (archive, size, licence, urls) in FILES.items():  # the small one first: a dead host shows at once
        if not (root / name).exists():
            print(f"{archive}, {size / 1e6:,.0f} MB. Licence: {licence}.")
            unpack(fetch(urls, root / archive, size), root / name)
    return root


def billboard(folder: Path | str | None = None) -> Path:
    """Download the McGill Billboard collection and convert it to `folder` (`data/billboard`), if new; return it."""
    folder = Path(folder or paths.DATA / "billboard").expanduser().resolve()
    if not folder.exists():
        print("McGill Billboard, 300 MB. Licence: CC0; cite Burgoyne, Wild and Fujinaga, ISMIR 2011.")
        source = folder.with_name(f"{folder.name}-archives")
        for name, place, size, md5 in BILLBOARD:
            fetch([f"https://www.dropbox.com/s/{place}/{name}?dl=1"], source / name, size, md5)
        convert(source, folder)
    return folder


def fetch(urls: list[str], path: Path | str, size: int, checksum: str = "") -> Path:
    """Return `path`, downloaded if it is not there: about `size` bytes, from the first of `urls` that has them.

    Resumes `<path>.part`. `checksum`: SHA-256 or MD5. ConnectionError if none has it, ValueError for another file.
    """
    path, part, errors = Path(path), Path(f"{path}.part"), {}
    if path.exists():
        return _checked(path, checksum)
    path.parent.mkdir(parents=True, exist_ok=True)
    for url in [url for url in urls for _ in range(TRIES)]:
        if isinstance(errors.get(url), (URLError, ValueError)):
            continue  # only an address whose answer was cut is asked again
        try:
            _download(url, part, size)
            return _checked(part, checksum).replace(path)
        except (OSError, HTTPException, ValueError) as error:
            if getattr(error, "code", None) == 416:  # no longer than the part: begin anew
                part.unlink()
            else:
                errors[url] = error
    tried = "".join(f"  {url}: {error}\n" for url, error in errors.items())
    advice = f"Run again to resume, or put a copy at {path}; data/README.md says which data need no download."
    raise ConnectionError(f"{path.name} could not be downloaded. Tried:\n{tried}{advice}")


def _checked(path, checksum):
    with path.open("rb") as file:
        found = checksum and hashlib.file_digest(file, "md5" if len(checksum) == 32 else "sha256").hexdigest()
    if found != checksum:
        if path.suffix == ".part":
            path.unlink()  # no other address goes on from it
        raise ValueError(f"{path} is not the published file (other checksum); delete it and run again.")
    return path


def _download(url, part, size):
    start = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "crnn-music-tagging"} | ({"Range": f"bytes={start}-"} if start else {})
    with urlopen(Request(url, headers=headers), timeout=TIMEOUT) as response:
        start = start if response.status == 206 else 0
        total = start + int(response.headers["Content-Length"] or 0)
        if not size / 4 <= total <= size * 4:
            raise ValueError(f"{response.url} offers {total:,} bytes, not the file of about {size:,}")
        bar = {"total": total, "initial": start, "desc": part.stem}
        with part.open("ab" if start else "wb") as file, tqdm.wrapattr(file, "write", **bar) as shown:
            shutil.copyfileobj(response, shown)
    if (done := part.stat().st_size) != total:
        raise ConnectionError(f"the connection was cut at {done:,} of {total:,} bytes")


def unpack(archive: Path, folder: Path) -> None:
    """Extract a .zip or tar archive, of one folder, as `folder`, whole or not at all; ValueError if it is unsafe."""
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as whole:
        try:
            if zipfile.is_zipfile(archive):
                shutil.unpack_archive(archive, whole, "zip")
            else:
                with tarfile.open(archive) as file:
                    file.extraction_filter = getattr(tarfile, "data_filter", None)  # Python 3.11.4 and later have it
                    for member in tqdm(file, archive.name, unit=" files"):
                        inside = not {"/", ".."} & set(PurePosixPath(member.name).parts)
                        if not inside or not (member.isreg() or member.isdir()):
                            raise tarfile.TarError(f"{member.name} is no plain file inside it")
                        file.extract(member, whole)
                    file.fileobj.read()  # only padding is left, but at its end gzip verifies its checksum
        except (tarfile.TarError, zipfile.BadZipFile, BadGzipFile, zlib.error, EOFError) as error:
            raise ValueError(f"{archive} is damaged or no safe archive ({error}); delete it, run again.") from error
        next(Path(whole).iterdir()).replace(folder)
