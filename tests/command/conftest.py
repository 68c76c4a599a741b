"""Starts the server the tests talk to: one a test run, on a unix socket of its own.

    FOREBAY_BINARY   the server, build/src/forebay by default
    FOREBAY_SHARDS   --shards, 1 by default          FOREBAY_NET   --net, auto by default
    FOREBAY_AGAINST  "redis-server" (or a path): the expectations are checked against that instead
"""
import os
import select
import subprocess
import tempfile
import time

import pytest

from resp import Client

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
START_SECONDS_MAX = 20
AGAINST = os.environ.get("FOREBAY_AGAINST")


class Server:
    def __init__(self, directory):
        self.path = os.path.join(directory, "server.sock")
        arguments = ["--port", "0", "--unixsocket", self.path]
        if AGAINST:
            arguments = [AGAINST] + arguments + ["--save", "", "--dir", directory]
        else:
            binary = os.environ.get("FOREBAY_BINARY", os.path.join(ROOT, "build/src/forebay"))
            arguments = [os.path.abspath(binary)] + arguments + [
                "--shards", os.environ.get("FOREBAY_SHARDS", "1"),
                "--net", os.environ.get("FOREBAY_NET", "auto")]
        self.process = subprocess.Popen(arguments, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, cwd=directory)
        self.log = b""
        self._wait_until_ready()

    def _wait_until_ready(self):
        deadline = time.monotonic() + START_SECONDS_MAX
        marks = (b"Ready to accept connections", b"ready to accept connections")
        while not any(mark in self.log for mark in marks):
            left = deadline - time.monotonic()
            ready, _, _ = select.select([self.process.stdout], [], [], max(left, 0))
            chunk = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            self.log += chunk
            if not chunk:
                self.stop()
                raise RuntimeError("the server did not start:\n" + self.log.decode("latin1"))

    def client(self):
        return Client(self.path)

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        try:
            rest, _ = self.process.communicate(timeout=START_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            rest, _ = self.process.communicate()
        self.log += rest
        return self.process.returncode


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


def pytest_configure(config):
    config.addinivalue_line("markers", "redis72: what Redis 7.2 does otherwise than 7.0")


def pytest_collection_modifyitems(items):
    for item in items:
        if AGAINST and item.get_closest_marker("redis72"):
            item.add_marker(pytest.mark.skip(reason="7.0 differs"))
