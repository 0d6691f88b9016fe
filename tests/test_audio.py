"""Clips, spectrograms, chroma and segments from audio, and the extraction of whole folders."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import librosa
import numpy as np
import pandas as pd
import pytest
import soundfile

from helpers import audio

REPOSITORY = Path(__file__).resolve().parent.parent
PITCH_CLASSES = dict(C=0, E=4, G=7, A=9)


def tones(*frequencies, seconds=30, rate=12_000):
    """Return equally loud sines as float32 samples."""
    time_ = np.arange(round(seconds * rate)) / rate
    return (0.5 * np.mean([np.sin(2 * np.pi * f * time_) for f in frequencies], axis=0)).astype(np.float32)


@pytest.fixture
def write(tmp_path):
    def write(samples, rate=12_000, name="clip.wav", **options):
        options = {"subtype": "FLOAT"} | options if name.endswith(".wav") else options
        soundfile.write(tmp_path / name, samples, rate, **options)
        return tmp_path / name

    return write


def noise(seconds, rate, channels=None, seed=0):
    size = round(seconds * rate) if channels is None else (round(seconds * rate), channels)
    return np.random.default_rng(seed).normal(0, 0.1, size).astype(np.float32)


def the_usual_way(samples, squared_twice=False):
    mel = librosa.feature.melspectrogram(y=samples, sr=12_000, n_fft=512, hop_length=256, n_mels=96)
    return librosa.power_to_db(mel**2 if squared_twice else mel)


# --- load_clip -----------------------------------------------------------------------------------------------


def test_the_centre_of_long_recordings_and_zeros_after_short_ones(write):
    samples = noise(40, 12_000)
    clip = audio.load_clip(write(samples))
    assert clip.dtype == np.float32 and clip.shape == (349_440,)
    start = (len(samples) - 349_440) // 2
    np.testing.assert_array_equal(clip, samples[start : start + 349_440])
    one_second = audio.load_clip(write(samples[:12_000]))
    np.testing.assert_array_equal(one_second[:12_000], samples[:12_000])
    assert one_second.shape == (349_440,) and not one_second[12_000:].any()
    np.testing.assert_array_equal(audio.load(write(samples)), samples)


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_channels_are_averaged(write, channels):
    samples = noise(2, 12_000, channels)
    np.testing.assert_allclose(audio.load_clip(write(samples))[:24_000], samples.mean(axis=1), atol=1e-7)


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 44_101, 96_000])
def test_any_rate_gives_what_librosa_gives_although_only_a_part_is_read(write, rate):
    path = write(noise(45, rate, 2), rate)
    whole = librosa.load(path, sr=12_000)[0]
    start = (len(whole) - 349_440) // 2
    np.testing.assert_allclose(audio.load_clip(path), whole[start : start + 349_440], atol=2e-6)
    np.testing.assert_allclose(audio.load(path), whole, atol=2e-6)


@pytest.mark.parametrize("name", ["a.flac", "a.ogg", "a.aiff", "misnamed.mp3"])
def test_formats_by_content(write, tmp_path, name):
    path = write(tones(440, seconds=5), name=name.replace("mp3", "flac"))
    path = path.rename(tmp_path / name)
    clip = audio.load_clip(path)
    assert np.abs(clip[5_000:50_000] - tones(440)[5_000:50_000]).max() < 0.02


@pytest.mark.skipif("MP3" not in soundfile.available_formats(), reason="this libsndfile writes no MP3")
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_mp3_delay_is_removed_once(write, rate):
    click = np.zeros(2 * rate, np.float32)
    click[rate] = 0.9
    path = write(click, rate, "click.mp3", bitrate_mode="CONSTANT", compression_level=0.5)
    assert audio._has_delay_header(path)
    assert np.abs(audio.load_clip(path)).argmax() == 12_000
    # Without the header nobody knows the encoder's delay, 576 samples here; the decoder's is removed.
    content = bytearray(path.read_bytes())
    at = content.find(b"Xing") if b"Xing" in content[:64] else content.find(b"Info")
    content[at : at + 140] = bytes(140)
    path.write_bytes(content)
    with_id3 = path.with_name("id3.mp3")
    with_id3.write_bytes(b"ID3\x03\0\0\0\0\x02\x01" + bytes(257) + content)
    for headerless in (path, with_id3):
        assert not audio._has_delay_header(headerless)
        raw = soundfile.read(headerless, dtype="float32")[0]
        expected = round((np.abs(raw).argmax() - 529) * 12_000 / rate)
        assert abs(np.abs(audio.load_clip(headerless)).argmax() - expected) <= 1
        assert abs(len(audio.load(headerless)) - (len(raw) - 529) * 12_000 / rate) < 1


def test_silence_is_a_clip(write):
    assert not audio.load_clip(write(np.zeros(24_000))).any()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("rate", [12_000, 44_100])
def test_samples_that_are_not_finite(write, bad, rate):
    samples = noise(2, rate)
    samples[5_000] = bad
    with pytest.raises(ValueError, match=r"clip\.wav has NaN or infinite samples"):
        audio.load_clip(write(samples, rate))


def test_files_that_are_no_audio_are_named(tmp_path, write, monkeypatch):
    monkeypatch.setenv("PATH", "")
    (tmp_path / "empty.mp3").touch()
    (tmp_path / "text.wav").write_text("This is no audio.")
    with pytest.raises(ValueError, match=r"empty\.mp3 is an empty file"):
        audio.load_clip(tmp_path / "empty.mp3")
    with pytest.raises(ValueError, match=r"text\.wav is no audio that libsndfile reads .*install ffmpeg"):
        audio.load_clip(tmp_path / "text.wav")
    with pytest.raises(ValueError, match=r"none\.wav holds no samples"):
        audio.load_clip(write(np.zeros(0), name="none.wav"))
    with pytest.raises(FileNotFoundError, match="nowhere"):
        audio.load_clip(tmp_path / "nowhere.wav")


def test_ffmpeg_reads_the_rest(tmp_path, write, monkeypatch):
    """A stand-in for ffmpeg: it checks the arguments and copies a file that was converted before."""
    converted = write(noise(2, 44_100, 2), 44_100, "converted.w64", subtype="FLOAT")
    ffmpeg = tmp_path / "bin" / "ffmpeg"
    ffmpeg.parent.mkdir()
    ffmpeg.write_text(
        f"#!{sys.executable}\nimport shutil, sys\n"
        "if 'good' not in sys.argv[sys.argv.index('-i') + 1]: sys.exit('Invalid data found')\n"
        f"shutil.copy({str(converted)!r}, sys.argv[-1])\n"
    )
    ffmpeg.chmod(0o755)
    monkeypatch.setenv("PATH", str(ffmpeg.parent))
    for name in ("good.m4a", "bad.m4a"):
        (tmp_path / name).write_bytes(b"not for libsndfile")
    np.testing.assert_array_equal(audio.load_clip(tmp_path / "good.m4a"), audio.load_clip(converted))
    with pytest.raises(ValueError, match=r"bad\.m4a is no audio .*Invalid data found"):
        audio.load_clip(tmp_path / "bad.m4a")


# --- log_mel -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("squared_twice", [False, True])
@pytest.mark.parametrize(
    "samples",
    [tones(440), tones(60, 1000, 5900), noise(29.12, 12_000), np.eye(1, 349_440, 7, np.float32)[0], noise(1, 12_000)],
    ids=["tone", "tones", "noise", "click", "one second"],
)
def test_log_mel_is_librosas(samples, squared_twice):
    ours, usual = audio.log_mel(samples, squared_twice), the_usual_way(samples, squared_twice)
    assert ours.dtype == np.float32 and ours.shape == usual.shape == (96, 1 + len(samples) // 256)
    above = usual > usual.min()
    assert above.any() and np.abs(ours - usual)[above].max() < 1e-3
    assert ours.min() == pytest.approx(usual.min(), abs=1e-3)


def test_clips_have_1366_frames_and_silence_is_minus_100_db():
    assert audio.log_mel(np.zeros(349_440)).shape == (96, 1366)
    for squared_twice in (False, True):
        np.testing.assert_allclose(audio.log_mel(np.zeros(349_440), squared_twice), -100, atol=1e-4)


def test_bad_samples_are_refused():
    for bad in (np.zeros(0), np.zeros((2, 1000)), np.full(1000, np.nan)):
        for function in (audio.log_mel, audio.chroma, audio.segments_pitches):
            with pytest.raises(ValueError, match="samples of shape"):
                function(bad)


@pytest.mark.parametrize("name", ["bensound-cute", "bensound-dubstep"])
def test_published_spectrograms_come_from_the_published_mp3s(real_data, name):
    published = np.load(real_data / "choi2016" / f"{name}.npy")[0, 0]
    clip = audio.load_clip(real_data / "choi2016" / f"{name}.mp3")
    difference = np.abs(audio.log_mel(clip, squared_twice=True) - published)
    # Only the ends differ by more: the published ones mirror the samples there. A delay of 1,105 gives 0.11 and
    # 0.21 dB, none 2 and 4 dB.
    assert difference.mean() < 0.06 and np.median(difference) < 0.04
    assert difference[:, 1:-1].mean() < 0.045
    assert np.abs(audio.log_mel(clip) - published).mean() > 5


# --- Chroma --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frequency, name", [(440, "A"), (220, "A"), (880, "A"), (261.63, "C"), (329.63, "E")])
def test_chroma_of_a_tone(frequency, name):
    frames = audio.chroma(tones(frequency, seconds=3))
    assert frames.shape == (12, 1 + 36_000 // 256) and frames.dtype == np.float32
    assert (frames.argmax(axis=0) == PITCH_CLASSES[name]).all()
    assert frames.min() >= 0 and (frames.max(axis=0) == 1).all()
    rows = audio.segments_pitches(tones(frequency, seconds=3))
    assert (rows.argmax(axis=1) == PITCH_CLASSES[name]).all() and (np.sort(rows)[:, -2] < 0.6).all()


def test_chroma_of_a_chord():
    rows = audio.segments_pitches(tones(261.63, 329.63, 392.0, seconds=3))
    for row in rows:
        assert set(row.argsort()[-3:]) == {PITCH_CLASSES[note] for note in "CEG"}


def test_a_segment_for_each_note():
    notes = [220 * 2 ** (step / 12) for step in (3, 5, 7, 8, 10, 12, 14, 15)]  # C major from C4
    fade = np.exp(-4 * np.arange(6_000) / 12_000)
    rows = audio.segments_pitches(np.concatenate([tones(note, seconds=0.5) * fade for note in notes]))
    assert len(rows) in (8, 9)
    assert list(rows[-8:].argmax(axis=1)) == [0, 2, 4, 5, 7, 9, 11, 0]


def test_silent_frames_are_0_and_silent_segments_1():
    silence = np.zeros(12_000, np.float32)
    assert not audio.chroma(silence).any()
    np.testing.assert_array_equal(audio.segments_pitches(silence), np.ones((1, 12)))
    assert not audio.chroma(np.concatenate([tones(440, seconds=2), silence]))[:, -40:].any()


@pytest.mark.filterwarnings("ignore:Trying to estimate tuning")
@pytest.mark.parametrize("num_samples", [1, 100, 2_000, 12_000])
def test_short_recordings_have_segments(num_samples):
    rows = audio.segments_pitches(noise(1, 12_000)[:num_samples])
    assert rows.shape[1] == 12 and (rows.max(axis=1) == 1).all()
    assert audio.chroma(noise(1, 12_000)[:num_samples]).shape == (12, 1 + num_samples // 256)


def real_recordings(real_data):
    return [*sorted((real_data / "audio_real").glob("*.*")), *sorted((real_data / "choi2016").glob("*.mp3"))]


def test_real_music_has_as_many_segments_as_in_the_msd(real_data):
    rates = []
    for path in real_recordings(real_data):
        samples = audio.load(path)
        rows = audio.segments_pitches(samples)
        assert rows.dtype == np.float32 and rows.min() >= 0 and (rows.max(axis=1) == 1).all()
        rates.append(len(rows) / (len(samples) / 12_000))
    assert min(rates) > 1.5 and max(rates) < 5.6 and 2.5 < np.median(rates) < 4.2


# --- extract -------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    """Return a folder with six recordings, two broken ones and a file that is no audio at all."""
    root = tmp_path / "music"
    (root / "ü b").mkdir(parents=True)
    for number in range(6):
        soundfile.write(root / "ü b" / f"{number}.WAV", noise(1, 12_000, seed=number), 12_000)
    (root / "empty.mp3").touch()
    (root / "text.wav").write_text("This is no audio.")
    (root / "annotations.csv").write_text("a,b\n")
    return root


GOOD = [f"ü b/{number}.WAV" for number in range(6)]


def read(out):
    with h5py.File(out) as file:
        return list(file["ids"].asstr()), file["mel"][:], file["mel"].chunks


@pytest.mark.parametrize("dtype, tolerance", [("float16", 0.04), ("float32", 0)])
def test_extraction_packs_the_good_and_lists_the_broken(folder, tmp_path, dtype, tolerance):
    out = tmp_path / "new" / "mel.h5"
    broken = audio.extract(folder, out, dtype=dtype)
    ids, mel, chunks = read(out)
    assert ids == GOOD and chunks == (1, 96, 1366) and mel.shape == (6, 96, 1366) and mel.dtype == dtype
    for i, clip in zip(ids, mel, strict=True):
        np.testing.assert_allclose(clip, audio.log_mel(audio.load_clip(folder / i)), atol=tolerance)
    assert list(broken["path"]) == [str(folder / "empty.mp3"), str(folder / "text.wav")]
    assert "empty file" in broken["reason"][0] and "no audio" in broken["reason"][1]
    assert os.listdir(out.parent) == ["mel.h5"]


def test_labels_choose_the_clips(folder, tmp_path):
    labels = pd.DataFrame({"rock": [1, 0, 1], "jazz": [0, 1, 1]}, index=[GOOD[4], "missing.wav", GOOD[1]])
    broken = audio.extract(folder, tmp_path / "mel.h5", labels, squared_twice=True, num_workers=1)
    assert list(broken["path"]) == [str(folder / "missing.wav")]
    ids, mel, _ = read(tmp_path / "mel.h5")
    assert ids == [GOOD[1], GOOD[4]]
    np.testing.assert_allclose(mel[0], audio.log_mel(audio.load_clip(folder / GOOD[1]), True), atol=0.04)
    with h5py.File(tmp_path / "mel.h5") as file:
        assert file["labels"][:].tolist() == [[1, 1], [1, 0]] and list(file["tags"].asstr()) == ["rock", "jazz"]
        assert json.loads(file["broken"][()])[0][0] == "missing.wav"
    assert len(audio.extract(folder, tmp_path / "mel.h5", labels, squared_twice=True)) == 1
    with pytest.raises(FileExistsError, match="other clips, labels"):
        audio.extract(folder, tmp_path / "mel.h5", 1 - labels, squared_twice=True)
    shutil.copy(folder / GOOD[0], folder / "missing.wav")  # it is there now
    with pytest.raises(FileExistsError, match="remove it to extract again"):
        audio.extract(folder, tmp_path / "mel.h5", labels, squared_twice=True)
    (folder / "missing.wav").unlink()
    with pytest.raises(ValueError, match=r"several rows for ü b/1\.WAV"):
        audio.extract(folder, tmp_path / "twice.h5", pd.concat([labels, labels.iloc[2:]]))


def test_a_finished_file_is_kept_and_other_clips_are_not_mixed_in(folder, tmp_path):
    out = tmp_path / "mel.h5"
    first = audio.extract(folder, out)
    before = out.stat().st_mtime_ns
    assert audio.extract(folder, out).equals(first) and out.stat().st_mtime_ns == before
    with pytest.raises(FileExistsError, match="other clips, labels or settings"):
        audio.extract(folder, out, dtype="float32")
    soundfile.write(folder / "new.wav", noise(1, 12_000), 12_000)
    with pytest.raises(FileExistsError, match="remove it"):
        audio.extract(folder, out)


def test_folders_without_recordings(folder, tmp_path):
    for i in GOOD:
        (folder / i).unlink()
    with pytest.raises(ValueError, match=r"no recording could be read: .*empty\.mp3"):
        audio.extract(folder, tmp_path / "mel.h5")
    with pytest.raises(FileNotFoundError, match="nowhere is not a folder"):
        audio.extract(tmp_path / "nowhere", tmp_path / "mel.h5")
    assert not (tmp_path / "mel.h5").exists()


def test_killed_runs_lose_nothing_that_was_finished(tmp_path, monkeypatch):
    root, out = tmp_path / "music", tmp_path / "mel.h5"
    root.mkdir()
    for number in range(60):
        soundfile.write(root / f"{number:02}.wav", noise(1, 12_000, seed=number), 12_000)
    audio.extract(root, tmp_path / "whole.h5")
    script = (
        "import time; from helpers import audio; usual = audio.load_clip\n"
        "def slow(path): time.sleep(0.05); return usual(path)\n"
        f"audio.load_clip = slow; audio.extract({str(root)!r}, {str(out)!r}, num_workers=2)"
    )
    record = 4096 + 96 * 1366 * 2
    done = []
    for _ in range(3):  # and again after each resumption
        process = subprocess.Popen([sys.executable, "-c", script], cwd=REPOSITORY, stderr=subprocess.DEVNULL)
        goal = (sum(done[-1:]) + 8) * record
        deadline = time.monotonic() + 60
        while sum(p.stat().st_size for p in tmp_path.glob("*.partial")) < goal and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert not out.exists()
        (partial,) = tmp_path.glob("*.partial")
        done.append(partial.stat().st_size // record)
    assert 8 <= done[0] < done[1] < done[2] < 60
    with open(partial, "ab") as file:
        file.write(b"half a record")

    def crash(path):
        raise OSError("disk full")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="disk full"):
        patch.setattr(audio.paths, "atomic", crash)  # everything is computed, packing fails
        read_again = count_calls(patch)
        audio.extract(root, out)
    assert len(read_again) == 60 - done[2] and not out.exists()
    read_again = count_calls(monkeypatch)
    assert audio.extract(root, out).empty and not read_again
    for ours, expected in zip(read(out), read(tmp_path / "whole.h5"), strict=True):
        np.testing.assert_array_equal(ours, expected)
    assert sorted(os.listdir(tmp_path)) == ["mel.h5", "music", "whole.h5"]


def count_calls(patch):
    calls, usual = [], audio.load_clip
    patch.setattr(audio, "load_clip", lambda path: calls.append(path) or usual(path))
    return calls


def test_real_recordings_are_extracted_and_broken_ones_listed(real_data, tmp_path):
    broken = audio.extract(real_data / "audio_real", tmp_path / "mel.h5")
    assert [Path(path).name for path in broken["path"]] == ["empty.mp3", "text_named.wav"]
    ids, mel, _ = read(tmp_path / "mel.h5")
    good = [path for path in real_recordings(real_data) if path.parent.name == "audio_real" and path.is_file()]
    assert ids == [path.name for path in good] and np.isfinite(mel).all()


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS takes UTF-8 names only")
def test_a_name_need_not_be_utf_8(tmp_path):
    path = os.fsencode(tmp_path) + b"/caf\xe9.wav"
    soundfile.write(path, np.full(1200, 0.5), 12_000)
    assert audio.load(Path(os.fsdecode(path))).max() == pytest.approx(0.5, abs=1e-3)
