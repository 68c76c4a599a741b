"""Commands whose rows together are more than the share of memory for them wait for one another."""
import contextlib
import random
import socket
import threading
import time

import pytest

from databases import row_of_letters
from resp import Error, encode
from server import until

MB = 1 << 20
ROWS, ROW = 80, 256 << 10
LIMIT = 32 * MB
MANY = 18  # of these rows are more than the share: one such command at a time
MAPS = ["part part:{k} table=part as=string:v", "qty qty:{id} table=items as=string:qty"]
BUSY = "STOREBUSY the rows that commands wait for take too much memory"
SLOW = "STORETIMEOUT"


@pytest.fixture
def part(db):
    db.large_rows("part", ROWS, ROW)
    return db


def value(k):
    return row_of_letters(k, ROW)


def keys(first, count=MANY):
    return ["part:%d" % k for k in range(first, first + count)]


def start(forebay, db, **options):
    server = forebay(db, maps=MAPS, **{"store_timeout": "60s", "maxmemory": str(LIMIT),
                                       "maxmemory_policy": "allkeys-lru", **options})
    c = server.client()
    assert c.cmd("STRLEN", "part:0") == ROW  # their size is known from here on
    c.close()
    return server


def waiting(server):
    return server.count("store_commands_waiting")


class Line:
    """Clients whose commands wait: the first for its rows, the others for the first."""

    def __init__(self, server):
        self.server, self.clients = server, []

    def add(self, *commands):
        c = self.server.client(timeout=60)
        c.id = c.cmd("CLIENT", "ID")
        for words in commands:
            c.send(*words)
        self.clients.append(c)
        until(lambda: self.server.count("blocked_clients") == len(self.clients), "it is parked")
        until(lambda: waiting(self.server) == len(self.clients) - 1, "it waits for the others")
        return c

    def close(self):
        until(lambda: waiting(self.server) == 0, "nobody waits")
        for c in self.clients:
            c.close()
        assert self.server.count("store_kept_bytes") == 0


@contextlib.contextmanager
def line_of(server):
    line = Line(server)
    yield line
    line.close()


def test_who_waits_is_answered_in_order(part, forebay):
    server = start(forebay, part, shards=2)
    with line_of(server) as line:
        with part.stalled("part"):
            for first in (1, 20, 40):
                line.add(["EXISTS"] + keys(first))
            # Behind one that waits: its own, in order, and a transaction.
            last = line.add(["EXISTS"] + keys(60), ["GET", "qty:1"], ["MULTI"],
                            ["STRLEN", "part:61"], ["EXISTS"] + keys(20), ["EXEC"], ["PING"])
            one, little = server.client(), server.client()
            one.send("STRLEN", "part:1")  # one large row waits as well
            until(lambda: waiting(server) == 4, "it waits")
            misses = server.count("store_misses")
            little.send("GET", "qty:2")  # one of less than a 256th of maxmemory never does
            until(lambda: server.count("store_misses") == misses + 1, "it is asked for")
            assert waiting(server) == 4
        assert little.read() is not None
        assert one.read() == ROW
        for c in line.clients:
            assert c.read() == MANY
        assert [last.read() for _ in range(6)] == [b"7", "OK", "QUEUED", "QUEUED", [ROW, MANY],
                                                   "PONG"]
        one.close()
        little.close()


def test_transactions_count_what_they_find(part, forebay):
    """A row that is missed beside many that are there: they are to stay until EXEC runs."""
    server = start(forebay, part, shards=2)
    control = server.client()
    assert control.cmd("EXISTS", *keys(1, MANY - 1)) == MANY - 1
    with line_of(server) as line:
        with part.stalled("part"):
            line.add(["EXISTS"] + keys(40, MANY // 2))
            hits = server.count("store_hits")
            line.add(["MULTI"], ["EXISTS"] + keys(1), ["EXEC"])
        assert line.clients[0].read() == MANY // 2
        assert [line.clients[1].read() for _ in range(3)] == ["OK", "QUEUED", [MANY]]
    # Of the row that was waited for none: each is counted once.
    assert server.count("store_hits") - hits == MANY - 1
    control.close()


def test_rows_are_asked_for_ahead_within_the_share(part, forebay):
    server = start(forebay, part)
    with line_of(server) as line:
        with part.stalled("part"):
            first = line.add(["EXISTS"] + keys(1))
            misses = server.count("store_misses")
            ahead = server.client(timeout=60)
            ahead.sock.sendall(b"".join(encode(["GET", k]) for k in keys(40, 20)))
            until(lambda: server.count("blocked_clients") == 2, "it is parked")
            assert server.count("store_misses") - misses <= 2  # its own, and one that has no room
            assert waiting(server) == 1
        assert [ahead.read() for _ in range(20)] == [value(k) for k in range(40, 60)]
        assert first.read() == MANY
        with part.stalled("part"):
            misses = server.count("store_misses")
            ahead.sock.sendall(b"".join(encode(["GET", k]) for k in keys(60, 10)))
            until(lambda: server.count("blocked_clients") == 1, "it is parked")
            assert server.count("store_misses") - misses == 10  # nobody else needs it
            other = server.client(timeout=60)
            other.send("EXISTS", *keys(20))  # what is asked for ahead counts too
            until(lambda: waiting(server) == 1, "it waits for the others")
        assert [ahead.read() for _ in range(10)] == [value(k) for k in range(60, 70)]
        assert other.read() == MANY
        ahead.close()
        other.close()


def test_one_that_leaves_lets_in_the_next(part, forebay):
    server = start(forebay, part, shards=2)
    control = server.client()

    def kill(c):
        assert control.cmd("CLIENT", "KILL", "ID", c.id) == 1
        c.close()

    with line_of(server) as line:
        with part.stalled("part"):
            for first in (1, 20, 40, 60):
                line.add(["EXISTS"] + keys(first))
            has, killed, gone, last = line.clients
            kill(killed)
            until(lambda: waiting(server) == 2, "one in the queue has left")
            gone.close()  # it may have closed its side only: its command runs
            kill(has)
            until(lambda: waiting(server) == 1, "the next is in")
        assert last.read() == MANY
        line.clients = [last]
    until(lambda: server.count("connected_clients") <= 2, "all have gone")
    control.close()


def test_one_that_says_no_more_is_answered(part, forebay):
    server = start(forebay, part, shards=2)
    with line_of(server) as line:
        with part.stalled("part"):
            for first in (1, 20, 40, 60):
                line.add(["EXISTS"] + keys(first), ["PING"])
            for c in line.clients[:3]:
                c.sock.shutdown(socket.SHUT_WR)
            line.clients[2].close()
        for c in line.clients[:2]:
            assert [c.read(), c.read()] == [MANY, "PONG"]
            assert c.file.read() == b""
        last = line.clients[3]
        assert [last.read(), last.read()] == [MANY, "PONG"]
        line.clients = [last]
    until(lambda: server.count("connected_clients") == 1, "all have gone")


def test_nobody_waits_longer_than_store_timeout(part, forebay):
    server = start(forebay, part, store_timeout="2s")
    with line_of(server) as line:
        with part.stalled("part"):
            first, second = line.add(["EXISTS"] + keys(1)), line.add(["EXISTS"] + keys(20))
            third = line.add(["EXISTS"] + keys(40), ["STRLEN", "part:0"])
            fourth = line.add(["MULTI"], ["STRLEN", "part:0"], ["EXISTS"] + keys(40), ["EXEC"])
            assert first.read().startswith(SLOW)
            got = third.read()
            assert isinstance(got, Error) and got == BUSY
            assert third.read() == ROW  # for the one command alone
            assert [fourth.read() for _ in range(4)] == ["OK", "QUEUED", "QUEUED", [ROW, BUSY]]
            got = second.read()  # it was let in just before its own time is over, or not any more
            assert isinstance(got, Error) and (got.startswith(SLOW) or got == BUSY)
        # That leaves nothing behind; the breaker may be open for a moment.
        until(lambda: third.cmd("EXISTS", *keys(40)) == MANY, "it reads as before")


def test_a_pause_takes_nothing_of_the_time_to_wait(part, forebay):
    server = start(forebay, part, store_timeout="2s")
    control = server.client()
    with line_of(server) as line:
        with part.stalled("part"):
            line.add(["EXISTS"] + keys(1))
            paused = line.add(["MULTI"], ["EXISTS"] + keys(20), ["SET", "k", "v"], ["EXEC"])
            assert control.cmd("CLIENT", "PAUSE", "60000", "WRITE") == "OK"
        assert line.clients[0].read() == MANY
        until(lambda: waiting(server) == 0, "it is let in, and paused")
        with part.stalled("part"):
            assert control.cmd("STRLEN", "part:79").startswith(SLOW)  # so much later
        until(lambda: control.cmd("STRLEN", "part:79") == ROW, "it reads as before")
        with part.stalled("part"):
            line.clients[0].send("EXISTS", *keys(40))
            until(lambda: server.count("blocked_clients") == 2, "it has all of the share")
            assert control.cmd("CLIENT", "UNPAUSE") == "OK"
            until(lambda: waiting(server) == 1, "it waits again")
        assert [paused.read() for _ in range(4)] == ["OK", "QUEUED", "QUEUED", [MANY, "OK"]]
        assert line.clients[0].read() == MANY
    control.close()


def test_settings_that_change_meanwhile(part, forebay):
    server = start(forebay, part, shards=2)
    control = server.client()
    with line_of(server) as line:
        with part.stalled("part"):
            line.add(["EXISTS"] + keys(1))
            paused = line.add(["MULTI"], ["EXISTS"] + keys(20), ["SET", "k", "v"], ["EXEC"])
            line.add(["EXISTS"] + keys(40))
            assert control.cmd("CONFIG", "SET", "maxmemory", str(100 * MB)) == "OK"
            assert control.cmd("CLIENT", "PAUSE", "60000", "WRITE") == "OK"
        assert [line.clients[i].read() for i in (0, 2)] == [MANY, MANY]  # the pause holds up nobody
        assert control.cmd("CLIENT", "UNPAUSE") == "OK"
        assert [paused.read() for _ in range(4)] == ["OK", "QUEUED", "QUEUED", [MANY, "OK"]]
        assert control.cmd("CONFIG", "SET", "maxmemory", "0") == "OK"
        assert line.clients[0].cmd("EXISTS", *keys(0, ROWS)) == ROWS
    assert control.cmd("CONFIG", "SET", "maxmemory", str(LIMIT)) == "OK"
    assert control.cmd("FLUSHALL") == "OK"
    with line_of(server) as line:
        with part.stalled("part"):
            for first in (1, 20):
                line.add(["EXISTS"] + keys(first))
            assert control.cmd("CONFIG", "SET", "map", "-part") == "OK"
        # The rows on their way are of no mapping any more; the others were never asked for.
        assert [line.clients[i].read() for i in (0, 1)] == [0, 0]
    control.close()


def test_commands_that_keep_their_rows_wait_for_one_another(part, forebay):
    """With noeviction and memory full no row can be stored: each command keeps its own, and four of
    these take more than all may."""
    server = start(forebay, part, maxmemory_policy="noeviction", shards=2)
    c = server.client()
    n = 0
    while not isinstance(c.cmd("SET", "full:%d" % n, b"v" * (100 << 10)), Error):
        n += 1
    wrong = []

    def read(seed):
        rng, client = random.Random(seed), server.client(timeout=60)
        for _ in range(30):
            ks = rng.sample(range(ROWS), 4)
            got = client.cmd("MGET", *["part:%d" % k for k in ks])
            if got != [value(k) for k in ks]:
                wrong.append((ks, str(got)[:100]))
        client.close()

    readers = [threading.Thread(target=read, args=(seed,)) for seed in range(12)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert wrong == []
    assert waiting(server) == 0 and server.count("store_kept_bytes") == 0
    c.close()
