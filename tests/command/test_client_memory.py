"""maxmemory-clients: what is held for a client counts as its own, and who holds too much is closed."""
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
