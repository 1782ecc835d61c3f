"""The Celery application: two queues that carry ids, as JSON."""

from __future__ import annotations

import logging
from typing import Any

from celery import Celery
from kombu.entity import Queue
from kombu.exceptions import KombuError

from store.settings import Settings

__all__ = ["QUEUES", "RUN_JOB", "JobQueue", "create_celery"]

logger = logging.getLogger(__name__)

QUEUES = ("bounds", "exact")
RUN_JOB = "tightrope.run_job"
_CONNECT_SECONDS = 2.0


def create_celery(settings: Settings) -> Celery:
    """Return the application, connected to nothing yet.

    Messages are acknowledged late and taken one at a time: a worker that dies leaves its message
    to another. Results go to the store, so there is no result backend; nobody needs Celery's
    remote control or events.
    """
    app = Celery("tightrope", set_as_current=False)
    app.conf.update(
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_queues=[_queue(name) for name in QUEUES],
        task_default_queue=QUEUES[0],
        worker_prefetch_multiplier=1,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_connection_timeout=_CONNECT_SECONDS,
        **_broker(settings),
    )
    return app


def _queue(name: str) -> Queue:
    return Queue(name, routing_key=name)  # type: ignore[no-untyped-call]


def _broker(settings: Settings) -> dict[str, Any]:
    if settings.broker is not None:
        return {
            "broker_url": settings.broker,
            "broker_transport_options": {
                "visibility_timeout": settings.visibility_timeout_seconds,
                "socket_connect_timeout": _CONNECT_SECONDS,
            },
        }
    messages = str(settings.broker_dir.resolve() / "messages")
    return {
        "broker_url": "filesystem://localhost",
        "broker_transport": "worker.transport:FolderTransport",
        "broker_transport_options": {
            "data_folder_in": messages,
            "data_folder_out": messages,
            "control_folder": str(settings.broker_dir.resolve() / "control"),
            "polling_interval": settings.poll_seconds,
        },
    }


class JobQueue:
    """Tells workers about jobs.

    Args:
        app: The application whose broker is used.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app

    def send(self, job_id: str, queue: str) -> bool:
        """Announce a job.

        Returns:
            Whether the broker took the message. When it did not, workers find the job in the
            database themselves, a little later.
        """
        try:
            self._app.send_task(RUN_JOB, args=[job_id], queue=queue, retry=False)
        except (KombuError, OSError) as error:
            logger.warning("job %s is not announced yet: the broker says %s", job_id, error)
            return False
        return True

    def ping(self) -> None:
        """Connect to the broker.

        Raises:
            kombu.exceptions.KombuError, OSError: It does not answer.
        """
        with self._app.connection_for_write(connect_timeout=_CONNECT_SECONDS) as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=_CONNECT_SECONDS)

    def close(self) -> None:
        """Close the connections to the broker."""
        self._app.close()
