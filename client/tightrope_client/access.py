"""Keys of a project, and the secret of its webhooks."""

from __future__ import annotations

from tightrope_client.calls import PAGE_ENTRIES, Paging, get, page_of, post, reads
from tightrope_client.flows import Flow
from tightrope_client.models import Key, KeyRequest, MadeKey, WebhookSecret
from tightrope_client.operations import R, Resource, operation, paged

__all__ = ["Keys", "Webhooks"]


class Keys(Resource[R]):
    """Keys of the project; asking takes a key with the scope `admin`."""

    path = "v1/keys"

    @operation
    def create(self, asked: KeyRequest) -> Flow[MadeKey]:
        """Make a key; what it returns is the only chance to read it."""
        return self._ask(post(self.path, reads(MadeKey), body=asked.body()))

    @operation
    def get(self, identifier: str) -> Flow[Key]:
        """Return what is kept of one."""
        return self._ask(get(f"{self.path}/{identifier}", reads(Key)))

    @paged
    def list(self, *, project: str | None = None) -> Paging[Key]:
        """Iterate over all, newest first, also over those that are worth nothing any more.

        Args:
            project: In place of one's own; takes a key of the project `default`.
        """
        read = page_of(Key)
        return lambda cursor: get(
            self.path, read, project=project, cursor=cursor, limit=PAGE_ENTRIES
        )

    @operation
    def revoke(self, identifier: str) -> Flow[Key]:
        """Make one worthless; once more does no harm."""
        return self._ask(post(f"{self.path}/{identifier}/revoke", reads(Key)))


class Webhooks(Resource[R]):
    """What receivers of webhooks have to know; `jobs.deliveries` tells how telling them went."""

    @operation
    def secret(self) -> Flow[str]:
        """Return what the webhooks of the project are signed with; takes the scope `admin`."""
        found = yield from self._ask(get("v1/webhook-secret", reads(WebhookSecret)))
        return found.secret
