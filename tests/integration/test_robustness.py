"""Clients that misbehave, by mistake or not, cost the others nothing; and how the server ends."""
import os
import resource
import signal
import socket
import time

import pytest

from resp import Error, Nil, encode
from server import ROOT, binary, until

IDLE_CONNECTIONS = 10000
IDLE_BYTES_MAX = 2048


def rss_bytes(server):
    with open("/proc/%d/statm" % server.process.pid, encoding="ascii") as f:
        return int(f.read().split()[1]) * resource.getpagesize()


def raw(server):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    s.connect(server.path)
    s.settimeout(10)
    return s


def closed(sock):
    """Reads to the end: what came before it."""
    got = b""
    while True:
        try:
            chunk = sock.recv(65536)
        except ConnectionResetError:
            return got
        if not chunk:
            return got
        got += chunk


def send_until_refused(sock, data, limit):
    """Sends without reading until the server takes no more, or `limit` bytes are sent."""
    sock.settimeout(0.5)
    sent = 0
    try:
        while sent < limit:
            sent += sock.send(data)
    except (TimeoutError, BrokenPipeError, ConnectionResetError):
        pass
    return sent


def test_a_client_that_never_reads(forebay):
    """No limit: it is not read from any more, what is kept for it stays bounded."""
    server = forebay()
    c = server.client()
    c.cmd("SET", "big", "x" * 100000)
    before = server.count("used_memory")
    lazy = raw(server)
    request = encode(["GET", "big"])
    sent = send_until_refused(lazy, request * 100, 200 << 20)
    assert sent < 100 << 20, "the server went on reading"
    slowest = 0
    for _ in range(300):
        began = time.monotonic()
        assert c.cmd("PING") == "PONG"
        slowest = max(slowest, time.monotonic() - began)
    assert slowest < 0.5
    assert server.count("used_memory") - before < 64 << 20
    # It has lost nothing: when it reads, all of its replies are there.
    lazy.settimeout(30)
    left = sent // len(request) * len(b"$100000\r\n" + b"x" * 100000 + b"\r\n")
    while left > 0:
        chunk = lazy.recv(1 << 20)
        assert chunk
        left -= len(chunk)
    lazy.close()


@pytest.mark.parametrize("limit", ["100kb", "2mb"])
def test_a_client_past_its_output_limit_is_closed(forebay, limit):
    server = forebay(client_output_buffer_limit=["normal", limit, "0", "0"])
    c = server.client()
    c.cmd("SET", "big", "x" * 1000000)
    lazy = raw(server)
    send_until_refused(lazy, encode(["GET", "big"]) * 100, 10 << 20)
    until(lambda: server.count("client_output_buffer_limit_disconnections") == 1, "it is closed")
    assert c.cmd("PING") == "PONG"
    until(lambda: server.count("connected_clients") == 2, "it is counted no more")
    closed(lazy)
    lazy.close()
    until(lambda: server.count("used_memory") < 16 << 20, "its buffers are given back")


def test_a_client_past_its_soft_limit_is_closed_in_time(forebay):
    server = forebay(client_output_buffer_limit=["normal", "0", "1mb", "1"])
    c = server.client()
    c.cmd("SET", "big", "x" * 1000000)
    lazy = raw(server)
    began = time.monotonic()
    send_until_refused(lazy, encode(["GET", "big"]) * 20, 1 << 20)
    until(lambda: server.count("client_output_buffer_limit_disconnections") == 1, "it is closed")
    assert time.monotonic() - began > 0.9
    assert c.cmd("PING") == "PONG"


@pytest.mark.parametrize("data", [
    b"\0" * 100 + b"\r\n", b"\xff\xfe\xfd\r\n", b"*3\r\nSET\r\n", b"*x\r\n", b"*-5x\r\n",
    b"*1\r\n$x\r\n", b"*1\r\n$-1\r\n", b"*1\r\n+OK\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST / HTTP/1.1\r\n\r\n", b"*99999999999\r\n", b"*1\r\n$99999999999\r\n", b"'unbalanced\r\n",
    b"*2147483648\r\n", b"*1\r\n$536870913\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n",
    b"a" * 70000,
], ids=lambda d: repr(d[:12]))
def test_garbage(plain, data):
    c = plain.client()
    s = raw(plain)
    s.sendall(data)
    s.shutdown(socket.SHUT_WR)
    answer = closed(s)
    assert all(line[:1] in b"-+$*:" for line in answer.split(b"\r\n") if line), answer
    s.close()
    assert c.cmd("PING") == "PONG"
    c.close()


def test_random_bytes(plain):
    """A fixed seed: what fails once fails again."""
    import random
    chance = random.Random(7)
    pieces = [b"*", b"$", b"\r\n", b"3", b"-1", b"0", b"GET", b"k", b"+", b":", b" ", b"'", b'"',
              b"\0", b"\xff", b"*1\r\n$4\r\nPING\r\n", b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"]
    for _ in range(300):
        s = raw(plain)
        try:
            s.sendall(b"".join(chance.choice(pieces) for _ in range(chance.randrange(1, 200))))
            s.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            pass
        closed(s)
        s.close()
    c = plain.client()
    assert c.cmd("PING") == "PONG"
    c.close()


def test_half_requests(plain):
    """Every prefix of a request, then nothing, then the end."""
    request = encode(["SET", "half", "value"])
    c = plain.client()
    c.cmd("DEL", "half")
    for cut in range(1, len(request)):
        s = raw(plain)
        s.sendall(request[:cut])
        s.close()
    assert c.cmd("GET", "half") is Nil
    for cut in range(1, len(request)):
        s = raw(plain)
        s.sendall(request[:cut])
        assert c.cmd("PING") == "PONG"
        s.sendall(request[cut:])
        assert s.recv(100) == b"+OK\r\n"
        s.close()
    c.close()
    until(lambda: plain.count("connected_clients") == 1, "all of them are gone")


def test_byte_by_byte(plain):
    s = raw(plain)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    for byte in encode(["ECHO", "slow"]) + encode(["PING"]):
        s.send(bytes([byte]))
    got = b""
    while len(got) < 17:
        got += s.recv(100)
    assert got == b"$4\r\nslow\r\n+PONG\r\n"
    s.close()


def test_huge_declared_lengths_take_no_memory(forebay):
    server = forebay()
    c = server.client()
    c.cmd("PING")
    before, rss = server.count("used_memory"), rss_bytes(server)
    sockets = []
    for declared in (b"*2\r\n$3\r\nGET\r\n$536870912\r\n", b"*1048576\r\n",
                     b"*1000000\r\n$3\r\nDEL\r\n$1\r\nk\r\n", b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n"
                     b"$500000000\r\nstart"):
        for _ in range(50):
            s = raw(server)
            s.sendall(declared)
            sockets.append(s)
    until(lambda: server.count("connected_clients") == len(sockets) + 2, "all are accepted")
    assert c.cmd("PING") == "PONG"
    assert server.count("used_memory") - before < 8 << 20
    assert rss_bytes(server) - rss < 16 << 20
    for s in sockets:
        s.close()


def test_the_query_buffer_limit(forebay):
    server = forebay(client_query_buffer_limit="1mb")
    c = server.client()
    s = raw(server)
    s.sendall(b"*2\r\n$3\r\nGET\r\n$5000000\r\n")
    send_until_refused(s, b"x" * 65536, 4 << 20)
    until(lambda: server.count("client_query_buffer_limit_disconnections") == 1, "it is closed")
    assert c.cmd("PING") == "PONG"


@pytest.fixture
def many_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_idle_connections(forebay, many_files):
    # Both ends are counted, each in its own process.
    count = IDLE_CONNECTIONS if many_files >= IDLE_CONNECTIONS + 1000 else 5000
    if many_files < count + 1000:
        pytest.skip("the limit of open files is %d" % many_files)
    server = forebay(maxclients=count + 100)
    c = server.client()
    for _ in range(10):
        c.cmd("PING")
    until(lambda: server.count("connected_clients") == 2, "it stands still")
    used, rss = server.count("used_memory"), rss_bytes(server)
    sockets = []
    try:
        for _ in range(count):
            s = raw(server)
            s.sendall(b"PING\r\n")  # one that has been active once
            sockets.append(s)
        for s in sockets:
            assert s.recv(16) == b"+PONG\r\n"
        assert server.count("connected_clients") == count + 2
        per_used = (server.count("used_memory") - used) / count
        per_rss = (rss_bytes(server) - rss) / count
        # A sanitizer's allocator takes what it likes.
        if server.info()["mem_allocator"].startswith("jemalloc"):
            assert per_used < IDLE_BYTES_MAX and per_rss < IDLE_BYTES_MAX, (per_used, per_rss)
        assert c.cmd("PING") == "PONG"
    finally:
        for s in sockets:
            s.close()
    until(lambda: server.count("connected_clients") == 2, "all of them are gone")


def test_maxclients(forebay):
    server = forebay(maxclients=5)
    clients = [server.client() for _ in range(5)]
    assert [c.cmd("PING") for c in clients] == ["PONG"] * 5
    s = raw(server)
    assert closed(s) == b"-ERR max number of clients reached\r\n"
    clients[0].close()

    def fits():
        c = server.client()
        try:
            return c.cmd("PING") == "PONG"
        except (ConnectionError, OSError):
            return False
        finally:
            c.close()
    until(fits, "there is room again")


def test_idle_clients_are_closed(forebay):
    server = forebay(timeout=1)
    s = raw(server)
    s.sendall(b"PING\r\n")
    assert closed(s) == b"+PONG\r\n"


@pytest.mark.parametrize("shards", [1, 2])
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_restart_on_the_same_port(forebay, end, shards):
    """At once, with connections that were open: the port is free again."""
    server = forebay(port=True, shards=shards)
    for _ in range(5):
        clients = [server.tcp() for _ in range(5)]
        assert all(c.cmd("SET", "k", "v") == "OK" for c in clients)
        getattr(server, end)()
        server.start()
        for c in clients:
            c.close()
        c = server.tcp()
        assert c.cmd("GET", "k") is Nil
        c.close()


def test_a_port_that_is_taken(forebay):
    server = forebay(port=True)
    from server import Server
    import tempfile
    with tempfile.TemporaryDirectory() as directory:
        with pytest.raises(RuntimeError, match="Failed listening on port %d" % server.port):
            Server(directory, port=server.port)
    assert server.client().cmd("PING") == "PONG"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_flushes_replies(forebay, number):
    """What was executed before is answered in full, and then the connection ends."""
    server = forebay()
    c = server.client()
    c.cmd("SET", "big", "x" * 150000)
    s = raw(server)
    s.sendall(encode(["GET", "big"]) * 6)
    until(lambda: int(server.info("commandstats").get("cmdstat_get", "calls=0").split(",")[0][6:])
          == 6, "they are executed")
    server.process.send_signal(number)
    assert closed(s) == (b"$150000\r\n" + b"x" * 150000 + b"\r\n") * 6
    assert server.process.wait(20) == 0
    assert b"bye bye" in server.log


def test_a_reader_that_never_comes_does_not_hold_up_the_end(forebay):
    server = forebay()
    server.client().cmd("SET", "big", "x" * 1000000)
    lazy = raw(server)
    send_until_refused(lazy, encode(["GET", "big"]) * 100, 10 << 20)
    began = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - began < 10
    lazy.close()


@pytest.mark.parametrize("words", [["SHUTDOWN"], ["SHUTDOWN", "NOSAVE", "NOW", "FORCE"]])
def test_shutdown(forebay, words):
    server = forebay()
    c = server.client()
    c.send(*words)
    with pytest.raises(ConnectionError):
        reply = c.read()
        assert not isinstance(reply, Error), reply
    assert server.process.wait(20) == 0


def test_without_io_uring(db, forebay):
    helper = os.path.join(os.path.dirname(os.path.dirname(binary())), "tests", "integration",
                          "deny_uring")
    if not os.path.exists(helper):
        helper = os.path.join(ROOT, "build", "tests", "integration", "deny_uring")
    server = forebay(db, wrapper=[helper], net="auto", shards=2)
    c = server.client()
    assert server.info("shards")["net"] == "epoll"
    assert server.info("shards")["net_reason"] != ""
    assert b"io_uring is not permitted here" in server.log and b"running on epoll" in server.log
    assert c.cmd("HGET", "item:1", "name") == b"Kettle"
    assert c.pipeline([["SET", "k", "v"], ["GET", "k"], ["GET", "qty:1"]]) == ["OK", b"v", b"7"]
    assert server.stop() == 0


def test_io_uring_where_it_is_demanded_but_denied(forebay):
    helper = os.path.join(os.path.dirname(os.path.dirname(binary())), "tests", "integration",
                          "deny_uring")
    with pytest.raises(RuntimeError, match="io_uring"):
        forebay(wrapper=[helper], net="io_uring")
