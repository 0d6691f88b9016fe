"""Tagging recordings: the published scores from the MP3s, own networks, tags over time, the command."""

import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import soundfile
from keras import layers
from test_choi import SCORES

from helpers import audio, models, paths, pretrained, tag, tags


@pytest.fixture(scope="module")
def weights(real_data):
    return real_data / "choi2016" / pretrained.FILE


@pytest.fixture(scope="module")
def choi_2016(weights):
    return pretrained.choi_crnn_2016(weights)


def tiny(shape, num_tags=50, **options):
    """Return a network that averages over time, then mixes what is left."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input(shape)
    x = layers.Flatten()(layers.AveragePooling2D((1, shape[1]))(inputs))
    small = keras.initializers.RandomNormal(stddev=0.001)
    return keras.Model(inputs, layers.Dense(num_tags, "sigmoid", kernel_initializer=small)(x), **options)


def saved(model, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    model.save(path)
    return path


@pytest.fixture
def music(tmp_path):
    """Return a folder of three recordings of 40, 2 and 35 seconds, and a file that is none."""
    folder = tmp_path / "music"
    (folder / "more").mkdir(parents=True)
    for seed, (name, seconds) in enumerate({"a.wav": 40, "b.flac": 2, "more/c.wav": 35}.items()):
        rng = np.random.default_rng(seed)
        notes = 220 * 2 ** (rng.integers(0, 24, 3 * seconds) / 12)
        time = np.arange(4_000) / 12_000
        sound = [np.sin(2 * np.pi * note * time) * np.exp(-6 * time) for note in notes]
        soundfile.write(folder / name, 0.3 * np.concatenate(sound), 12_000)
    (folder / "notes.txt").write_text("not music")
    return folder


def run(capsys, *arguments):
    code = tag.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def refused(capsys, *arguments):
    with pytest.raises(SystemExit) as stopped:
        tag.main([str(argument) for argument in arguments])
    assert stopped.value.code == 2
    return capsys.readouterr().err


# --- The network of 2016 on real recordings ------------------------------------------------------------------


@pytest.mark.parametrize("name", SCORES)
def test_the_published_scores_come_out_of_the_mp3s(real_data, choi_2016, name):
    scores = tag.predict(choi_2016, tag.features(real_data / "choi2016" / f"{name}.mp3", choi_2016))
    published = dict(entry.rsplit(" ", 1) for entry in SCORES[name].split(", "))
    found = [scores[tags.CHOI_TOP50.index(tag_)] for tag_ in published]
    # The requirement is 0.02; three decimals are published and met. Without the decoder's delay it is up to 0.13.
    np.testing.assert_allclose(found, np.array(list(published.values()), float), rtol=0, atol=0.001)
    assert list(tag.top(scores, tags.CHOI_TOP50, 5)) == list(published)[:5]


def test_real_recordings_are_tagged_and_broken_ones_reported(real_data, weights, capsys):
    places = [real_data / "audio_real", real_data / "choi2016" / "bensound-cute.mp3"]
    code, out, err = run(capsys, *places, "--weights", weights, "--json", "--top", 3)
    rows = {Path(row["file"]).name: row for row in json.loads(out)}
    broken = sorted(path.name for path in (places[0] / "broken").iterdir())
    assert code == 1 and sorted(name for name, row in rows.items() if "error" in row) == broken
    assert "empty file" in rows["empty.mp3"]["error"] and "no audio" in rows["text_named.wav"]["error"]
    assert all(name in err for name in broken)
    recordings = [path.name for path in places[0].iterdir() if path.is_file()]
    assert len(recordings) >= 4 and rows.keys() == {*recordings, *broken, "bensound-cute.mp3"}
    for name in recordings:
        scores = list(rows[name]["tags"].values())
        assert len(scores) == 3 and 1 > scores[0] > scores[1] > scores[2] > 0
    assert list(rows["bensound-cute.mp3"]["tags"]) == ["jazz", "instrumental", "folk"]
    good = [places[0] / name for name in recordings]
    code, out, err = run(capsys, *good, "--weights", weights, "--top", 1)
    assert code == 0 and [line.split("\t")[0] for line in out.splitlines()] == ["file", *map(str, good)]


# --- Own networks --------------------------------------------------------------------------------------------


def test_a_chroma_network_sees_the_first_segments(music, tmp_path, capsys):
    model = tiny((12, 96, 1))
    rows = audio.segments_pitches(audio.load(music / "a.wav"))
    assert len(rows) > 96
    x = tag.features(music / "a.wav", model)
    np.testing.assert_array_equal(x[0, :, :, 0].T, rows[:96])
    expected = model.predict(x, verbose=0)[0]
    code, out, err = run(capsys, music, "--model", saved(model, tmp_path / "own.keras"), "--json")
    a, b, _ = json.loads(out)
    assert a["tags"] == {tags.MASON_TOP50[i]: round(float(expected[i]), 4) for i in expected.argsort()[::-1][:5]}
    assert code == 1 and "segments, the model needs 96; take a longer recording" in b["error"]
    assert "b.flac: has" in err


def test_a_log_mel_network_sees_the_centre_squared_once_unless_it_is_that_of_2016(music):
    clip = audio.load_clip(music / "a.wav")
    for name, twice in (("own", False), ("choi_crnn_2016", True)):
        x = tag.features(music / "a.wav", tiny(tag.MEL_INPUT, name=name))
        assert x.shape == (1, 96, 1366, 1)
        np.testing.assert_array_equal(x[0, ..., 0], audio.log_mel(clip, squared_twice=twice))


def test_the_networks_of_the_series_are_opened(tmp_path):
    for model in (models.mason_crnn("small", 24), models.choi_network("k2c1", "0.1M")):
        again = tag.load_model(saved(model, tmp_path / "model.keras"))
        x = np.random.default_rng(0).random((1, *model.input_shape[1:]), np.float32)
        np.testing.assert_allclose(tag.predict(again, x), model.predict(x, verbose=0)[0], atol=1e-6)


def test_other_tags_are_given_in_a_file(music, tmp_path, capsys):
    model = saved(tiny(tag.MEL_INPUT, 3), tmp_path / "three.keras")
    (tmp_path / "tags.txt").write_text("\ufeffslow\nfast\n\nRöck\n", "utf-8")
    code, out, _ = run(capsys, music / "a.wav", "--model", model, "--tags", tmp_path / "tags.txt", "--json")
    assert code == 0 and json.loads(out)[0]["tags"].keys() == {"slow", "fast", "Röck"}
    assert "its output is (None, 3); give as many different tags, not 50" in refused(capsys, music, "--model", model)
    (tmp_path / "tags.txt").write_text("slow\nfast\nslow\n")
    assert "different tags, not 2" in refused(capsys, music, "--model", model, "--tags", tmp_path / "tags.txt")
    (tmp_path / "tags.txt").write_bytes(b"\xff\xfe\x00")
    assert "decode" in refused(capsys, music, "--model", model, "--tags", tmp_path / "tags.txt")


def test_files_that_are_no_such_model_are_refused(tmp_path, capsys):
    (tmp_path / "text.keras").write_text("no zip file")
    inputs = keras.Input(tag.MEL_INPUT)
    code = keras.Model(inputs, layers.Dense(50)(layers.Flatten()(layers.Lambda(lambda x: x[:, 0])(inputs))))
    old = tmp_path / "weights.h5"
    old.write_bytes(b"\x89HDF\r\n\x1a\n")
    for path, message in (
        (tmp_path / "nowhere.keras", "is no file"),
        (tmp_path, "is no file"),
        (tmp_path / "text.keras", "is no .keras file"),
        (old, "is no .keras file"),
        (saved(code, tmp_path / "code.keras"), "no model that Keras opens safely"),
        (saved(tiny((13, 96, 1)), tmp_path / "13.keras"), "its input is (None, 13, 96, 1)"),
    ):
        assert message in refused(capsys, "x.wav", "--model", path)


def test_a_network_that_diverged_and_one_trained_on_synthetic_data_say_so(music, tmp_path, capsys):
    model = tiny(tag.MEL_INPUT)
    model.set_weights([np.full_like(w, np.nan) for w in model.get_weights()])
    path = saved(model, tmp_path / "run" / "model.keras")
    (tmp_path / "run" / "run.json").write_text('{"data": {"dataset": "demo", "synthetic": true}}')
    code, out, err = run(capsys, music / "a.wav", "--model", path)
    assert code == 1 and out == "file\ttag\tscore\n"
    assert "synthetic demo data" in err and "not finite" in err


# --- Tags over time ------------------------------------------------------------------------------------------


def test_a_taggram_has_a_window_every_hop(music):
    model = tiny(tag.MEL_INPUT)
    samples = audio.load(music / "a.wav")
    times, scores = tag.taggram(model, samples, hop=4)
    np.testing.assert_allclose(times, [14.56, 18.56, 22.56])  # the next would end after 41.12 s
    assert scores.shape == (3, 50) and scores.dtype == np.float32
    third = audio.log_mel(samples[96_000 : 96_000 + audio.NUM_SAMPLES])[None, ..., None]
    np.testing.assert_allclose(scores[2], model.predict(third, verbose=0)[0], atol=1e-6)
    times, scores = tag.taggram(model, audio.load(music / "b.flac"))
    np.testing.assert_allclose(times, [14.56])
    np.testing.assert_allclose(scores[0], tag.predict(model, tag.features(music / "b.flac", model)), atol=1e-6)
    for bad, hop in ((model, 0), (tiny((12, 96, 1)), 5)):
        with pytest.raises(ValueError, match="hop > 0 and a log-mel network"):
            tag.taggram(bad, samples, hop)


# --- The command ---------------------------------------------------------------------------------------------


def test_folders_are_walked_and_files_taken_as_they_are(music, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = tag.find_recordings(["music", "music/notes.txt", "nowhere"])
    assert [path.as_posix() for path in found] == [
        "music/a.wav", "music/b.flac", "music/more/c.wav", "music/notes.txt", "nowhere",
    ]  # fmt: skip
    (tmp_path / "empty").mkdir()
    (_, scores, reason), *_ = tag.tag_files(tiny(tag.MEL_INPUT), tag.find_recordings(["empty"]))
    assert scores is None and "holds no recordings" in reason


def test_few_files_are_decoded_ahead_and_the_order_is_kept(monkeypatch):
    decoded = []

    def features(path, model):
        decoded.append(path)
        if path % 7 == 3:
            raise ValueError(f"{path} is broken")
        return np.full((1, 12, 96, 1), path / 100, np.float32)

    monkeypatch.setattr(tag, "features", features)
    order = []
    for path, scores, reason in tag.tag_files(tiny((12, 96, 1)), iter(range(60))):
        order.append(path)
        assert (scores is None) == (path % 7 == 3) and reason in (None, "is broken")
        assert len(decoded) <= len(order) + tag.AHEAD
    assert order == list(range(60)) and sorted(decoded) == order


def test_names_do_not_steer_the_terminal(music, tmp_path, capsys):
    model = saved(tiny(tag.MEL_INPUT, 1), tmp_path / "one.keras")
    (tmp_path / "tags.txt").write_text("ro\x1b[31mck\n", "utf-8")
    name = "\x1b]0;x\x07\ta\nb\u202eü.wav"
    (music / "a.wav").rename(tmp_path / name)
    arguments = (tmp_path / name, tmp_path / "none\x1b\udcff.wav", "--model", model, "--tags", tmp_path / "tags.txt")
    code, out, err = run(capsys, *arguments)
    assert code == 1 and out.count("\n") == 2 and out.splitlines()[1].count("\t") == 2
    assert all(c.isprintable() for c in out.replace("\n", "").replace("\t", ""))
    assert r"\x1b]0;x\x07\ta\nb\u202eü.wav" in out and r"ro\x1b[31mck" in out
    assert r"none\x1b\udcff.wav" in err and "\x1b" not in err
    assert json.loads(run(capsys, *arguments, "--json")[1])[0]["file"] == str(tmp_path / name)


def test_usage_errors(tmp_path, capsys):
    assert "required: FILE" in refused(capsys)
    assert "--top is 0" in refused(capsys, "x.wav", "--top", 0)
    assert "not allowed with" in refused(capsys, "x.wav", "--model", "m.keras", "--weights", "w.h5")
    assert "does not exist" in refused(capsys, "x.wav", "--weights", tmp_path / "nowhere.h5")


def test_the_command_runs_as_a_program(music, tmp_path):
    model = saved(tiny(tag.MEL_INPUT), tmp_path / "own.keras")
    command = [sys.executable, "-m", "helpers.tag", music, "--model", model, "--top", "2"]
    done = subprocess.run(command, cwd=paths.ROOT, capture_output=True, text=True)
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stderr
    assert rows[0] == ["file", "tag", "score"] and len(rows) == 1 + 3 * 2
    assert [row[0] for row in rows[1::2]] == [str(music / name) for name in ("a.wav", "b.flac", "more/c.wav")]
    assert {row[1] for row in rows[1:]} < set(tags.CHOI_TOP50) and 0 < float(rows[1][2]) < 1


def test_an_upload_is_saved_by_its_own_name_whatever_the_version_of_ipywidgets(tmp_path):
    seven = {"../a song.wav": {"metadata": {"name": "../a song.wav", "size": 4}, "content": b"RIFF"}}
    eight = ({"name": "../a song.wav", "size": 4, "content": memoryview(b"RIFF")},)
    for value in (seven, eight):
        path = tag.save_upload(value, tmp_path)
        assert path == tmp_path / "a song.wav" and path.read_bytes() == b"RIFF"
        path.unlink()
