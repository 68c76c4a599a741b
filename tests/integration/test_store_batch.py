"""Misses that arrive together: one query for one key, few for many; on one shard and on several."""
import resource
import selectors
import socket
import threading

import pytest

from resp import Client, Error, Nil, encode
from server import until

CLIENTS = 1000
KEYS, PIPELINES = 10000, 50


@pytest.fixture(autouse=True, scope="module")
def many_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20000), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def queries_of(db, server, table, act):
    """What the database saw while `act` ran: by its own log where it has one."""
    if db.kind == "mysql":
        with db.counted(table) as statements:
            act()
        return len(statements)
    before = server.count("store_batches")
    act()
    return server.count("store_batches") - before


@pytest.mark.parametrize("shards", [1, 3])
def test_many_clients_one_missing_key(db, forebay, shards):
    """The row is held up until all of them have asked, so that it takes no luck."""
    server = forebay(db, shards=shards, store_timeout="30s")
    clients = [server.client(timeout=30) for _ in range(CLIENTS)]
    replies = []

    def act():
        with db.stalled("items"):
            for c in clients:
                c.send("HGET", "item:1", "name")
            until(lambda: server.count("blocked_clients") == CLIENTS, "all of them wait", 30)
        replies.extend(c.read() for c in clients)

    assert queries_of(db, server, "items", act) == 1
    assert replies == [b"Kettle"] * CLIENTS
    assert server.count("store_joins") == CLIENTS - 1
    assert server.count("store_loads") == 1
    for c in clients:
        c.close()


def ask_pipelined(server, first, count, replies):
    c = server.client(timeout=60)
    replies[first] = c.pipeline([["GET", "qty:%d" % i] for i in range(first, first + count)])
    c.close()


@pytest.mark.parametrize("shards", [1, 3])
def test_distinct_missing_keys_pipelined(db, forebay, shards):
    db.sql("INSERT INTO items VALUES " + ",".join(
        "(%d, 'n', NULL, NULL, %d)" % (i, i % 1000) for i in range(10000, 10000 + KEYS)))
    server = forebay(db, shards=shards, store_timeout="30s")
    each, replies = KEYS // PIPELINES, {}

    def act():
        threads = [threading.Thread(target=ask_pipelined, args=(server, first, each, replies))
                   for first in range(10000, 10000 + KEYS, each)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    queries = queries_of(db, server, "items", act)
    for first in range(10000, 10000 + KEYS, each):
        assert replies[first] == [b"%d" % (i % 1000) for i in range(first, first + each)]
    assert 0 < queries <= KEYS / 10


def test_the_same_key_missed_on_all_shards(db, forebay):
    server = forebay(db, shards=3, store_timeout="30s", accept_balance="round-robin")
    clients = [server.client(timeout=30) for _ in range(9)]
    with db.stalled("items"):
        for c in clients:
            c.sock.sendall(encode(["GET", "qty:1"]) + encode(["HGET", "item:2", "name"]) +
                           encode(["GET", "qty:404"]) + encode(["PING"]))
        until(lambda: server.count("blocked_clients") == len(clients), "all of them wait")
        info = server.info()
        assert all("parked=3," in info["shard%d" % i] for i in range(3))
    for c in clients:
        assert [c.read() for _ in range(4)] == [b"7", b"Teapot", Nil, "PONG"]
    assert server.count("store_rows") == 2
    for c in clients:
        c.close()


def test_only_the_waiting_client_waits(db, forebay):
    server = forebay(db, shards=1, store_timeout="30s")
    waiting, other = server.client(timeout=30), server.client()
    assert other.cmd("GET", "qty:3") == b"0"
    with db.stalled("items"):
        waiting.sock.sendall(encode(["SET", "before", "1"]) + encode(["GET", "qty:1"]) +
                             encode(["SET", "behind", "1"]))
        # What stands before the miss is answered, what stands behind it does not run.
        assert waiting.read() == "OK"
        until(lambda: server.count("blocked_clients") == 1, "it waits")
        assert other.pipeline([["SET", "x", "1"], ["GET", "x"], ["GET", "qty:3"],
                               ["EXISTS", "behind"]]) == ["OK", b"1", b"0", 0]
    assert waiting.read() == b"7" and waiting.read() == "OK"


@pytest.mark.parametrize("shards", [1, 3])
def test_clients_that_leave_while_they_wait(db, forebay, shards):
    server = forebay(db, shards=shards, store_timeout="30s")
    stays = server.client(timeout=30)
    with db.stalled("items"):
        for i in range(60):
            c = server.client()
            c.send("MGET", "qty:1", "qty:2", "item:%d" % i)
            c.send("GET", "qty:3")
            until(lambda: server.count("store_misses") >= i + 2, "it waits")
            c.close()
        before = server.count("blocked_clients")
        stays.send("GET", "qty:1")
        until(lambda: server.count("blocked_clients") == before + 1, "the one that stays waits")
    assert stays.read() == b"7"
    assert stays.cmd("GET", "qty:3") == b"0"
    until(lambda: server.count("connected_clients") <= 2, "the others are gone")


def test_client_kill_of_one_that_waits(db, forebay):
    server = forebay(db, store_timeout="30s")
    waiting, other = server.client(), server.client()
    number = waiting.cmd("CLIENT", "ID")
    with db.stalled("items"):
        waiting.send("GET", "qty:1")
        until(lambda: server.count("blocked_clients") == 1, "it waits")
        assert other.cmd("CLIENT", "KILL", "ID", number) == 1
        with pytest.raises(ConnectionError):
            waiting.read()
    assert other.cmd("GET", "qty:1") == b"7"


def test_dropped_while_it_loads(db, forebay):
    """A DEL between a load's start and its end: who asked before is answered, nothing stale
    stays."""
    server = forebay(db, store_timeout="30s")
    waiting, other = server.client(timeout=30), server.client()
    with db.stalled("items"):
        waiting.send("GET", "qty:1")
        until(lambda: server.count("blocked_clients") == 1, "it waits")
        other.cmd("DEL", "qty:1")
    assert waiting.read() == b"7"
    db.sql("UPDATE items SET qty = 8 WHERE id = 1")
    assert other.cmd("GET", "qty:1") in (b"7", b"8")
    other.cmd("DEL", "qty:1")
    assert other.cmd("GET", "qty:1") == b"8"


def test_flush_while_loads_run(db, forebay):
    server = forebay(db, store_timeout="30s", shards=2)
    clients = [server.client(timeout=30) for _ in range(20)]
    other = server.client()
    with db.stalled("items"):
        for i, c in enumerate(clients):
            c.send("GET", "qty:%d" % (i % 3 + 1))
        until(lambda: server.count("blocked_clients") == len(clients), "they wait")
        assert other.cmd("FLUSHALL") == "OK"
    assert [c.read() for c in clients] == [[b"7", Nil, b"0"][i % 3] for i in range(20)]


def test_exec_waits_for_its_rows(db, forebay):
    server = forebay(db, store_timeout="30s")
    c, other = server.client(timeout=30), server.client()
    with db.stalled("items"):
        for words in (["MULTI"], ["INCR", "n"], ["GET", "qty:1"], ["INCR", "n"], ["EXEC"]):
            c.send(*words)
        until(lambda: server.count("blocked_clients") == 1, "EXEC waits")
        assert other.cmd("GET", "n") is Nil, "nothing of the block has run"
    assert [c.read() for _ in range(5)][-1] == [1, b"7", 2]


def test_shutdown_while_clients_wait(db, forebay):
    server = forebay(db, store_timeout="30s", shards=2)
    clients = [server.client(timeout=30) for _ in range(10)]
    with db.stalled("items"):
        for c in clients:
            c.send("GET", "qty:1")
        until(lambda: server.count("blocked_clients") == 10, "they wait")
        server.process.terminate()
        assert server.process.wait(20) == 0
    for c in clients:
        try:
            assert isinstance(c.read(), Error)
        except ConnectionError:
            pass


def test_maxmemory_evicts_rows(db, forebay):
    db.sql("INSERT INTO texts VALUES " + ",".join(
        "('k%d', '%s')" % (i, str(i % 10) * 5000) for i in range(2000)))
    server = forebay(db, maxmemory="4mb", maxmemory_policy="allkeys-lru")
    c = server.client()
    for _ in range(2):
        for first in range(0, 2000, 50):
            got = c.pipeline([["GET", "text:k%d" % i] for i in range(first, first + 50)])
            assert got == [b"%d" % (i % 10) * 5000 for i in range(first, first + 50)]
    assert server.count("evicted_keys") > 0
    assert c.cmd("DBSIZE") < 2000
