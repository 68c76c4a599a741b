"""EXEC whose reply is long: it waits for room as one long read does, and is as if it had not."""
import contextlib
import socket
import struct
import threading

import pytest

from server import AGAINST
from instance import Instance, info, until
from resp import Error, Nil, NilArray, encode
from memory import FULL_BYTES, is_jemalloc, peak_rss, run_all, used

pytestmark = [pytest.mark.skipif(bool(AGAINST), reason="Forebay's pacing"), pytest.mark.heavy]
VALUE = b"v" * 8000
MGET = ("MGET",) + ("value",) * 100


@pytest.fixture
def full(full):
    assert full[1].cmd("SET", "value", VALUE) == "OK"
    return full


def transaction(*commands):
    return [("MULTI",), *commands, ("EXEC",)]


READS = {  # each beyond 14 MB; their keys are there until they are read
    "MGET": ([MGET] * 20, [VALUE] * 100),
    "HGETALL": ([("HGETALL", "hash")] * 3, None),
    "after SELECT": ([("SELECT", "0")] + [MGET] * 20, [VALUE] * 100),
    "after SET": ([("SET", "other", "x")] + [MGET] * 20, [VALUE] * 100),
    "HMGET after SET": ([("SET", "other", "x")] +
                        [("HMGET", "hash") + tuple("f%d" % n for n in range(50))] * 3,
                        [b"v" * 100000] * 50),
    "before HSET": ([("HGETALL", "hash")] * 3 + [("HSET", "hash", "f0", b"v" * 100000)], None),
}


@pytest.mark.parametrize("name", READS)
def test_long_reads_one_after_the_other(full, name):
    """Together they are more than maxmemory: 8 times 15 MB."""
    instance, client = full
    queued, expected = READS[name]
    for n in range(50):
        assert client.cmd("HSET", "hash", "f%d" % n, b"v" * 100000) == 1
    keys, got = client.cmd("DBSIZE"), []

    def read():
        own = instance.client()
        for _ in range(3):
            reply = own.pipeline(transaction(*queued))[-1]
            assert len(reply) == len(queued)
            long = reply[-2]
            got.append(long == expected if expected else len(long) == 100)

    before = peak_rss(instance)
    run_all(8, read)
    assert got == [True] * 24
    assert info(client, "stats")["evicted_clients"] == "0"
    assert client.cmd("DBSIZE") > keys // 7
    if is_jemalloc(client):
        assert peak_rss(instance) < max(FULL_BYTES * 1.06, before + (2 << 20))


def test_long_reads_of_what_it_copies(full):
    """12 MB each, of keys that are not there before."""
    instance, client = full
    got = []
    fields = [x for n in range(50) for x in ("f%d" % n, VALUE)]

    def read():
        own = instance.client()
        number = own.cmd("CLIENT", "ID")
        name, copy = "from:%d" % number, "to:%d" % number
        reads = [("HGETALL", copy)] * 30
        for _ in range(3):
            reply = own.pipeline(transaction(("HSET", name, *fields), ("COPY", name, copy), *reads,
                                             ("DEL", name, copy)))[-1]
            got.append([len(pairs) for pairs in reply[2:-1]] == [100] * 30)

    before = peak_rss(instance)
    run_all(8, read)
    assert got == [True] * 24
    assert info(client, "stats")["evicted_clients"] == "0"
    if is_jemalloc(client):
        assert peak_rss(instance) < max(FULL_BYTES * 1.06, before + (2 << 20))


def test_noeviction():
    """Reads are answered though there is no room, but one after the other."""
    limit, got = 64 << 20, []
    with Instance(maxmemory=limit, maxmemory_clients=limit) as instance:
        client, n = instance.client(), 0
        assert client.cmd("SET", "value", VALUE) == "OK"
        while used(client) < limit * 9 // 10:
            assert client.cmd("SET", "fill:%d" % n, b"v" * (1 << 20)) == "OK"
            n += 1
        asking = [instance.client() for _ in range(6)]
        for other in asking:  # before: nothing is queued beyond the limit
            assert other.pipeline([("MULTI",)] + [MGET] * 20) == ["OK"] + ["QUEUED"] * 20
        before = peak_rss(instance)

        def read():
            got.append(asking.pop().cmd("EXEC") == [[VALUE] * 100] * 20)

        run_all(6, read)
        assert got == [True] * 6
        if is_jemalloc(client):
            assert peak_rss(instance) < before + 2.5 * 2000 * len(VALUE)


@contextlib.contextmanager
def held_up(instance, client, tcp=False, count=2, values=2700):
    """Two (or one) read a long reply so slowly that all others wait for theirs: each for a second."""
    if not is_jemalloc(client):
        pytest.skip("under sanitizers a second is too short")
    pieces, stop, slow = [], threading.Event(), [instance.client(tcp) for _ in range(count)]

    def trickle(sock):
        while not stop.wait(0.01) and sock.recv(8192):
            pieces.append(sock)

    threads = [threading.Thread(target=trickle, args=(other.sock,)) for other in slow]
    for other, thread in zip(slow, threads):
        other.send("MGET", *["value"] * values)  # nearly a quarter of maxmemory
        thread.start()
    until(lambda: calls(client, "mget") == (1, 0) and waiting(client) == count,
          "one waits until it is read, the other one for that")
    yield pieces
    stop.set()
    for thread in threads:
        thread.join()


def waiting(client):
    return int(info(client, "clients")["blocked_clients"])


def calls(client, name):
    """And how many of them failed."""
    text = info(client, "commandstats").get("cmdstat_" + name, "calls=0,failed_calls=0")
    fields = dict(field.split("=") for field in text.split(","))
    return int(fields["calls"]), int(fields["failed_calls"])


@pytest.mark.parametrize("tcp", [False, True], ids=["unix", "tcp"])
def test_who_reads_steadily_is_waited_for(full, tcp):
    """Little by little, and over TCP from what the kernel has: nothing is sent for long."""
    instance, client = full
    with held_up(instance, client, tcp) as pieces:
        until(lambda: calls(client, "mget") != (1, 0) or len(pieces) > 70, "read a part")
        assert calls(client, "mget") == (1, 0)


def test_what_changes_while_it_waits(full):
    """What is watched is looked at when it answers, and so is what it reads."""
    instance, client = full
    watching, reading = instance.client(), instance.client()
    assert watching.cmd("WATCH", "watched") == "OK"
    with held_up(instance, client):
        for other in (watching, reading):
            for command in transaction(("SELECT", "1"), ("SELECT", "0"), *[MGET] * 20)[:-1]:
                other.send(*command)
                assert other.read() in ("OK", "QUEUED")
            other.send("EXEC")
        until(lambda: waiting(client) == 4, "both wait")
        assert client.cmd("SET", "watched", "x") == "OK"
        assert client.cmd("SET", "value", "changed") == "OK"
        assert waiting(client) == 4
        assert watching.read() is NilArray
        assert reading.read() == ["OK", "OK"] + [[b"changed"] * 100] * 20
    assert calls(client, "mget") == (22, 0)  # two by those who held them up, one transaction
    for other in (watching, reading):
        assert other.cmd("EXEC") == "ERR EXEC without MULTI"
        assert other.cmd("GET", "watched") == b"x"  # of database 0
        assert other.pipeline(transaction(("GET", "watched")))[-1] == [b"x"]


def test_who_leaves_while_it_waits(full):
    """Nothing is kept for it: neither its place, nor what it watched."""
    instance, client = full
    leaving = [instance.client() for _ in range(3)]
    ids = {other: other.cmd("CLIENT", "ID") for other in leaving}
    with held_up(instance, client):
        for other in leaving:
            assert other.cmd("WATCH", "value") == "OK"
            other.pipeline([("MULTI",)] + [MGET] * 20)
            other.send("EXEC")
        until(lambda: waiting(client) == 5, "all wait")
        for other in leaving[1:]:
            assert client.cmd("CLIENT", "KILL", "ID", ids[other]) == 1
        assert client.cmd("SET", "value", VALUE) == "OK"
        assert leaving[0].read() is NilArray
    assert client.pipeline(transaction(*[MGET] * 20))[-1] == [[VALUE] * 100] * 20


@pytest.mark.parametrize("first", [(), (("SET", "own", "x"),)], ids=["reads", "writes"])
def test_what_is_run_twice_is_counted_once(full, first):
    client = full[1]
    assert client.cmd("HSET", "hash", "field", "value") == 1
    hits = int(info(client, "stats")["keyspace_hits"])
    queued = [*first, ("GET", "hash"), ("EXISTS", "value"), ("TTL", "value")] + [MGET] * 20
    reply = client.pipeline(transaction(*queued))[-1]
    assert isinstance(reply[-23], Error) and reply[-23].startswith("WRONGTYPE")
    assert reply[-22:-20] == [1, -1] and reply[-20:] == [[VALUE] * 100] * 20
    assert int(info(client, "stats")["keyspace_hits"]) == hits + 2003
    assert calls(client, "mget") == (20, 0) and calls(client, "get") == (1, 1)
    assert calls(client, "exec") == (1, 0) and calls(client, "multi") == (1, 0)
    assert info(client, "errorstats")["errorstat_WRONGTYPE"] == "count=1"


@pytest.mark.parametrize("within", ["alone", "EXEC"])
@pytest.mark.parametrize("name", ["text", "hash"])
def test_what_is_copied_is_found_once(full, name, within):
    """It waits for room for the copy once it has found the value."""
    client = full[1]
    assert client.cmd("SETRANGE", "text", (4 << 20) - 1, "x") == 4 << 20
    for n in range(40):
        assert client.cmd("HSET", "hash", "f%d" % n, b"v" * 100000) == 1
    hits = int(info(client, "stats")["keyspace_hits"])
    if within == "EXEC":
        assert client.pipeline(transaction(("COPY", name, "copy")))[-1] == [1]
    else:
        assert client.cmd("COPY", name, "copy") == 1
    assert int(info(client, "stats")["keyspace_hits"]) == hits + 1


@pytest.mark.parametrize("first", [(), (("SET", "own", "x"),)], ids=["reads", "writes"])
def test_what_is_too_long_is_counted(full, first):
    """All of it has run, though nothing of it is answered."""
    instance, client = full
    own, before = instance.client(), info(client, "stats")
    with pytest.raises(OSError):
        own.pipeline(transaction(*first, *[("GET", "value")] * 8000))
    after = info(client, "stats")
    assert int(after["keyspace_hits"]) == int(before["keyspace_hits"]) + 8000
    assert calls(client, "get") == (8000, 0) and calls(client, "exec") == (1, 0)


@pytest.mark.parametrize("maxmemory", [0, 256 << 20])
@pytest.mark.parametrize("first", [(), (("SET", "own", "x"),)], ids=["reads", "writes"])
def test_the_hard_limit_is_for_the_whole_reply(first, maxmemory):
    """Each of its parts is within it."""
    with Instance(maxmemory=maxmemory) as instance:
        client, own = instance.client(), instance.client()
        limit = ("client-output-buffer-limit", "normal 10mb 0 0")
        assert client.cmd("CONFIG", "SET", *limit) == "OK"
        assert client.cmd("SET", "value", VALUE) == "OK"
        with pytest.raises(OSError):
            own.pipeline(transaction(*first, *[MGET] * 20))
        got = info(client, "stats")
        assert got["client_output_buffer_limit_disconnections"] == "1"
        assert got["evicted_clients"] == "0"
        instance.wait_log("bytes at once are more than clients may hold")
        said = int(instance.log.split(" bytes at once")[0].split()[-1])
        assert 2000 * len(VALUE) < said < 2001 * (len(VALUE) + 20)


@pytest.mark.parametrize("first", [(), (("SET", "own", "x"),)], ids=["reads", "writes"])
def test_many_short_replies(full, first):
    """As one long one: its client is closed for what it may not hold, and nothing goes for it."""
    instance, client = full
    if not is_jemalloc(client):
        pytest.skip("resident memory")
    before, keys = peak_rss(instance), client.cmd("DBSIZE")
    own = instance.client()
    queued = [*first] + [("GET", "value")] * 8000  # 64 MB, of 48
    with pytest.raises(OSError):
        own.pipeline(transaction(*queued))
    assert client.cmd("PING") == "PONG"
    assert client.cmd("DBSIZE") > keys * 0.9
    assert peak_rss(instance) < max(FULL_BYTES * 1.06, before + (2 << 20))


def test_what_it_deletes_it_does_not_answer(full):
    """It would be too long if it were not for what stands before it; else what stands before that
    is done all the same."""
    instance, client = full
    gets = [("GET", "value")] * 8000
    reply = client.pipeline(transaction(("DEL", "value"), *gets))[-1]
    assert reply == [1] + [Nil] * 8000
    assert client.cmd("SET", "value", VALUE) == "OK"
    own = instance.client()
    commands = [("ECHO", "before"), ("INCR", "n"), *transaction(("INCR", "n"), *gets)]
    own.sock.sendall(b"".join(encode(command) for command in commands))
    assert [own.read() for _ in range(3)] == [b"before", 1, "OK"]
    with pytest.raises(OSError):
        while own.read() == "QUEUED":
            pass
    assert client.cmd("GET", "n") == b"2"


def test_writes_do_not_wait_for_what_clients_hold(full):
    """A copy is not its client's: it comes while the reply that fills their share is read."""
    instance, client = full
    assert client.cmd("CONFIG", "SET", "maxmemory-clients", "14mb") == "OK"
    assert client.cmd("SETRANGE", "large", (4 << 20) - 1, "x") == 4 << 20
    with held_up(instance, client, count=1, values=1500) as pieces:
        assert client.cmd("COPY", "large", "copy") == 1
        assert len(pieces) < 80


def test_what_is_paused_while_it_waits_is_counted_once(full):
    """It is let in as soon as the other one is gone, finds the pause, and goes on behind it."""
    instance, client = full
    other = instance.client()
    hits = int(info(client, "stats")["keyspace_hits"])
    with held_up(instance, client, count=1) as pieces:
        other.send("MGET", *["value"] * 2700)
        until(lambda: waiting(client) == 2 and pieces, "it waits")
        assert client.cmd("CLIENT", "PAUSE", "300", "ALL") == "OK"
        pieces[0].shutdown(socket.SHUT_RDWR)
        assert other.read() == [VALUE] * 2700
    assert int(info(client, "stats")["keyspace_hits"]) == hits + 2 * 2700


@pytest.mark.parametrize("tcp", [False, True], ids=["unix", "tcp"])
def test_who_waits_and_says_no_more(full, tcp):
    """It has closed its side only, and gets its reply; one that is gone leaves its place."""
    instance, client = full
    half, gone = instance.client(tcp), instance.client(tcp)
    with held_up(instance, client, count=1):
        gone.send(*MGET, *["value"] * 900)
        until(lambda: waiting(client) == 2, "it waits")
        half.send(*MGET, *["value"] * 900)
        until(lambda: waiting(client) == 3, "both wait")
        half.sock.shutdown(socket.SHUT_WR)
        gone.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        gone.close()
        assert half.read() == [VALUE] * 1000
        assert half.file.read() == b""
    assert client.cmd(*MGET) == [VALUE] * 100


def test_resp3(full):
    client = full[1]
    client.cmd("HELLO", "3")
    assert client.cmd("HSET", "hash", *[x for n in range(30) for x in ("f%d" % n, VALUE)]) == 30
    reply = client.pipeline(transaction(("GET", "none"), *[("HGETALL", "hash")] * 20))[-1]
    assert reply[1:] == [client.cmd("HGETALL", "hash")] * 20 and len(reply[1]) == 30


def test_random_replies_come_to_an_end(full):
    """Of another length each time: it asks for more some times, then it may be what it is."""
    client = full[1]
    for n in range(20):
        assert client.cmd("HSET", "hash", "f%d" % n, b"v" * (1 << n)) == 1
    random = ("HRANDFIELD", "hash", -20, "WITHVALUES")
    for _ in range(10):
        reply = client.pipeline(transaction(*[random] * 15))[-1]
        assert [len(pairs) for pairs in reply] == [40] * 15


def test_what_is_queued_is_forgotten_all_the_same(full):
    client = full[1]
    for _ in range(2):
        assert client.pipeline([("MULTI",)] + [MGET] * 40 + [("DISCARD",)])[-1] == "OK"
        assert client.cmd("EXEC") == "ERR EXEC without MULTI"
        assert client.pipeline(transaction(*[MGET] * 20))[-1] == [[VALUE] * 100] * 20
        assert client.cmd("DISCARD") == "ERR DISCARD without MULTI"
        assert client.pipeline(transaction(("NOPE",), *[MGET] * 20))[-1] == (
            "EXECABORT Transaction discarded because of previous errors.")


def test_in_a_pipeline(full):
    """What stands before and behind it is answered in its place, once."""
    client = full[1]
    commands = [("INCR", "n"), *transaction(*[MGET] * 20), ("INCR", "n"), MGET] * 3
    replies = client.pipeline(commands)
    for n in range(3):
        one = replies[n * 25:n * 25 + 25]
        assert one[0] == 2 * n + 1 and one[23] == 2 * n + 2
        assert one[22] == [[VALUE] * 100] * 20 and one[24] == [VALUE] * 100
