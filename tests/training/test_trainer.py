"""The loop: it learns, it resumes exactly, it certifies as it said, and it fails clearly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from models import Dataset, ShapeError, load_network, write_network
from models.architectures import build_architecture
from models.errors import DataError
from models.network import Network, Normalization
from models.runtime import OnnxRuntime
from solvers.certification import CertifyOptions, certify_items
from solvers.methods import Method
from solvers.results import Verdict
from tests.helpers import networks
from tests.helpers.training import blobs, digits, options, small_network
from training import (
    AugmentationOptions,
    CheckpointError,
    DivergedError,
    FeasibilityForm,
    OptimiserKind,
    OptimiserOptions,
    RampOptions,
    SelectionOptions,
    StopReason,
    TrainingEvent,
    TrainingMethod,
    TrainingOptions,
    TrainingResult,
    UntrainableError,
    train,
)
from training.checkpoint import FILE_NAME
from training.evaluation import evaluate

REGULARISED = {"feasibility_weight": 0.1, "slack_weight": 0.1}


def run(
    settings: TrainingOptions,
    network: Network | None = None,
    **more: Any,  # noqa: ANN401 (what `train` takes by name)
) -> TrainingResult:
    chosen = small_network() if network is None else network
    return train(chosen, blobs(), blobs(18, seed=9), settings, **more)


def same(one: Network, other: Network) -> bool:
    return all(torch.equal(one.parameters[name], other.parameters[name]) for name in one.parameters)


def comparable(result: TrainingResult) -> list[dict[str, Any]]:
    """Return the history without what depends on the clock."""
    return [{**entry.to_json(), "seconds": 0} for entry in result.history]


# --- it learns ----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", list(TrainingMethod))
def test_every_method_lowers_its_loss(method: TrainingMethod) -> None:
    flat = RampOptions(warm_up=0, ramp=0)
    fast = OptimiserOptions(learning_rate=0.03)
    settings = options(method, epochs=6, ramp=flat, optimiser=fast, **REGULARISED)
    result = run(settings)
    assert result.stopped is StopReason.COMPLETED
    assert len(result.history) == 6
    assert result.history[-1].loss["total"] < 0.95 * result.history[0].loss["total"]
    assert {"feasibility", "slack"} <= set(result.history[-1].loss)


@pytest.mark.parametrize("name", ["mlp:30", "cnn-small"])
def test_two_epochs_on_digits_improve_certified_accuracy(name: str) -> None:
    training, validation = digits()
    network = build_architecture(name, (1, 8, 8), 10, seed=1)
    settings = options("crown-ibp", epsilon=0.02, ramp=RampOptions(0.0, 0.3), **REGULARISED)
    before = evaluate(network, validation, settings)
    result = train(network, training, validation, settings)
    assert result.best is not None
    assert result.best.certified_accuracy > before.certified_accuracy + 0.3
    after = evaluate(result.network, validation, settings)
    assert after.certified_accuracy == result.best.certified_accuracy


def test_batch_normalisation_is_trained_and_exported() -> None:
    network = normalised_network()
    result = run(options(epochs=3, **REGULARISED), network)
    running = [name for name in network.parameters if name.startswith("running")]
    assert len(running) == 4
    assert all(
        not torch.equal(network.parameters[name], result.network.parameters[name])
        for name in running
    )
    data = write_network(result.network)
    again = load_network(data)
    assert same(result.network, again)
    assert "BatchNormalization" in {node.op_type for node in onnx.load_from_string(data).graph.node}
    x = blobs(6, seed=3).x.reshape(-1, *again.input_shape)
    expected = OnnxRuntime(again).run(x)
    found = result.network(torch.from_numpy(x)).flatten(1).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def normalised_network() -> Network:
    """Return a small network with BatchNormalization behind a convolution and a dense layer."""
    generator = np.random.default_rng(0)

    def draw(*shape: int) -> np.ndarray:
        return (generator.normal(size=shape) * 0.3).astype(np.float32)

    ones = np.ones(4, dtype=np.float32)
    weights = {"kernel": draw(4, 1, 3, 3), "dense": draw(4, 36), "last": draw(3, 4)}
    for layer in (1, 2):
        weights |= {f"scale{layer}": ones, f"shift{layer}": 0 * ones}
        weights |= {f"running_mean{layer}": 0 * ones, f"running_var{layer}": ones}

    def norm(layer: int, source: str) -> list[str]:
        names = ("scale", "shift", "running_mean", "running_var")
        return [source, *(f"{name}{layer}" for name in names)]

    nodes = [
        networks.node("Conv", ["x", "kernel"], ["z1"], strides=[2, 2], pads=[1, 1, 1, 1]),
        networks.node("BatchNormalization", norm(1, "z1"), ["n1"]),
        networks.node("Relu", ["n1"], ["a1"]),
        networks.node("Flatten", ["a1"], ["f1"]),
        networks.node("Gemm", ["f1", "dense"], ["z2"], transB=1),
        networks.node("BatchNormalization", norm(2, "z2"), ["n2"]),
        networks.node("Relu", ["n2"], ["a2"]),
        networks.node("Gemm", ["a2", "last"], ["y"], transB=1),
    ]
    return load_network(networks.model(nodes, shape=("n", 1, 6, 6), weights=weights))


# --- it certifies as it said --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "certified_by"),
    [("ibp", "ibp"), ("crown-ibp", "crown-ibp"), ("fast-lin", "fast-lin"), ("pgd", "crown")],
)
def test_certification_of_the_file_agrees_with_training(method: str, certified_by: str) -> None:
    chosen = SelectionOptions(certified_by=Method(certified_by))
    settings = options(method, epochs=3, selection=chosen)
    validation = blobs(18, seed=9)
    result = train(small_network(), blobs(), validation, settings)
    network = load_network(write_network(result.network))
    asked = CertifyOptions(epsilon=settings.epsilon, methods=(Method(certified_by),), device="cpu")
    items = list(certify_items(network, validation, asked))
    assert result.best is not None
    proved = sum(item.verdict is Verdict.VERIFIED for item in items)
    assert result.best.certified_accuracy == proved / len(items)
    right = [item for item in items if item.verdict is not Verdict.MISCLASSIFIED]
    assert result.best.clean_accuracy == len(right) / len(items)
    lowers = [item.lower[certified_by] for item in right]
    if len(right) == len(items):
        assert result.best.mean_bound == pytest.approx(float(np.mean(lowers)), abs=1e-9)


def test_an_uploaded_network_keeps_its_graph() -> None:
    data = networks.cnn(seed=2, side=6, batch="n")
    network = load_network(data)
    result = run(options(**REGULARISED), network)
    before, after = (
        onnx.load_from_string(data),
        onnx.load_from_string(write_network(result.network)),
    )
    assert before.graph.node == after.graph.node
    shapes = [
        {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
        for model in (before, after)
    ]
    assert shapes[0] == shapes[1]
    assert not same(network, result.network)


def test_a_normalisation_of_the_input_is_not_trained() -> None:
    normalization = Normalization((0.3,), (0.5,))
    inside = build_architecture("mlp:6", (1, 6, 6), 3, normalization=normalization)
    result = run(options(), inside)
    assert torch.equal(result.network.parameters["mean"], inside.parameters["mean"])
    assert torch.equal(result.network.parameters["std"], inside.parameters["std"])
    outside = small_network("mlp:6").with_normalization(normalization)
    assert same_up_to_names(run(options(), outside).network, result.network)


def same_up_to_names(one: Network, other: Network) -> bool:
    shared = [name for name in one.parameters if name in other.parameters]
    return len(shared) == 4 and all(
        torch.allclose(one.parameters[name], other.parameters[name], atol=1e-5) for name in shared
    )


def test_a_float64_file_is_trained_in_float64() -> None:
    network = load_network(networks.mlp((36, 5, 3), dtype=np.float64))
    result = run(options(epochs=1), network)
    assert result.network.dtype == torch.float64
    assert write_network(result.network)


# --- it is repeatable ---------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_network() -> None:
    first, second = run(options(**REGULARISED)), run(options(**REGULARISED))
    assert same(first.network, second.network)
    assert comparable(first) == comparable(second)
    other = run(options(seed=1, **REGULARISED))
    assert not same(first.network, other.network)


class Stopper:
    """Says stop when asked for the n-th time."""

    def __init__(self, after: int) -> None:
        self.left = after

    def __call__(self) -> bool:
        self.left -= 1
        return self.left < 0


RESUMED: dict[str, Callable[[], tuple[Network, TrainingOptions]]] = {
    "crown-ibp": lambda: (small_network(), options(**REGULARISED)),
    "pgd with sgd": lambda: (
        small_network(),
        options("pgd", optimiser=OptimiserOptions(kind=OptimiserKind.SGD, learning_rate=0.05)),
    ),
    "sabr, augmented": lambda: (
        small_network("cnn-small"),
        options("sabr", augmentation=AugmentationOptions(crop=1, flip=True)),
    ),
    "ibp, normalised": lambda: (
        normalised_network(),
        options("ibp", feasibility_weight=0.1, feasibility_form=FeasibilityForm.OBJECTIVE),
    ),
    "adamw": lambda: (
        small_network(),
        options("mtl-ibp", optimiser=OptimiserOptions(kind=OptimiserKind.ADAMW, weight_decay=0.1)),
    ),
}


@pytest.mark.parametrize("kind", RESUMED)
@pytest.mark.parametrize("stops", [(2,), (3, 0, 1)])
def test_a_resumed_run_equals_an_uninterrupted_one(
    kind: str, stops: tuple[int, ...], tmp_path: Path
) -> None:
    network, settings = RESUMED[kind]()
    whole = run(settings, network)
    for after in stops:
        part = run(settings, network, checkpoint=tmp_path, cancelled=Stopper(after))
        assert part.stopped is StopReason.CANCELLED
    seen: list[TrainingEvent] = []
    resumed = run(settings, network, checkpoint=tmp_path, progress=seen.append)
    assert same(whole.network, resumed.network)
    assert comparable(whole) == comparable(resumed)
    assert resumed.best_epoch == whole.best_epoch
    told_again = sum(stops) // resumed.settings["steps_per_epoch"]
    assert seen[told_again].step == sum(stops) + 1
    # Who listened before may have died between the checkpoint and the telling.
    told = [event.metrics for event in seen if event.metrics is not None]
    assert told == list(resumed.history)


def test_a_finished_run_is_told_and_not_repeated(tmp_path: Path) -> None:
    before: list[TrainingEvent] = []
    first = run(options(), checkpoint=tmp_path, progress=before.append)
    seen: list[TrainingEvent] = []
    second = run(options(), checkpoint=tmp_path, progress=seen.append)
    assert seen == [event for event in before if event.metrics is not None]
    assert same(first.network, second.network)
    assert first.history == second.history


def test_another_device_may_go_on(tmp_path: Path) -> None:
    run(options(), checkpoint=tmp_path, cancelled=Stopper(2))
    changed = options(device="auto", checkpoint_seconds=5.0)
    if torch.cuda.is_available():
        pytest.skip("a GPU rounds otherwise, which is not what is tested")
    assert same(run(changed, checkpoint=tmp_path).network, run(options()).network)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (options(epsilon=0.06), "with epsilon 0.05, this one has 0.06"),
        (options("ibp"), "with method 'crown-ibp', this one has 'ibp'"),
        (options(optimiser=OptimiserOptions()), "with optimiser"),
    ],
)
def test_a_checkpoint_of_other_settings_is_refused(
    changed: TrainingOptions, words: str, tmp_path: Path
) -> None:
    run(options(), checkpoint=tmp_path, cancelled=Stopper(2))
    with pytest.raises(CheckpointError, match=words):
        run(changed, checkpoint=tmp_path)


def test_a_checkpoint_of_another_network_or_other_data_is_refused(tmp_path: Path) -> None:
    run(options(), checkpoint=tmp_path, cancelled=Stopper(2))
    with pytest.raises(CheckpointError, match="another network"):
        run(options(), small_network(seed=1), checkpoint=tmp_path)
    with pytest.raises(CheckpointError, match="another data"):
        train(small_network(), blobs(seed=1), blobs(18), options(), checkpoint=tmp_path)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", bytes(64)])
def test_a_damaged_checkpoint_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    with pytest.raises(CheckpointError, match="cannot be read"):
        run(options(), checkpoint=tmp_path)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CheckpointError, match="cannot be written"):
        run(options(), checkpoint=tmp_path / "file" / "folder")


def test_checkpoints_within_an_epoch(tmp_path: Path) -> None:
    settings = options(checkpoint_seconds=1e-9)
    sizes = []

    def note(_event: TrainingEvent) -> None:
        sizes.append((tmp_path / FILE_NAME).exists())

    run(settings, checkpoint=tmp_path, progress=note)
    assert sizes[:3] == [False, True, True]


# --- it stops, and reports ----------------------------------------------------------------------


def test_cancelling_before_the_first_epoch_returns_the_start() -> None:
    network = small_network()
    result = run(options(), network, cancelled=Stopper(1))
    assert result.stopped is StopReason.CANCELLED
    assert (result.best_epoch, result.best, result.history) == (0, None, ())
    assert same(result.network, network)


def test_cancelling_later_keeps_the_best_epoch() -> None:
    result = run(options(epochs=5), cancelled=Stopper(7))
    assert result.stopped is StopReason.CANCELLED
    assert len(result.history) == 2
    found = evaluate(result.network, blobs(18, seed=9), options())
    assert result.best is not None
    assert found.certified_accuracy == result.best.certified_accuracy


def test_it_stops_early_once_nothing_improves() -> None:
    settings = options(
        epochs=30,
        ramp=RampOptions(0.0, 0.1),
        selection=SelectionOptions(patience=2),
        optimiser=OptimiserOptions(learning_rate=0.5, gradient_clip=None, kind=OptimiserKind.SGD),
    )
    result = run(settings)
    assert result.stopped is StopReason.EARLY
    assert len(result.history) == max(result.best_epoch, 3) + 2


def test_events_tell_every_step() -> None:
    seen: list[TrainingEvent] = []
    result = run(options(**REGULARISED), progress=seen.append)
    steps = [event for event in seen if event.metrics is None]
    assert [event.step for event in steps] == [1, 2, 3, 4, 5, 6]
    assert all(event.steps == 6 and event.epochs == 2 for event in seen)
    assert [event.epoch for event in steps] == [1, 1, 1, 2, 2, 2]
    assert steps[-1].epsilon == pytest.approx(0.05)
    ends = [event for event in seen if event.metrics is not None]
    assert [event.metrics for event in ends] == list(result.history)
    for entry in result.history:
        assert entry.certified_accuracy <= entry.empirical_accuracy <= entry.clean_accuracy
        assert entry.mean_gap >= 0
        assert set(entry.unstable) == {"relu1", "relu2"}
        assert entry.unstable_total == sum(entry.unstable.values())


def test_means_of_the_loss_are_over_inputs() -> None:
    seen: list[TrainingEvent] = []
    # 20 inputs in batches of 16 at most: two of 10.
    training = blobs(20)
    settings = options(epochs=1)
    result = train(small_network(), training, blobs(6, seed=2), settings, progress=seen.append)
    totals = [event.loss["total"] for event in seen if event.metrics is None]
    assert result.history[0].loss["total"] == pytest.approx(sum(totals) / len(totals))


def test_settings_are_recorded() -> None:
    result = run(options(**REGULARISED))
    settings = result.to_json()["settings"]
    assert TrainingOptions.from_json(settings["options"]) == options(**REGULARISED)
    assert settings["data"]["training"]["count"] == 48
    assert settings["network"]["trained"][0] == "bias1"
    assert settings["steps_per_epoch"] == 3
    assert settings["software"]["torch"] == str(torch.__version__)


def test_the_best_epoch_of_standard_training_is_the_most_accurate() -> None:
    result = run(options("standard", epochs=4))
    assert result.best is not None
    assert result.best.clean_accuracy == max(entry.clean_accuracy for entry in result.history)


def test_deterministic_algorithms_are_asked_for_and_released() -> None:
    during: list[bool] = []
    run(
        options(deterministic=True, epochs=1),
        progress=lambda _: during.append(torch.are_deterministic_algorithms_enabled()),
    )
    assert all(during)
    assert not torch.are_deterministic_algorithms_enabled()


# --- it fails clearly ---------------------------------------------------------------------------


def test_a_loss_that_is_no_number_any_more() -> None:
    network = small_network()
    bad = {name: value * torch.nan for name, value in network.parameters.items()}
    with pytest.raises(DivergedError, match=r"not a finite number any more at step 1 .*learning"):
        run(options(), network.with_parameters(bad))
    with pytest.raises(DivergedError) as caught:
        steep = OptimiserOptions(kind=OptimiserKind.SGD, learning_rate=1e30, gradient_clip=None)
        run(options(optimiser=steep))
    assert caught.value.step >= 1


def test_a_class_without_inputs() -> None:
    data = blobs()
    kept = data.y != 1
    with pytest.raises(UntrainableError, match="has no input of class 1, one of the network's 3"):
        train(
            small_network(),
            replace(data, x=data.x[kept], y=data.y[kept]),
            blobs(),
            options(),
        )


def test_a_network_without_parameters() -> None:
    data = networks.model([networks.node("Relu", ["x"], ["y"])], shape=("n", 3))
    dataset = Dataset(np.eye(3, dtype=np.float32), np.arange(3))
    with pytest.raises(UntrainableError, match="no parameters to train"):
        train(load_network(data), dataset, dataset, options())


def test_an_operator_without_a_relaxed_minimum() -> None:
    weights = {"w": np.eye(3, dtype=np.float32)}
    nodes = [
        networks.node("MatMul", ["x", "w"], ["z"]),
        networks.node("Softmax", ["z"], ["s"], axis=-1),
        networks.node("MatMul", ["s", "w"], ["y"]),
    ]
    network = load_network(networks.model(nodes, shape=("n", 3), weights=weights))
    dataset = Dataset(np.eye(3, dtype=np.float32), np.arange(3))
    with pytest.raises(UntrainableError, match="crown-ibp cannot train this network"):
        train(network, dataset, dataset, options(feasibility_weight=1.0))


def test_values_outside_the_valid_range() -> None:
    data = blobs()
    with pytest.raises(UntrainableError, match=r"span \[0.*, outside the valid range \[0, 0.5\]"):
        train(small_network(), data, data, options(valid_range=(0.0, 0.5)))
    shifted = replace(data, x=data.x - 1)
    with pytest.raises(UntrainableError, match="scale the data or state its range"):
        train(small_network(), data, shifted, options())
    assert train(small_network(), shifted, shifted, options(valid_range=None)).history


def test_a_label_out_of_range() -> None:
    data = blobs()
    with pytest.raises(DataError, match="label 7 of input 0 is outside"):
        train(small_network(), replace(data, y=np.full_like(data.y, 7)), data, options())


def test_inputs_of_another_shape() -> None:
    with pytest.raises(ShapeError, match="the network takes"):
        train(small_network(side=9), blobs(), blobs(), options())


def test_augmentation_needs_images() -> None:
    network = load_network(networks.mlp((36, 5, 3), batch="n"))
    flip = AugmentationOptions(flip=True)
    with pytest.raises(UntrainableError, match="no images with channels"):
        run(options(augmentation=flip), network)
