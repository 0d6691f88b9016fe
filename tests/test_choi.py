"""Choi's networks: the exact counts, the papers' layers; the released CRNN: the exact scores."""

import h5py
import keras
import numpy as np
import pytest
from keras import layers
from test_models import count, drawn, dropouts

from helpers import models, pretrained, tags

COUNTS = {  # trainable parameters at 0.1M, 0.25M, 0.5M, 1M, 3M
    "crnn": (100_010, 248_978, 500_037, 1_003_247, 3_030_592),
    "k2c2": (99_554, 248_829, 500_052, 1_006_560, 3_048_899),
    "k2c1": (100_245, 249_450, 507_024, 1_005_526, 2_986_347),
    "k1c2": (98_392, 235_475, 460_228, 947_363, 2_776_223),
    "k1c2_1x8": (102_020, 248_111, 488_120, 1_007_615, 2_959_147),
}
K1C2 = ((1, 4), (15, 15, 30, 30, 30, 30), ((1, 4), (1, 5), (1, 8), (1, 8)))
NETWORKS = {  # sections 2.1 to 2.4 and the first column of Table 1: kernel, widths, pools
    "k1c2": K1C2,
    "k1c2_1x8": ((1, 8), *K1C2[1:]),
    "k2c1": ((1, 4), (43, 43, 43, 87, 87, 87, 87), ((1, 4), (1, 4), (1, 4), (1, 4), (1, 5))),
    "k2c2": ((3, 3), (20, 41, 41, 62, 83), ((2, 4), (2, 4), (2, 4), (3, 5), (4, 4))),
    "crnn": ((3, 3), (30, 60, 60, 60, 30, 30), ((2, 2), (3, 3), (4, 4), (4, 4))),
}
SCORES = {  # published with the weights, three decimals
    "bensound-cute": "jazz .444, instrumental .151, folk .103, Hip-Hop .103, ambient .077, guitar .068, rock .058, "
    "acoustic .054, experimental .051, electronic .042",
    "bensound-dubstep": "Hip-Hop .245, rock .183, alternative .081, electronic .076, alternative rock .053, "
    "metal .051, indie .028, instrumental .027, electronica .024, hard rock .023",
}


@pytest.mark.parametrize("name", COUNTS)
def test_parameter_counts_and_dropout_are_exact(name):
    networks = [models.choi_network(name, budget) for budget in ("0.1M", "0.25M", "0.5M", "1M", "3M")]
    assert tuple(count(model.trainable_weights) for model in networks) == COUNTS[name]
    expected = {0.1: ["elu1", "elu2", "elu3", "elu4"]} if name == "crnn" else {}
    for model in networks:
        assert model.input_shape == (None, 96, 1366, 1) and model.output_shape == (None, 50)
        assert dropouts(model) == expected  # section 2; none before the tags
    assert models.choi_network(name, "0.1M", num_tags=7).output_shape == (None, 7)


def as_typed(name):
    """The network of 0.1M as the paper reads: convolution, norm, ELU, pool; input norm over time; no dropout."""
    kernel, widths, pools = NETWORKS[name]
    x = inputs = keras.Input((96, 1366, 1))
    if name == "crnn":
        x = layers.ZeroPadding2D((0, 37))(x)
    if name != "k1c2_1x8":
        x = layers.BatchNormalization(axis=2)(x)
    for i, (width, pool) in enumerate(zip(widths, pools, strict=False)):
        if name == "k2c1" and i == 0:  # 96 x 4: valid in frequency, same in time
            x = layers.Conv2D(width, (96, 4))(layers.ZeroPadding2D(((0, 0), (1, 2)))(x))
        else:
            x = layers.Conv2D(width, kernel, padding="same")(x)
        x = layers.MaxPooling2D(pool)(layers.ELU()(layers.BatchNormalization()(x)))
    if name == "crnn":
        x = layers.Reshape((15, 60))(x)
        for whole in (True, False):
            options = {"reset_after": False, "activation": "tanh", "recurrent_activation": "sigmoid"}
            x = layers.GRU(30, return_sequences=whole, **options)(x)
    else:
        x = layers.Flatten()(x)
        for width in widths[len(pools) :]:
            x = layers.ELU()(layers.BatchNormalization()(layers.Dense(width)(x)))
    return keras.Model(inputs, layers.Dense(50, activation="sigmoid")(x))


@pytest.mark.parametrize("name", NETWORKS)
def test_each_network_computes_what_the_paper_describes(name):
    ours, typed = drawn(models.choi_network(name, "0.1M")), as_typed(name)
    weights = ours.get_weights()
    if name == "k2c1":
        weights[4] = weights[4].transpose(2, 1, 0, 3)  # bands as channels
    typed.set_weights(weights)
    x = np.random.default_rng(0).normal(0, 1, (2, 96, 1366, 1)).astype("float32")
    scores = ours.predict(x, verbose=0)
    assert scores.dtype == np.float32 and np.ptp(scores, axis=0).mean() > 5e-3
    np.testing.assert_allclose(scores, typed.predict(x, verbose=0), atol=5e-5)


def test_wrong_arguments_say_what_exists():
    for name, budget in (("k3c3", "1M"), ("crnn", "2M")):
        with pytest.raises(ValueError, match=r"k1c2, k1c2_1x8, k2c1, k2c2, crnn and of 0\.1M, 0\.25M, 0\.5M, 1M, 3M"):
            models.choi_network(name, budget)


def test_all_published_scores_are_reproduced(real_data):
    folder = real_data / "choi2016"
    model = pretrained.choi_crnn_2016(folder / pretrained.FILE)
    assert count(model.trainable_weights) == 396_786
    clips = np.concatenate([np.load(folder / f"{name}.npy") for name in SCORES])  # (2, 1, 96, 1366): Theano's order
    found = model.predict(clips.transpose(0, 2, 3, 1).astype("float32"), verbose=0)
    for clip, published in zip(found, SCORES.values(), strict=True):
        names, values = zip(*(entry.rsplit(" ", 1) for entry in published.split(", ")), strict=True)
        ours = clip[[tags.CHOI_TOP50.index(name) for name in names]]
        np.testing.assert_allclose(ours, np.array(values, float), rtol=0, atol=0.0005)
        assert set(names) == {tags.CHOI_TOP50[i] for i in np.argsort(-clip)[:10]}


def write_weights(path):
    """Write random weights in the published layout; return the path."""
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:

        def write(group, end="_1:0", **shapes):
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
                write(group, ":0", **{f"W_{gate}": (size, 32), f"U_{gate}": (32, 32), f"b_{gate}": 32})
        write("output", W=(32, 50), b=50)
    return path


def test_the_released_network_is_its_own_and_is_saved_and_loaded(tmp_path):
    model = pretrained.choi_crnn_2016(write_weights(tmp_path / "weights.h5"))
    assert dropouts(model) == {0.1: ["elu1", "elu2", "elu3", "elu4"], 0.3: ["gru2"]}
    model.save(tmp_path / "choi_2016.keras")
    again = keras.saving.load_model(tmp_path / "choi_2016.keras")
    for gru in (again.get_layer("gru1"), again.get_layer("gru2")):
        inputs = np.array([-3, -1, 0, 1, 2.5, 3], "float32")
        gates = keras.ops.convert_to_numpy(gru.cell.recurrent_activation(inputs))
        np.testing.assert_allclose(gates, [0, 0.3, 0.5, 0.7, 1, 1], atol=1e-7)  # Keras 1's hard sigmoid
        assert not gru.cell.reset_after
    x = np.random.default_rng(0).normal(0, 1, (2, 96, 1366, 1)).astype("float32")
    np.testing.assert_allclose(model.predict(x, verbose=0), again.predict(x, verbose=0), atol=1e-6)


def test_files_that_are_no_weights_are_refused(tmp_path):
    page, wide, cut = (tmp_path / f"{name}.h5" for name in ("page", "wide", "cut"))
    page.write_text("<html>what GitHub gives without /raw/</html>")
    with h5py.File(write_weights(wide), "r+") as file:
        del file["conv3/conv3_W_1:0"]
        file["conv3/conv3_W_1:0"] = np.zeros((128, 128, 5, 5), "float32")
    write_weights(cut).write_bytes(cut.read_bytes()[:100_000])
    for wrong in (page, wide, cut, tmp_path / "nowhere.h5"):
        with pytest.raises(ValueError, match=rf"(?s){wrong.name} does not hold the network: .* Take "):
            pretrained.choi_crnn_2016(wrong)
