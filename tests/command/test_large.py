"""Large arguments, which are received apart from their requests: all that stores them, what comes
around them, and where their bytes are cut."""
import random
import threading

import pytest

from server import AGAINST
from instance import Instance, info, until
from resp import Error, Nil, encode

SIZES = [32767, 32768, 32769, 65536, 100000, 10**6, 2**21 - 26, 2**21 - 24, 2**21, 5 * 10**6]


def value_of(size, salt=0):
    return random.Random(size + salt).randbytes(size)


@pytest.mark.parametrize("size", SIZES)
def test_set_and_get(client, size):
    value, other = value_of(size), value_of(size, 1)
    assert client.cmd("SET", "large", value) == "OK"
    assert client.cmd("GET", "large") == value
    assert client.cmd("SET", "large", other) == "OK"  # over one like it
    assert client.cmd("GET", "large") == other
    assert client.cmd("STRLEN", "large") == size
    assert client.cmd("APPEND", "large", "tail") == size + 4
    assert client.cmd("GET", "large") == other + b"tail"
    assert client.cmd("SETRANGE", "large", "0", "head") == size + 4
    assert client.cmd("GET", "large") == b"head" + other[4:] + b"tail"
    assert client.cmd("COPY", "large", "copy") == 1
    assert client.cmd("GET", "copy") == b"head" + other[4:] + b"tail"
    assert client.cmd("SET", "large", "small") == "OK"
    assert client.cmd("SET", "large", value) == "OK"
    assert client.cmd("GET", "large") == value


@pytest.mark.parametrize("size", [40000, 3 * 10**6])
def test_all_that_store_it(client, size):
    v = value_of(size)
    assert client.cmd("SET", "a", v, "EX", "100", "NX") == "OK"
    assert client.cmd("SET", "a", v[::-1], "XX", "GET", "KEEPTTL") == v
    assert client.cmd("TTL", "a") in (99, 100) and client.cmd("GET", "a") == v[::-1]
    assert client.cmd("GETSET", "a", v) == v[::-1]
    assert client.cmd("GET", "a") == v and client.cmd("TTL", "a") == -1
    assert client.cmd("SETEX", "b", "100", v) == "OK" and client.cmd("GET", "b") == v
    assert client.cmd("PSETEX", "b", "100000", v) == "OK" and client.cmd("GET", "b") == v
    assert client.cmd("SETNX", "c", v) == 1 and client.cmd("GET", "c") == v
    assert client.cmd("APPEND", "d", v) == size and client.cmd("GET", "d") == v
    assert client.cmd("MSET", "e", v, "f", v[::-1], "g", "small") == "OK"
    assert client.cmd("MGET", "e", "f", "g") == [v, v[::-1], b"small"]
    assert client.cmd("MSETNX", "h", "small", "i", v) == 1 and client.cmd("GET", "i") == v
    assert client.cmd("SET", v[:size // 2], "of a large key") == "OK"
    assert client.cmd("GET", v[:size // 2]) == b"of a large key"
    assert client.cmd("HSET", "hash", "field", v) == 1 and client.cmd("HGET", "hash", "field") == v
    assert client.cmd("SETRANGE", "j", "5", v) == size + 5
    assert client.cmd("GET", "j") == b"\0" * 5 + v


@pytest.mark.parametrize("size", [40000, 3 * 10**6])
def test_what_does_not_store_it(client, size):
    v = value_of(size)
    client.cmd("SET", "a", "kept")
    client.cmd("HSET", "hash", "f", "v")
    assert client.cmd("SET", "a", v, "NX") is Nil
    assert client.cmd("SET", "none", v, "XX") is Nil
    assert client.cmd("SETNX", "a", v) == 0
    assert client.cmd("MSETNX", "b", v, "a", v) == 0
    for request in (("SET", "hash", v, "GET"), ("GETSET", "hash", v), ("APPEND", "hash", v),
                    ("SET", "a", v, "EX", "0"), ("SET", "a", v, "WHAT"), ("SETEX", "a", "x", v),
                    ("SET", "a", v, "EX"), ("GET", "a", v), (v, "a"), ("INCRBY", "a", v)):
        assert isinstance(client.cmd(*request), Error), request[0][:10]
    assert client.cmd("GET", "a") == b"kept" and client.cmd("HGETALL", "hash")
    assert client.cmd("ECHO", v) == v
    assert client.cmd("EXISTS", "b", "none") == 0


def test_a_transaction_queues_it(client):
    v = value_of(100000)
    client.cmd("MULTI")
    assert client.cmd("SET", "a", v) == "QUEUED" and client.cmd("GET", "a") == "QUEUED"
    assert client.cmd("SET", "b", v, "NX") == "QUEUED"
    assert client.cmd("EXEC") == ["OK", v, "OK"]
    assert client.cmd("GET", "b") == v


@pytest.mark.parametrize("size", [33000, 70000, 10**6])
def test_in_a_pipeline(client, size):
    """Requests before and behind it, large ones one after the other."""
    want = []
    sent = b""
    for i in range(12):
        v = value_of(size, i)
        sent += b"".join(map(encode, [("SET", "n%d" % i, "1"), ("SET", "v", v), ("INCR", "n%d" % i),
                                      ("GET", "v"), ("SET", "v", v[:33000], "NX", "GET")]))
        want += ["OK", "OK", 2, v, v]
    sender = threading.Thread(target=client.sock.sendall, args=(sent,))
    sender.start()
    got = [client.read() for _ in want]
    sender.join()
    for i, (reply, expected) in enumerate(zip(got, want)):
        assert reply == expected or (i % 5 == 4 and isinstance(reply, Error)), i


@pytest.fixture
def own():
    with Instance() as instance:
        yield instance


def waiting(asks, number):
    """Bytes that were received of an incomplete request, a few more at times; None: no such client."""
    line = [x for x in asks.cmd("CLIENT", "LIST").decode().splitlines()
            if x.startswith("id=%d " % number)]
    return int(dict(x.split("=", 1) for x in line[0].split())["qbuf"]) if line else None


@pytest.mark.skipif(bool(AGAINST), reason="what was received is asked for")
def test_cut_anywhere(own):
    """A SET with options, and a request behind it, in two pieces, the first of which was taken."""
    sends, asks = own.client(), own.client()
    number = sends.cmd("CLIENT", "ID")
    v = value_of(33000)
    request = encode(("SET", "k", v, "EX", "100")) + encode(("STRLEN", "k"))
    head = request.index(b"$33000\r\n") + 8
    cuts = [*range(1, head + 4), head + 20000, *range(head + 32998, len(request))]
    first = len(encode(("SET", "k", v, "EX", "100")))
    for cut in cuts:
        sends.sock.sendall(request[:cut])
        until(lambda: waiting(asks, number) >= (cut if cut < first else 0), "it is received")
        sends.sock.sendall(request[cut:])
        assert sends.read() == "OK" and sends.read() == len(v), cut
        assert asks.cmd("GET", "k") == v, cut


@pytest.mark.skipif(bool(AGAINST), reason="Forebay's limits")
def test_ends_in_the_middle(own):
    """Clients that go away, or are closed, leave nothing behind; nor does an error behind it."""
    asks = own.client()
    asks.cmd("SET", "k", "kept")
    before = int(info(asks, "memory")["used_memory"])
    v = value_of(3 * 10**6)
    request = encode(("SET", "k", v))
    for cut in (50, 20000, 100000, 2500000, len(request) - 1):
        c = own.client()
        number = c.cmd("CLIENT", "ID")
        c.sock.sendall(request[:cut])
        until(lambda: waiting(asks, number) >= cut, "what was sent is received")
        if cut == 100000:
            assert asks.cmd("CLIENT", "KILL", "ID", str(number)) == 1
        else:
            c.close()
        until(lambda: waiting(asks, number) is None, "the client is gone")
    c = own.client()
    c.sock.sendall(b"*5\r\n$3\r\nSET\r\n$1\r\nk\r\n$40000\r\n" + v[:40000] + b"\r\nEX\r\n")
    assert "Protocol error: expected '$', got 'E'" in str(c.read())
    assert asks.cmd("GET", "k") == b"kept"
    until(lambda: int(info(asks, "memory")["used_memory"]) < before + 200000, "all is freed")


@pytest.mark.skipif(bool(AGAINST), reason="Forebay's limits")
def test_announced_only(own):
    """A length that is announced gets 64 KB, one of which something came a few times that."""
    asks = own.client()
    before = int(info(asks, "memory")["used_memory"])
    clients = [own.client() for _ in range(20)]
    numbers = [c.cmd("CLIENT", "ID") for c in clients]
    for c, number in zip(clients, numbers):
        head = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100000000\r\n"
        c.sock.sendall(head)
        until(lambda: waiting(asks, number) >= len(head), "it is received")
    more = int(info(asks, "memory")["used_memory"]) - before
    assert more < len(clients) * 100 * 1024
    clients[0].sock.sendall(b"x" * 300000)
    until(lambda: waiting(asks, numbers[0]) >= 300000, "it is received")
    assert int(info(asks, "memory")["used_memory"]) - before < len(clients) * 100 * 1024 + 1300000


@pytest.mark.skipif(bool(AGAINST), reason="Forebay's limits")
def test_no_room_is_made_twice(own):
    """It lies there when it has been received: no keys go for it again, and it is not refused."""
    c = own.client()
    assert c.cmd("CONFIG", "SET", "maxmemory", "64mb", "maxmemory-clients", "90%",
                 "maxmemory-policy", "allkeys-lru") == "OK"
    for n in range(0, 50000, 500):
        assert c.cmd("MSET", *[x for k in range(n, n + 500) for x in ("k%d" % k, b"v" * 1000)]) == "OK"
    assert c.cmd("SET", "large", value_of(40 << 20)) == "OK"
    assert c.cmd("STRLEN", "large") == 40 << 20
    assert c.cmd("DBSIZE") > 10000


@pytest.mark.skipif(bool(AGAINST), reason="Forebay's limits")
def test_maxmemory(own):
    """Refused where nothing may go; what is evicted makes room where something may."""
    c = own.client()
    v = value_of(4 * 10**6)
    assert c.cmd("CONFIG", "SET", "maxmemory", "64mb") == "OK"
    replies = [c.cmd("SET", "k%d" % i, v) for i in range(30)]
    assert replies[0] == "OK" and "OOM" in str(replies[-1])
    assert c.cmd("GET", "k0") == v
    assert c.cmd("CONFIG", "SET", "maxmemory-policy", "allkeys-lru") == "OK"
    for i in range(60):
        assert c.cmd("SET", "k%d" % i, v) == "OK", i
    assert c.cmd("GET", "k59") == v
    assert int(info(c, "memory")["used_memory"]) < 66 * 2**20
