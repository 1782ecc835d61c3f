"""What was made of many answers is made once, and again once there are others."""

from __future__ import annotations

from api.remembered import Remembered
from store.job_tables import JobRow


def job(name: str = "job_a", *, state: str = "succeeded", done: int = 5, total: int = 5) -> JobRow:
    return JobRow(id=name, state=state, done=done, total=total)


def test_it_is_made_once() -> None:
    kept, made = Remembered(), iter(["first", "second"])
    assert [kept.of(job(), lambda: next(made)) for _ in range(3)] == ["first"] * 3


def test_nothing_counts_as_something() -> None:
    kept, asked = Remembered(), []
    assert [kept.of(job(), lambda: asked.append(1)) for _ in range(2)] == [None, None]
    assert asked == [1]


def test_other_answers_make_another() -> None:
    kept = Remembered()
    few = [job(state="running", done=done) for done in (0, 1, 4)]
    ended = [job(state="running"), job(), job(state="cancelled", done=4), job("job_b")]
    for number, one in enumerate([*few, *ended]):
        assert kept.of(one, lambda number=number: number) == number  # type: ignore[misc]


def test_of_many_answers_each_hundredth_part_counts() -> None:
    kept, made = Remembered(), []
    for done in range(10_000):
        kept.of(job(state="running", done=done, total=10_000), lambda: made.append(1))
    assert len(made) == 100
    # Once it has ended, all count: a part that was given up may be taken up again.
    for done in (9_990, 10_000):
        ended = job(state="failed", done=done, total=10_000)
        assert kept.of(ended, lambda done=done: done) == done  # type: ignore[misc]


def test_those_asked_for_last_are_kept() -> None:
    kept = Remembered(most=10)
    for name in ("job_a", "job_b", "job_a", "job_c"):
        kept.of(job(name), lambda name=name: f"old {name}")  # type: ignore[misc]
    found = [kept.of(job(name), lambda: "new") for name in ("job_a", "job_c", "job_b")]
    assert found == ["old job_a", "old job_c", "new"]


def test_a_large_one_is_kept_alone() -> None:
    kept = Remembered(most=10)
    kept.of(job(), lambda: "small")
    kept.of(job("job_large", done=50), lambda: "large")
    assert kept.of(job("job_large", done=50), lambda: "again") == "large"
    assert kept.of(job(), lambda: "again") == "again"
