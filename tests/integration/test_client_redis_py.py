"""redis-py as applications use it."""
import threading

import pytest

redis = pytest.importorskip("redis")

from server import until  # noqa: E402

MAJOR = int(redis.__version__.split(".", maxsplit=1)[0])


@pytest.fixture
def r(plain):
    client = redis.Redis(port=plain.port)
    client.flushall()
    yield client
    client.close()


@pytest.fixture
def text(plain):
    client = redis.Redis(port=plain.port, decode_responses=True)
    client.flushall()
    yield client
    client.close()


def test_plain(r):
    assert r.ping() is True
    assert r.set("k", "v", ex=100) is True and r.get("k") == b"v"
    assert 98 <= r.ttl("k") <= 100
    assert r.set("k", "w", nx=True) is None and r.set("k", "w", get=True) == b"v"
    assert r.incr("n", 5) == 5 and r.incrbyfloat("f", 0.5) == 0.5
    assert r.mset({"a": 1, "b": 2}) is True and r.mget("a", "b", "c") == [b"1", b"2", None]
    assert r.exists("a", "b", "c") == 2 and r.delete("a", "b") == 2
    assert r.type("k") == b"string" and r.dbsize() == 3
    assert r.getex("k", persist=True) == b"w" and r.ttl("k") == -1
    with pytest.raises(redis.ResponseError, match="not an integer"):
        r.incr("k")
    assert r.execute_command("COPY", "k", "k2") == 1 and r.rename("k2", "k3")


def test_hashes(text):
    assert text.hset("h", mapping={"name": "Kettle", "price": "19.90", "qty": 7}) == 3
    assert text.hgetall("h") == {"name": "Kettle", "price": "19.90", "qty": "7"}
    assert text.hmget("h", "name", "none") == ["Kettle", None]
    assert text.hincrby("h", "qty", 2) == 9 and text.hlen("h") == 3
    assert dict(text.hscan_iter("h")) == {"name": "Kettle", "price": "19.90", "qty": "9"}


def test_decode_responses(text):
    assert text.set("ключ", "Grüße 😀") and text.get("ключ") == "Grüße 😀"
    assert text.keys() == ["ключ"]


def test_pipeline(r):
    with r.pipeline(transaction=False) as p:
        for i in range(5000):
            p.set("k%d" % i, i)
            p.get("k%d" % i)
        replies = p.execute()
    assert replies[0::2] == [True] * 5000
    assert replies[1::2] == [b"%d" % i for i in range(5000)]


def test_transaction_pipeline(r):
    with r.pipeline() as p:  # MULTI ... EXEC by default
        replies = p.set("a", 1).incr("a").hset("h", "f", "v").hgetall("h").get("none").execute()
    assert replies == [True, 2, 1, {b"f": b"v"}, None]


def test_an_error_in_a_pipeline(r):
    r.set("text", "x")
    with r.pipeline(transaction=False) as p:
        replies = p.set("a", 1).incr("text").get("a").execute(raise_on_error=False)
    assert replies[0] is True and isinstance(replies[1], redis.ResponseError)
    assert replies[2] == b"1"
    with r.pipeline() as p:
        with pytest.raises(redis.ResponseError):
            p.set("a", 2).incr("text").execute()
    assert r.get("a") == b"2"


def test_watch_loop(r, plain):
    """Increments by optimistic locking from several threads: none is lost."""
    threads, each = 4, 50

    def increment():
        mine = redis.Redis(port=plain.port)
        for _ in range(each):
            mine.transaction(lambda p: (
                lambda value: (p.multi(), p.set("n", value + 1)))(int(p.get("n") or 0)), "n")
        mine.close()

    running = [threading.Thread(target=increment) for _ in range(threads)]
    for t in running:
        t.start()
    for t in running:
        t.join()
    assert r.get("n") == b"%d" % (threads * each)


def test_watch_error(r, plain):
    other = redis.Redis(port=plain.port)
    with r.pipeline() as p:
        p.watch("n")
        other.set("n", 1)
        p.multi()
        p.set("n", 2)
        with pytest.raises(redis.WatchError):
            p.execute()
    assert r.get("n") == b"1"
    other.close()


def test_pool_of_threads(plain):
    pool = redis.ConnectionPool(port=plain.port, max_connections=20)
    shared = redis.Redis(connection_pool=pool)
    shared.flushall()
    failures = []

    def work(number):
        try:
            for i in range(100):
                key = "t%d:%d" % (number, i)
                shared.set(key, i)
                assert shared.get(key) == b"%d" % i
                shared.incr("total")
        except Exception as failure:  # noqa: BLE001, shown by the assertion below
            failures.append(failure)

    running = [threading.Thread(target=work, args=(n,)) for n in range(10)]
    for t in running:
        t.start()
    for t in running:
        t.join()
    assert not failures and shared.get("total") == b"1000"
    pool.disconnect()


def test_scan_iter(r):
    with r.pipeline(transaction=False) as p:
        for i in range(3000):
            p.set("k:%d" % i, 1)
        p.hset("k:hash", "f", "v")
        p.execute()
    assert sorted(set(r.scan_iter(count=100))) == sorted(
        [b"k:%d" % i for i in range(3000)] + [b"k:hash"])
    assert set(r.scan_iter(match="k:29?9")) == {b"k:2909", b"k:2919", b"k:2929", b"k:2939",
                                                b"k:2949", b"k:2959", b"k:2969", b"k:2979",
                                                b"k:2989", b"k:2999"}
    assert set(r.scan_iter(_type="hash")) == {b"k:hash"}


def test_a_lock_by_set_nx(r, plain):
    holders, most, guard = [0], [0], threading.Lock()

    def enter(number):
        mine = redis.Redis(port=plain.port)
        token = "t%d" % number
        for _ in range(10):
            until(lambda: mine.set("lock", token, nx=True, px=20000), "the lock is free")
            with guard:
                holders[0] += 1
                most[0] = max(most[0], holders[0])
            with guard:
                holders[0] -= 1
            assert mine.get("lock") == token.encode()
            mine.delete("lock")
        mine.close()

    running = [threading.Thread(target=enter, args=(n,)) for n in range(4)]
    for t in running:
        t.start()
    for t in running:
        t.join()
    assert most == [1] and r.exists("lock") == 0


def test_databases_and_client_commands(plain):
    one = redis.Redis(port=plain.port, db=1, client_name="tester")
    one.set("k", "one")
    assert one.client_getname() in ("tester", b"tester")
    assert any(c["name"] == "tester" and c["db"] == "1" for c in one.client_list())
    assert redis.Redis(port=plain.port, db=2).get("k") is None
    assert one.info("server")["redis_version"].startswith("7.2")
    info = one.info("everything")
    assert info["role"] == "master" and info["store_driver"] == "none"
    assert one.config_get("maxmemory*")["maxmemory-policy"] == "noeviction"
    assert one.config_set("timeout", 0) and one.time()[0] > 0
    assert one.memory_usage("k") > 0 and one.object("encoding", "k") == b"embstr"
    assert one.command_count() > 80
    one.flushdb()
    one.close()


def test_authentication(forebay):
    server = forebay(port=True, requirepass="secret")
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(port=server.port).ping()
    with pytest.raises(redis.ResponseError, match="^WRONGPASS"):
        redis.Redis(port=server.port, password="wrong").ping()
    assert redis.Redis(port=server.port, password="secret").ping()
    assert redis.Redis(port=server.port, username="default", password="secret").ping()
    assert redis.from_url("redis://:secret@127.0.0.1:%d/3" % server.port).set("k", "v")


def test_unix_socket(plain):
    assert redis.Redis(unix_socket_path=plain.path).ping()


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_reconnect_after_a_restart(forebay, end):
    server = forebay(port=True)
    r = redis.Redis(port=server.port)
    assert r.set("k", "v")
    getattr(server, end)()
    with pytest.raises(redis.ConnectionError):
        r.get("k")
    server.start()
    assert r.get("k") is None, "memory only"
    assert r.set("k", "again") and r.get("k") == b"again"
    r.close()


@pytest.mark.skipif(MAJOR < 5,
                    reason="redis-py has RESP3 from 5.0 on, this is " + redis.__version__)
def test_resp3(plain):
    r = redis.Redis(port=plain.port, protocol=3, decode_responses=True)
    r.flushall()
    r.hset("h", mapping={"a": 1})
    assert r.hgetall("h") == {"a": "1"} and r.get("none") is None
    with r.pipeline() as p:
        assert p.set("a", 1).get("a").hgetall("h").execute() == [True, "1", {"a": "1"}]
    r.close()


def test_mapped_keys(shop):
    """The store's errors come as ResponseError, never as what a client would fail over for."""
    r = redis.Redis(unix_socket_path=shop.server.path, decode_responses=True)
    assert r.hgetall("item:1") == {"id": "1", "name": "Kettle", "price": "19.90", "qty": "7"}
    assert r.mget("qty:1", "qty:99") == ["7", None]
    with r.pipeline() as p:
        assert p.get("qty:3").hget("item:2", "name").execute() == ["0", "Teapot"]
    with pytest.raises(redis.ResponseError, match="^STOREDENIED"):
        r.set("qty:1", 1)
    with pytest.raises(redis.ResponseError, match="^STOREUNSUPPORTED"):
        r.append("qty:1", "1")
    r.close()
