"""Threads of one search take turns, end together, and leave everything as it was."""

from __future__ import annotations

import math
import threading
import time

import pytest
import torch

from solvers.budget import Budget
from solvers.search import crew
from solvers.search.crew import Crew, Monitor, Turn, crew_size


class Work:
    """Pieces of work that threads take from a shared number, and who took them.

    After the first piece, one for each thread is done when all of these are.
    """

    def __init__(self, size: int, pieces: int, budget: Budget | None = None) -> None:
        self.crew = Crew(size, budget or Budget())
        self.left, self.out = pieces, 0
        self.all, self.taken = threading.Barrier(size), 0
        self.by: dict[int, int] = {}
        self.inside, self.most_inside, self.together = 0, 0, 0

    def turn(self) -> Turn:
        if not self.left:
            return Turn.IDLE if self.out else Turn.LAST
        self.left -= 1
        self.out += 1
        self.taken += 1
        number = self.taken
        self.most_inside = max(self.most_inside, self.inside + 1)
        self.inside += 1
        name = threading.get_ident()
        self.by[name] = self.by.get(name, 0) + 1
        self.together = max(self.together, self.out)
        self.inside -= 1
        with self.crew.monitor.left():
            if 1 < number <= 1 + self.crew.size:
                self.all.wait(timeout=60)
        self.out -= 1
        return Turn.MADE if self.left or self.out else Turn.LAST


@pytest.mark.parametrize("size", [1, 2, 5])
def test_all_work_is_done_once_by_all(size: int) -> None:
    work = Work(size, 40)
    work.crew.run(work.turn)
    assert sum(work.by.values()) == 40
    assert work.left == work.out == 0
    assert len(work.by) == work.together == size
    assert work.most_inside == 1
    assert threading.get_ident() in work.by


def test_what_ends_with_the_first_turn_needs_no_threads() -> None:
    work, seen = Work(3, 1), list[int]()
    work.crew.run(work.turn, lambda: seen.append(work.out))
    assert (len(work.by), seen) == (1, [0])


def test_the_calling_thread_tells_after_each_of_its_turns() -> None:
    work, seen = Work(2, 30), list[int]()
    work.crew.run(work.turn, lambda: seen.append(threading.get_ident()))
    home = threading.get_ident()
    assert set(seen) == {home}
    assert len(seen) >= work.by[home]


@pytest.mark.parametrize("home", [True, False])
def test_an_error_anywhere_ends_all_and_is_raised(home: bool) -> None:
    caller, crew_ = threading.get_ident(), Crew(3, Budget())
    turns = 0

    def turn() -> Turn:
        nonlocal turns
        turns += 1
        if turns > 3 and (threading.get_ident() == caller) == home:
            raise ValueError("broken")
        with crew_.monitor.left():
            time.sleep(0.001)
        return Turn.MADE

    before = threading.active_count()
    with pytest.raises(ValueError, match="broken"):
        crew_.run(turn)
    assert threading.active_count() == before
    assert crew_.budget.exhausted


def test_only_the_calling_thread_asks_whether_to_stop() -> None:
    asked, home = list[int](), threading.get_ident()

    def cancelled() -> bool:
        asked.append(threading.get_ident())
        return len(asked) > 5

    crew_ = Crew(3, Budget(math.inf, cancelled))

    def turn() -> Turn:
        with crew_.monitor.left():
            while not crew_.budget.exhausted:
                time.sleep(0.001)
        return Turn.LAST

    crew_.run(turn)
    assert set(asked) == {home}
    assert crew_.budget.stop_reason == "cancelled"


def test_a_crew_of_one_keeps_its_budget() -> None:
    budget = Budget(math.inf, lambda: False)
    assert Crew(1, budget).budget is budget


def test_threads_of_torch_are_shared_out_and_given_back() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        work, seen, grads = Work(2, 30), set[int](), set[bool]()

        def turn() -> Turn:
            if work.left < 29:  # the first turn is taken alone
                seen.add(torch.get_num_threads())
                grads.add(torch.is_grad_enabled())
            return work.turn()

        with torch.no_grad():
            work.crew.run(turn)
        assert (seen, grads) == ({2}, {False})
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)


def test_sizes() -> None:
    before, cpu = torch.get_num_threads(), torch.device("cpu")
    torch.set_num_threads(3)
    try:
        assert crew_size(cpu, None) == 3
        assert [crew_size(cpu, wanted) for wanted in (1, 2, 7)] == [1, 2, 7]
        assert crew_size(torch.device("cuda"), None) == crew_size(torch.device("cuda"), 2) == 1
        torch.set_num_threads(32)
        assert crew_size(cpu, None) == crew._MOST
    finally:
        torch.set_num_threads(before)


def test_a_monitor_is_entered_again_after_an_error_outside() -> None:
    monitor = Monitor()
    with pytest.raises(KeyError), monitor, monitor.left():
        raise KeyError
    with monitor:
        assert not monitor._changed.acquire(blocking=False)


def test_what_several_threads_take_is_told_by_the_processor() -> None:
    """Waiting for each other says nothing of the work."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for size, counted in ((1, True), (2, False)):
            clock = Crew(size, Budget()).monitor.clock
            began = clock()
            time.sleep(0.2)
            assert (clock() - began > 0.1) == counted
    finally:
        torch.set_num_threads(before)
