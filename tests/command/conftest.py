"""Starts the server the tests talk to: one a test run, on a unix socket of its own.

    FOREBAY_BINARY   the server, build/src/forebay by default
    FOREBAY_SHARDS   --shards, 1 by default          FOREBAY_NET   --net, auto by default
    FOREBAY_AGAINST  "redis-server" (or a path): the expectations are checked against that instead
"""
import os
import sys
import tempfile

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

from server import AGAINST, Server  # noqa: E402, behind the path
from instance import Instance  # noqa: E402
from memory import Filled  # noqa: E402


@pytest.fixture(scope="session")
def server():
    with tempfile.TemporaryDirectory(prefix="forebay-test-") as directory:
        running = Server(directory)
        yield running
        code = running.stop()
        assert code == 0, "the server ended with %s:\n%s" % (code, running.log.decode("latin1"))


@pytest.fixture(params=[2, 3], ids=["resp2", "resp3"])
def client(server, request):
    """A fresh connection in each protocol, on empty databases."""
    c = server.client()
    if request.param == 3:
        assert not isinstance(c.cmd("HELLO", "3"), str)
    c.proto = request.param
    assert c.cmd("FLUSHALL") == "OK"
    yield c
    c.close()


@pytest.fixture
def other(server):
    """A second connection, RESP2."""
    c = server.client()
    yield c
    c.close()


@pytest.fixture
def own():
    """A connection to a server of the test's own, without limits."""
    with Instance() as instance:
        yield instance.client()


@pytest.fixture(scope="module")
def filled():
    kept = Filled()
    yield kept
    kept.close()


@pytest.fixture
def full(filled):
    """A server full of small keys, and a connection to it: what is long has others go for it."""
    return filled.again()


def pytest_configure(config):
    config.addinivalue_line("markers", "heavy: fills a server; see README.md for where these run")
    config.addinivalue_line("markers", "redis72: what Redis 7.2 does otherwise than 7.0")


def pytest_collection_modifyitems(items):
    for item in items:
        if AGAINST and item.get_closest_marker("redis72"):
            item.add_marker(pytest.mark.skip(reason="7.0 differs"))
