"""Who asks, and how often they may: keys as hashes, compared in constant time, and a token bucket for each client. No torch."""

import hashlib
import hmac
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

from aether.stages.serve.guard.settings import Client
from aether.stages.serve.protocol import BadRequest

_MOST_BUCKETS = 10_000
"""Addresses that are remembered; the one that asked least recently is forgotten first (assumed)."""


def client_of(authorization: str | None, clients: Sequence[Client]) -> Client:
    """Whose key it is. Raises BadRequest 401."""
    kind, _, key = (authorization or "").partition(" ")
    digest = hashlib.sha256(key.strip().encode()).hexdigest()
    found = [client for client in clients if hmac.compare_digest(client.sha256, digest)]
    if kind.lower() != "bearer" or not found:
        raise BadRequest("no valid API key: send Authorization: Bearer KEY", status=401, code="invalid_api_key")
    return found[0]


class RateLimit:
    """A bucket of requests for each name, filled steadily. Time is the caller's, so that it can be tested."""

    def __init__(self, per_minute: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s, self._burst, self._clock = per_minute / 60.0, float(burst), clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str) -> None:
        """One request of this name. Raises BadRequest 429 with the seconds until the next one."""
        now = self._clock()
        left, then = self._buckets.pop(name, (self._burst, now))
        left = min(self._burst, left + (now - then) * self._per_s)
        allowed = left >= 1.0
        self._buckets[name] = (left - 1.0 if allowed else left, now)
        while len(self._buckets) > _MOST_BUCKETS:
            self._buckets.popitem(last=False)
        if not allowed:
            wait_s = max(1, math.ceil((1.0 - left) / self._per_s))
            sentence = f"{name} asks too often: come again in {wait_s} s"
            raise BadRequest(sentence, status=429, code="rate_limited", retry_after_s=wait_s)
