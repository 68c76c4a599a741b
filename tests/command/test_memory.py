"""maxmemory: its forms, and changing it at run time."""
import functools
import threading
import time

import pytest

from server import AGAINST
from instance import Instance, info, run_to_end, until
from resp import Error, encode

pytestmark = pytest.mark.skipif(bool(AGAINST), reason="percentages, Forebay's pacing")
REFUSED = "ERR CONFIG SET failed (possibly related to argument 'maxmemory') - "
KEYS, VALUE = 20000, b"v" * 200
FULL_BYTES = 96 << 20
BUFFERS = 64 * 1024  # of the connection that asks


@pytest.fixture
def own():
    with Instance() as instance:
        yield instance.client()


def maxmemory(client):
    return int(client.cmd("CONFIG", "GET", "maxmemory")[1])


def used(client):
    return int(info(client, "memory")["used_memory"])


def held(client):
    return int(info(client, "memory")["mem_clients_normal"])


def fill(client):
    for first in range(0, KEYS, 1000):
        pairs = [x for n in range(first, first + 1000) for x in ("key:%d" % n, VALUE)]
        assert client.cmd("MSET", *pairs) == "OK"


def test_percent(own):
    limit = int(info(own, "memory")["mem_limit"])
    assert info(own, "memory")["mem_limit_source"] in ("machine", "cgroup-v1", "cgroup-v2")
    assert own.cmd("CONFIG", "SET", "maxmemory", "75%") == "OK"
    assert maxmemory(own) == limit // 100 * 75
    memory = info(own, "memory")
    assert int(memory["maxmemory"]) == maxmemory(own) and memory["maxmemory_percent"] == "75"
    assert int(memory["total_system_memory"]) >= limit
    assert own.cmd("CONFIG", "SET", "maxmemory", "100mb") == "OK"
    assert info(own, "memory")["maxmemory_percent"] == "0"
    assert info(own, "memory")["maxmemory_human"] == "100.00M"


@pytest.mark.parametrize("value, why", [
    ("101%", "percentage argument must be less or equal to 100"),
    ("0%", "argument must be a memory or percent value"),
    ("-5%", "argument must be a memory or percent value"),
    ("1.5%", "argument must be a memory or percent value"),
    ("%", "argument must be a memory or percent value"),
    ("75 %", "argument must be a memory or percent value"),
    ("lots", "argument must be a memory value"),
])
def test_refused(own, value, why, tmp_path):
    got = own.cmd("CONFIG", "SET", "maxmemory", value)
    assert isinstance(got, Error) and got == REFUSED + why
    assert maxmemory(own) == 0
    file = tmp_path / "f.conf"
    file.write_text("timeout 7\nmaxmemory \"%s\"\n" % value)
    ended = run_to_end(str(file))
    assert ended.returncode == 1
    assert "f.conf:2" in ended.stderr and why in ended.stderr


def test_percent_in_file_and_arguments(tmp_path):
    file = tmp_path / "f.conf"
    file.write_text("maxmemory 40%\n")
    with Instance(str(file)) as instance:
        client = instance.client()
        assert info(client, "memory")["maxmemory_percent"] == "40"
        assert client.cmd("CONFIG", "SET", "timeout", "3") == "OK"
        assert client.cmd("CONFIG", "REWRITE") == "OK"
        assert file.read_text().startswith("maxmemory 40%\n")
        assert client.cmd("CONFIG", "SET", "maxmemory", "35%") == "OK"
        assert client.cmd("CONFIG", "REWRITE") == "OK"
    assert file.read_text().startswith("maxmemory 35%\n")
    with Instance(str(file), maxmemory="30%") as instance:
        assert info(instance.client(), "memory")["maxmemory_percent"] == "30"


def test_lowered_without_traffic(own):
    """The cron evicts: far more than the few requests that look how far it is could."""
    empty = used(own)
    fill(own)
    half = (used(own) + empty) // 2
    own.cmd("CONFIG", "SET", "maxmemory-policy", "allkeys-lru", "maxmemory", str(half))
    looks = []
    until(lambda: looks.append(used(own)) or looks[-1] <= half + BUFFERS, "evicted without traffic")

    def evicted():
        return int(info(own, "stats")["evicted_keys"])

    until(lambda: own.cmd("DBSIZE") == KEYS - evicted(), "all that went was evicted")
    assert own.cmd("DBSIZE") > 0
    assert evicted() > 64 * (len(looks) + 3)


def test_lowered_under_traffic(own):
    """Writes go on while memory comes down, each soon; raised again, it fills again."""
    empty = used(own)
    fill(own)
    filled = used(own)
    low = (filled + empty) // 2
    own.cmd("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu", "maxmemory", str(filled))
    assert own.cmd("CONFIG", "SET", "maxmemory", str(low)) == "OK"
    n = 0
    while used(own) > low + BUFFERS:
        assert own.cmd("SET", "new:%d" % n, VALUE) == "OK"
        n += 1
        assert n < KEYS
    few = own.cmd("DBSIZE")
    assert own.cmd("CONFIG", "SET", "maxmemory", str(2 * filled)) == "OK"
    evicted = int(info(own, "stats")["evicted_keys"])
    fill(own)
    assert own.cmd("DBSIZE") > few
    assert int(info(own, "stats")["evicted_keys"]) - evicted < 64  # what was under way


def test_lowered_without_eviction(own):
    fill(own)
    assert own.cmd("CONFIG", "SET", "maxmemory", str(used(own) // 2)) == "OK"
    got = own.cmd("SET", "k", "v")
    assert isinstance(got, Error)
    assert got == "OOM command not allowed when used memory > 'maxmemory'."
    assert own.cmd("GET", "key:1") == VALUE and own.cmd("DEL", "key:1") == 1
    assert own.cmd("CONFIG", "SET", "maxmemory", "0") == "OK"
    assert own.cmd("SET", "k", "v") == "OK"


def test_no_touch(own):
    """CLIENT NO-TOUCH: reads leave no trace, but TOUCH means what it says."""
    assert own.cmd("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu") == "OK"
    assert own.cmd("SET", "k", "v") == "OK"
    assert own.cmd("CLIENT", "NO-TOUCH", "ON") == "OK"
    assert own.cmd("GET", "k") == b"v"
    assert own.cmd("OBJECT", "FREQ", "k") == 0
    assert own.cmd("TOUCH", "k") == 1
    assert own.cmd("OBJECT", "FREQ", "k") == 1


@pytest.mark.parametrize("policy", ["noeviction", "allkeys-lru"])
@pytest.mark.parametrize("command", ["SETRANGE", "COPY"])
def test_held_within_a_batch(policy, command):
    """Small requests that make large values, all received at once."""
    size, limit, count = 4 << 20, 48 << 20, 60
    with Instance(maxmemory=limit, maxmemory_policy=policy) as instance:
        client = instance.client()
        assert client.cmd("SET", "first", b"v" * size) == "OK"
        memory = info(client, "memory")
        before = int(memory["used_memory_rss"])
        if command == "COPY":
            commands = [("COPY", "first", "k%d" % n) for n in range(count)]
        else:
            commands = [("SETRANGE", "k%d" % n, size - 1, "x") for n in range(count)]
        replies = client.pipeline(commands)
        with open("/proc/%d/status" % instance.pid, encoding="ascii") as f:
            peak = next(int(line.split()[1]) * 1024 for line in f if line.startswith("VmHWM"))
        refused = sum(isinstance(r, Error) for r in replies)
        assert refused > count / 2 if policy == "noeviction" else refused == 0
        assert used(client) < limit + 2 * size
        if memory["mem_allocator"].startswith("jemalloc"):  # sanitizers keep what was freed
            assert peak < before + limit + 4 * size


@pytest.mark.parametrize("size", [255 << 10, 2047 << 10])  # the allocator rounds up by little
def test_large_values_fill_the_room(size):
    """Eviction ends once there is room: what it has handed to be freed later is on its way."""
    limit, keys = 64 << 20, []
    fit = limit // (size + (64 << 10)) - 3  # the program, and what is being received
    with Instance(maxmemory=limit, maxmemory_policy="allkeys-lru") as instance:
        client = instance.client()
        for n in range(4 * fit):
            assert client.cmd("SET", "k%d" % n, b"v" * size) == "OK"
            if n > 2 * fit:
                keys.append(client.cmd("DBSIZE"))
        assert min(keys) > fit * 3 / 4


def unfinished(instance, count, announced=3 << 20, sent=2 << 20):
    """Clients that send a part of a SET and stop."""
    clients = [instance.client() for _ in range(count)]
    for client in clients:
        client.sock.setblocking(False)
        left = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n" % announced + b"v" * sent

        def push(sock=client.sock):
            nonlocal left
            try:
                left = left[sock.send(left):]
            except BlockingIOError:
                pass
            except OSError:  # closed by the server
                left = b""
            return not left

        until(push, "sent")
    return clients


def test_clients_hold_no_more_than_their_share():
    """Unfinished requests are closed, largest first; others and their keys are unharmed."""
    with Instance(maxmemory=48 << 20, maxmemory_policy="allkeys-lru",
                  maxmemory_clients="25%") as instance:
        client, exempt = instance.client(), instance.client()
        assert exempt.cmd("CLIENT", "NO-EVICT", "ON") == "OK"
        for n in range(0, 20000, 1000):
            client.pipeline([("SET", "key:%d" % i, VALUE) for i in range(n, n + 1000)])
        held = unfinished(instance, 40)
        memory = info(client, "memory")
        assert 0 < int(memory["mem_clients_normal"]) <= 12 << 20
        assert int(info(client, "stats")["evicted_clients"]) >= 30
        assert used(client) < 48 << 20
        assert client.cmd("DBSIZE") == 20000
        assert client.cmd("CONFIG", "SET", "maxmemory-clients", "0") == "OK"  # now 24 MB
        closed = int(info(client, "stats")["evicted_clients"])
        exempt.send("SET", "mine", b"v" * (3 << 20))
        assert exempt.read() == "OK"
        held += unfinished(instance, 2)
        assert int(info(client, "stats")["evicted_clients"]) == closed
        del held


@pytest.mark.parametrize("first", range(3))
def test_who_holds_most_is_closed_wherever_it_is(first):
    """Not one of the shard that finds out; and of those that hold the same who is silent longest."""
    with Instance(maxmemory=48 << 20, maxmemory_clients="8mb", shards=3) as instance:
        watching, clients = instance.client(), [instance.client() for _ in range(9)]
        for client in clients:
            assert client.cmd("PING") == "PONG"
        large = clients.pop(first)
        large.sock.sendall(b"*3\r\n$3\r\nSET\r\n$5\r\nlarge\r\n$7340032\r\n" + b"v" * (7 << 20))
        until(lambda: held(watching) >= 7 << 20, "received")
        for n, client in enumerate(clients):
            client.sock.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\n%d\r\n$307200\r\n" % n + b"v" * 300000)
        until(lambda: held(watching) < 7 << 20, "closed")
        for client in clients:
            client.sock.sendall(b"v" * 7200 + b"\r\n")
            assert client.read() == "OK"
        with pytest.raises(ConnectionError):
            large.read()
        assert info(watching, "stats")["evicted_clients"] == "1"


def test_many_that_hold_little():
    """Each of them less than what counts at once, and all together far more than there is."""
    with Instance(maxmemory=48 << 20, maxmemory_policy="allkeys-lru", maxmemory_clients="2mb") as instance:
        client = instance.client()
        assert client.cmd("CONFIG", "SET", "loglevel", "warning") == "OK"  # nobody reads the log
        fill(client)
        before = used(client)
        asking = [instance.client() for _ in range(400)]
        for other in asking:
            other.sock.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$229000\r\n")
        until(lambda: int(info(client, "stats")["evicted_clients"]) > 200, "closed")
        until(lambda: held(client) <= 2 << 20, "all that are too many")
        assert used(client) < before + (8 << 20)
        assert client.cmd("DBSIZE") == KEYS
        for other in asking:
            other.close()


@pytest.mark.parametrize("command", [("WATCH",), ("CLIENT", "SETNAME")])
def test_what_is_kept_for_a_client_is_its_own(command):
    with Instance(maxmemory=48 << 20, maxmemory_policy="allkeys-lru",
                  maxmemory_clients="4mb") as instance:
        client, keeps = instance.client(), instance.client()
        fill(client)
        name = b"n" * (1 << 20)
        for n in range(3):
            assert keeps.cmd(*command, b"%d" % n + name) == "OK"
        many = 3 if command == ("WATCH",) else 1
        assert many << 20 <= held(client) <= (many << 20) + (1 << 19)
        if command == ("WATCH",):
            assert keeps.cmd("UNWATCH") == "OK"
        assert keeps.cmd("CLIENT", "SETNAME", "n") == "OK"
        assert held(client) == 0
        with pytest.raises((ConnectionError, OSError)):
            for n in range(8):
                assert keeps.cmd("WATCH", b"%d" % n + name) == "OK"
        assert info(client, "stats")["evicted_clients"] == "1"
        assert client.cmd("DBSIZE") == KEYS


def test_what_was_sent_is_not_held():
    """Replies that were read count no more, not even until the next look at all clients."""
    with Instance(maxmemory=64 << 20, maxmemory_clients="1mb", shards=3) as instance:
        clients = [instance.client() for _ in range(6)]
        assert clients[0].cmd("SET", "value", b"v" * 8000) == "OK"
        for _ in range(5):
            for client in clients:
                assert len(client.cmd("MGET", *["value"] * 60)) == 60
        assert info(clients[0], "stats")["evicted_clients"] == "0"


def test_an_exempt_client_costs_others_nothing():
    """What it holds beyond the share is not taken from those that hold little of it."""
    with Instance(maxmemory=48 << 20, maxmemory_policy="allkeys-lru",
                  maxmemory_clients="2mb") as instance:
        client, exempt = instance.client(), instance.client()
        assert exempt.cmd("CLIENT", "NO-EVICT", "ON") == "OK"
        exempt.sock.sendall(b"*3\r\n$3\r\nSET\r\n$4\r\nmine\r\n$8388608\r\n" + b"v" * (6 << 20))
        until(lambda: int(info(client, "stats")["total_net_input_bytes"]) > 6 << 20, "received")
        assert client.cmd("SET", "k", b"v" * (300 << 10)) == "OK"
        exempt.sock.sendall(b"v" * (2 << 20) + b"\r\n")
        assert exempt.read() == "OK"
        assert info(client, "stats")["evicted_clients"] == "0"


def test_what_is_sent_from_where_it_lies_is_not_the_clients(own):
    """A reply that refers to a value takes no memory of its own."""
    assert own.cmd("SET", "k", b"v" * (4 << 20)) == "OK"
    assert own.cmd("CONFIG", "SET", "maxmemory", str(64 << 20), "maxmemory-clients", "1mb") == "OK"
    for _ in range(3):
        assert len(own.cmd("GET", "k")) == 4 << 20


def peak_rss(instance):
    with open("/proc/%d/status" % instance.pid, encoding="ascii") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith("VmHWM"))


def is_jemalloc(client):
    """Sanitizers keep what was freed: resident memory says nothing there."""
    return info(client, "memory")["mem_allocator"].startswith("jemalloc")


@pytest.mark.parametrize("policy", ["noeviction", "allkeys-lru"])
def test_held_within_a_transaction(policy):
    """As within a batch: a few bytes of a queued request make a large value at EXEC."""
    size, limit, count = 4 << 20, 48 << 20, 60
    with Instance(maxmemory=limit, maxmemory_policy=policy) as instance:
        client = instance.client()
        before = int(info(client, "memory")["used_memory_rss"])
        queued = [("SETRANGE", "k%d" % n, size - 1, "x") for n in range(count)]
        client.pipeline([("MULTI",)] + queued + [("EXEC",)])
        assert used(client) < limit + 2 * size
        if is_jemalloc(client):
            assert peak_rss(instance) < before + limit + 4 * size


def test_a_transactions_queue_is_its_clients():
    """maxmemory-clients bounds it like unfinished requests: keys do not go for it."""
    with Instance(maxmemory=48 << 20, maxmemory_policy="allkeys-lru",
                  maxmemory_clients="4mb") as instance:
        client, queues = instance.client(), instance.client()
        for n in range(0, 20000, 1000):
            client.pipeline([("SET", "key:%d" % i, VALUE) for i in range(n, n + 1000)])
        assert queues.cmd("MULTI") == "OK"
        try:
            for n in range(60):
                queues.cmd("SET", "k", b"v" * (1 << 20))
        except OSError:
            pass  # closed by the server, as it should be
        assert client.cmd("DBSIZE") == 20000
        assert info(client, "stats")["evicted_clients"] == "1"


@pytest.mark.parametrize("within", ["alone", "EXEC"])
def test_one_reply_costs_no_keys(within):
    """A reply that is larger than what clients may hold: its client goes, not the keys."""
    with Instance(maxmemory=48 << 20, maxmemory_policy="allkeys-lru") as instance:
        client, lazy = instance.client(), instance.client()
        for n in range(0, 20000, 1000):
            client.pipeline([("SET", "key:%d" % i, VALUE) for i in range(n, n + 1000)])
        assert client.cmd("SET", "e", b"v" * 8000) == "OK"
        before = peak_rss(instance)
        if within == "EXEC":
            lazy.send("MULTI")
            for _ in range(15):
                lazy.send("MGET", *["e"] * 1000)
            lazy.send("EXEC")
        else:
            lazy.send("MGET", *["e"] * 15000)  # 120 MB
        until(lambda: info(client, "stats")["evicted_clients"] == "1", "closed")
        assert client.cmd("DBSIZE") > (19000 if within == "alone" else 1)
        if is_jemalloc(client):
            assert peak_rss(instance) < before + (8 << 20 if within == "alone" else 40 << 20)


LARGE = {  # what one command takes at once: a few percent to a fifth of maxmemory
    "SETRANGE": ("SETRANGE", "new", (18 << 20) - 1, "x"),
    "COPY": ("COPY", "large", "new"),
    "SET": ("SET", "new", b"v" * (9 << 20)),
    "MSET": ("MSET",) + tuple(x for n in range(30) for x in ("new:%d" % n, b"v" * 500000)),
    "MGET": ("MGET",) + ("value",) * 2000,
    "HGETALL": ("HGETALL", "hash"),
    "LCS": ("LCS", "text", "text", "LEN"),
}


@functools.cache
def small_keys(count):
    return [encode(["MSET"] + [x for n in range(first, first + 1000)
                               for x in ("key:%d" % n, b"v" * 100)])
            for first in range(0, count, 1000)]


def fill_small(client, limit):
    """More keys of 100 bytes than there is room for."""
    for request in small_keys(limit // 100):
        client.sock.sendall(request)
        assert client.read() == "OK"


@pytest.fixture
def full():
    """An instance of 96 MB, full of small keys."""
    with Instance(maxmemory=FULL_BYTES, maxmemory_policy="allkeys-lru") as instance:
        client = instance.client()
        if not is_jemalloc(client):
            pytest.skip("resident memory")
        fill_small(client, FULL_BYTES)
        yield instance, client


def limit_of(instance):
    """What it has had resident so far, 5% above maxmemory or more, is not what is tested then."""
    return max(FULL_BYTES, peak_rss(instance) * 100 // 105)


@pytest.mark.parametrize("within", ["alone", "EXEC"])
@pytest.mark.parametrize("name", LARGE)
def test_room_is_made_before(full, name, within):
    """What one command takes at once has other keys go before it, and the holes closed."""
    instance, client = full
    assert client.cmd("SETRANGE", "large", (9 << 20) - 1, "x") == 9 << 20
    assert client.cmd("MSET", "value", b"v" * 8000, "text", b"t" * 2000) == "OK"
    for n in range(0, 40000, 1000):
        fields = [x for i in range(n, n + 1000) for x in ("field:%d" % i, b"v" * 100)]
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


def request_of(name, count, form):
    head = b"*%d\r\n$%d\r\n%s\r\n" % (1 + count * (form.count(b"$")), len(name), name.encode())
    return head + b"".join(form % n if b"%" in form else form for n in range(count))


@pytest.mark.parametrize("name", MANY)
def test_room_for_many_keys(full, name):
    """What is parsed of a request counts and has room made for it like its bytes."""
    instance, client = full
    limit = limit_of(instance)
    client.sock.sendall(request_of(name, *MANY[name]))
    assert client.read() == ("OK" if name == "MSET" else 0)
    assert peak_rss(instance) < limit * 1.08
    assert int(info(client, "memory")["mem_clients_normal"]) < 1 << 20  # all of it went
    assert client.cmd("PING") == "PONG"


@pytest.mark.parametrize("complete", [True, False])
def test_arguments_are_their_clients(complete):
    """One that has more parsed than clients may hold goes, whether more of it comes or not."""
    with Instance(maxmemory=96 << 20, maxmemory_policy="allkeys-lru",
                  maxmemory_clients="24mb") as instance:
        client, lazy = instance.client(), instance.client()
        fill_small(client, 6 << 20)  # no key has to go
        keys = client.cmd("DBSIZE")
        request = request_of("EXISTS", 1200000, b"$0\r\n\r\n")
        with pytest.raises((OSError, EOFError)):
            lazy.sock.sendall(request if complete else request[:-1])
            lazy.read()
        until(lambda: info(client, "stats")["evicted_clients"] == "1", "closed")
        assert client.cmd("DBSIZE") == keys
        assert info(client, "memory")["mem_clients_normal"] == "0"


def test_many_arguments_of_many():
    """What is parsed of requests that are short themselves counts as their clients'."""
    with Instance(maxmemory=96 << 20, maxmemory_clients="8mb") as instance:
        client = instance.client()
        request = request_of("EXISTS", 5000, b"$0\r\n\r\n")[:-1]  # 30 KB, 16 bytes an argument
        lazy = [instance.client() for _ in range(200)]
        for other in lazy:
            other.sock.sendall(request)
        until(lambda: int(info(client, "stats")["evicted_clients"]) > 50, "closed")
        until(lambda: held(client) <= 8 << 20, "all that are too many closed")


def test_more_than_any_allocation():
    """Refused like all that never fits, alone and within EXEC: such sizes have no size class."""
    refusal = "OOM command not allowed when used memory > 'maxmemory'."
    with Instance(maxmemory=64 << 20, proto_max_bulk_len=9 * 10**18) as instance:
        client = instance.client()
        much = ("SETRANGE", "key", 8 * 10**18, "x")
        assert client.cmd(*much) == refusal
        assert client.pipeline([("MULTI",), much, ("SET", "a", "1"), ("EXEC",)])[3] == [refusal, "OK"]
        assert client.cmd("KEYS", "*") == [b"a"]


def test_what_stands_before_large_arguments_is_done():
    """Both in what is received at once; the second is more than clients may hold."""
    with Instance(maxmemory_clients="64kb") as instance:
        client = instance.client()
        client.sock.sendall(encode(["SET", "a", "1"]) + request_of("EXISTS", 1800, b"$0\r\n\r\n"))
        assert client.read() == "OK"
        with pytest.raises((OSError, EOFError)):
            client.read()
        assert instance.client().cmd("GET", "a") == b"1"


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


def run_all(count, body):
    threads = [threading.Thread(target=body) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


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


def test_only_who_asks_for_too_much_is_refused():
    """noeviction: one client does so again and again."""
    with Instance(maxmemory=64 << 20) as instance:
        greedy, other = instance.client(), instance.client()
        for _ in range(50):
            greedy.send(*["SETRANGE", "x", 45 << 20, "y"] if _ else ["SETRANGE", "z", 25 << 20, "y"])
            for reply in other.pipeline([("SET", "k%d" % n, "v") for n in range(20)]):
                assert reply == "OK"
            reply = greedy.read()
            assert (reply == (25 << 20) + 1) if _ == 0 else isinstance(reply, Error)


def test_replies_before_one_that_is_too_large():
    """They arrive; then the connection is closed. A reply that is made twice is counted once."""
    with Instance(maxmemory=48 << 20, maxmemory_policy="allkeys-lru") as instance:
        client, lazy = instance.client(), instance.client()
        assert client.cmd("SET", "e", b"v" * 8000) == "OK"
        hits = int(info(client, "stats")["keyspace_hits"])
        assert len(client.cmd("MGET", *["e"] * 1000)) == 1000
        assert int(info(client, "stats")["keyspace_hits"]) == hits + 1000
        lazy.send("SET", "a", "1")
        lazy.send("GET", "a")
        lazy.send("MGET", *["e"] * 5000)
        assert [lazy.read(), lazy.read()] == ["OK", b"1"]
        with pytest.raises((OSError, EOFError)):
            lazy.read()


def test_a_reply_that_nobody_wants_is_not_too_large():
    with Instance(maxmemory=48 << 20, maxmemory_policy="allkeys-lru") as instance:
        client = instance.client()
        assert client.cmd("SET", "e", b"v" * 8000) == "OK"
        client.send("CLIENT", "REPLY", "OFF")
        client.send("MGET", *["e"] * 15000)  # 120 MB
        assert client.cmd("CLIENT", "REPLY", "ON") == "OK"
        assert info(client, "stats")["evicted_clients"] == "0"


def test_eviction_that_does_not_keep_up_is_waited_for():
    """Where something can go nobody is refused, however much comes at once for small keys."""
    with Instance(maxmemory=64 << 20, maxmemory_policy="allkeys-lru") as instance:
        client = instance.client()
        fill_small(client, 64 << 20)
        for n in range(10):
            pairs = [x for i in range(20) for x in ("%d:%d" % (n, i), b"v" * 500000)]
            assert client.pipeline([("MSET", *pairs), ("SET", "k", b"v")]) == ["OK", "OK"]


def test_no_room_for_one_command():
    """noeviction: what would not fit is refused before it takes anything; others are not."""
    large = (20 << 20) - 4096
    with Instance() as instance:
        client = instance.client()
        assert client.cmd("SETRANGE", "large", large - 1, "x") == large
        assert client.cmd("CONFIG", "SET", "maxmemory", used(client) + (26 << 20)) == "OK"
        replies = client.pipeline([("SETRANGE", "new", (30 << 20) - 1, "x"), ("SET", "k", "v"),
                                   ("COPY", "large", "other"), ("COPY", "large", "more")])
        assert replies[1:3] == ["OK", 1]
        for reply in (replies[0], replies[3]):
            assert reply == "OOM command not allowed when used memory > 'maxmemory'."
        assert client.cmd("DBSIZE") == 3
        assert client.cmd("EXISTS", "new") == 0
