"""How fast exact search is: domains per second, and exact optima with HiGHS alone."""

from __future__ import annotations

import os
import statistics
import time

import numpy as np
import torch

from benchmarks.certify_mnist import to_onnx, train
from benchmarks.shared import print_table, shared_folder
from models import fold_affine, load_network
from models.network import Network
from models.runtime import OnnxRuntime
from solvers.attack import AttackOptions, attack
from solvers.bounds import BoundOptions
from solvers.bracket import Bracket, Witness
from solvers.budget import Budget
from solvers.exact import ExactMode, ExactOptions, SolverName, exact_margin
from solvers.ladder import CaseBatch
from solvers.methods import Method
from solvers.portfolio import Ladder, Run, members, searches
from solvers.portfolio.plan import Member
from solvers.problem import Case, linf_ball, robustness
from solvers.search.neurons import NeuronSearchOptions, search_neurons
from solvers.vnnlib import fit_problem, read_vnnlib

__all__ = ["SEARCHED", "run_domains", "run_members", "run_milp"]

SEARCHED = (
    ("mnist_fc", "onnx/mnist-net_256x4.onnx", "vnnlib/2022_prop_12_0.05.vnnlib"),
    (
        "oval21",
        "onnx/cifar_base_kw.onnx",
        "vnnlib/cifar_base_kw-img9410-eps0.043137254901960784.vnnlib",
    ),
    ("cifar10_resnet", "onnx/resnet_2b.onnx", "vnnlib/prop_22_eps_0.008.vnnlib"),
)


def run_domains(seconds: float = 15.0) -> None:
    """Search hard instances for a while on every device there is, by splitting alone."""
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    rows = [
        [*names, device, *_searched(*names, torch.device(device), seconds)]
        for names in SEARCHED
        for device in devices
    ]
    header = ["category", "network", "specification", "device", "domains", "seconds", "per second"]
    print_table(f"Domains bounded by splitting neurons, {seconds:g} s", header, rows)


def _searched(
    category: str, onnx: str, vnnlib: str, device: torch.device, seconds: float
) -> list[object]:
    folder = shared_folder() / "benchmarks" / category
    network = load_network(folder / onnx)
    problem = fit_problem(read_vnnlib(folder / vnnlib), network.input_shape, network.output_size)
    wide = network.to(torch.float64, device)
    bracket = Bracket(problem.cases[0])
    outcome = search_neurons(
        fold_affine(wide),
        bracket,
        Witness(wide, OnnxRuntime(network)),
        options=NeuronSearchOptions(falsify=False, sharpen=False, workers=1),
        budget=Budget.of_seconds(seconds),
    )
    return [outcome.domains, outcome.seconds, outcome.domains / max(outcome.seconds, 1e-9)]


def run_milp(epsilon: float = 0.03, timeout_seconds: float = 60.0) -> None:
    """Find exact margins of MNIST inputs by our tree on HiGHS' linear programs, and by HiGHS.

    `TIGHTROPE_INPUTS` sets how many inputs are taken, 100 by default.
    """
    network, cases = _mnist_cases(epsilon)
    count = len(cases)
    wide = fold_affine(network.to(torch.float64))
    step = CaseBatch(wide, cases).bound(Method.ALPHA_CROWN, options=BoundOptions())
    tried = attack(network.to(torch.float32), cases, AttackOptions(), budget=Budget())
    rows = []
    for solver in (SolverName.TREE, SolverName.HIGHS):
        options = ExactOptions(mode=ExactMode.OPTIMIZE, solver=solver)
        spent, optimal = [], 0
        for place, case in enumerate(cases):
            bracket, witness = Bracket(case), Witness(wide, OnnxRuntime(network))
            bracket.offer(witness, tried[place].candidate)
            began = time.perf_counter()
            result = exact_margin(
                wide,
                case,
                step.node_bounds(place),
                options=options,
                budget=Budget.of_seconds(timeout_seconds),
                clause_lower=step.clause_lower[place],
                incumbent=bracket.upper,
            )
            spent.append(time.perf_counter() - began)
            optimal += result.status == "optimal"
        rows.append([solver.value, count, optimal, statistics.median(spent), max(spent)])
    header = ["solver", "inputs", "optimal in time", "median s", "most s"]
    title = f"Exact margins, 784-100-100-10, epsilon {epsilon}, {timeout_seconds:g} s an input"
    print_table(title, header, rows)


def run_members(epsilons: tuple[float, ...] = (0.02, 0.03, 0.05), seconds: float = 30.0) -> None:
    """Decide MNIST inputs that bounds leave open by programs alone, and by splitting alone.

    Of a 784-100-100-10 network; times are of the processor. `TIGHTROPE_INPUTS` sets how many
    inputs are taken, 100 by default.
    """
    rows = []
    for epsilon in epsilons:
        network, cases = _mnist_cases(epsilon)
        left = [run for run in (_bounded(network, case, seconds) for case in cases) if run.open]
        for member in (searches.milp, searches.split_neurons):
            spent = [_spent(network, run, member, seconds) for run in left]
            done = [cpu for cpu, decided in spent if decided]
            most = max((run.undecided() for run in left), default=0)
            median = statistics.median(done) if done else "–"
            total = sum(cpu for cpu, _ in spent)
            rows.append([epsilon, member.__name__, len(left), most, len(done), median, total])
    header = ["epsilon", "member", "open", "most undecided neurons", "decided", "median s", "all s"]
    print_table(f"Programs and splitting, {seconds:g} s an input, one core", header, rows)


def _bounded(network: Network, case: Case, seconds: float) -> Run:
    device, budget = torch.device("cpu"), Budget.of_seconds(seconds)
    run = Run.of(network, [Bracket(case)], device=device, budget=budget)
    for member in (members.attack_briefly, members.crown, members.alpha_crown):
        if not run.finished:
            member(run, budget.share(0.1))
    return run


def _spent(network: Network, bounded: Run, member: Member, seconds: float) -> tuple[float, bool]:
    """Return the processor's seconds that a member takes, and whether it decides."""
    (before,) = bounded.brackets
    bracket, budget = Bracket(before.case), Budget.of_seconds(seconds)
    run = Run.of(network, [bracket], device=torch.device("cpu"), budget=budget)
    bracket.prove(before.clause_lower)
    assert bounded.ladder is not None  # noqa: S101  every method bounded it
    run.ladder = Ladder(bounded.ladder.step, (bracket,))
    began = time.process_time()
    member(run, budget)
    return time.process_time() - began, bracket.decided


def _mnist_cases(epsilon: float) -> tuple[Network, list[Case]]:
    shared = shared_folder()
    count = int(os.environ.get("TIGHTROPE_INPUTS", "100"))
    network = load_network(to_onnx(train(shared)), name="mlp-784-100-100-10")
    data = np.load(shared / "data" / "mnist.npz")
    images = data["x_test"][:count].reshape(count, -1).astype(np.float64) / 255
    return network, [
        Case(linf_ball(x.reshape(network.input_shape), epsilon), robustness(int(y), 10))
        for x, y in zip(images, data["y_test"][:count], strict=True)
    ]
