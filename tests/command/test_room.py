"""Room for what one command takes: made before it, waited for, and by nobody longer than needed."""
import threading
import time

import pytest

from server import AGAINST
from instance import Instance, info, until
from memory import FULL_BYTES, fill_small, is_jemalloc, peak_rss, request_of, run_all, used
from resp import Error

pytestmark = [pytest.mark.skipif(bool(AGAINST), reason="Forebay's pacing"), pytest.mark.heavy]


@pytest.fixture
def full(full):
    if not is_jemalloc(full[1]):
        pytest.skip("resident memory")
    return full


@pytest.fixture
def anew(filled, full):
    """Full for the first time: what earlier tests made it free, and not give back, is room as well."""
    filled.close()
    return filled.again()


LARGE = {  # what one command takes at once: a tenth to a fifth of maxmemory, more than the bounds spare
    "SETRANGE": ("SETRANGE", "new", (18 << 20) - 1, "x"),
    "COPY": ("COPY", "large", "new"),
    "SET": ("SET", "new", b"v" * (9 << 20)),
    "MSET": ("MSET",) + tuple(x for n in range(30) for x in ("new:%d" % n, b"v" * 500000)),
    "MGET": ("MGET",) + ("value",) * 2000,
    "HGETALL": ("HGETALL", "hash"),
    "LCS": ("LCS", "text", "text", "LEN"),
}


def limit_of(instance):
    """What it has had resident so far, 5% above maxmemory or more, is not what is tested then."""
    return max(FULL_BYTES, peak_rss(instance) * 100 // 105)


@pytest.mark.parametrize("within", ["alone", "EXEC"])
@pytest.mark.parametrize("name", LARGE)
def test_room_is_made_before(full, name, within):
    """What one command takes at once has other keys go before it, and the holes closed."""
    instance, client = full
    assert client.cmd("SETRANGE", "large", (18 << 20) - 1, "x") == 18 << 20
    assert client.cmd("MSET", "value", b"v" * 8000, "text", b"t" * 2000) == "OK"
    for n in range(0, 40000, 1000):
        fields = [x for i in range(n, n + 1000) for x in ("field:%d" % i, b"v" * 400)]
        assert client.cmd("HSET", "hash", *fields) == 1000
    limit = limit_of(instance)
    if within == "EXEC":
        reply = client.pipeline([("MULTI",), LARGE[name], ("EXEC",)])[2][0]
    else:
        reply = client.cmd(*LARGE[name])
    assert not isinstance(reply, Error)
    if name == "MGET":
        assert len(reply) == 2000
    assert peak_rss(instance) < limit * 1.08
    assert client.cmd("PING") == "PONG"


MANY = {  # requests of which the arrays of arguments and keys take more than their bytes
    "EXISTS": (800000, b"$10\r\nno:%07d\r\n"),
    "DEL": (800000, b"$10\r\nno:%07d\r\n"),
    "MSET": (400000, b"$10\r\nno:%07d\r\n$5\r\nvalue\r\n"),
}


@pytest.mark.parametrize("name", MANY)
def test_room_for_many_keys(anew, name):
    """What is parsed of a request counts and has room made for it like its bytes."""
    instance, client = anew
    limit = limit_of(instance)
    client.sock.sendall(request_of(name, *MANY[name]))
    assert client.read() == ("OK" if name == "MSET" else 0)
    assert peak_rss(instance) < limit * 1.08
    assert int(info(client, "memory")["mem_clients_normal"]) < 1 << 20  # all of it went
    assert client.cmd("PING") == "PONG"


def test_what_never_fits_costs_no_keys():
    """Refused, or its client closed, at once: alone, in EXEC, and for clients that are exempt."""
    with Instance(maxmemory=64 << 20, maxmemory_policy="allkeys-lru") as instance:
        client, exempt = instance.client(), instance.client()
        assert exempt.cmd("CLIENT", "NO-EVICT", "ON") == "OK"
        fill_small(client, 48 << 20)
        assert client.cmd("SET", "e", b"v" * 8000) == "OK"
        keys = client.cmd("DBSIZE")
        refusal = "OOM command not allowed when used memory > 'maxmemory'."
        assert client.cmd("SETRANGE", "x", 70 << 20, "y") == refusal
        assert client.pipeline([("MULTI",), ("SETRANGE", "x", 70 << 20, "y"), ("SET", "k", "v"),
                                ("EXEC",)])[3] == [refusal, "OK"]
        assert isinstance(client.cmd("LCS", "e", "e", "LEN"), Error)  # 256 MB
        exempt.send("MGET", *["e"] * 12000)
        with pytest.raises((OSError, EOFError)):
            exempt.read()
        assert client.cmd("DBSIZE") > keys * 0.95


def test_one_after_the_other():
    """What many clients copy at once is not evicted for their copies: room for all of them together
    would be more than there is, one after the other they need a tenth of it."""
    limit, clients = 48 << 20, 12
    with Instance(maxmemory=limit, maxmemory_policy="allkeys-lru") as instance:
        client = instance.client()
        fill_small(client, limit)
        assert client.cmd("SETRANGE", "large", limit // 10 - 1, "x") == limit // 10
        keys = client.cmd("DBSIZE")
        asking = [instance.client() for _ in range(clients)]
        for _ in range(3):
            for other in asking:
                other.send("COPY", "large", "copy", "REPLACE")
            assert [other.read() for other in asking] == [1] * clients
        assert client.cmd("DBSIZE") > keys / 4


def test_a_value_is_not_evicted_for_its_readers():
    """A fifth of maxmemory, read by four clients again and again: their replies together would take
    the room of the value itself."""
    limit, fields, rounds, got = 64 << 20, 120, 3, []
    with Instance(maxmemory=limit, maxmemory_policy="allkeys-lru") as instance:
        client = instance.client()
        if not is_jemalloc(client):
            pytest.skip("under sanitizers freed memory comes back late")
        fill_small(client, limit)
        for first in range(0, fields, 20):
            assert client.cmd("HSET", "hash", *[x for n in range(first, first + 20)
                                                for x in ("f%d" % n, b"v" * 100000)]) == 20

        def read():
            own = instance.client()
            for _ in range(rounds):
                got.append(len(own.cmd("HGETALL", "hash")))

        run_all(4, read)
        assert got == [2 * fields] * (4 * rounds)
        assert client.cmd("HLEN", "hash") == fields


def test_replies_one_after_the_other():
    """noeviction: reads are answered, but the replies of all are not there at one time."""
    limit, values, got = 64 << 20, 2000, []
    with Instance(maxmemory=limit, maxmemory_clients=limit) as instance:
        client = instance.client()
        assert client.cmd("SET", "value", b"v" * 8000) == "OK"
        n = 0
        while used(client) < limit * 9 // 10:
            assert client.cmd("SET", "fill:%d" % n, b"v" * (1 << 20)) == "OK"
            n += 1
        before = peak_rss(instance)

        def read():
            own = instance.client()
            for _ in range(3):
                got.append(len(own.cmd("MGET", *["value"] * values)))

        run_all(6, read)
        assert got == [values] * 18
        if is_jemalloc(client):
            assert peak_rss(instance) < before + 2.5 * values * 8000


def test_many_replies_below_a_megabyte():
    """No single one is much, but all of them come within a round of the loop."""
    limit, values, got = 64 << 20, 110, []
    with Instance(maxmemory=limit, maxmemory_policy="allkeys-lru") as instance:
        client = instance.client()
        if not is_jemalloc(client):
            pytest.skip("under sanitizers freed memory comes back late")
        fill_small(client, limit)
        assert client.cmd("SET", "value", b"v" * 8000) == "OK"

        def read():
            own = instance.client()
            for _ in range(5):
                got.append(len(own.cmd("MGET", *["value"] * values)))

        run_all(40, read)
        assert got == [values] * 200
        assert info(client, "stats")["evicted_clients"] == "0"
        assert peak_rss(instance) < limit * 1.06


MGET = ("MGET",) + ("value",) * 1000  # a sixth of 48 MB: no two of them at a time


@pytest.mark.parametrize("asks_on", [False, True])
@pytest.mark.parametrize("shards", [1, 3])
def test_who_does_not_read_holds_up_nobody(shards, asks_on):
    """For longer than some tenths of a second, or a whole one where it goes on asking: then its
    output does not end to grow, if it has a hard limit."""
    with Instance(maxmemory=48 << 20, maxmemory_policy="allkeys-lru", shards=shards) as instance:
        lazy, others = instance.client(), [instance.client() for _ in range(3)]
        if asks_on:
            limit = "normal 40mb 0 0"
            assert lazy.cmd("CONFIG", "SET", "client-output-buffer-limit", limit) == "OK"
        fill_small(lazy, 48 << 20)
        assert lazy.cmd("SET", "value", b"v" * 8000) == "OK"
        lazy.send(*MGET)
        until(lambda: "cmdstat_mget" in info(others[0], "commandstats"), "executed")
        asked, replies = 0, []
        asking = threading.Thread(target=lambda: replies.extend(c.cmd(*MGET) for c in others))
        begin = time.monotonic()
        asking.start()
        while asking.is_alive():
            if asks_on:
                lazy.send("PING")
                asked += 1
            asking.join(0.05)
        assert time.monotonic() - begin < 8
        assert replies == [[b"v" * 8000] * 1000] * 3
        assert lazy.read() == [b"v" * 8000] * 1000
        assert [lazy.read() for _ in range(asked)] == ["PONG"] * asked


def test_nobody_is_closed_for_replies_that_may_wait():
    """Half of maxmemory is free, but maxmemory-clients holds two of them only."""
    got, rounds = [], 10
    with Instance(maxmemory=64 << 20, maxmemory_clients="20mb", shards=3) as instance:
        client = instance.client()
        assert client.cmd("SET", "value", b"v" * 8000) == "OK"

        size = len(b"*1000\r\n") + 1000 * len(b"$8000\r\n" + b"v" * 8000 + b"\r\n")

        def read():
            own = instance.client()
            for _ in range(rounds):
                own.send(*MGET)
                got.append(len(own.file.read(size)))

        run_all(8, read)
        assert got == [size] * (8 * rounds)
        assert info(client, "stats")["evicted_clients"] == "0"


@pytest.mark.parametrize("shards", [1, 3])
def test_who_leaves_is_not_waited_for(shards):
    """Neither those with a reply that is not sent yet nor those that wait for it."""
    with Instance(maxmemory=48 << 20, maxmemory_policy="allkeys-lru", shards=shards) as instance:
        client = instance.client()
        for _ in range(10):
            assert client.cmd("SET", "value", b"v" * 8000) == "OK"
            gone = [instance.client() for _ in range(8)]
            assert [other.cmd("PING") for other in gone] == ["PONG"] * len(gone)
            for other in gone:
                other.send(*MGET)
            for other in gone[::3]:
                other.close()
            assert client.cmd("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes") > 0
            assert len(client.cmd(*MGET)) == 1000


def test_who_waits_goes_on_without_a_limit():
    with Instance(maxmemory=48 << 20, maxmemory_policy="allkeys-lru", shards=2,
                  maxmemory_clients="1gb") as instance:
        client, asking = instance.client(), [instance.client() for _ in range(6)]
        assert client.cmd("SET", "value", b"v" * 8000) == "OK"
        for other in asking:
            other.send(*MGET)
        assert client.cmd("CONFIG", "SET", "maxmemory", 0) == "OK"
        for other in asking[::-1]:
            assert other.read() == [b"v" * 8000] * 1000


def test_who_leaves_needs_no_room():
    """Killed while they wait for room: what they wanted is not kept for them."""
    limit = 48 << 20
    with Instance(maxmemory=limit, maxmemory_policy="allkeys-lru") as instance:
        client = instance.client()
        for _ in range(3):
            fill_small(client, limit)
            gone = [instance.client() for _ in range(8)]
            assert [other.cmd("PING") for other in gone] == ["PONG"] * len(gone)
            for n, other in enumerate(gone):
                other.send("SETRANGE", "new:%d" % n, limit // 8, "x")
            assert client.cmd("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes") == len(gone)
        fill_small(client, limit)
        assert used(client) > limit * 0.85


def test_others_are_not_refused_for_it():
    """noeviction: what some clients do fits if it is done one after the other. Nobody is refused
    anything for what they want together, neither they nor others, who want little."""
    size, requests = 16 << 20, 12
    with Instance(shards=3) as instance:
        client, refused = instance.client(), []
        for key in ("large", "copy"):
            assert client.cmd("SETRANGE", key, size - 4096, "x") > 0
        room = used(client) + size * 3 // 2  # for one copy more
        assert client.cmd("CONFIG", "SET", "maxmemory", room) == "OK"

        def copy():
            own = instance.client()
            replies = own.pipeline([("COPY", "large", "copy", "REPLACE")] * requests)
            refused.extend(reply for reply in replies if reply != 1)

        asking = [threading.Thread(target=copy) for _ in range(4)]
        for thread in asking:
            thread.start()
        while any(thread.is_alive() for thread in asking):
            replies = client.pipeline([("SET", "k%d" % n, "v") for n in range(20)])
            refused += [reply for reply in replies if reply != "OK"]
        assert refused == []


def test_eviction_that_does_not_keep_up_is_waited_for():
    """Where something can go nobody is refused, however much comes at once for small keys."""
    with Instance(maxmemory=64 << 20, maxmemory_policy="allkeys-lru") as instance:
        client = instance.client()
        fill_small(client, 64 << 20)
        for n in range(10):
            pairs = [x for i in range(20) for x in ("%d:%d" % (n, i), b"v" * 500000)]
            assert client.pipeline([("MSET", *pairs), ("SET", "k", b"v")]) == ["OK", "OK"]
