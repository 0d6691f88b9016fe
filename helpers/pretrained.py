"""The CRNN that Choi released in 2016, from its published weights (MIT licence)."""

from pathlib import Path

import h5py
import numpy as np
from keras import Model, layers, ops, saving

from helpers import download, models, paths

FILE, SIZE = "music_tagger_crnn_weights_tensorflow.h5", 1_649_464  # bytes
HOME = "https://github.com/keunwoochoi/music-auto_tagging-keras"
URLS = [f"{HOME}/raw/{state}/data/{FILE}" for state in ("master", "90b294091adaada477b9003201dd20a9fe15a3c1")]
SHA256 = "df63638de9f3113780768181670c554f122fbd1297c63c065836d70a251115a8"
WIDTHS = (64, 128, 128, 128, 32, 32)  # four convolutions, two GRUs
RENAMED = {"time_norm": "bn_0_freq", "tags": "output"}
NORM = ("gamma", "beta", "running_mean", "running_std")  # the last holds the variance, despite its name


@saving.register_keras_serializable("crnn")
def hard_sigmoid_2016(x):
    """Return clip(0.2 x + 0.5, 0, 1), the gate of the GRUs in Keras 1; the slope of Keras 3's is 1/6."""
    return ops.clip(0.2 * x + 0.5, 0.0, 1.0)


def choi_crnn_2016(path: Path | str | None = None) -> Model:
    """Return the released CRNN with its published weights, 396,786 trainable parameters (Choi et al. 2017, section 3).

    Without `path` it is downloaded once. Input: float32 (batch, 96, 1366, 1), `log_mel(squared_twice=True)`; output:
    (batch, 50), probabilities of `tags.CHOI_TOP50`. ValueError for another file, ConnectionError if none can be had.
    """
    path = Path(path or download.fetch(URLS, paths.DATA / "pretrained" / FILE, SIZE, SHA256))
    model = models.choi_crnn(WIDTHS, 50, "choi_crnn_2016", hard_sigmoid_2016, dropout=0.3)
    try:
        with h5py.File(path) as file:
            for layer in model.layers:
                if layer.weights:
                    layer.set_weights(_weights(file, layer))
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise ValueError(f"{path} does not hold the network: {error}. Take {FILE} from {HOME}, folder data.") from error
    return model


def _weights(file: h5py.File, layer: layers.Layer) -> list[np.ndarray]:  # as Keras 3 orders and lays them out
    name, values = layer.name, []
    if isinstance(layer, layers.GRU):  # the gates side by side
        return [np.concatenate([file[f"{name}/{name}_{w}_{gate}:0"] for gate in "zrh"], axis=-1) for w in "WUb"]
    for part in name.removeprefix("time_").split("_"):  # conv1_norm1 is two in one
        group = RENAMED.get(name, part.replace("norm", "bn"))
        parts = NORM if part.startswith("norm") else "Wb"
        values += [file[f"{group}/{group}_{weight}_1:0"][()] for weight in parts]
        if part.startswith("conv"):  # maps, channels, height, width
            values[0] = values[0].transpose(2, 3, 1, 0)
    return values
