"""Projects see nothing of each other, whatever is asked of the store."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from store import tenancy
from store.certifications import Certifications, NewCertification
from store.columns import Base
from store.comparisons import Comparisons
from store.contents import is_kept
from store.database import Database
from store.errors import ConflictError, NotFoundError, QuotaError, StoreError
from store.idempotency import Replay
from store.job_tables import JobRow
from store.jobs import Jobs
from store.projects import Projects
from store.tables import CertificationRow, ItemRow, NetworkRow
from store.tenancy import SHARED, Tenant, project_of
from store.trainings import Trainings
from store.uploads import DATASETS, NETWORKS, Uploads
from tests.helpers.service import DATASET_DETAILS, NETWORK_DETAILS, SETTINGS, World


@pytest.fixture
def other(world: World) -> Database:
    """The database as another project sees it."""
    return world.database.of(Tenant(Projects(world.database).create("other").id))


def networks_of(world: World, database: Database) -> Uploads:
    return Uploads(database, world.blobs, NETWORKS)


def ask(
    world: World, database: Database, *, reuse: bool = True, key: str | None = None
) -> CertificationRow:
    """Upload the same files into a project and ask the same question there."""
    network = world.upload(networks_of(world, database), b"network", "n.onnx", NETWORK_DETAILS)
    datasets = Uploads(database, world.blobs, DATASETS)
    new = NewCertification(
        network_id=network,
        dataset_id=world.upload(datasets, b"dataset", "d.npz", DATASET_DETAILS),
        settings={**SETTINGS, "indices": [0, 1, 2]},
        indices=[0, 1, 2],
        queue="bounds",
        version="1",
        reuse=reuse,
    )
    replay = None if key is None else Replay(key, "POST /v1/certifications", "0" * 64)
    return Certifications(database).create(new, replay=replay)[0]


def test_every_table_belongs_to_projects_or_is_known_to_be_shared() -> None:
    for mapper in Base.registry.mappers:
        condition = tenancy._condition(mapper.class_, "p")
        assert (condition is None) == (mapper.class_.__tablename__ in SHARED)
    assert {table.name for table in Base.metadata.sorted_tables} >= SHARED


def test_a_table_that_nothing_leads_from_is_noticed() -> None:
    class Elsewhere(DeclarativeBase):
        pass

    class Stray(Elsewhere):
        __tablename__ = "stray"
        id: Mapped[int] = mapped_column(primary_key=True)

    with pytest.raises(StoreError, match=r"stray belongs; give it a project_id"):
        tenancy._condition(Stray, "p")  # type: ignore[arg-type]


def test_what_is_a_part_of_something_belongs_where_that_does() -> None:
    text = str(tenancy._condition(ItemRow, "p"))
    assert "jobs" in text
    assert "items.certification_id" in text


def test_lists_and_ids_of_another_project_lead_nowhere(world: World, other: Database) -> None:
    certified = world.finish()
    compared = world.compare().id
    trained = world.train().id
    blobs, checkpoints = world.blobs, world.settings.checkpoint_dir
    networks = networks_of(world, other)
    certifications, comparisons = Certifications(other), Comparisons(other)
    trainings, jobs = Trainings(other, blobs, checkpoints), Jobs(other)
    for everything in (networks, certifications, comparisons, trainings, jobs):
        assert everything.page(limit=10) == []  # type: ignore[attr-defined]
    assert set(jobs.count_by_state().values()) == {0}
    lost: list[Callable[[], object]] = [
        lambda: networks.get(world.network),
        lambda: networks.delete(world.network),
        lambda: certifications.get(certified),
        lambda: certifications.items(certified),
        lambda: certifications.delete(certified),
        lambda: comparisons.get(compared),
        lambda: comparisons.items(compared, 0),
        lambda: trainings.get(trained),
        lambda: trainings.metrics(trained),
        lambda: trainings.artifacts(trained),
        lambda: trainings.delete(trained),
        lambda: jobs.get(compared),
        lambda: jobs.request_cancel(compared),
    ]
    for ask_for in lost:
        with pytest.raises(NotFoundError):
            ask_for()
    assert certifications.inputs(certified) == {}
    assert certifications.finished_indices(certified) == frozenset()
    assert not jobs.claim(compared, "w")
    # Its own project finds everything as it was.
    assert len(world.certifications.items(certified)) == 3
    assert world.jobs.get(compared).state == "queued"
    assert world.networks.get(world.network).project_id == "default"


def test_statements_of_every_kind_keep_to_the_project(world: World, other: Database) -> None:
    certified = world.finish()
    with other.write() as session:
        counts = (
            select(func.count()).select_from(JobRow),
            select(func.count()).where(JobRow.id == certified),
            select(func.count(ItemRow.index)),
        )
        for query in counts:
            assert session.scalar(query) == 0, query
        joined = select(NetworkRow.name).join(
            CertificationRow, CertificationRow.network_id == NetworkRow.id
        )
        assert session.scalars(joined).all() == []
        assert session.get(ItemRow, (certified, 0)) is None
        session.execute(update(JobRow).values(state="failed"))
        session.execute(delete(ItemRow))
        session.execute(delete(NetworkRow))
    assert world.jobs.get(certified).state == "succeeded"
    assert len(world.certifications.items(certified)) == 3


def test_new_rows_belong_to_the_tenant(world: World, other: Database) -> None:
    row = ask(world, other)
    assert other.tenant is not None
    assert row.job.project_id == row.network.project_id == other.tenant.project_id
    assert world.certify().job.project_id == "default"


def test_nothing_is_added_to_another_project_or_to_none(world: World, other: Database) -> None:
    def job(**changes: str) -> JobRow:
        plain = {"id": "job_1", "kind": "certification", "queue": "bounds", "state": "queued"}
        return JobRow(total=1, created_at=world.jobs.get(known).created_at, **plain, **changes)

    known = world.certify().id
    with pytest.raises(StoreError, match="of project default was to be added"), other.write() as s:
        s.add(job(project_id="default"))
    with pytest.raises(StoreError, match="belongs to no project"), world.database.write() as s:
        s.add(job())
    with world.database.read() as session, pytest.raises(StoreError, match="no project"):
        project_of(session)


def test_answers_are_taken_over_within_a_project_only(world: World, other: Database) -> None:
    world.finish()
    assert ask(world, world.database.of(Tenant())).job.cached
    foreign = ask(world, other)
    assert (foreign.job.cached, foreign.job.state) == (False, "queued")
    assert Certifications(other).items(foreign.id) == []


def test_what_is_known_of_a_content_is_known_to_its_project_only(
    world: World, other: Database
) -> None:
    sha256 = world.networks.get(world.network).sha256
    assert world.networks.details_of(sha256) == NETWORK_DETAILS
    assert networks_of(world, other).details_of(sha256) is None


def test_a_file_stays_as_long_as_any_project_has_it(world: World, other: Database) -> None:
    networks = networks_of(world, other)
    theirs = world.upload(networks, b"network", "n.onnx", NETWORK_DETAILS)
    assert theirs != world.network
    path = world.networks.path(world.networks.get(world.network))
    world.networks.delete(world.network)
    assert path.is_file()
    with other.read() as session:
        assert is_kept(session, networks.get(theirs).sha256)
    networks.delete(theirs)
    assert not path.exists()


def test_uploads_in_use_are_kept_whoever_asks(world: World, other: Database) -> None:
    row = ask(world, other)
    networks = networks_of(world, other)
    with pytest.raises(ConflictError):
        networks.delete(row.network_id)


def test_an_idempotency_key_is_a_key_of_one_project(world: World, other: Database) -> None:
    home = world.database.of(Tenant())
    first = ask(world, home, key="k", reuse=False)
    assert ask(world, home, key="k", reuse=False).id == first.id
    foreign = ask(world, other, key="k", reuse=False)
    assert foreign.id != first.id
    assert ask(world, other, key="k", reuse=False).id == foreign.id


def test_a_key_has_only_so_many_jobs_waiting(world: World) -> None:
    home = world.database.of(Tenant("default", "key_a", queued_jobs=2))
    waiting = [ask(world, home, reuse=False).id for _ in range(2)]
    with pytest.raises(QuotaError, match="2 jobs of this key are queued"):
        ask(world, home, reuse=False)
    assert len(world.jobs.page(limit=10)) == 2
    other_key = world.database.of(Tenant("default", "key_b", queued_jobs=1))
    assert ask(world, other_key, reuse=False).job.key_id == "key_b"
    world.jobs.request_cancel(waiting[0])
    assert ask(world, home, reuse=False).job.key_id == "key_a"


def test_a_known_answer_is_given_whatever_waits(world: World) -> None:
    world.finish()
    full = world.database.of(Tenant("default", "key_a", queued_jobs=1))
    ask(world, full, reuse=False)
    assert ask(world, full).job.cached
