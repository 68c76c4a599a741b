"""maxmemory-clients: what is held for a client counts as its own, and who holds too much is closed."""
import socket

import pytest

from server import AGAINST
from instance import Instance, info, until
from memory import KEYS, VALUE, fill, fill_small, held, is_jemalloc, peak_rss, request_of, used
from resp import encode

pytestmark = pytest.mark.skipif(bool(AGAINST), reason="Forebay's limits")


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


def test_who_is_silent_longest_is_closed():
    """Of those that hold about the same, whenever they came to it."""
    def later(client):
        then = client.cmd("TIME")
        until(lambda: client.cmd("TIME") > [then[0], b"%06d" % (int(then[1]) + 5000)], "5 ms later")

    with Instance(maxmemory=48 << 20, maxmemory_clients="6mb", shards=1) as instance:
        watching, clients = instance.client(), [instance.client() for _ in range(5)]
        for client in clients:
            assert client.cmd("CLIENT", "SETNAME", "n" * 1200000) == "OK"
        later(watching)
        for client in (clients[4], clients[0], clients[1], clients[3]):
            assert client.cmd("PING") == "PONG"
            later(watching)
        assert instance.client().cmd("CLIENT", "SETNAME", "n" * 1200000) == "OK"
        until(lambda: info(watching, "stats")["evicted_clients"] == "1", "closed")
        for client in (clients[4], clients[0], clients[1], clients[3]):
            assert client.cmd("PING") == "PONG"
        with pytest.raises(ConnectionError):
            clients[2].cmd("PING")


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


def test_many_at_once():
    """More than one call closes, of two sizes: those that hold little stay while others hold more."""
    with Instance(maxmemory=48 << 20, maxmemory_clients="24mb", shards=3) as instance:
        client = instance.client()
        assert client.cmd("CONFIG", "SET", "loglevel", "warning") == "OK"  # nobody reads the log
        few, many = ([instance.client() for _ in range(count)] for count in (9, 600))
        for others, size in ((many, 5000), (few, 50000)):
            for other in others:
                assert other.cmd("CLIENT", "SETNAME", "n" * size) == "OK"
        assert client.cmd("CONFIG", "SET", "maxmemory-clients", str(600 * 5200)) == "OK"
        until(lambda: held(client) <= 600 * 5200, "some of the few are closed")
        for other in many:
            assert other.cmd("PING") == "PONG"
        closed = int(info(client, "stats")["evicted_clients"])
        assert 0 < closed <= len(few)
        assert client.cmd("CONFIG", "SET", "maxmemory-clients", "1mb") == "OK"
        until(lambda: held(client) <= 1 << 20, "nearly all")
        assert held(client) > (1 << 20) - 60000
        left = int(info(client, "clients")["connected_clients"]) - 1
        assert int(info(client, "stats")["evicted_clients"]) == len(few) + len(many) - left


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


PINNED, PINNED_BYTES = 10, 1 << 20


def set_large(client, count=PINNED):
    for n in range(count):
        assert client.cmd("SET", "large:%d" % n, b"v" * PINNED_BYTES) == "OK"


def unread(instance, count, *request):
    """Clients that ask, and do not read what they get."""
    clients = [instance.client() for _ in range(count)]
    for client in clients:
        client.send(*request)
    for client in clients:
        assert client.sock.recv(1, socket.MSG_PEEK)  # it has begun to be sent
    return clients


def ask_for_all(instance, count=1):
    return unread(instance, count, "MGET", *["large:%d" % n for n in range(PINNED)])


def is_about(bytes_held, values):
    """All but those that the kernel has taken already; the allocator rounds up."""
    return (values - 1) * PINNED_BYTES <= bytes_held <= values * PINNED_BYTES * 13 // 10


def test_values_that_only_replies_have_are_their_clients():
    """They were nobody's: all keys went for them, nobody was closed, and SET got -OOM."""
    with Instance(maxmemory=96 << 20, maxmemory_policy="allkeys-lru", shards=2) as instance:
        client = instance.client()
        fill(client)
        set_large(client)
        lazy = ask_for_all(instance)
        assert held(client) < PINNED_BYTES  # the cache has them as well
        set_large(client)
        assert is_about(held(client), PINNED)
        for _ in range(11):
            lazy += ask_for_all(instance)
            set_large(client)
        assert held(client) <= 48 << 20
        assert int(info(client, "stats")["evicted_clients"]) >= 6
        assert client.cmd("DBSIZE") == KEYS + PINNED
        client.pipeline([("SET", "key:%d" % n, VALUE) for n in range(1000)])
        for other in lazy:
            other.close()
        until(lambda: held(client) == 0, "nobody pins anything")


def test_values_go_for_others_while_they_are_sent():
    """They go as memory is needed, not all at once, until their clients hold too much of it."""
    with Instance(maxmemory=64 << 20, maxmemory_policy="allkeys-lru", maxmemory_clients="40%") as instance:
        client = instance.client()
        lazy = []
        for n in range(0, 40, PINNED):
            for k in range(n, n + PINNED):
                assert client.cmd("SET", "large:%d" % k, b"v" * PINNED_BYTES) == "OK"
            lazy += unread(instance, 1, "MGET", *["large:%d" % k for k in range(n, n + PINNED)])
        for n in range(40 * PINNED):
            assert client.cmd("SET", "key:%d" % n, b"v" * (PINNED_BYTES // 10)) == "OK"
        assert held(client) <= 26 << 20
        assert 0 < int(info(client, "stats")["evicted_clients"]) <= 4
        assert client.cmd("DBSIZE") > 100
        del lazy


def test_a_value_that_many_replies_have_counts_once():
    with Instance(maxmemory=96 << 20, maxmemory_policy="allkeys-lru",
                  maxmemory_clients=str(3 * PINNED * PINNED_BYTES // 2)) as instance:
        client = instance.client()
        set_large(client)
        lazy = ask_for_all(instance, 12)
        set_large(client)
        assert is_about(held(client), PINNED)
        assert info(client, "stats")["evicted_clients"] == "0"
        for other in lazy[1:]:
            other.close()
        until(lambda: is_about(held(client), PINNED), "the others are gone, it still has them all")
        assert [len(value) for value in lazy[0].read()] == [PINNED_BYTES] * PINNED
        until(lambda: held(client) == 0, "sent")


def test_a_piece_keeps_the_whole_value():
    with Instance(maxmemory=96 << 20, maxmemory_policy="allkeys-lru") as instance:
        client = instance.client()
        set_large(client)
        lazy = instance.client()
        for n in range(PINNED):
            lazy.send("GETRANGE", "large:%d" % n, 0, PINNED_BYTES // 10)
        assert lazy.read() is not None  # what the kernel does not take stays
        set_large(client)
        assert 5 * PINNED_BYTES < held(client) <= PINNED * PINNED_BYTES * 13 // 10


def test_what_an_exempt_client_pins_costs_others_nothing():
    with Instance(maxmemory=96 << 20, maxmemory_policy="allkeys-lru", maxmemory_clients="4mb") as instance:
        client, exempt, other = (instance.client() for _ in range(3))
        assert exempt.cmd("CLIENT", "NO-EVICT", "ON") == "OK"
        set_large(client)
        exempt.send("MGET", *["large:%d" % n for n in range(1, PINNED)])
        other.send("GET", "large:0")
        assert exempt.sock.recv(1) == b"*" and other.sock.recv(1) == b"$"
        set_large(client)
        assert held(client) < 2 * PINNED_BYTES
        assert info(client, "stats")["evicted_clients"] == "0"


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
        assert client.cmd("DBSIZE") > 19000
        if is_jemalloc(client):
            assert peak_rss(instance) < before + (8 << 20)


@pytest.mark.parametrize("write", [[], [("SET", "a", "b")]], ids=["reads", "writes"])
def test_long_lists_in_a_transaction_cost_no_keys(write):
    """Each list is made apart, and was kept however long the reply was already."""
    with Instance(maxmemory=48 << 20, maxmemory_policy="allkeys-lru", maxmemory_clients="1mb") as instance:
        client, lazy = instance.client(), instance.client()
        fill(client)
        before = peak_rss(instance)
        queued = [("MULTI",)] + [("KEYS", "*")] * 600 + write + [("EXEC",)]
        lazy.sock.sendall(b"".join(encode(command) for command in queued))
        until(lambda: info(client, "stats")["evicted_clients"] == "1", "closed")
        assert client.cmd("DBSIZE") == KEYS + len(write)
        if is_jemalloc(client):
            assert peak_rss(instance) < before + (8 << 20)


def test_who_has_read_most_of_it_is_not_closed():
    """It is still listed among those that hold much: who holds more now goes."""
    with Instance(maxmemory=4 << 30, maxmemory_clients="18mb") as instance:
        client, reads, takes = (instance.client() for _ in range(3))
        assert client.cmd("SET", "value", b"v" * 8000) == "OK"
        reads.send("MGET", *["value"] * 2200)  # 17.6 MB
        until(lambda: held(client) > 16 << 20, "it holds them")
        left = 12500000
        while left > 0:
            left -= len(reads.sock.recv(min(left, 1 << 20)))
        takes.send("MGET", *["value"] * 1990)  # 15.9 MB
        until(lambda: info(client, "stats")["evicted_clients"] == "1", "one of them is closed")
        left = 2200 * 8000 - 12500000
        while left > 0:
            got = len(reads.sock.recv(min(left, 1 << 20)))
            assert got > 0
            left -= got


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


def test_what_stands_before_large_arguments_is_done():
    """Both in what is received at once; the second is more than clients may hold."""
    with Instance(maxmemory_clients="64kb") as instance:
        client = instance.client()
        client.sock.sendall(encode(["SET", "a", "1"]) + request_of("EXISTS", 1800, b"$0\r\n\r\n"))
        assert client.read() == "OK"
        with pytest.raises((OSError, EOFError)):
            client.read()
        assert instance.client().cmd("GET", "a") == b"1"


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


@pytest.mark.parametrize("queued", ["OFF", "SKIP"])
@pytest.mark.parametrize("first", [(), (("SET", "own", "x"),)], ids=["reads", "writes"])
def test_a_transaction_that_silences_replies(first, queued):
    """SKIP is for what comes after EXEC, whose reply is too large; OFF is for EXEC itself."""
    with Instance(maxmemory=48 << 20, maxmemory_policy="allkeys-lru") as instance:
        client, own = instance.client(), instance.client()
        assert client.cmd("SET", "e", b"v" * 8000) == "OK"
        commands = [("MULTI",), ("CLIENT", "REPLY", queued), *first] + [("MGET", *["e"] * 1000)] * 5
        assert own.pipeline(commands) == ["OK"] + ["QUEUED"] * (len(commands) - 1)
        own.sock.sendall(b"".join(encode(c) for c in (
            ("EXEC",), ("PING",), ("CLIENT", "REPLY", "ON"), ("PING",))))
        if queued == "OFF":
            assert [own.read(), own.read()] == ["OK", "PONG"]
        else:
            with pytest.raises((OSError, EOFError)):
                own.read()
        assert info(client, "stats")["evicted_clients"] == str(int(queued == "SKIP"))


def test_many_that_do_not_read_and_are_closed():
    """What they held came back only when the kernel had told of all requests that stood before that,
    half of maxmemory later."""
    limit = 64 << 20
    with Instance(maxmemory=limit, maxmemory_policy="allkeys-lru", shards=1) as instance:
        client = instance.client()
        if not is_jemalloc(client):
            pytest.skip("under sanitizers freed memory comes back late")
        assert client.cmd("CONFIG", "SET", "loglevel", "warning") == "OK"  # nobody reads the log
        fill_small(client, limit)
        assert client.cmd("SET", "value", b"v" * 8000) == "OK"
        before = peak_rss(instance)
        asking = [instance.client() for _ in range(300)]
        for other in asking:
            other.sock.sendall(b"".join(encode(("MGET", *["value"] * 7)) for _ in range(10)))
        until(lambda: int(info(client, "stats")["evicted_clients"]) > 150, "closed")
        assert client.cmd("PING") == "PONG"
        assert peak_rss(instance) < max(before, limit * 1.2)
        for other in asking:
            other.close()
