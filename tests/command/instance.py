"""A server of a test's own: for what needs other options, a port, a configuration file, an end."""
import os
import select
import signal
import socket
import subprocess
import tempfile
import time

from server import ROOT
from resp import Client

SECONDS_MAX = 20
BINARY = os.environ.get("FOREBAY_BINARY", os.path.join(ROOT, "build/src/forebay"))


def free_port(family=socket.AF_INET, address="127.0.0.1"):
    with socket.socket(family) as s:
        s.bind((address, 0))
        return s.getsockname()[1]


def run_to_end(*arguments, stdin=None, cwd=None):
    """For what must not start: the finished process."""
    return subprocess.run([BINARY, *arguments], capture_output=True, text=True, input=stdin, cwd=cwd,
                          timeout=SECONDS_MAX, check=False)


class Instance:
    """Options as keyword arguments ("_" for "-"): Instance(port=0, maxclients=5). Without `port` a free
    one is taken; there is always a unix socket, at .path, so that .client() works."""

    def __init__(self, *files, **options):
        self.folder = tempfile.TemporaryDirectory(prefix="forebay-test-")
        self.path = options.setdefault("unixsocket", os.path.join(self.folder.name, "s"))
        self.port = options.setdefault("port", free_port())
        options.setdefault("shards", os.environ.get("FOREBAY_SHARDS", "1"))
        options.setdefault("net", os.environ.get("FOREBAY_NET", "auto"))
        arguments = [BINARY, *files]
        for name, value in options.items():
            arguments += ["--" + name.replace("_", "-"), str(value)]
        begin = time.monotonic()
        self.process = subprocess.Popen(arguments, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, cwd=self.folder.name)
        self.log = ""
        self.wait_log("Ready to accept connections unix")
        self.start_seconds = time.monotonic() - begin

    @property
    def pid(self):
        return self.process.pid

    def wait_log(self, text):
        deadline = time.monotonic() + SECONDS_MAX
        out = self.process.stdout.fileno()
        while text not in self.log:
            ready, _, _ = select.select([out], [], [], max(0, deadline - time.monotonic()))
            chunk = os.read(out, 65536) if ready else b""
            self.log += chunk.decode("latin1")
            if not chunk:
                self.close()
                raise RuntimeError("no '%s' in the log:\n%s" % (text, self.log))

    def client(self, tcp=False):
        return Client(("127.0.0.1", self.port) if tcp else self.path)

    def wait_end(self):
        """The exit status."""
        rest, _ = self.process.communicate(timeout=SECONDS_MAX)
        self.log += rest.decode("latin1")
        return self.process.returncode

    def close(self):
        status = None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            status = self.wait_end()
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        except ValueError:  # its output was read to the end before
            status = self.process.returncode
        self.folder.cleanup()
        return status

    def __enter__(self):
        return self

    def __exit__(self, *_):
        status = self.close()
        assert status == 0, "exit status %s:\n%s" % (status, self.log)


def info(client, *sections):
    """INFO as a dict of texts."""
    text = client.cmd("INFO", *sections).decode()
    return dict(line.split(":", 1) for line in text.split("\r\n") if ":" in line)


def until(condition, what):
    deadline = time.monotonic() + SECONDS_MAX
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)
