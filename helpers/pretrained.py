"""The CRNN that Choi released in 2016, from its published weights."""

from pathlib import Path

import h5py
import numpy as np
from keras import Model, layers, ops, saving

from helpers import download, models, paths

# MIT licence. The Theano file beside it holds the same network.
FILE = "music_tagger_crnn_weights_tensorflow.h5"
HOME = "https://github.com/keunwoochoi/music-auto_tagging-keras"
URLS = [
    f"{HOME}/raw/master/data/{FILE}",
    f"{HOME}/raw/90b294091adaada477b9003201dd20a9fe15a3c1/data/{FILE}",  # stays if that branch moves on
]
SIZE = 1_649_464  # bytes
SHA256 = "df63638de9f3113780768181670c554f122fbd1297c63c065836d70a251115a8"

WIDTHS = (64, 128, 128, 128, 32, 32)  # four convolutions, two GRUs
RENAMED = {"time_norm": "bn_0_freq", "norm1": "bn1", "norm2": "bn2", "norm3": "bn3", "norm4": "bn4", "tags": "output"}


@saving.register_keras_serializable("crnn")
def hard_sigmoid_2016(x):
    """Return clip(0.2 x + 0.5, 0, 1), the gate of the GRUs in Keras 1; the slope of Keras 3's is 1/6."""
    return ops.clip(0.2 * x + 0.5, 0.0, 1.0)


def choi_crnn_2016(path: Path | str | None = None) -> Model:
    """Return the released CRNN with its published weights, 396,786 trainable parameters (Choi et al. 2017, section 3).

    `path` is the published TensorFlow or Theano HDF5 file; without it the former is downloaded once to
    `data/pretrained`. Only numbers are read from the file, nothing in it is run.
    Input: float32 (batch, 96, 1366, 1), log-mel-spectrograms in dB, as `helpers.audio.log_mel(squared_twice=True)`
    makes them. Output: float32 (batch, 50), one probability for each of `helpers.tags.CHOI_TOP50`.
    `model.save("choi_2016.keras")` writes a modern file; import this module before `keras.saving.load_model` reads it.
    Raises ValueError for a damaged or other file, FileNotFoundError, and ConnectionError if the download fails.
    """
    if path is None:
        advice = f"It is data/{FILE} of {HOME}."
        path = download.fetch(URLS, paths.DATA / "pretrained" / FILE, SIZE, SHA256, advice)
    if not Path(path).exists():
        raise FileNotFoundError(f"{path} does not exist; give no path to download {FILE}.")
    model = models.choi_crnn(WIDTHS, 50, "choi_crnn_2016", hard_sigmoid_2016, dropout=0.3)
    try:
        with h5py.File(path) as file:
            for layer in model.layers:
                if layer.weights:
                    layer.set_weights(_weights(file, layer))
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise ValueError(
            f"{path} is damaged or holds another network: {error}. Take {FILE} from {HOME}, folder data."
        ) from error
    return model


def _weights(file: h5py.File, layer: layers.Layer) -> list[np.ndarray]:
    """Return the weights of `layer` as Keras 3 orders and lays them out."""
    shapes, group = [weight.shape for weight in layer.get_weights()], RENAMED.get(layer.name, layer.name)
    if isinstance(layer, models.NormedConv):
        conv, norm = layer.name.split("_")
        return _conv(file, conv, shapes[:2]) + _norm(file, RENAMED[norm], shapes[2:])
    if isinstance(layer, layers.Conv2D):
        return _conv(file, group, shapes)
    if isinstance(layer, layers.BatchNormalization):
        return _norm(file, group, shapes)
    if isinstance(layer, layers.GRU):  # gates side by side
        gates = [
            [_read(file, group, f"{part}_{gate}", (*shape[:-1], layer.units)) for gate in "zrh"]
            for part, shape in zip("WUb", shapes, strict=True)
        ]
        return [np.concatenate(gate, axis=-1) for gate in gates]
    return [_read(file, group, part, shape) for part, shape in zip("Wb", shapes, strict=True)]


def _conv(file, group, shapes):
    height, width, channels, maps = shapes[0]
    kernel = _read(file, group, "W", (maps, channels, height, width)).transpose(2, 3, 1, 0)
    if f"{group}/{group}_W" in file:  # Theano's convolution turns its kernels by 180 degrees
        kernel = kernel[::-1, ::-1]
    return [kernel, _read(file, group, "b", shapes[1])]


def _norm(file, group, shapes):
    parts = ("gamma", "beta", "running_mean", "running_std")  # the last holds the variance, despite its name
    return [_read(file, group, part, shape) for part, shape in zip(parts, shapes, strict=True)]


def _read(file: h5py.File, group: str, part: str, shape: tuple[int, ...]) -> np.ndarray:
    name = f"{group}/{group}_{part}"
    data = next((file[name + end] for end in ("", "_1:0", ":0") if name + end in file), None)  # Theano, TensorFlow
    if not isinstance(data, h5py.Dataset):
        raise ValueError(f"dataset {name} is missing")
    if data.shape != shape or data.dtype != np.float32:
        raise ValueError(f"dataset {name} is {data.dtype} {data.shape}, not float32 {shape}")
    values = data[()]
    if not np.isfinite(values).all():
        raise ValueError(f"dataset {name} holds values that are no numbers")
    return values
