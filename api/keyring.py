"""Keys and logins that were good a moment ago, so that not every request asks the database.

What is remembered is worth something for `seconds` and no longer: a key that another process
revokes opens nothing after that, one that this process revokes opens nothing at once. That a key
has expired is seen every time. Whatever is refused is not remembered.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime

from store.access_tables import ApiKeyRow
from store.keys import Keys, is_usable
from store.logins import Logins

__all__ = ["Keyring"]

_MOST_KEPT = 10_000


class Keyring:
    """Remembers whose keys and logins are good, and that no key was ever made.

    Args:
        keys: All of them.
        logins: All of them.
        seconds: For which an answer is remembered; 0 for not at all.
        clock: Seconds from any point in time on.
    """

    def __init__(
        self,
        keys: Keys,
        logins: Logins,
        *,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keys = keys
        self._logins = logins
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._good: OrderedDict[str, tuple[ApiKeyRow, float]] = OrderedDict()
        self._none_until = -float("inf")
        self._ever_made = False

    def of_token(self, token: str) -> ApiKeyRow:
        """Return the key that a client shows.

        Raises:
            AuthenticationError: It is no key, unknown, revoked or expired.
        """
        return self._find(_name("token", token), lambda: self._keys.authenticate(token))

    def of_cookie(self, cookie: str) -> ApiKeyRow:
        """Return the key that somebody logged in with.

        Raises:
            AuthenticationError: The login has ended, or its key is worth nothing any more.
        """
        name = _name("cookie", cookie)
        return self._find(name, lambda: self._keys.checked(self._logins.key_of(cookie)))

    def ever_made(self) -> bool:
        """Return whether any key was ever made here."""
        if not self._remembers_keys():
            made = self._keys.ever_made()
            with self._lock:
                self._ever_made = made
                self._none_until = self._clock() + self._seconds
        return self._ever_made

    def remembers(self, *, token: str | None, cookie: str | None) -> bool:
        """Return whether all there is to ask is known without asking the database.

        Args:
            token: That the client shows, if it does.
            cookie: Of its login, if it has one and shows no token.
        """
        if token is not None:
            return self._recall(_name("token", token)) is not None
        known = cookie is None or self._recall(_name("cookie", cookie)) is not None
        return known and self._remembers_keys()

    def forget(self) -> None:
        """Ask again from now on: a key was made or revoked, or a login ended."""
        with self._lock:
            self._good.clear()
            self._none_until = -float("inf")

    def _remembers_keys(self) -> bool:
        """Return whether it is known if keys were made; once there was one, it stays so."""
        return self._ever_made or self._clock() < self._none_until

    def _find(self, name: str, ask: Callable[[], ApiKeyRow]) -> ApiKeyRow:
        row = self._recall(name)
        if row is not None:
            return row
        # As of before the question: what is revoked while it is asked is not kept for longer.
        until = self._clock() + self._seconds
        row = ask()
        with self._lock:
            self._good[name] = (row, until)
            while len(self._good) > _MOST_KEPT:
                self._good.popitem(last=False)
        return row

    def _recall(self, name: str) -> ApiKeyRow | None:
        with self._lock:
            row, until = self._good.get(name, (None, 0.0))
            if row is None or self._clock() >= until or not is_usable(row, datetime.now(UTC)):
                self._good.pop(name, None)
                return None
            return row


def _name(kind: str, secret: str) -> str:
    """Return what an answer is kept under: the secret itself stays out of memory."""
    return hashlib.sha256(f"{kind} {secret}".encode()).hexdigest()
