"""The parts of the loop: batches, statistics, attacks, evaluation, checkpoints, parameters."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save
from torch.nn import functional

from models import load_network
from models import operators as ops
from models.data import Dataset
from models.errors import InvalidInputError
from models.network import Network
from solvers.methods import Method
from tests.helpers import networks
from tests.helpers.random_graphs import GraphBuilder, relu_chain
from tests.helpers.training import batch_of, blobs, options, small_network
from training import AugmentationOptions, CheckpointError, UntrainableError
from training.adversary import adversarial_inputs
from training.batch_statistics import clean_pass, running_statistics, statistic_names
from training.checkpoint import FILE_NAME, Checkpoint, read_checkpoint, write_checkpoint
from training.data import Feed, augmented, fingerprint
from training.evaluation import evaluate
from training.optimisers import build_optimiser, optimiser_tensors, restore_optimiser
from training.regions import box_around, label_margins
from training.seeds import stream
from training.trainable import trainable_names

# --- batches ------------------------------------------------------------------------------------


def feed(dataset: Dataset, size: int, **changes: object) -> Feed:
    network = small_network()
    fitted = replace(dataset, x=dataset.x.reshape(-1, *network.input_shape))
    settings = options(batch_size=size, **changes)
    return Feed(fitted, settings, device=torch.device("cpu"), dtype=torch.float32)


def test_an_epoch_sees_every_input_once_in_batches_of_nearly_one_size() -> None:
    data = replace(blobs(22), y=np.arange(22))
    batches = feed(data, 8)
    assert batches.batches == 3
    for epoch in range(3):
        labels = [batches.batch(3 * epoch + place)[1] for place in range(3)]
        assert sorted(len(part) for part in labels) == [7, 7, 8]
        assert sorted(torch.cat(labels).tolist()) == list(range(22))


def test_batches_are_known_by_their_number() -> None:
    first, second = feed(blobs(), 10), feed(blobs(), 10)
    for step in (7, 0, 3, 12):
        x, y = first.batch(step)
        again, labels = second.batch(step)
        assert torch.equal(x, again)
        assert torch.equal(y, labels)
    assert not torch.equal(first.batch(0)[1], first.batch(5)[1])
    assert not torch.equal(first.batch(0)[1], feed(blobs(), 10, seed=1).batch(0)[1])


def test_inputs_keep_their_labels() -> None:
    x, y = feed(blobs(), 16).batch(0)
    rows = x.reshape(-1, 3, 12).mean(2)
    assert torch.equal(rows.argmax(1), y)


def test_crops_are_windows_and_flips_mirror() -> None:
    x = torch.arange(1.0, 2 * 16 + 1).reshape(2, 1, 1, 4, 4).repeat(30, 1, 1, 1, 1)
    moved = augmented(x, AugmentationOptions(crop=1), stream(0, "augmentation", 0))
    padded = functional.pad(x, (1, 1, 1, 1))
    windows = {
        (dy, dx): padded[..., dy : dy + 4, dx : dx + 4] for dy in range(3) for dx in range(3)
    }
    found = set()
    for index in range(60):
        matches = [key for key, w in windows.items() if torch.equal(w[index], moved[index])]
        assert len(matches) == 1
        found.update(matches)
    assert len(found) == 9
    flipped = augmented(x, AugmentationOptions(flip=True), stream(0, "augmentation", 0))
    straight = [torch.equal(a, b) for a, b in zip(flipped, x, strict=True)]
    mirrored = [torch.equal(a, b.flip(-1)) for a, b in zip(flipped, x, strict=True)]
    assert all(a != b for a, b in zip(straight, mirrored, strict=True))
    assert 10 < sum(straight) < 50


def test_fingerprints_tell_contents_apart() -> None:
    data = blobs()
    assert fingerprint(data) == fingerprint(replace(data, name="other"))
    moved = data.x.copy()
    moved[3, 0, 0, 0] += 1e-3
    assert fingerprint(replace(data, x=moved)) != fingerprint(data)
    assert fingerprint(replace(data, y=data.y[::-1].copy())) != fingerprint(data)


# --- batch normalisation ------------------------------------------------------------------------


def normalised() -> Network:
    builder = GraphBuilder((1, 2, 4, 4), 3)
    scale, shift, mean = builder.normal(2), builder.normal(2), builder.normal(2)
    builder.add(ops.BatchNormalization(scale, shift, mean, builder.uniform(0.5, 2, 2), 1e-3))
    builder.add(ops.Relu())
    return builder.network()


def test_statistics_are_torchs_own() -> None:
    network = normalised()
    x = torch.randn(5, 1, 2, 4, 4, dtype=torch.float64, generator=stream(0, "test"))
    reference = torch.nn.BatchNorm2d(2, eps=1e-3, dtype=torch.float64)
    names = [f"p{index}" for index in range(4)]
    with torch.no_grad():
        for stored, name in zip(
            (reference.weight, reference.bias, reference.running_mean, reference.running_var),
            names,
            strict=True,
        ):
            assert stored is not None
            stored.copy_(network.parameters[name])
    expected = reference(x.squeeze(1)).relu()
    found = clean_pass(network, x)
    torch.testing.assert_close(found.outputs, expected.flatten(1))
    # The network that is returned normalises by the same statistics.
    torch.testing.assert_close(found.network(x).flatten(1), expected.flatten(1))
    running = running_statistics(network.parameters, found)
    torch.testing.assert_close(running["p2"], reference.running_mean)
    torch.testing.assert_close(running["p3"], reference.running_var)


def test_statistics_carry_gradients() -> None:
    network = normalised()
    x = torch.randn(3, 1, 2, 4, 4, dtype=torch.float64).requires_grad_()
    changed = clean_pass(network, x).network.parameters["p3"]
    (slope,) = torch.autograd.grad(changed.sum(), x)
    assert slope.abs().max() > 0


def test_shared_statistics_cannot_be_trained() -> None:
    network = normalised()
    first = network.graph.nodes[1]
    again = replace(first, name="again", inputs=(network.graph.output,))
    graph = replace(network.graph, nodes=(*network.graph.nodes, again), output="again")
    with pytest.raises(UntrainableError, match="share their statistics"):
        statistic_names(replace(network, graph=graph))


def test_a_single_value_has_no_variance() -> None:
    builder = GraphBuilder((1, 3), 3)
    parts = [builder.normal(3), builder.normal(3), builder.normal(3), builder.uniform(1, 2, 3)]
    builder.add(ops.BatchNormalization(*parts, 1e-5))
    with pytest.raises(InvalidInputError, match="batch of at least 2"):
        clean_pass(builder.network(), torch.zeros(1, 1, 3, dtype=torch.float64))


# --- attacks and evaluation ---------------------------------------------------------------------


def test_attacks_stay_inside_and_raise_the_loss() -> None:
    network = small_network(seed=2)
    x, labels = batch_of(blobs(), network, 20)
    region = box_around(x, 0.1, (0.0, 1.0))
    found = adversarial_inputs(
        network, region, labels, steps=5, step_size=0.3, generator=stream(0, "attack")
    )
    assert (found >= region.lower).all()
    assert (found <= region.upper).all()
    assert not found.requires_grad

    def loss(inputs: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(network(inputs).flatten(1), labels, reduction="none")

    assert (loss(found) > loss(x)).float().mean() > 0.9


def test_label_margins_are_differences_to_every_other_class() -> None:
    y = torch.tensor([0, 2, 1])
    margins = label_margins(y, 3, torch.float64)
    logits = torch.tensor([[3.0, 1.0, 2.0]], dtype=torch.float64).expand(3, -1)
    found = torch.einsum("bro,bo->br", margins.matrix, logits) - margins.offset
    assert found.tolist() == [[2.0, 1.0], [-1.0, 1.0], [-2.0, -1.0]]


@pytest.mark.parametrize("low", [None, (0.0, 1.0)])
def test_boxes_keep_to_the_valid_range(low: tuple[float, float] | None) -> None:
    x = torch.tensor([[0.05, 0.5, 0.97]])
    box = box_around(x, 0.1, low)
    expected = [-0.05, 0.4, 0.87] if low is None else [0.0, 0.4, 0.87]
    assert box.lower[0].tolist() == pytest.approx(expected)
    assert float(box.upper[0, 2]) == pytest.approx(1.07 if low is None else 1.0)


def test_accuracies_are_in_order_and_tighter_methods_certify_more() -> None:
    network, data = small_network(seed=2), blobs(30)
    found = {
        method: evaluate(network, data, options(epsilon=0.02), certified_by=method)
        for method in (Method.IBP, Method.CROWN_IBP, Method.CROWN)
    }
    certified = [entry.certified_accuracy for entry in found.values()]
    assert certified == sorted(certified)
    for entry in found.values():
        assert entry.certified_accuracy <= entry.empirical_accuracy <= entry.clean_accuracy
        assert entry.mean_gap >= 0
    assert found[Method.CROWN].mean_gap <= found[Method.IBP].mean_gap


def test_an_evaluation_may_look_at_some_inputs_only() -> None:
    network, data = small_network(seed=2), blobs(30)
    settings = options(epsilon=0.02)
    few = replace(settings, selection=replace(settings.selection, count=6))
    part = replace(data, x=data.x[:6], y=data.y[:6])
    assert evaluate(network, data, few) == evaluate(network, part, settings)


# --- checkpoints and parameters -----------------------------------------------------------------


def test_checkpoints_come_back_bit_by_bit(tmp_path: Path) -> None:
    tensors = {"a": torch.randn(3, 2), "b": torch.randn(4, dtype=torch.float64).to(torch.float64)}
    write_checkpoint(tmp_path / "new", Checkpoint(tensors, {"step": 3, "sums": {"x": 0.1 + 0.2}}))
    found = read_checkpoint(tmp_path / "new")
    assert found is not None
    assert found.state == {"step": 3, "sums": {"x": 0.1 + 0.2}}
    assert all(torch.equal(found.tensors[name], value) for name, value in tensors.items())
    assert [path.name for path in (tmp_path / "new").iterdir()] == [FILE_NAME]


def test_a_folder_without_a_checkpoint(tmp_path: Path) -> None:
    assert read_checkpoint(tmp_path) is None


def test_a_checkpoint_that_nests_deeply_is_refused(tmp_path: Path) -> None:
    content = save({"w": torch.zeros(2)}, metadata={"training": "[" * 100_000})
    (tmp_path / FILE_NAME).write_bytes(content)
    with pytest.raises(CheckpointError, match="remove it to start afresh"):
        read_checkpoint(tmp_path)


def test_a_checkpoint_of_another_version_is_refused(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, Checkpoint({"a": torch.zeros(1)}, {"format": 7}))
    with pytest.raises(CheckpointError, match="another version"):
        read_checkpoint(tmp_path)


def test_the_state_of_another_optimiser_is_refused() -> None:
    leaf = torch.ones(3, requires_grad=True)
    optimiser = build_optimiser([leaf], options().optimiser)
    leaf.sum().backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    stored = optimiser_tensors(optimiser)
    assert {name.rpartition("/")[2] for name in stored} == {"step", "exp_avg", "exp_avg_sq"}
    fresh = build_optimiser([leaf], options().optimiser)
    restore_optimiser(fresh, stored)
    assert all(torch.equal(value, stored[name]) for name, value in optimiser_tensors(fresh).items())


def test_what_is_trained() -> None:
    assert trainable_names(small_network("mlp:4")) == ("bias1", "bias2", "weight1", "weight2")
    assert not {"running_mean1", "running_var1"} & set(trainable_names(small_network("cnn7")))
    with pytest.raises(UntrainableError, match="no parameters to train"):
        trainable_names(relu_chain((2, 3, 2), 0))


def test_biases_are_trained_and_a_shift_of_the_input_is_not() -> None:
    weights = {
        name: np.ones(shape, dtype=np.float32)
        for name, shape in (("mean", 3), ("w1", (3, 3)), ("b1", 3), ("w2", (3, 2)), ("b2", 2))
    }
    nodes = [
        networks.node("Sub", ["x", "mean"], ["c"]),
        networks.node("MatMul", ["c", "w1"], ["z1"]),
        networks.node("Add", ["z1", "b1"], ["s1"]),
        networks.node("Relu", ["s1"], ["a1"]),
        networks.node("MatMul", ["a1", "w2"], ["z2"]),
        networks.node("Add", ["z2", "b2"], ["y"]),
    ]
    network = load_network(networks.model(nodes, shape=("n", 3), weights=weights))
    assert trainable_names(network) == ("b1", "b2", "w1", "w2")
