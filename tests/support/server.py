"""One running server: Forebay, or for comparison a redis-server.

    FOREBAY_BINARY   the server, build/src/forebay by default
    FOREBAY_SHARDS   --shards, 1 by default          FOREBAY_NET   --net, auto by default
    FOREBAY_AGAINST  "redis-server" (or a path): the expectations are checked against that instead
"""
import os
import random
import socket
import subprocess
import time

from resp import Client

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
START_SECONDS_MAX = 20
AGAINST = os.environ.get("FOREBAY_AGAINST")
READY = (b"Ready to accept connections", b"ready to accept connections")


def binary():
    return os.path.abspath(os.environ.get("FOREBAY_BINARY",
                                          os.path.join(ROOT, "build/src/forebay")))


def free_port():
    """One that nobody listens on, below the range that connecting sockets get theirs from: a client
    that tries again and again while its server is restarted may else connect to itself."""
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass


def until(condition, what, seconds=START_SECONDS_MAX):
    """Polls `condition` until it is true, and returns that; what was waited for is named if not."""
    deadline = time.monotonic() + seconds
    while True:
        got = condition()
        if got:
            return got
        if time.monotonic() > deadline:
            raise AssertionError("not within %g s: %s (last: %r)" % (seconds, what, got))
        time.sleep(0.002)


class Server:
    """Listens on a unix socket in `directory`, and on a loopback port where one is given.

    `options` are words of the command line, `config` the text of a configuration file, `wrapper` a
    command that runs the server in its place."""

    def __init__(self, directory, options=(), config=None, port=0, wrapper=()):
        self.directory, self.port = directory, port
        self.path = os.path.join(directory, "server.sock")
        self.log_path = os.path.join(directory, "server.log")
        words = ["--port", str(port), "--unixsocket", self.path]
        if AGAINST:
            self.command = [AGAINST] + words + ["--save", "", "--dir", directory]
        else:
            self.command = list(wrapper) + [binary()]
            if config is not None:
                self.config_path = os.path.join(directory, "forebay.conf")
                with open(self.config_path, "w", encoding="utf8") as f:
                    f.write(config)
                self.command.append(self.config_path)
            options = [str(word) for word in options]
            for name, default in (("shards", "1"), ("net", "auto")):
                if "--" + name not in options:
                    words += ["--" + name, os.environ.get("FOREBAY_" + name.upper(), default)]
        self.command += words + list(options)
        self.process = None
        self.start()

    @property
    def log(self):
        with open(self.log_path, "rb") as f:
            return f.read()

    def start(self):
        assert self.process is None or self.process.poll() is not None
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=subprocess.STDOUT,
                                            stdin=subprocess.DEVNULL, cwd=self.directory)
        deadline = time.monotonic() + START_SECONDS_MAX
        while not any(mark in self.log for mark in READY):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError("the server did not start:\n" + self.log.decode("latin1"))
            time.sleep(0.002)

    def client(self, timeout=10):
        return Client(self.path, timeout)

    def tcp(self, timeout=10):
        return Client(("127.0.0.1", self.port), timeout)

    def info(self, section="everything"):
        """INFO's fields as text, read on a connection of its own."""
        c = self.client()
        try:
            lines = c.cmd("INFO", section).decode("utf8", "replace").split("\r\n")
        finally:
            c.close()
        return dict(line.split(":", 1) for line in lines if ":" in line and line[0] != "#")

    def count(self, field):
        return int(self.info()[field])

    def stop(self):
        """SIGTERM, and the exit status; SIGKILL when that does not end it."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(START_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.kill()
        return self.process.returncode

    def kill(self):
        self.process.kill()
        self.process.wait()
