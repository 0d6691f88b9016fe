"""Figures: each is drawn, saved with its table, and says when its data are synthetic."""

import hashlib

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from helpers import audio, models, paths, plots, tags


@pytest.fixture(autouse=True)
def figures(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "FIGURES", tmp_path)
    plots.style()
    yield tmp_path
    plt.close("all")


def make_history():
    rng = np.random.default_rng(0)
    rows = [
        {"epoch": e, "split": split, "size": size, "segments": segments, "seed": seed,
         "streaming_auc": rng.random(), "macro_auc": rng.random()}
        for e in (1, 2, 3) for split in ("train", "held_out") for size in ("small", "large")
        for segments in (252, 1024) for seed in (0, 1)
    ]  # fmt: skip
    return pd.DataFrame(rows)


REMAINING = pd.DataFrame({"segments": [252, 512], "training songs": [20, 10], "held-out songs": [5, 3]})
CHOI = ("k1c2", "k2c1", "k2c2", "crnn")
DEVIATIONS = pd.DataFrame(
    [(name, budget, i) for name in CHOI for i, budget in enumerate(models.CHOI_BUDGETS)],
    columns=["network", "budget", "deviation"],
)
GRID = DEVIATIONS.assign(parameters=[10.0**i for i in range(5)] * 4, seconds_2500=60.0, macro_auc=0.7, oracle=0.8)
GRID = GRID.assign(low=0.6, high=0.8, macro_auc=GRID["macro_auc"].where(GRID["budget"] == "0.1M"))
TAGS = pd.DataFrame(
    [
        (network, tag, category, rank, auc + shift, low + shift, auc + shift + 0.1)
        for network, shift in (("k2c1", 0), ("k1c2", -0.1), ("crnn", 0.05))
        for tag, category, rank, auc, low in (
            ("rock", "genre", 1, 0.7, 0.6), ("pop", "genre", 3, 0.8, 0.45), ("jazz", "genre", 5, np.nan, np.nan),
            ("sad", "mood", 4, 0.6, np.nan), ("80s", "era", 2, 0.5, 0.4),
        )
    ],
    columns=["network", "tag", "category", "popularity_rank", "auc", "low", "high"],
)  # fmt: skip
CRNN = TAGS[TAGS["network"] == "crnn"].assign(oracle=0.9)
SHARE = pd.DataFrame([[np.nan, 0.2], [1, np.nan]], ["metal", "sad"], ["metal", "sad"])
GAPS = pd.DataFrame(
    {"train": [0.9, 0.6], "auc": [0.6, 0.7], "auc_low": [0.5, np.nan], "auc_high": [0.8, np.nan]}, index=["a", "b"]
).rename_axis("cure")
CONSTANT = {"streaming_auc": 0.7, "macro_auc": 0.5}
FOLDS = pd.DataFrame(
    [(p, split, auc) for p in "ab" for split, aucs in (("x", (0.7, 0.9)), ("y", (0.5, 0.5))) for auc in aucs],
    columns=["predictor", "split", "macro_auc"],
)
CROPS = pd.DataFrame(
    [(network, segments, 0.6, 0.5, np.nan if segments == 12 else 0.7) for network in "ab" for segments in (252, 12)],
    columns=["network", "segments", "macro_auc", "low", "high"],
)  # fmt: skip
FIGURES = {
    "scores by segments": lambda: plots.score_intervals(CROPS, "segments"),
    "scores by name": lambda: plots.score_intervals(CROPS.astype({"segments": str}), "segments", oracle=0.8),
    "AUC by rank": lambda: plots.auc_by_rank(CRNN.assign(rank=[1, 2, 51, 52, 53])),
    "pitches": lambda: plots.show_pitches(np.random.default_rng(0).random((40, 12))),
    "wave": lambda: plots.show_wave(np.random.default_rng(0).normal(size=24_000)),
    "mel": lambda: plots.show_mel(np.random.default_rng(0).normal(-20, 20, (96, 100))),
    "chroma": lambda: plots.show_chroma(np.random.default_rng(0).random((12, 100))),
    "histogram": lambda: plots.segment_histogram(np.array([5, 300, 700, 1500])),
    "remaining": lambda: plots.songs_remaining(REMAINING),
    "layers": lambda: plots.layer_diagram(models.mason_crnn("small", 252)),
    "layers of four": lambda: plots.layer_diagrams({n: models.choi_network(n, "0.1M") for n in CHOI}),
    "deviation": lambda: plots.budget_deviation(DEVIATIONS),
    "curves": lambda: plots.learning_curves(make_history().query("size == 'small'"), "macro_auc", {"macro_auc": 0.5}),
    "by size": lambda: plots.curve_grid(make_history().query("seed == 0"), "size", {"streaming_auc": 0.7}),
    "by segments": lambda: plots.curve_grid(make_history().query("size == 'small'"), "segments"),
    "AUC by parameters": lambda: plots.size_and_time(GRID, "parameters", "macro_auc"),
    "seconds by parameters": lambda: plots.size_and_time(GRID, "parameters", "seconds_2500"),
    "tag differences": lambda: plots.tag_differences(TAGS),
    "popularity": lambda: plots.auc_by_popularity(CRNN),
    "cooccurrence": lambda: plots.cooccurrence(SHARE),
    "tag intervals": lambda: plots.tag_intervals(CRNN, ["oracle"]),
    "difference": lambda: plots.paired_difference(np.random.default_rng(0).normal(size=200), ("512", "252")),
    "tag bars": lambda: plots.tag_bars(np.linspace(0, 1, 20), np.full(20, 0.1), [f"tag {i}" for i in range(20)]),
    "taggram": lambda: plots.taggram(np.array([15.0, 20]), np.eye(2, 20), [f"tag {i}" for i in range(20)], [17]),
    "dumbbells": lambda: plots.dumbbells(GAPS, {"train": "training", "auc": "test"}, {"constant": 0.5, "oracle": 0.8}),
    "two runs": lambda: plots.compare_curves(make_history().query("seed == 0 and segments == 252"), "size", CONSTANT),
    "folds": lambda: plots.fold_scores(FOLDS),
}


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_labelled_and_saved(name, figures):
    fig, axes = FIGURES[name]()
    if "layers" not in name:
        assert all(ax.get_xlabel() or ax.get_shared_x_axes() for ax in np.ravel(axes))
        assert any(ax.get_ylabel() for ax in np.ravel(axes))
    path = plots.save(fig, name, {"dataset": "demo", "synthetic": True}, pd.DataFrame({"a": [1]}))
    assert path == figures / "demo" / f"{name}.png" and path.stat().st_size > 2000
    assert "synthetic demo data" in path.with_suffix(".svg").read_text().replace("\n", " ") or fig.get_supxlabel()
    assert path.with_suffix(".csv").read_text() == "a\n1\n"


@pytest.mark.parametrize("synthetic", [True, False])
def test_the_label_stands_on_synthetic_data_and_only_there(synthetic):
    fig, _ = FIGURES["histogram"]()
    plots.save(fig, "x", {"dataset": "d", "synthetic": synthetic})
    assert (fig.get_supxlabel() == "synthetic demo data") is synthetic


@pytest.mark.parametrize("name", [*CHOI, "small", "large"])
def test_parameters_in_a_layer_diagram_add_up_to_the_networks(name):
    model = models.choi_network(name, "0.1M") if name in CHOI else models.mason_crnn(name)
    _, ax = plots.layer_diagram(model)
    texts = [text.get_text() for text in ax.texts]
    drawn = [int(text.split("\n")[-2].replace(",", "")) for text in texts if text.endswith("parameters")]
    assert sum(drawn) == sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert f"50 tags\n{drawn[-1]:,}\nparameters" in texts


def test_a_layer_diagram_says_what_is_special_about_a_network():
    _, axes = plots.layer_diagrams({name: models.choi_network(name, "0.1M") for name in CHOI})
    steps = {ax.get_title(loc="left"): [text.get_text() for text in ax.texts] for ax in axes}
    assert "flatten\ndense" in steps["k1c2"] and "96 × 1\n30 maps\n3,690\nparameters" in steps["k1c2"]
    assert "conv 96×4\npool 1×4" in steps["k2c1"] and steps["k2c1"].count("conv 1×4\npool 1×4") == 3
    assert "conv 3×3\npool 3×5" in steps["k2c2"]
    assert "pad to 1440\nconv 3×3\npool 2×2" in steps["crnn"] and steps["crnn"].count("GRU") == 2
    assert len({ax.get_xlim() for ax in axes}) == 1


def test_deviations_stand_at_their_budget_and_height():
    _, ax = plots.budget_deviation(DEVIATIONS)
    points = [line for line in ax.lines if line.get_label() in CHOI]
    assert [line.get_label() for line in points] == list(CHOI)
    for line in points:
        np.testing.assert_array_equal(np.round(line.get_xdata()), range(5))
        np.testing.assert_array_equal(line.get_ydata(), range(5))
    assert [label.get_text() for label in ax.get_xticklabels()] == list(models.CHOI_BUDGETS)


def test_curves_show_every_run_their_mean_and_the_constant_predictor():
    history = make_history().query("size == 'small' and segments == 252")
    _, ax = plots.learning_curves(history, "macro_auc", {"macro_auc": 0.5})
    assert len(ax.lines) == 2 * (2 + 1) + 1  # two splits of two runs and their mean, and the constant
    np.testing.assert_array_equal(ax.lines[-1].get_ydata(), 0.5)
    expected = history.query("split == 'held_out'").groupby("epoch")["macro_auc"].mean()
    np.testing.assert_allclose(ax.lines[2].get_ydata(), expected)


def test_a_given_axes_is_drawn_into():
    fig, ax = plt.subplots()
    assert plots.songs_remaining(REMAINING, ax) == (fig, ax)


@pytest.mark.parametrize(("hertz", "bins"), [(1000, 96), (4000, 96), (3000, 257), (5000, 1025)])
def test_spectrograms_have_their_frequencies_and_seconds_in_the_right_place(hertz, bins):
    samples = np.sin(2 * np.pi * hertz * np.arange(36_000) / 12_000).astype(np.float32)
    if bins == 96:
        spectrum, row = audio.log_mel(samples), None
    else:
        spectrum, row = np.zeros((bins, 141), np.float32), round(hertz * 2 * (bins - 1) / 12_000)
        spectrum[row] = 1
    _, ax = plots.show_mel(spectrum, unit="dB" if row is None else "power")
    ticks = {label.get_text(): position for label, position in zip(ax.get_yticklabels(), ax.get_yticks(), strict=True)}
    assert abs(ticks[str(hertz)] - spectrum[:, 70].argmax()) <= 0.6
    assert ax.get_xlim()[1] == pytest.approx(3, abs=0.02)


def test_stacked_axes_share_their_time_axis():
    fig, axes = plots.stack(2)
    plots.show_wave(np.zeros(24_000), ax=axes[0])
    plots.show_chroma(np.zeros((12, 94)), ax=axes[1])
    assert axes[0].get_xlim() == axes[1].get_xlim() and len(fig.axes) == 3  # and a colour bar
    assert not axes[0].get_xlabel() and axes[1].get_xlabel() == "seconds"


def test_tags_are_drawn_best_first_beside_what_is_usual_for_them():
    _, ax = plots.tag_bars(np.array([0.1, 0.5, 0.3]), np.array([0.01, 0.05, 0.03]), list("abc"), count=2)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["b", "c"] and ax.yaxis_inverted()
    np.testing.assert_allclose([bar.get_width() for bar in ax.patches], [0.5, 0.3])
    np.testing.assert_allclose([line[0, 0] for line in ax.collections[0].get_segments()], [0.05, 0.03])
    scores = np.array([[0.1, 0.2, 0.3], [0.1, 0.8, 0.3], [0.1, 0.2, 0.3]])
    _, ax = plots.taggram(np.array([14.56, 19.56, 24.56]), scores, list("abc"), count=2)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["b", "c"]
    np.testing.assert_allclose(ax.images[0].get_array(), [[0.2, 0.8, 0.2], [0.3, 0.3, 0.3]])
    np.testing.assert_allclose(ax.images[0].get_extent()[:2], [12.06, 27.06])


def test_the_manifest_has_one_row_a_figure_and_says_where_it_came_from(figures, monkeypatch):
    monkeypatch.setenv("CRNN_NOTEBOOK", "05_repeatability")
    provenance = {"dataset": "some", "synthetic": True, "steps": {"read": 5}}  # a snapshot's says more
    for name, table in (("mason_figure_5_again", REMAINING), ("extra", None), ("mason_figure_5_again", REMAINING)):
        fig, _ = plots.songs_remaining(REMAINING)
        plots.save(fig, name, provenance, table)
    rows = pd.read_csv(figures / "some" / "manifest.csv", keep_default_na=False).set_index("figure")
    assert list(rows.index) == ["extra", "mason_figure_5_again"]
    row = rows.loc["mason_figure_5_again"]
    assert "steps" not in rows
    assert row[["paper", "number", "notebook"]].tolist() == ["Mason 2020", "Figure 5", "05_repeatability"]
    assert row["synthetic"] and rows.loc["extra", ["paper", "number", "table_sha256"]].tolist() == ["", "", ""]
    table = (figures / "some" / "mason_figure_5_again.csv").read_bytes()
    assert row["table_sha256"] == hashlib.sha256(table).hexdigest()


def test_bars_lead_from_the_baseline_to_the_other_networks_tags_sorted_within_their_category():
    _, ax = plots.tag_differences(TAGS)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["pop (3)", "rock (1)", "sad (4)", "80s (2)"]
    assert [text.get_text() for text in ax.texts] == ["genre", "mood", "era"]
    line = np.concatenate([line.get_ydata() for line in ax.lines if line.get_marker() == "o"])
    np.testing.assert_allclose(line, [0.8, 0.7, 0.6, 0.5])
    ends = {network: [bar.get_y() + bar.get_height() for container in ax.containers for bar in container
                      if bar.get_facecolor()[:3] == matplotlib.colors.to_rgb(plots.NETWORK_COLORS[network])]
            for network in ("k1c2", "crnn")}  # fmt: skip
    np.testing.assert_allclose(ends["k1c2"], line - 0.1)
    np.testing.assert_allclose(ends["crnn"], line + 0.05)
    dashed = sorted(line.get_ydata()[0] for line in ax.lines if line.get_linestyle() == "--")
    np.testing.assert_allclose(dashed, [0.55, 0.65, 0.7])


def test_tags_without_a_score_are_left_out_and_those_without_an_interval_are_hollow():
    _, ax = plots.tag_intervals(CRNN, ["oracle"])
    assert [label.get_text() for label in ax.get_xticklabels()] == ["pop", "rock", "sad", "80s"]
    points = {marks.get_label(): marks for marks in ax.collections}
    np.testing.assert_allclose(points["interval above 0.5"].get_offsets(), [[1, 0.75]])
    np.testing.assert_allclose(points["not clear of 0.5"].get_offsets(), [[0, 0.85], [3, 0.55]])
    hollow = [marks for marks in ax.collections if len(marks.get_facecolors()) and marks.get_facecolors()[0, 0] == 1]
    np.testing.assert_allclose(np.concatenate([marks.get_offsets() for marks in hollow]), [[2, 0.65]])
    _, ax = plots.auc_by_popularity(CRNN)
    drawn = {marks.get_label(): marks.get_offsets().tolist() for marks in ax.collections}
    assert drawn["genre"] == [[1, 0.75], [3, pytest.approx(0.85)]] and drawn["era"] == [[2, 0.55]]


def test_the_heat_map_keeps_the_order_it_is_given_and_colours_tags_by_category():
    _, ax = plots.cooccurrence(SHARE)
    assert ax.images[0].get_array()[1, 0] == 1 and ax.images[0].get_array().mask[0, 0]
    labels = ax.get_yticklabels()
    assert [label.get_text() for label in labels] == ["metal", "sad"] == [t.get_text() for t in ax.get_xticklabels()]
    assert [label.get_color() for label in labels] == [plots.CATEGORY_COLORS[tags.CHOI_CATEGORIES[t]] for t in SHARE]


def test_dumbbells_join_two_scores_and_show_the_interval_where_there_is_one():
    _, ax = plots.dumbbells(GAPS, {"train": "training", "auc": "test"}, {"constant": 0.5})
    bars, interval = ax.collections[0], ax.containers[0].lines[2][0]
    np.testing.assert_allclose([line[:, 0] for line in bars.get_segments()], [[0.6, 0.9], [0.6, 0.7]])
    np.testing.assert_allclose(interval.get_segments()[0], [[0.5, 0], [0.8, 0]])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"] and ax.yaxis_inverted()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["training", "test", "constant"]
    _, ax = plots.dumbbells(GAPS.astype(object), {"train": "training"})  # columns of words make all columns objects
    np.testing.assert_allclose(ax.collections[1].get_offsets(), [[0.9, 0], [0.6, 1]])


def test_two_runs_have_a_colour_each_and_dashes_for_training():
    history = make_history().query("seed == 0 and segments == 252")
    _, axes = plots.compare_curves(history, "size", CONSTANT)
    for ax, score in zip(axes, CONSTANT, strict=True):
        assert len(ax.lines) == 5 and len({line.get_color() for line in ax.lines[:4]}) == 2
        dashed = [line.get_ydata() for line in ax.lines if line.get_linestyle() == "--"]
        expected = [history.query(f"split == 'train' and size == '{size}'")[score] for size in ("large", "small")]
        np.testing.assert_allclose(dashed, expected)
        np.testing.assert_array_equal(ax.lines[4].get_ydata(), CONSTANT[score])


def test_folds_are_drawn_beside_their_mean():
    _, ax = plots.fold_scores(FOLDS)
    dots, means = ax.collections[0].get_offsets(), ax.collections[1].get_offsets()
    np.testing.assert_allclose(dots[:, 0], [0.7, 0.9, 0.7, 0.9])
    np.testing.assert_allclose(means[:, 0], [0.8, 0.8])
    np.testing.assert_allclose(np.unique(dots[:, 1]), means[:, 1])
