"""`python scripts/servers.py COMMAND …` runs a command with a PostgreSQL and a Redis for its tests: those that
HEADGATE_TEST_POSTGRES and HEADGATE_TEST_REDIS name (by default the ones of this machine) when they answer, else
throw-away ones, whose programs are installed by apt-get when they are missing. Fails when neither can be had."""

import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack

import psycopg
import redis

from headgate_settings import environment
from headgate_testing.databases import postgres_server
from headgate_testing.own_servers import OwnServer, own_postgres, own_redis

DEFAULT_REDIS = "redis://127.0.0.1:6379"


def postgres_answers(url: str) -> bool:
    """Whether databases can be had there."""
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def redis_answers(url: str) -> bool:
    """Whether it answers there."""
    try:
        with redis.Redis.from_url(url, socket_timeout=2) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


def started(own: Callable[[], AbstractContextManager[OwnServer]], package: str, stack: ExitStack) -> str:
    """The URL of a throw-away server that lives as long as the stack."""
    try:
        server = stack.enter_context(own())
    except FileNotFoundError:
        subprocess.run(["apt-get", "update", "-q"], check=True)
        subprocess.run(["apt-get", "install", "-qy", "--no-install-recommends", package], check=True)
        server = stack.enter_context(own())
    print(f"started {package} at {server.address}", flush=True)
    return server.url


def main(command: list[str]) -> int:
    """The command's exit status."""
    env = environment()
    with ExitStack() as stack:
        postgres, cache = postgres_server(), env.get("HEADGATE_TEST_REDIS") or DEFAULT_REDIS
        if not postgres_answers(postgres):
            postgres = started(own_postgres, "postgresql", stack)
        if not redis_answers(cache):
            cache = started(own_redis, "redis-server", stack)
        env |= {"HEADGATE_TEST_POSTGRES": postgres, "HEADGATE_TEST_REDIS": cache}
        return subprocess.run(command, env=env, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
