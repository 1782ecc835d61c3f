"""Labelled data: brackets that hold, honest verdicts, every method that was asked for."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models import Dataset, InvalidInputError, Normalization, OnnxRuntime, load_network
from models.errors import BoundsError, DataError, ShapeError, SpecificationError
from models.network import Network
from solvers.certification import CertifyOptions, CertifyStage, ItemResult, certify_items, exact
from solvers.exact import ExactMode, ExactResult, ExactStatus
from solvers.methods import BOUND_METHODS, Method
from solvers.portfolio import searches
from solvers.portfolio.plan import Step
from solvers.problem import linf_ball, robustness
from solvers.proof import check_proof
from solvers.results import Counterexample, Evidence, Verdict
from tests.helpers.networks import cnn, mlp
from tests.helpers.programs import brute_force_margin

COUNT = 12
ALL = tuple(Method)


@pytest.fixture(scope="module")
def network() -> Network:
    return load_network(mlp((3, 4, 3, 3), seed=2))


@pytest.fixture(scope="module")
def dataset(network: Network) -> Dataset:
    """Inputs in [0, 1] with the network's own answers, the last two made wrong."""
    x = np.random.default_rng(3).uniform(0, 1, (COUNT, *network.input_shape)).astype(np.float32)
    y = OnnxRuntime(network).run(x).argmax(axis=1).astype(np.int64)
    y[-2:] = (y[-2:] + 1) % 3
    return Dataset(x, y, "made", "")


def _certify(network: Network, dataset: Dataset, **options: object) -> list[ItemResult]:
    chosen = CertifyOptions(**{"epsilon": 0.1, "methods": ALL, **options})  # type: ignore[arg-type]
    return list(certify_items(network, dataset, chosen))


@pytest.fixture(scope="module")
def items(network: Network, dataset: Dataset) -> list[ItemResult]:
    return _certify(network, dataset)


@pytest.fixture(scope="module")
def truths(network: Network, dataset: Dataset) -> list[float]:
    """The exact margin of every input, from all activation patterns."""
    margins = []
    for x, label in zip(dataset.x, dataset.y, strict=True):
        region = linf_ball(x, 0.1).reshape((3,))
        clauses = robustness(int(label), 3).clauses
        margins.append(min(brute_force_margin(network, region, clause) for clause in clauses))
    return margins


def test_one_result_per_input_in_order(items: list[ItemResult]) -> None:
    assert [item.index for item in items] == list(range(COUNT))


def test_wrong_predictions_are_misclassified(items: list[ItemResult]) -> None:
    wrong = [item for item in items if item.verdict is Verdict.MISCLASSIFIED]
    assert [item.index for item in wrong] == [COUNT - 2, COUNT - 1]
    assert all(item.predicted != item.label and not item.lower for item in wrong)


def test_every_bound_is_below_the_exact_margin_and_every_attack_above(
    truths: list[float], items: list[ItemResult]
) -> None:
    for item in items[:-2]:
        exact = truths[item.index]
        assert set(item.lower) == {method.value for method in ALL}
        for method in BOUND_METHODS:
            assert item.lower[method.value] <= exact + 1e-9
        assert item.upper is not None
        assert item.upper >= exact - 1e-5
        assert item.exact is not None
        low, high = item.exact
        assert low <= exact + 1e-5
        assert high >= exact - 1e-5
        assert high - low <= 2e-3, "tiny networks are solved to optimality"


def test_verdicts_follow_the_exact_margin(truths: list[float], items: list[ItemResult]) -> None:
    for item in items[:-2]:
        exact = truths[item.index]
        if abs(exact) < 1e-4:
            continue
        wanted = Verdict.VERIFIED if exact > 0 else Verdict.FALSIFIED
        assert item.verdict is wanted
    seen = {item.verdict for item in items}
    assert {Verdict.VERIFIED, Verdict.FALSIFIED} <= seen, "the data must show both answers"


def test_gaps_are_measured_from_the_best_upper_bound(items: list[ItemResult]) -> None:
    for item in items[:-2]:
        assert item.upper is not None
        for method, gap in item.gap.items():
            assert gap == pytest.approx(item.upper - item.lower[method])
            assert gap >= -1e-5
        assert item.gap["alpha-crown"] <= item.gap["crown"] + 1e-9


def test_counterexamples_are_real(
    network: Network, dataset: Dataset, items: list[ItemResult]
) -> None:
    runtime = OnnxRuntime(network)
    broken = [item for item in items if item.verdict is Verdict.FALSIFIED]
    for item in broken:
        assert item.evidence is Evidence.CHECKED
        assert item.counterexample is not None
        x = item.counterexample.x
        assert linf_ball(dataset.x[item.index], 0.1).contains(x)
        y = runtime.run(x[np.newaxis])[0]
        others = np.delete(y, item.label)
        assert others.max() >= y[item.label]


def test_evidence_says_how_far_to_trust(items: list[ItemResult]) -> None:
    for item in items:
        if item.verdict is Verdict.VERIFIED:
            assert item.evidence is Evidence.SOLVER
            assert item.counterexample is None


def test_verified_inputs_are_proved_where_that_is_asked(network: Network, dataset: Dataset) -> None:
    """Whatever method proved it, and nothing else is touched."""
    plain = CertifyOptions(0.05, methods=(Method.CROWN, Method.EXACT), device="cpu")
    proving = replace(plain, proof_timeout_seconds=60.0)
    before = list(certify_items(network, dataset, plain))
    after = list(certify_items(network, dataset, proving))
    assert [item.verdict for item in before] == [item.verdict for item in after]
    proved = [item for item in after if item.verdict is Verdict.VERIFIED]
    assert proved
    for item in after:
        assert (item.proof is not None) == (item.verdict is Verdict.VERIFIED)
        assert (item.proof_file is not None) == (item in proved)
    for item in proved:
        assert item.evidence is Evidence.CHECKED
        assert item.deployment_sound is not None
        assert item.proof is not None
        assert item.proof_file is not None
        assert item.proof.bytes == len(item.proof_file)
    with pytest.raises(InvalidInputError, match="proofs get 0"):
        replace(plain, proof_timeout_seconds=0.0)


@pytest.mark.parametrize("normalization", [None, Normalization((0.25,), (0.5,))])
def test_semidefinite_verdicts_are_proved_by_their_multipliers(
    normalization: Normalization | None, tmp_path: Path
) -> None:
    """Behind a normalisation, too, and without a search."""
    network = load_network(mlp((3, 8, 6, 3), seed=4))
    x = np.random.default_rng(5).uniform(0, 1, (12, *network.input_shape)).astype(np.float32)
    seen = network if normalization is None else network.with_normalization(normalization)
    dataset = Dataset(x, OnnxRuntime(seen).run(x).argmax(axis=1).astype(np.int64), "made", "")
    options = CertifyOptions(
        0.18, methods=(Method.CROWN, Method.SDP), device="cpu", normalization=normalization,
        proof_timeout_seconds=60.0, timeout_seconds=20.0,
    )  # fmt: skip
    items = list(certify_items(network, dataset, options))
    hard = [
        item for item in items
        if item.verdict is Verdict.VERIFIED and item.lower[Method.CROWN] < 0
    ]  # fmt: skip
    assert hard
    for item in hard:
        assert item.evidence is Evidence.CHECKED
        assert item.proof_file is not None
        (tmp_path / "proof").write_bytes(item.proof_file)
        result = check_proof(tmp_path / "proof", network.source)
        assert result.accepted
        assert "dual matrices of semidefinite relaxations" in result.parts
        # Clauses that plain bounds prove are left to these.
        assert 0 < result.margin <= item.lower[Method.SDP] + 1e-6


def test_json_is_strict_and_complete(items: list[ItemResult]) -> None:
    for item in items:
        text = json.dumps(item.to_json(), allow_nan=False)
        keys = "index label predicted verdict evidence lower upper exact gap seconds"
        assert set(json.loads(text)) == {
            *keys.split(),
            "counterexample",
            "reason",
            "status",
            "reasons",
            "deployment_sound",
            "proof",
        }


def test_infinite_bounds_become_null() -> None:
    item = ItemResult(
        0,
        1,
        1,
        Verdict.UNKNOWN,
        Evidence.NONE,
        lower={"crown": -math.inf},
        upper=math.inf,
        exact=(-math.inf, 1.0),
        gap={"crown": math.inf},
    )
    written = item.to_json()
    assert written["lower"] == {"crown": None}
    assert written["upper"] is None
    assert written["exact"] == [None, 1.0]
    assert written["gap"] == {"crown": None}


def test_a_counterexample_is_written_flat() -> None:
    found = Counterexample(np.ones((1, 2, 2), np.float32), np.zeros(3, np.float32))
    item = ItemResult(0, 1, 1, Verdict.FALSIFIED, Evidence.CHECKED, counterexample=found)
    assert item.to_json()["counterexample"] == {"x": [1.0] * 4, "y": [0.0] * 3}


@pytest.mark.parametrize("method", BOUND_METHODS)
def test_a_method_alone_gives_what_it_gives_in_company(
    network: Network, dataset: Dataset, items: list[ItemResult], method: Method
) -> None:
    alone = _certify(network, dataset, methods=(method,))
    for one, many in zip(alone, items, strict=True):
        assert one.exact is None
        if one.lower:
            assert one.lower[method.value] == pytest.approx(many.lower[method.value], abs=1e-9)


def test_decide_mode_finds_the_same_verdicts(
    network: Network, dataset: Dataset, items: list[ItemResult]
) -> None:
    decided = _certify(network, dataset, methods=(Method.EXACT,), exact_mode=ExactMode.DECIDE)
    assert [item.verdict for item in decided] == [item.verdict for item in items]


def test_undecided_inputs_say_why() -> None:
    """Interval bounds leave the inputs of a deeper network open at a radius attacks survive."""
    network = load_network(mlp((4, 24, 24, 24, 3), seed=6))
    x = np.random.default_rng(3).uniform(0.2, 0.8, (COUNT, *network.input_shape))
    x = x.astype(np.float32)
    y = OnnxRuntime(network).run(x).argmax(axis=1)
    items = _certify(network, Dataset(x, y, "made", ""), methods=(Method.IBP,), epsilon=0.05)
    undecided = [item for item in items if item.verdict is Verdict.UNKNOWN]
    assert undecided
    assert all(item.reason and item.evidence is Evidence.NONE for item in undecided)


def test_targets_limit_the_question(network: Network, dataset: Dataset) -> None:
    label = int(dataset.y[0])
    target = (label + 1) % 3
    (item,) = certify_items(
        network, dataset, CertifyOptions(0.1, (Method.CROWN,), targets=(target,)), indices=[0]
    )
    (full,) = certify_items(network, dataset, CertifyOptions(0.1, (Method.CROWN,)), indices=[0])
    assert item.lower["crown"] >= full.lower["crown"] - 1e-9


def test_normalisation_is_part_of_the_question(network: Network, dataset: Dataset) -> None:
    """x ↦ (x − 0) / 2 in front of the network is the same as feeding x / 2."""
    halved = Normalization((0.0,), (2.0,))
    doubled = replace(dataset, x=(dataset.x / 2 * 2).astype(np.float32))
    options = CertifyOptions(0.1, (Method.CROWN,), normalization=halved)
    normalised = list(certify_items(network, doubled, options))
    inner = replace(dataset, x=(dataset.x / 2).astype(np.float32))
    direct = CertifyOptions(0.05, (Method.CROWN,), valid_range=(0.0, 0.5))
    for one, other in zip(normalised, certify_items(network, inner, direct), strict=True):
        assert one.predicted == other.predicted
        if one.lower:
            assert one.lower["crown"] == pytest.approx(other.lower["crown"], abs=1e-6)


def test_images_without_their_channel_axis_fit() -> None:
    network = load_network(cnn(side=6))
    x = np.random.default_rng(0).uniform(0, 1, (2, 6, 6)).astype(np.float32)
    y = np.zeros(2, dtype=np.int64)
    options = CertifyOptions(0.01, (Method.CROWN,))
    assert len(list(certify_items(network, Dataset(x, y, "d", ""), options))) == 2


def test_cancellation_ends_the_iteration(network: Network, dataset: Dataset) -> None:
    options = CertifyOptions(0.1, ALL)
    assert list(certify_items(network, dataset, options, cancelled=lambda: True)) == []


def test_a_lying_solver_is_caught(
    network: Network, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lying(_network: object, case: object, *_args: object, **_kwargs: object) -> ExactResult:
        clauses = len(case.specification.clauses)  # type: ignore[attr-defined]
        lowers = np.full(clauses, 1e3)
        return ExactResult(1e3, np.inf, None, ExactStatus.OPTIMAL, clause_lower=lowers)

    monkeypatch.setattr(searches, "exact_margin", lying)
    monkeypatch.setattr(exact, "searches_of", lambda _: iter([Step(searches.milp, 1.0)]))
    for item in _certify(network, dataset, methods=(Method.EXACT,)):
        assert item.verdict is not Verdict.VERIFIED


@pytest.mark.parametrize("epsilon", [-0.1, float("nan"), float("inf")])
def test_a_radius_that_is_none_is_refused(epsilon: float) -> None:
    with pytest.raises(InvalidInputError, match="epsilon"):
        CertifyOptions(epsilon)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"norm": "3"}, "give inf, 2 or 1"),
        ({"timeout_seconds": 0.0}, "timeout"),
        ({"timeout_seconds": float("nan")}, "timeout"),
        ({"methods": ()}, "method"),
    ],
)
def test_options_out_of_range_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        CertifyOptions(**{"epsilon": 0.1, **changes})  # type: ignore[arg-type]


def test_bad_data_is_refused_before_any_work(network: Network, dataset: Dataset) -> None:
    options = CertifyOptions(0.1, (Method.IBP,))
    with pytest.raises((DataError, SpecificationError), match="7"):
        certify_items(network, replace(dataset, y=np.full(COUNT, 7)), options)
    with pytest.raises(BoundsError, match="valid range"):
        certify_items(network, replace(dataset, x=dataset.x + 5), options)
    with pytest.raises(ShapeError):
        certify_items(network, replace(dataset, x=dataset.x[..., :2]), options)
    with pytest.raises(InvalidInputError, match="index 99"):
        certify_items(network, dataset, options, indices=[99])


def test_normalisation_is_not_rounded_to_float32_in_bounds(
    network: Network, dataset: Dataset
) -> None:
    """1/3 in float32 is off by 1e-8; bounds of a tiny region must not be."""
    third = Normalization((0.0,), (3.0,))
    options = CertifyOptions(0.0, (Method.CROWN,), normalization=third)
    wide = network.to(torch.float64)
    for item in certify_items(network, dataset, options):
        if not item.lower:
            continue
        x = torch.from_numpy(dataset.x[item.index].astype(np.float64) / 3.0)
        y = wide(x.unsqueeze(0)).flatten()
        others = torch.cat([y[: item.label], y[item.label + 1 :]])
        exact = float(y[item.label] - others.max())
        assert item.lower["crown"] == pytest.approx(exact, abs=1e-12)


def test_every_stage_tells_of_its_end_before_the_item_appears(
    network: Network, dataset: Dataset
) -> None:
    methods = (Method.EXACT, Method.LP, Method.CROWN, Method.IBP)
    events: list[CertifyStage | ItemResult] = []
    options = CertifyOptions(0.05, methods)
    wrong = COUNT - 1
    found = certify_items(network, dataset, options, indices=[4, wrong, 2], progress=events.append)
    events.extend(found)
    stages = [event for event in events if isinstance(event, CertifyStage)]
    assert [(stage.name, stage.indices) for stage in stages] == [
        ("attack", (4, 2)),
        ("ibp", (4, 2)),
        ("crown", (4, 2)),
        ("lp", (4,)),
        ("exact", (4,)),
        ("lp", (2,)),
        ("exact", (2,)),
    ]
    assert all(stage.seconds > 0 for stage in stages)
    order: list[int] = []
    for item in certify_items(
        network, dataset, options, indices=[4, 2], progress=lambda s: order.append(len(s.indices))
    ):
        order.append(-item.index)
    assert order == [2, 2, 2, 1, 1, -4, 1, 1, -2]


def test_an_input_that_is_wrong_already_has_no_stages(network: Network, dataset: Dataset) -> None:
    stages: list[CertifyStage] = []
    options = CertifyOptions(0.05, (Method.CROWN,))
    (item,) = certify_items(network, dataset, options, indices=[COUNT - 1], progress=stages.append)
    assert item.verdict is Verdict.MISCLASSIFIED
    assert not stages
