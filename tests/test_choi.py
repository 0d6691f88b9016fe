"""Choi's networks: the exact counts; the released CRNN: the exact scores."""

import shutil

import h5py
import keras
import numpy as np
import pytest
from keras import layers

from helpers import models, paths, pretrained, tags

COUNTS = {  # trainable parameters at 0.1M, 0.25M, 0.5M, 1M, 3M
    "crnn": (100_010, 248_978, 500_037, 1_003_247, 3_030_592),
    "k2c2": (99_554, 248_829, 500_052, 1_006_560, 3_048_899),
    "k2c1": (100_245, 249_450, 507_024, 1_005_526, 2_986_347),
    "k1c2": (98_392, 235_475, 460_228, 947_363, 2_776_223),
    "k1c2_1x8": (102_020, 248_111, 488_120, 1_007_615, 2_959_147),
}
SCORES = {  # published with the weights, three decimals
    "bensound-cute": "jazz .444, instrumental .151, folk .103, Hip-Hop .103, ambient .077, guitar .068, rock .058, "
    "acoustic .054, experimental .051, electronic .042",
    "bensound-dubstep": "Hip-Hop .245, rock .183, alternative .081, electronic .076, alternative rock .053, "
    "metal .051, indie .028, instrumental .027, electronica .024, hard rock .023",
}
FILES = ("music_tagger_crnn_weights_tensorflow.h5", "music_tagger_crnn_weights_theano.h5")


def count(weights):
    return sum(int(np.prod(w.shape)) for w in weights)


@pytest.mark.parametrize("name", COUNTS)
def test_parameter_counts_are_exact(name):
    networks = [models.choi_network(name, budget) for budget in models.CHOI_BUDGETS]
    assert tuple(count(model.trainable_weights) for model in networks) == COUNTS[name]
    for model in networks:
        assert model.input_shape == (None, 96, 1366, 1) and model.output_shape == (None, 50)
    assert models.choi_network(name, "0.1M", num_tags=7).output_shape == (None, 7)


@pytest.mark.parametrize("name", COUNTS)
def test_a_small_batch_gives_probabilities(name):
    keras.utils.set_random_seed(1)
    x = np.random.default_rng(0).normal(0, 1, (2, 96, 1366, 1)).astype("float32")
    y = models.choi_network(name, "0.1M").predict(x, verbose=0)
    assert y.shape == (2, 50) and y.dtype == np.float32
    assert (y > 0).all() and (y < 1).all() and np.ptp(y) > 1e-3


def test_pools_reduce_to_what_the_paper_says():
    shapes = {"crnn": (1, 15, 60), "k2c2": (1, 1, 83), "k2c1": (1, 1, 87), "k1c2": (96, 1, 30)}
    for name, shape in shapes.items():
        model = models.choi_network(name, "0.1M")
        last = len(models.CHOI_POOLS[name])
        assert model.get_layer(f"elu{last}").output.shape[1:] == shape
    assert models.choi_network("crnn", "0.1M").get_layer("pad").output.shape == (None, 96, 1440, 1)


def test_bands_as_channels_is_a_convolution_over_all_bands():
    model = models.choi_network("k2c1", "0.1M")
    ours = keras.Model(model.get_layer("bands_as_channels").input, model.get_layer("conv1").output)
    kernel, bias = model.get_layer("conv1").get_weights()
    literal = keras.Sequential(
        [keras.Input((96, 1366, 1)), layers.ZeroPadding2D(((0, 0), (1, 2))), layers.Conv2D(43, (96, 4))]
    )
    literal.set_weights([kernel.transpose(2, 1, 0, 3), bias])
    x = np.random.default_rng(0).normal(0, 1, (2, 96, 1366, 1)).astype("float32")
    np.testing.assert_allclose(ours.predict(x, verbose=0), literal.predict(x, verbose=0), atol=1e-4)


def test_wrong_arguments_say_what_exists():
    with pytest.raises(ValueError, match="k1c2, k1c2_1x8, k2c1, k2c2, crnn"):
        models.choi_network("k3c3", "1M")
    with pytest.raises(ValueError, match=r"0\.1M, 0\.25M, 0\.5M, 1M, 3M"):
        models.choi_network("crnn", "2M")


def clips(folder):
    spectrograms = [np.load(folder / f"{name}.npy") for name in SCORES]  # (1, 1, 96, 1366): Theano's order
    return np.concatenate(spectrograms).transpose(0, 2, 3, 1).astype("float32")


@pytest.fixture(scope="module")
def choi_2016(real_data):
    """Return the folder with the published files, the model of each weight file, and its scores of both clips."""
    folder = real_data / "choi2016"
    if not folder.is_dir():
        pytest.skip(f"no published weights: {folder} is not a folder")
    networks = [pretrained.choi_crnn_2016(folder / file) for file in FILES]
    return folder, networks, [model.predict(clips(folder), verbose=0) for model in networks]


def test_all_published_scores_are_reproduced(choi_2016):
    _, networks, results = choi_2016
    assert count(networks[0].trainable_weights) == 396_786
    for scores in results:
        for clip, published in zip(scores, SCORES.values(), strict=True):
            names, values = zip(*(entry.rsplit(" ", 1) for entry in published.split(", ")), strict=True)
            ours = clip[[tags.CHOI_TOP50.index(name) for name in names]]
            np.testing.assert_allclose(ours, np.array(values, float), rtol=0, atol=0.0005)
            assert set(names) == {tags.CHOI_TOP50[i] for i in np.argsort(-clip)[:10]}


def test_the_theano_and_the_tensorflow_file_agree(choi_2016):
    _, _, (tensorflow, theano) = choi_2016
    np.testing.assert_allclose(tensorflow, theano, rtol=0, atol=1e-5)


def test_a_cached_file_is_used_and_checked(choi_2016, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "DATA", tmp_path)
    cached = tmp_path / "pretrained" / pretrained.FILE
    cached.parent.mkdir()
    shutil.copy(choi_2016[0] / FILES[0], cached)
    np.testing.assert_array_equal(
        pretrained.choi_crnn_2016().get_weights()[0], choi_2016[1][0].get_weights()[0], strict=True
    )
    cached.unlink()
    shutil.copy(choi_2016[0] / FILES[1], cached)
    with pytest.raises(ValueError, match="SHA-256"):
        pretrained.choi_crnn_2016()


def write_weights(path, end=""):
    """Write random weights in the published layout, with dataset names ending in `end`; return the path."""
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:

        def write(group, **shapes):
            for part, shape in shapes.items():
                values = rng.normal(0, 0.3, shape).astype("float32")
                file[f"{group}/{group}_{part}{end}"] = np.abs(values) + 0.5 if part == "running_std" else values

        channels = 1
        for i, maps in enumerate((1440, 64, 128, 128, 128)):
            norm = f"bn{i}" if i else "bn_0_freq"
            write(norm, gamma=maps, beta=maps, running_mean=maps, running_std=maps)
            if i:
                write(f"conv{i}", W=(maps, channels, 3, 3), b=maps)
                channels = maps
        for group, size in (("gru1", 128), ("gru2", 32)):
            for gate in "zrh":
                write(group, **{f"W_{gate}": (size, 32), f"U_{gate}": (32, 32), f"b_{gate}": 32})
        write("output", W=(32, 50), b=50)
    return path


def test_every_number_comes_from_its_dataset(tmp_path):
    model = pretrained.choi_crnn_2016(write_weights(tmp_path / "theano.h5"))
    with h5py.File(tmp_path / "theano.h5") as file:
        w = {layer.name: layer.get_weights() for layer in model.layers}
        np.testing.assert_array_equal(w["norm2"][3], file["bn2/bn2_running_std"])
        np.testing.assert_array_equal(w["gru1"][0][:, 32:64], file["gru1/gru1_W_r"])
        np.testing.assert_array_equal(w["gru2"][1][:, 64:], file["gru2/gru2_U_h"])
        np.testing.assert_array_equal(w["gru2"][2][:32], file["gru2/gru2_b_z"])
        np.testing.assert_array_equal(w["conv2"][0][0, 2, 5, 7], file["conv2/conv2_W"][7, 5, 2, 0])
        np.testing.assert_array_equal(w["tags"][0], file["output/output_W"])
    straight = pretrained.choi_crnn_2016(write_weights(tmp_path / "tensorflow.h5", "_1:0"))
    kernel = straight.get_layer("conv2").get_weights()[0]
    np.testing.assert_array_equal(kernel, w["conv2"][0][::-1, ::-1])


def test_a_saved_model_gives_the_same_scores(tmp_path):
    model = pretrained.choi_crnn_2016(write_weights(tmp_path / "weights.h5"))
    model.save(tmp_path / "choi_2016.keras")
    again = keras.saving.load_model(tmp_path / "choi_2016.keras")
    x = np.random.default_rng(0).normal(0, 1, (2, 96, 1366, 1)).astype("float32")
    scores = model.predict(x, verbose=0)
    assert (np.ptp(scores, axis=0) > 1e-4).all()  # of the input, not only of the biases
    np.testing.assert_allclose(scores, again.predict(x, verbose=0), atol=1e-6)


def test_hard_sigmoid_is_that_of_keras_1():
    x = np.array([-3, -2.5, -1, 0, 1, 2.5, 3], "float32")
    np.testing.assert_allclose(pretrained.hard_sigmoid_2016(x), [0, 0, 0.3, 0.5, 0.7, 1, 1], atol=1e-7)


def remove(file):
    del file["gru1/gru1_U_r"]


def misshape(file):
    del file["conv3/conv3_W"]
    file["conv3/conv3_W"] = np.zeros((128, 128, 5, 5), "float32")


def put_text(file):
    del file["output/output_b"]
    file["output/output_b"] = np.full(50, b"text")


def put_group(file):
    del file["conv1/conv1_b"]
    file.create_group("conv1/conv1_b")


def put_nan(file):
    file["bn4/bn4_running_mean"][5] = np.nan


@pytest.mark.parametrize(
    "damage, message",
    [
        (remove, "gru1/gru1_U_r is missing"),
        (misshape, r"conv3/conv3_W is float32 \(128, 128, 5, 5\), not float32 \(128, 128, 3, 3\)"),
        (put_text, "output/output_b is .*, not float32"),
        (put_group, "conv1/conv1_b is missing"),
        (put_nan, "bn4/bn4_running_mean holds"),
    ],
)
def test_a_wrong_dataset_is_named(damage, message, tmp_path):
    with h5py.File(write_weights(tmp_path / "weights.h5"), "r+") as file:
        damage(file)
    with pytest.raises(ValueError, match=rf"weights\.h5 .*{message}.* Take "):
        pretrained.choi_crnn_2016(tmp_path / "weights.h5")


def test_files_that_are_no_weights_are_refused(tmp_path):
    path = write_weights(tmp_path / "weights.h5")
    path.write_bytes(path.read_bytes()[:100_000])
    (tmp_path / "page.h5").write_text("<html>what GitHub gives without /raw/</html>")
    (tmp_path / "empty.h5").touch()
    for wrong in (path, tmp_path / "page.h5", tmp_path / "empty.h5", tmp_path):
        with pytest.raises(ValueError, match="is damaged or holds another network"):
            pretrained.choi_crnn_2016(wrong)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        pretrained.choi_crnn_2016(tmp_path / "nowhere.h5")
