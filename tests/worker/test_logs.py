"""Records carry the id of their job."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from worker.logs import configure, job_logged


@pytest.fixture
def _root_restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []
    yield
    root.handlers, root.level = handlers, level


@pytest.mark.usefixtures("_root_restored")
def test_records_say_which_job(capsys: pytest.CaptureFixture[str]) -> None:
    configure("INFO")
    logger = logging.getLogger("tests.logs")
    logger.info("before")
    with job_logged("job_1"):
        logger.info("within %s", "it")
        logger.debug("not shown")
    logger.warning("after")
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" INFO ")[-1].split(" WARNING ")[-1] for line in lines] == [
        "tests.logs [-] before",
        "tests.logs [job_1] within it",
        "tests.logs [-] after",
    ]
