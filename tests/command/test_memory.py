"""maxmemory: its forms, changing it at run time, and what is refused or evicted for one request."""
import pytest

from server import AGAINST
from instance import Instance, info, run_to_end, until
from memory import KEYS, VALUE, fill, is_jemalloc, peak_rss, used
from resp import Error

pytestmark = pytest.mark.skipif(bool(AGAINST), reason="percentages, Forebay's pacing")
REFUSED = "ERR CONFIG SET failed (possibly related to argument 'maxmemory') - "
BUFFERS = 64 * 1024  # of the connection that asks


def maxmemory(client):
    return int(client.cmd("CONFIG", "GET", "maxmemory")[1])


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
        before = int(info(client, "memory")["used_memory_rss"])
        if command == "COPY":
            commands = [("COPY", "first", "k%d" % n) for n in range(count)]
        else:
            commands = [("SETRANGE", "k%d" % n, size - 1, "x") for n in range(count)]
        replies = client.pipeline(commands)
        refused = sum(isinstance(r, Error) for r in replies)
        assert refused > count / 2 if policy == "noeviction" else refused == 0
        assert used(client) < limit + 2 * size
        if is_jemalloc(client):
            assert peak_rss(instance) < before + limit + 4 * size


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


def test_more_than_any_allocation():
    """Refused like all that never fits, alone and within EXEC: such sizes have no size class."""
    refusal = "OOM command not allowed when used memory > 'maxmemory'."
    with Instance(maxmemory=64 << 20, proto_max_bulk_len=9 * 10**18) as instance:
        client = instance.client()
        much = ("SETRANGE", "key", 8 * 10**18, "x")
        assert client.cmd(*much) == refusal
        assert client.pipeline([("MULTI",), much, ("SET", "a", "1"), ("EXEC",)])[3] == [refusal, "OK"]
        assert client.cmd("KEYS", "*") == [b"a"]


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
