"""How much one key may have waiting."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from store.errors import QuotaError
from store.job_tables import JobRow
from store.states import JobState
from store.tenancy import tenant_of

__all__ = ["refuse_beyond_quota"]


def refuse_beyond_quota(session: Session, job: JobRow) -> None:
    """Check that a new job leaves its key within what it may have queued at once.

    A job that took its answers from an earlier one waits for nothing and is never refused.

    Raises:
        QuotaError: It does not; the transaction has to be given up.
    """
    tenant = tenant_of(session)
    if tenant is None or tenant.key_id is None or tenant.queued_jobs is None:
        return
    if job.state != JobState.QUEUED:
        return
    own = (JobRow.key_id == tenant.key_id, JobRow.state == JobState.QUEUED)
    waiting = select(func.count()).select_from(JobRow).where(*own)
    if (session.scalar(waiting) or 0) > tenant.queued_jobs:
        raise QuotaError(
            f"{tenant.queued_jobs} jobs of this key are queued, as many as it may have at once; "
            "wait for some to start"
        )
