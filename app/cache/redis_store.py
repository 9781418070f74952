"""Results in Redis, shared by all workers and machines. While Redis is unavailable, no result is found.

Each result is a key of its own with a time to live. Two more keys hold the sizes and the times of the last use, so that
the limit of bytes holds even if other applications use the same Redis: a script drops the least recently used results.
An expired result counts until it is dropped or replaced: the cache is never larger than the limit.
"""

from __future__ import annotations

import json
import logging
import struct
import zlib
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from app.cache.stores import ENTRY_BYTES
from app.engine.messages import result_from_wire, result_header
from app.redis_link import CLIENT_OPTIONS, PROBE_LIFE, Circuit
from app.removal import RemovalResult

__all__ = ["RedisStore"]

log = logging.getLogger(__name__)

# The number is the version of the encoding.
PREFIX = "background-remover:cache:1:"
SIZES, USES, PROBE = PREFIX + "sizes", PREFIX + "uses", PREFIX + "probe"
CHECKSUM = struct.Struct("!I")
# The clock of Redis, since the clocks of several machines may differ.
NOW = """
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1e6
"""
# KEYS: the result, USES.
FETCH = f"""{NOW}
local value = redis.call('GET', KEYS[1])
if value then redis.call('ZADD', KEYS[2], 'XX', now, KEYS[1]) end
return value
"""
# KEYS: the result, USES, SIZES. ARGV: value, its size, maximum of bytes in all, milliseconds to live.
KEEP = f"""{NOW}
local key, uses, sizes = KEYS[1], KEYS[2], KEYS[3]
if redis.call('HLEN', sizes) ~= redis.call('ZCARD', uses) + 1 then  -- new, or one of the two is lost
    redis.call('DEL', sizes, uses)
end
local function drop(name)
    redis.call('HINCRBY', sizes, 'total', 0 - (redis.call('HGET', sizes, name) or 0))
    redis.call('HDEL', sizes, name)
    redis.call('ZREM', uses, name)
end
drop(key)
redis.call('SET', key, ARGV[1], 'PX', ARGV[4])
redis.call('HSET', sizes, key, ARGV[2])
redis.call('ZADD', uses, now, key)
local total = redis.call('HINCRBY', sizes, 'total', ARGV[2])
while total > tonumber(ARGV[3]) do
    local oldest = redis.call('ZRANGE', uses, 0, 0)[1]
    redis.call('DEL', oldest)
    drop(oldest)
    total = tonumber(redis.call('HGET', sizes, 'total'))
end
redis.call('PEXPIRE', sizes, ARGV[4])
redis.call('PEXPIRE', uses, ARGV[4])
"""


class RedisStore:
    """Results in Redis: at most `max_bytes` for all services that share it, each for `ttl` seconds."""

    def __init__(self, url: str, max_bytes: int, ttl: int) -> None:
        self._redis = Redis.from_url(url, **CLIENT_OPTIONS)
        self._fetch = self._redis.register_script(FETCH)
        self._keep = self._redis.register_script(KEEP)
        self._max_bytes = max_bytes
        self._ttl_ms = ttl * 1000
        self._circuit = Circuit("cache", self._redis, self.probe, RedisError)

    def get(self, key: str) -> RemovalResult | None:
        """Return the result of a key, None if there is none or it cannot be read; raise CircuitOpen."""
        value: Any = self._circuit.call(lambda: self._fetch([PREFIX + key, USES]))
        if value is None:
            return None
        try:
            return _decode(value)
        except (ValueError, TypeError, KeyError, struct.error) as error:
            log.warning("cache.unreadable bytes=%d error=%s", len(value), type(error).__name__)
            return None

    def put(self, key: str, result: RemovalResult) -> None:
        """Keep a result; raise CircuitOpen."""
        value = _encode(result)
        size = len(value) + ENTRY_BYTES
        if size <= self._max_bytes:
            keys = [PREFIX + key, USES, SIZES]
            self._circuit.call(lambda: self._keep(keys, (value, size, self._max_bytes, self._ttl_ms)))

    def up(self) -> bool:
        """Return whether Redis answered the last command, a few seconds ago at most."""
        return self._circuit.up()

    def stop(self) -> None:
        """Stop the background probe."""
        self._circuit.stop()

    def probe(self) -> None:
        """Write, since a Redis that is full, or a replica, still answers a ping; raise RedisError."""
        self._redis.set(PROBE, 1, ex=PROBE_LIFE)


def _encode(result: RemovalResult) -> bytes:
    """Return a result as checksum, header (one line of JSON) and image."""
    content = json.dumps(result_header(result), separators=(",", ":")).encode() + b"\n" + result.body
    return CHECKSUM.pack(zlib.crc32(content)) + content


def _decode(value: bytes) -> RemovalResult:
    (checksum,) = CHECKSUM.unpack_from(value)
    content = memoryview(value)[CHECKSUM.size :]
    if zlib.crc32(content) != checksum:
        raise ValueError("wrong checksum")
    end = value.index(b"\n", CHECKSUM.size)
    return result_from_wire(json.loads(value[CHECKSUM.size : end]), [value[end + 1 :]])
