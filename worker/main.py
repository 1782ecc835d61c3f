"""The worker process: `python -m worker`."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence

from celery import Celery, signals

from store.errors import StoreError
from store.settings import Settings, get_settings
from worker.app import RUN_JOB, JobQueue, create_celery
from worker.cores import available_cores, thread_environment
from worker.logs import configure, job_logged
from worker.neighbours import Neighbours
from worker.remote import EngineProcess
from worker.reporter import Reporter
from worker.runner import Runner
from worker.sweeper import Sweeper
from worker.work import Engines

__all__ = ["main", "run_worker"]

logger = logging.getLogger(__name__)

_PARENT_POLL_SECONDS = 0.5
_GRACE_SECONDS = 20.0


def run_worker(
    settings: Settings,
    load_engines: Callable[[], Engines],
    *,
    name: str,
    parent: int | None = None,
    threads: Callable[[], int | None] = lambda: None,
) -> int:
    """Work until told to stop by SIGTERM or SIGINT; return the exit status.

    Jobs run one at a time, computed by one process beside this one: more processes are more
    workers. On a signal the job at hand stops at the solver's next step and goes back to the
    queue with what it has.

    Args:
        settings: Of this process.
        load_engines: Returns what computes; called once, before the first job is taken.
        name: Owner of the jobs it takes; no other worker may have it.
        parent: Stop when the parent process is no longer this one.
        threads: Returns how many threads a chunk is computed with; None leaves that as it is.
    """
    stopping = threading.Event()
    signals.worker_shutting_down.connect(lambda **_: stopping.set(), weak=False)
    signals.setup_logging.connect(lambda **_: None, weak=False)  # or Celery installs handlers
    if parent is not None:
        threading.Thread(target=_stop_with, args=(parent,), daemon=True).start()
    app = create_celery(settings)
    queue = JobQueue(app)
    with Reporter(settings, name=name) as reporter:
        runner = Runner(
            settings,
            reporter.observed(load_engines()),
            owner=name,
            stopping=stopping,
            announce=queue.send,
            threads=threads,
        )
        _register(app, runner)
        return _take_jobs(
            app, Sweeper(runner.jobs, runner.reaper, queue, settings), settings=settings, name=name
        )


def _take_jobs(app: Celery, sweeper: Sweeper, *, settings: Settings, name: str) -> int:
    """Take jobs from the broker until told to stop; return the exit status."""
    worker = app.Worker(
        pool="solo",
        hostname=name,
        queues=settings.queues.split(","),
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        quiet=True,
    )
    with sweeper:
        worker.start()
    return int(worker.exitcode or 0)


def _register(app: Celery, runner: Runner) -> None:
    @app.task(name=RUN_JOB)  # type: ignore[untyped-decorator]
    def run_job(job_id: str) -> None:
        with job_logged(job_id):
            runner.run()


def _stop_with(parent: int) -> None:
    """Stop this process soon after its parent has died, politely at first."""
    while os.getppid() == parent:
        time.sleep(_PARENT_POLL_SECONDS)
    logger.warning("the process that started this worker is gone; stopping")
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_SECONDS)
    os._exit(1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a worker with the settings of the environment; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m worker", description=__doc__)
    parser.add_argument("--name", default=f"{socket.gethostname()}-{os.getpid()}")
    parser.add_argument("--parent", type=int, help="stop when this process is gone")
    parsed = parser.parse_args(arguments)
    try:
        settings = get_settings()
        configure(settings.log_level, settings.log_format)
        cores = settings.worker_threads or available_cores()
        os.environ.update(thread_environment(cores, os.environ))
        with (
            Neighbours(settings.data_dir / "workers", parsed.name) as neighbours,
            EngineProcess(settings, threads=cores) as process,
        ):
            return run_worker(
                settings,
                process.engines,
                name=parsed.name,
                parent=parsed.parent,
                threads=lambda: settings.worker_threads or neighbours.share(cores),
            )
    except StoreError as error:
        logger.error("%s", error)
        return 2


if __name__ == "__main__":
    sys.exit(main())
