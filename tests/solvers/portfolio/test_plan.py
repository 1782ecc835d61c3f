"""What runs when: the order of the members follows the network, the region and what is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models import load_network
from models.network import Network
from solvers.attack import AttackOptions, AttackResult
from solvers.bracket import Bracket
from solvers.budget import Budget
from solvers.portfolio import Run, members, plan, searches, searches_of, settle, steps
from solvers.portfolio.plan import Step
from solvers.problem import Box, Case, robustness
from solvers.proof.producing.trace import Trace
from solvers.results import Stage
from tests.helpers.networks import mlp


@pytest.fixture(scope="module")
def narrow() -> Network:
    return load_network(mlp((4, 12, 12, 3), seed=1))


@pytest.fixture(scope="module")
def wide() -> Network:
    return load_network(mlp((40, 30, 30, 3), seed=1))


def _run(network: Network, width: float = 0.3, center: float = 0.0, **settings: object) -> Run:
    middle = np.full(network.input_shape, center)
    case = Case(Box(middle - width, middle + width), robustness(0, 3))
    budget = Budget.of_seconds(20.0)
    device = torch.device("cpu")
    return Run.of(network, [Bracket(case)], device=device, budget=budget, **settings)  # type: ignore[arg-type]


def _names(run: Run) -> list[str]:
    return [step.member.__name__ for step in steps(run)]


def test_few_inputs_are_split_before_anything_is_bounded(narrow: Network) -> None:
    names = _names(_run(narrow))
    assert names[:2] == ["attack_briefly", "split_inputs"]
    assert names[-1] == "milp"


def test_many_inputs_are_never_split(wide: Network) -> None:
    assert "split_inputs" not in _names(_run(wide))


def test_time_is_kept_for_programs_only_where_little_is_undecided(
    wide: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _run(wide)
    members.crown(run, run.budget)
    undecided = run.undecided()
    assert 0 < undecided <= 60
    for limit, share in ((undecided, 0.75), (undecided - 1, 1.0)):
        monkeypatch.setattr(plan, "_FEW_UNDECIDED", limit)
        split, program = searches_of(run)
        assert split == Step(searches.split_neurons, share)
        assert program == Step(searches.milp, 1.0)


def test_no_time_is_kept_for_programs_where_there_is_none() -> None:
    run = _run(load_network(mlp((40, 30, 30, 3), seed=1, activation="Sigmoid")))
    members.crown(run, run.budget)
    assert list(searches_of(run)) == [Step(searches.split_neurons, 1.0)]


def test_undecided_values_are_counted_where_bounds_cross_zero(wide: Network) -> None:
    run = _run(wide)
    assert run.undecided() == 0
    members.crown(run, run.budget)
    assert run.ladder is not None
    step = run.ladder.step
    inputs = {n.inputs[0] for n in run.network.graph.nodes if type(n.operator).__name__ == "Relu"}
    bounds = [step.intermediate[name] for name in inputs]
    crossing = sum(int(((b.lower < 0) & (b.upper > 0)).sum()) for b in bounds)
    assert run.undecided() == crossing


@pytest.mark.parametrize(("settled", "again"), [(2.0, ["alpha-crown"]), (0.0, [])])
def test_planes_lift_what_splitting_begins_with_and_slopes_follow_where_it_pays(
    settled: float, again: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(members, "_SETTLED", settled)
    run = _run(load_network(mlp((12, 40, 40, 40, 3), seed=0)), width=0.15, center=1.0)
    members.crown(run, run.budget)
    members.alpha_crown(run, run.budget)
    before, lower = run.undecided(), run.lower
    assert before > 0
    members.planes_inside(run, run.budget)
    assert [stage.name for stage in run.stages[2:]] == ["alpha-fastc2v", *again]
    assert run.undecided() <= before
    assert run.lower > lower + 0.05


@pytest.mark.parametrize("why", ["proof", "smooth", "unbounded"])
def test_planes_are_left_out_where_they_cannot_serve(why: str) -> None:
    activation = "Sigmoid" if why == "smooth" else "Relu"
    network = load_network(mlp((40, 30, 30, 3), seed=1, activation=activation))
    run = _run(network, trace=Trace() if why == "proof" else None)
    if why != "unbounded":
        members.crown(run, run.budget)
    before = list(run.stages)
    members.planes_inside(run, run.budget)
    assert run.stages == before


def test_nothing_runs_once_the_answer_is_known(wide: Network) -> None:
    """A region that is a point is decided by the attack or by CROWN."""
    run = _run(wide, width=0.0)
    settle(run, steps(run))
    assert run.finished
    assert {stage.name for stage in run.stages} <= {"attack", "crown"}


def test_every_member_gets_its_share_of_the_time_left(wide: Network) -> None:
    given: list[float] = []

    def member(_run: Run, budget: Budget) -> None:
        given.append(budget.remaining_seconds)

    run = _run(wide)
    settle(run, [Step(member, 0.5), Step(member, 0.25), Step(member, 1.0)])
    assert given[0] == pytest.approx(10.0, abs=1.0)
    assert given[1] == pytest.approx(5.0, abs=1.0)
    assert given[2] == pytest.approx(20.0, abs=1.0)


@pytest.mark.parametrize("slow", [0.0, 1.0, 10.0])
def test_splitting_begins_within_a_tenth_of_the_time_however_long_its_forerunners_take(
    slow: float, wide: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every step takes all it may have, and CROWN as long as it likes."""
    now = [100.0]
    monkeypatch.setattr("solvers.budget.monotonic", lambda: now[0])
    run = _run(wide)
    for step in steps(run):
        name = step.member.__name__
        if name in {"split_neurons", "milp"}:
            break
        given = run.budget.share(step.share).remaining_seconds
        assert given > 0
        now[0] += slow if name == "crown" else given
    assert now[0] - 100.0 <= max(2.0, slow) + 0.7


def test_without_a_deadline_every_step_may_end_by_itself(wide: Network) -> None:
    run = _run(wide)
    run.budget = Budget()
    assert all(0 < step.share <= 1 for step in steps(run))


@pytest.mark.parametrize(("gain", "attacks"), [(0.5, 4), (0.01, 1)])
def test_attacks_go_on_only_while_they_come_closer(
    gain: float, attacks: int, wide: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, asked = _run(wide), list[AttackOptions]()
    (bracket,) = run.brackets
    bracket.upper = 1.0

    def fake(
        _network: Network, cases: list[Case], options: AttackOptions, **_: object
    ) -> list[AttackResult]:
        asked.append(options)
        bracket.upper *= 1.0 - gain
        return [AttackResult(bracket.upper, None) for _ in cases]

    monkeypatch.setattr(members, "attack", fake)
    members.attack_harder(run, run.budget)
    assert len(asked) == attacks
    assert [stage.name for stage in run.stages] == ["attack-again"]
    assert len({options.seed for options in asked}) == attacks
    assert [options.restarts for options in asked] == [20 * 5**n for n in range(1, 1 + attacks)]


def test_the_first_attack_is_short_where_bounds_are_not_far(
    narrow: Network, wide: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[AttackOptions] = []

    def fake(
        _network: Network, cases: list[Case], options: AttackOptions, **_: object
    ) -> list[AttackResult]:
        asked.append(options)
        return [AttackResult(1.0, None) for _ in cases]

    monkeypatch.setattr(members, "attack", fake)
    for network in (narrow, wide):
        run = _run(network)
        members.attack_briefly(run, run.budget)
    assert [options.rounds for options in asked] == [2, 1]


def test_searches_tell_of_themselves_while_they_run(narrow: Network) -> None:
    told: list[Stage] = []
    run = _run(narrow, width=1.0, progress=told.append)
    searches.split_inputs(run, run.budget)
    assert told[-1] == run.stages[-1]
    assert {stage.name for stage in told} == {"input-splitting"}
    assert all("domains" in (stage.detail or "") for stage in told)
