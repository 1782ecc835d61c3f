"""Records carry the id of their job."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator

import pytest

from worker.logs import (
    configure,
    current_request,
    in_this_context,
    job_logged,
    request_logged,
)


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


@pytest.mark.usefixtures("_root_restored")
def test_lines_for_programs_are_objects(capsys: pytest.CaptureFixture[str]) -> None:
    configure("INFO", "json")
    logger = logging.getLogger("tests.logs")
    logger.info("before")
    with request_logged("req_1"), job_logged("job_1"):
        logger.info("within %s\nof two lines", "it", extra={"seconds": 0.5, "route": "/x"})
        try:
            raise LookupError("gone")
        except LookupError:
            logger.exception("failed")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["message"] for line in lines] == ["before", "within it\nof two lines", "failed"]
    assert [line.get("job") for line in lines] == [None, "job_1", "job_1"]
    assert [line.get("request") for line in lines] == [None, "req_1", "req_1"]
    assert (lines[1]["seconds"], lines[1]["route"]) == (0.5, "/x")
    assert "LookupError: gone" in lines[2]["exception"]
    assert {line["level"] for line in lines} == {"INFO", "ERROR"}
    assert current_request() is None


@pytest.mark.usefixtures("_root_restored")
def test_threads_keep_the_job_they_were_started_for(capsys: pytest.CaptureFixture[str]) -> None:
    configure("INFO", "json")
    logger = logging.getLogger("tests.logs")
    with job_logged("job_1"):
        thread = threading.Thread(target=in_this_context(lambda: logger.info("there")))
    with job_logged("job_2"):
        thread.start()
        thread.join()
    assert json.loads(capsys.readouterr().err)["job"] == "job_1"
