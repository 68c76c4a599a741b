"""Large rows on their way are held within maxmemory, and so are those that commands wait for."""
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from databases import row_of_letters
from resp import Error
from server import until

MB = 1 << 20
ROWS, ROW = 120, MB
LIMIT = 64 * MB
MAPS = ["big big:{k} table=big as=string:v", "bighash bighash:{k} table=big as=hash",
        "qty qty:{id} table=items as=string:qty"]
BUSY = "STOREBUSY the rows that commands wait for take too much memory"
CLIENTS, SECONDS = 32, 3
# Of maxmemory, but for one sample in a hundred; it was 1.14 to 1.46 when loads were counted and not
# held. What is beyond 1.05 here is a machine whose shards do not get to run while rows are read.
RESIDENT_MAX, RESIDENT_SAMPLE_MAX = 1.06, 1.12


@pytest.fixture
def big(db):
    db.large_rows("big", ROWS, ROW)
    return db


def value(k):
    return row_of_letters(k, ROW)


def start(forebay, db, **options):
    options = {"store_timeout": "60s", "maxmemory": str(LIMIT), "maxmemory_policy": "allkeys-lru",
               **options}
    return forebay(db, maps=MAPS, **options)


def is_jemalloc(server):
    """Sanitizers keep what was freed: resident memory says nothing there."""
    return server.info("memory")["mem_allocator"].startswith("jemalloc")


class Peak(threading.Thread):
    """Resident memory while it lasts, sampled; then .stop() and .within()."""

    def __init__(self, server):
        super().__init__()
        self.server, self.samples, self.ends = server, [], threading.Event()
        self.start()

    def run(self):
        with open("/proc/%d/statm" % self.server.process.pid, encoding="ascii") as f:
            while not self.ends.is_set():
                f.seek(0)
                self.samples.append(int(f.read().split()[1]) * 4096)
                time.sleep(0.002)

    def stop(self):
        self.ends.set()
        self.join()
        self.samples.sort()
        return self

    def of(self, share):
        return self.samples[min(int(len(self.samples) * share), len(self.samples) - 1)]

    def within(self, limit):
        return self.of(0.99) <= RESIDENT_MAX * limit and self.of(1) <= RESIDENT_SAMPLE_MAX * limit

    def __repr__(self):
        return "resident MB, 50%%, 99%%, most: %.1f %.1f %.1f" % tuple(
            self.of(share) / MB for share in (0.5, 0.99, 1))


def read_by_many(server, clients, once):
    """Each calls once(rng, its client), which returns what was wrong, for SECONDS. Returns the
    resident memory meanwhile, and all that was wrong."""
    wrong = []

    def read(seed):
        rng, c = random.Random(seed), server.client(timeout=60)
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            found = once(rng, c)
            if found is not None:
                wrong.append(found)
        c.close()

    readers = [threading.Thread(target=read, args=(seed,)) for seed in range(clients)]
    peak = Peak(server)
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    return peak.stop(), wrong


@pytest.mark.parametrize("form", ["string", "hash"])
def test_many_clients_of_large_rows(big, forebay, form):
    server = start(forebay, big, shards=2)

    def read(rng, c):
        k = rng.randrange(ROWS)
        got = c.cmd("GET", "big:%d" % k) if form == "string" else \
            c.cmd("HGET", "bighash:%d" % k, "v")
        return None if got == value(k) else (k, got[:100])

    peak, wrong = read_by_many(server, CLIENTS, read)
    assert wrong == []
    if is_jemalloc(server):
        assert peak.within(LIMIT), peak
    assert server.count("store_loads_bytes_max") == LIMIT // 16
    until(lambda: server.count("store_loads_bytes") == 0, "nothing is on its way")
    assert server.count("store_kept_bytes") == 0


MANY, LARGEST = 8000, 20000
MANY_CLIENTS, MANY_KEYS = 16, 200


def many_value(k):
    return bytes([97 + k % 26]) * (20 + k * 7919 % (LARGEST - 20))


@pytest.fixture
def many(db):
    """Rows of up to 20 KB, which mostly lie in the allocator."""
    if db.kind == "mysql":
        db.sql("CREATE TABLE many (k INT PRIMARY KEY, v LONGBLOB);"
               "INSERT INTO many SELECT seq, REPEAT(CHAR(97 + seq %% 26), 20 + seq * 7919 %% %d) "
               "FROM seq_0_to_%d" % (LARGEST - 20, MANY - 1))
    else:
        db.sql("CREATE TABLE many (k INTEGER PRIMARY KEY, v BLOB)")
        db.connection.execute("BEGIN")
        db.connection.executemany("INSERT INTO many VALUES (?, ?)",
                                  ((k, many_value(k)) for k in range(MANY)))
        db.connection.execute("COMMIT")
    return db


@pytest.mark.parametrize("command", ["MGET", "EXISTS"])
@pytest.mark.parametrize("shards,limit,keys", [(1, LIMIT, MANY_KEYS), (3, 40 * MB, 20)])
def test_many_clients_of_commands_with_many_rows(many, forebay, command, shards, limit, keys):
    """It was up to 1.33: that memory came down after each peak kept keys from being evicted, the
    connections' caches took a quarter of 64 MB, and rows came faster than keys went for them. Two
    of five EXISTS of 200 rows were refused, as they pushed one another's rows out."""
    server = forebay(many, maps=["many many:{k} table=many as=string:v"], store_timeout="60s",
                     maxmemory=str(limit), maxmemory_policy="allkeys-lru", shards=shards)

    def read(rng, c):
        ks = [rng.randrange(MANY) for _ in range(keys)]
        got = c.cmd(command, *["many:%d" % k for k in ks])
        is_right = got == (len(ks) if command == "EXISTS" else [many_value(k) for k in ks])
        return None if is_right else (ks, str(got)[:100])

    peak, wrong = read_by_many(server, MANY_CLIENTS, read)
    assert wrong == []
    if is_jemalloc(server):
        assert peak.within(limit), peak
    until(lambda: server.count("store_loads_bytes") == 0, "nothing is on its way")


@pytest.mark.parametrize("write", [[], [["INCR", "n"]]], ids=["reads", "writes"])
def test_many_clients_of_exec_of_large_rows(big, forebay, write):
    """10 MB of copied fields each, of rows that are missed, and missed again when they went while
    the transaction waited for room. It was a third of the clients that were closed, or told that
    the transaction had dropped a row, and every fourth row that was refused. That a writing
    one evicted rows that it had still to read was rarer."""
    server = start(forebay, big, shards=2)
    wrong, busy = [], []

    def read(seed):
        rng, c = random.Random(seed), server.client(timeout=60)
        for _ in range(4):
            ks = [rng.randrange(15) for _ in range(10)]
            queued = write + [["HGETALL", "bighash:%d" % k] for k in ks]
            got = c.pipeline([["MULTI"]] + queued + [["EXEC"]])[-1]
            for k, row in zip(ks, got[len(write):]):
                if row == BUSY:
                    busy.append(k)
                elif row != [b"k", b"%d" % k, b"v", value(k)]:
                    wrong.append((k, str(row)[:100]))
        c.close()

    readers = [threading.Thread(target=read, args=(seed,)) for seed in range(6)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert wrong == [] and busy == []
    assert server.info("stats")["evicted_clients"] == "0"


@pytest.mark.parametrize("limit,clients", [(24 * MB, 32), (LIMIT, 12)])
def test_many_clients_of_exec_of_rows_found_and_missed(big, forebay, limit, clients):
    """Some of the rows of each are there, and would be pushed out by what the others load."""
    server = start(forebay, big, maxmemory=str(limit), shards=3)

    def read(rng, c):
        ks = [rng.randrange(60) for _ in range(5 if limit < LIMIT else 10)]
        got = c.pipeline([["MULTI"]] + [["GET", "big:%d" % k] for k in ks] + [["EXEC"]])[-1]
        return None if got == [value(k) for k in ks] else (ks, [str(row)[:100] for row in got])

    peak, wrong = read_by_many(server, clients, read)
    assert wrong == []
    if is_jemalloc(server) and limit == LIMIT:  # 24 MB are too little for three shards and a store
        assert peak.within(limit), peak


@pytest.mark.parametrize("shards", [1, 3])
def test_rows_that_many_read_and_that_have_to_go(big, forebay, shards):
    """Each wants a third of maxmemory of rows, which are sent from where they lie: what went for others
    stayed in memory until it was sent, and came to 3 times maxmemory. Now they wait for one another
    until then, and none is closed for what all hold."""
    server = start(forebay, big, shards=shards)

    def read(rng, c):
        ks = [rng.randrange(ROWS) for _ in range(20)]
        got = c.cmd("MGET", *["big:%d" % k for k in ks])
        return None if got == [value(k) for k in ks] else (ks, str(got)[:100])

    peak, wrong = read_by_many(server, 12, read)
    assert wrong == []
    assert server.info("stats")["evicted_clients"] == "0"
    if is_jemalloc(server):
        assert peak.within(LIMIT), peak


@pytest.mark.parametrize("shards", [1, 3])
def test_rows_that_nobody_reads(big, forebay, shards):
    """They are their clients', who are closed for them; others are held up for some tenths of a second
    by each. It was 2.3 times maxmemory with twelve clients, and every SET was refused."""
    server = start(forebay, big, shards=shards)
    peak, control = Peak(server), server.client(timeout=60)
    lazy = []
    for n in range(12):
        lazy.append(server.client())
        lazy[-1].send("MGET", *["big:%d" % (n * 20 % ROWS + k) for k in range(20)])
    for n in range(12):
        for k in range(0, ROWS, 30):
            assert control.cmd("MGET", "big:%d" % k, "big:%d" % (k + n)) == [value(k), value(k + n)]
        assert control.cmd("SET", "key", b"v" * MB) == "OK"
    until(lambda: server.count("store_commands_waiting") == 0, "all have been let in")
    assert int(server.info("stats")["evicted_clients"]) >= 1  # two each have the same rows
    assert int(server.info("memory")["mem_clients_normal"]) <= LIMIT // 2
    if is_jemalloc(server):
        assert peak.stop().within(LIMIT), peak
    peak.stop()
    for c in lazy:
        c.close()
    until(lambda: server.info("memory")["mem_clients_normal"] == "0", "nobody holds anything")


def test_rows_that_fit_in_one_command(big, forebay):
    server = start(forebay, big)
    c = server.client(timeout=60)
    for _ in range(2):
        assert c.cmd("MGET", *["big:%d" % k for k in range(20)]) == [value(k) for k in range(20)]
    assert server.count("store_loads") <= 25
    assert c.pipeline([["GET", "big:%d" % k] for k in range(100)]) == [
        value(k) for k in range(100)]
    c.close()


def test_rows_that_do_not_fit_in_one_command(big, forebay):
    server = start(forebay, big)
    c = server.client(timeout=60)
    words = ["MGET"] + ["big:%d" % (k % ROWS) for k in range(300)]
    peak = Peak(server)
    got = c.cmd(*words)
    assert isinstance(got, Error) and got == BUSY
    until(lambda: server.count("store_workers_busy") == 0, "the rest has come")
    loads = server.count("store_loads")
    assert loads <= ROWS
    got = c.cmd(*words)  # their size is known now: not all are asked for
    assert isinstance(got, Error) and got == BUSY
    until(lambda: server.count("store_workers_busy") == 0, "the rest has come")
    assert server.count("store_loads") - loads <= 100
    if is_jemalloc(server):
        assert peak.stop().within(LIMIT), peak
    peak.stop()
    assert c.pipeline([["GET", "big:1"], ["GET", "qty:1"]]) == [value(1), b"7"]
    assert server.info("errorstats")["errorstat_STOREBUSY"] == "count=2"
    assert server.count("store_kept_bytes") == 0
    c.close()


def test_one_row_larger_than_the_share(big, forebay):
    """maxmemory/16 is less than a row: one at a time is read."""
    server = start(forebay, big, maxmemory=str(12 * MB))
    clients = [server.client(timeout=60) for _ in range(8)]
    for round_ in range(5):
        for i, c in enumerate(clients):
            c.send("GET", "big:%d" % (round_ * 8 + i))
        for i, c in enumerate(clients):
            assert c.read() == value(round_ * 8 + i)
    assert server.count("store_loads_bytes_max") == 12 * MB // 16
    control = server.client()
    assert control.cmd("CONFIG", "SET", "maxmemory", "0") == "OK"
    assert server.count("store_loads_bytes_max") == 0
    assert control.cmd("CONFIG", "SET", "maxmemory", "1mb") == "OK"
    assert server.count("store_loads_bytes_max") == 256 << 10
    for c in clients + [control]:
        c.close()


def test_connections_do_not_keep_what_large_rows_took(big, forebay):
    """After rows of a seventh of maxmemory there is as much room for keys as before."""
    large = 9 * MB
    if big.kind == "mysql":
        big.sql("INSERT INTO big SELECT 1000 + seq, REPEAT('L', %d) FROM seq_0_to_7" % large)
    else:
        big.connection.executemany("INSERT INTO big VALUES (?, ?)",
                                   ((1000 + k, b"L" * large) for k in range(8)))
    server = start(forebay, big)
    clients = [server.client(timeout=60) for _ in range(8)]
    for _ in range(3):
        with ThreadPoolExecutor(len(clients)) as pool:  # who does not read is closed for what he holds
            got = pool.map(lambda k: clients[k].cmd("GET", "big:%d" % (1000 + k)), range(len(clients)))
            assert list(got) == [b"L" * large] * len(clients)
    c = clients[0]

    def keys_after_setting_all():
        for n in range(0, LIMIT // 1000, 100):
            assert c.pipeline([["SET", "key:%d" % i, b"v" * 1000] for i in range(n, n + 100)]) == [
                "OK"] * 100
        return c.cmd("DBSIZE")

    # What the rows took is kept free for the next for about a second.
    until(lambda: keys_after_setting_all() > LIMIT * 0.6 / 1000, "keys have all room", 10)
    for c in clients:
        c.close()


def test_kept_rows_are_bounded(big, forebay):
    """What can't be stored is answered from copies: some at a time, and not more than there is room
    for. With noeviction and memory full nothing can be stored."""
    server = start(forebay, big, maxmemory_policy="noeviction")
    c = server.client(timeout=60)
    n = 0
    while not isinstance(c.cmd("SET", "full:%d" % n, b"v" * (100 << 10)), Error):
        n += 1
    peak = Peak(server)
    assert c.cmd("GET", "big:0") == value(0)
    assert c.cmd("MGET", *["big:%d" % k for k in range(1, 4)]) == [value(k) for k in range(1, 4)]
    got = c.cmd("MGET", *["big:%d" % k for k in range(4, 60)])
    assert isinstance(got, Error) and got == BUSY
    most = peak.stop().of(1)
    if is_jemalloc(server):
        assert most <= 1.4 * LIMIT, most / LIMIT  # it was 1.9 and more
    assert c.cmd("GET", "big:0") == value(0)
    c.close()


def whole(c, reply):
    """What follows on the connection is `reply`: True; or its end, with nothing before: False."""
    try:
        got = c.file.read(len(reply))
    except ConnectionError:
        return False
    assert got in (reply, b"")
    return got == reply


def test_exec_whose_last_reply_goes_back_at_the_limit(db, forebay):
    """A row that the transaction dropped is an error that takes the place of a reply begun before.
    Where it begins just below what clients may hold, all replies are there, in order, or none."""
    server = forebay(db, maxmemory=str(LIMIT), maxmemory_clients="1mb")
    part = b"$1000\r\n" + b"v" * 1000 + b"\r\n"
    dropped = b"-STOREUNSUPPORTED a row that the transaction dropped can't be read in it\r\n"
    fit = MB // len(part)
    wholes = []
    for parts in range(fit - 6, fit + 4):
        for begun in (18, 26, 28, 30, 32):
            c = server.client()
            assert c.cmd("SET", "v", b"v" * 1000) == "OK" and c.cmd("GET", "qty:1") == b"7"
            queued = [["GET", "v"]] * parts + [
                ["DEL", "qty:1"], ["MGET"] + ["v"] * begun + ["qty:1"], ["PING"]]
            assert c.pipeline([["MULTI"]] + queued) == ["OK"] + ["QUEUED"] * len(queued)
            c.send("EXEC")
            reply = b"*%d\r\n" % len(queued) + part * parts + b":1\r\n" + dropped + b"+PONG\r\n"
            wholes.append(whole(c, reply))
            assert not wholes[-1] or c.cmd("PING") == "PONG"
            c.close()
    assert True in wholes and False in wholes  # the limit is among them
