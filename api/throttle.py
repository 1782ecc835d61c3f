"""How often somebody may ask: token buckets, shared through Redis where there is one.

A bucket holds `burst` tokens and gets `per_minute` new ones a minute; every request takes one. What
several API processes have in common is Redis, where the broker is Redis, and its clock; a process
that cannot reach it counts for itself until it can.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from redis import Redis, RedisError

from store.settings import Settings

__all__ = ["LocalThrottle", "Rate", "RedisThrottle", "Throttle", "open_throttle"]

logger = logging.getLogger(__name__)

_MOST_BUCKETS = 10_000
_REDIS_SECONDS = 0.25
_PAUSE_SECONDS = 5.0
_SCRIPT = """
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1e6
local rate, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local kept = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens, at = tonumber(kept[1]) or burst, tonumber(kept[2]) or now
tokens = math.min(burst, tokens + math.max(0, now - at) * rate)
local wait = 0
if tokens >= 1 then tokens = tokens - 1 else wait = (1 - tokens) / rate end
redis.call('HSET', KEYS[1], 'tokens', string.format('%.6f', tokens),
           'at', string.format('%.6f', now))
redis.call('PEXPIRE', KEYS[1], math.ceil(burst / rate * 1000) + 1000)
return string.format('%.6f', wait)
"""


@dataclass(frozen=True)
class Rate:
    """How often something may happen: so many times a minute, and `burst` times at once."""

    per_minute: int
    burst: int

    @property
    def per_second(self) -> float:
        """Tokens that a second brings."""
        return self.per_minute / 60


class Throttle(Protocol):
    """Counts what happens.

    Attributes:
        waits: Counting may have to wait for others.
    """

    waits: bool

    def take(self, name: str, rate: Rate) -> float:
        """Take a token from the bucket of that name.

        Returns:
            Seconds until there is one; 0 where one was taken.
        """
        ...

    def close(self) -> None:
        """Close connections."""
        ...


class LocalThrottle:
    """Buckets of one process; safe to use from several threads.

    Args:
        clock: Seconds from any point in time on; a clock that is never set back.
    """

    waits = False

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str, rate: Rate) -> float:
        """Take a token; return the seconds until there is one, 0 where one was taken."""
        with self._lock:
            now = self._clock()
            tokens, at = self._buckets.pop(name, (float(rate.burst), now))
            tokens = min(rate.burst, tokens + max(0.0, now - at) * rate.per_second)
            wait = 0.0 if tokens >= 1 else (1 - tokens) / rate.per_second
            self._buckets[name] = (tokens if wait else tokens - 1, now)
            # Names come from outside; who has not asked for longest has a full bucket by now.
            while len(self._buckets) > _MOST_BUCKETS:
                self._buckets.popitem(last=False)
            return wait

    def close(self) -> None:
        """Do nothing."""


class RedisThrottle:
    """Buckets that several processes share.

    Args:
        url: Of Redis.
        clock: Seconds from any point in time on, for pauses after failures.
    """

    waits = True

    def __init__(self, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._redis = Redis.from_url(
            url, socket_timeout=_REDIS_SECONDS, socket_connect_timeout=_REDIS_SECONDS
        )
        self._script = self._redis.register_script(_SCRIPT)
        self._own = LocalThrottle(clock)
        self._clock = clock
        self._away_until = 0.0

    def take(self, name: str, rate: Rate) -> float:
        """Take a token; return the seconds until there is one, 0 where one was taken."""
        if self._clock() < self._away_until:
            return self._own.take(name, rate)
        try:
            answer = self._script(
                keys=[f"tightrope:throttle:{name}"], args=[rate.per_second, rate.burst]
            )
        except RedisError as error:
            # Requests are not to fail, nor to wait each in turn, for what only counts them.
            self._away_until = self._clock() + _PAUSE_SECONDS
            logger.warning("requests are counted by this process alone: Redis says %s", error)
            return self._own.take(name, rate)
        return float(answer)

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()


def open_throttle(settings: Settings) -> Throttle:
    """Return what counts requests; nothing is connected before it is used."""
    if settings.broker is not None and settings.broker.startswith(("redis://", "rediss://")):
        return RedisThrottle(settings.broker)
    return LocalThrottle()
