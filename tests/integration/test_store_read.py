"""What a mapped key answers: forms, keys, absent rows, expiry, refused writes; on both drivers."""
import json
import time

import pytest

from resp import Error, Map, Nil, NilArray
from server import until


def pairs(reply):
    return dict(zip(reply[::2], reply[1::2]))


def test_hash_form(shop):
    row = pairs(shop.cmd("HGETALL", "item:1"))
    assert row == {b"id": b"1", b"name": b"Kettle", b"price": b"19.90", b"qty": b"7"}
    assert shop.cmd("HGET", "item:2", "note") == b"blue"
    assert shop.cmd("HMGET", "item:3", "name", "note", "nothing") == [b"Cup", b"", Nil]
    assert shop.cmd("HLEN", "item:3") == 5
    assert sorted(shop.cmd("HKEYS", "item:1")) == [b"id", b"name", b"price", b"qty"]
    assert shop.cmd("HEXISTS", "item:1", "note") == 0
    assert shop.cmd("HSTRLEN", "item:1", "name") == 6
    assert shop.cmd("TYPE", "item:1") == "hash"


@pytest.mark.parametrize("command,reply", [
    (["HGET", "item:1", "name"], b"Kettle"),
    (["HMGET", "item:1", "name", "note"], [b"Kettle", Nil]),
    (["HLEN", "item:1"], 4),
    (["HEXISTS", "item:1", "name"], 1),
    (["HSTRLEN", "item:1", "name"], 6),
    (["TYPE", "item:1"], "hash"),
    (["EXISTS", "item:1", "item:99", "item:1"], 2),
    (["TOUCH", "item:1", "item:99"], 1),
    (["GET", "qty:1"], b"7"),
    (["MGET", "qty:1", "qty:2", "qty:3", "qty:99", "plain"], [b"7", Nil, b"0", Nil, Nil]),
    (["STRLEN", "note:2"], 4),
    (["GETRANGE", "note:2", "1", "2"], b"lu"),
    (["TYPE", "qty:1"], "string"),
    (["GET", "item:1"], "WRONGTYPE"),
    (["HGET", "qty:1", "f"], "WRONGTYPE"),
    (["HGETALL", "item:99"], []),
    (["GET", "qty:99"], Nil),
    (["TTL", "item:99"], -2),
    (["TYPE", "item:99"], "none"),
    (["EXISTS", "item:99"], 0),
], ids=lambda v: v[0] + "-" + v[1] if isinstance(v, list) and v and isinstance(v[0], str) else "")
def test_every_read_loads(shop, command, reply):
    """Each is the first to ask for its rows; the second time they come from memory."""
    for _ in range(2):
        got = shop.cmd(*command)
        assert got.startswith("WRONGTYPE ") if reply == "WRONGTYPE" else got == reply


def test_string_form(shop):
    assert shop.cmd("GET", "note:3") == b""
    assert shop.cmd("GET", "note:1") is Nil, "NULL is no value"
    assert shop.cmd("EXISTS", "note:1") == 0
    assert shop.cmd("GET", "qty:3") == b"0"


def test_json_form(shop):
    assert json.loads(shop.cmd("GET", "item:json:1")) == {
        "id": 1, "name": "Kettle", "note": None, "qty": 7}
    assert list(json.loads(shop.cmd("GET", "item:json:2"))) == ["id", "name", "note", "qty"]
    assert shop.cmd("GET", "item:json:99") is Nil


def test_resp3_replies_a_map(shop):
    shop.cmd("HELLO", "3")
    row = shop.cmd("HGETALL", "item:1")
    assert isinstance(row, Map) and dict(row)[b"name"] == b"Kettle"
    assert shop.cmd("GET", "qty:99") is Nil


def test_keys_are_counted_once(shop):
    """A command that waits for rows counts each key as it was when the command came."""
    def counts():
        info = shop.server.info("stats")
        return int(info["keyspace_hits"]), int(info["keyspace_misses"])

    hits, misses = counts()
    assert shop.cmd("SET", "own", "x") == "OK"
    for commands, found, missed in (([["MGET", "qty:1", "own", "qty:3"]], 1, 2),
                                    ([["MGET", "qty:1", "own", "qty:3"]], 3, 0),
                                    ([["EXISTS", "own", "item:1", "qty:1", "item:99"]], 2, 2),
                                    ([["MULTI"], ["GET", "own"], ["GET", "qty:1"], ["EXEC"]], 2, 0)):
        shop.pipeline(commands)
        hits, misses = hits + found, misses + missed
        assert counts() == (hits, misses), commands


def test_unique_and_composite_keys(shop):
    assert shop.cmd("HGET", "user:email:bob@example.com", "id") == b"2"
    assert shop.cmd("MGET", "cart:1:KETTLE", "cart:2:KETTLE", "cart:1:a:b", "cart:3:KETTLE") == [
        b"2", b"9", b"5", Nil]
    assert shop.cmd("GET", "cart:1:kettle") is Nil, "case counts"
    assert shop.cmd("GET", "cart:KETTLE:1") is Nil


@pytest.mark.parametrize("key", ["item:01", "item:+1", "item: 1", "item:1 ", "item:1.0", "item:1e0",
                                 "item:0x1", "item:", "item:99999999999999999999", "item:-0",
                                 "item:1\x00", "item:one", "item:1;", "item:NULL"])
def test_only_the_canonical_number_is_the_row(shop, key):
    assert shop.cmd("HGETALL", key) == []
    assert shop.cmd("HGET", "item:1", "name") == b"Kettle"


HOSTILE = [
    "it's", '"double"', "back\\slash", "`tick`", "semi;colon", "100%", "under_score", "%", "_",
    "' OR '1'='1", "'; DROP TABLE texts; --", "x' UNION SELECT 1,2 -- ", "/* c */", "-- ", "#",
    "\\'", "\\0", "line\nbreak", "car\r\nriage", "tab\t", "Grüße", "日本語", "😀", "a😀b'\"", "?", "?1",
    ":name", "{k}", "NULL", "0", "é", "e\u0301",
]


def test_hostile_text_is_data(shop):
    for number, key in enumerate(HOSTILE):
        shop.db.sql("INSERT INTO texts VALUES (%s, 'value %d')" % (
            "CAST(%s AS %s)" % (shop.db.blob(key.encode()),
                                "CHAR" if shop.db.kind == "mysql" else "TEXT"), number))
    keys = ["text:" + key for key in HOSTILE]
    assert shop.cmd("MGET", *keys) == [b"value %d" % n for n in range(len(keys))]
    assert shop.pipeline([["GET", k] for k in keys]) == [b"value %d" % n for n in range(len(keys))]
    for key in HOSTILE:
        assert shop.cmd("GET", "text:" + key + "x") is Nil
    assert shop.db.lines("SELECT COUNT(*) FROM texts") == [str(len(HOSTILE))]


def test_bytes_are_data(shop):
    raws = [b"\0", b"a\0b", b"\0\0", bytes(range(256))[:190], b"\xff\xfe", b"\xc0\x80", b"'\0\"",
            b"a ", b"a", b"A"]
    for number, raw in enumerate(raws):
        shop.db.sql("INSERT INTO blobs VALUES (%s, %s)" % (
            shop.db.blob(raw), shop.db.blob(b"%d\0\r\n\xff" % number)))
    got = shop.cmd("MGET", *[b"blob:" + raw for raw in raws])
    assert got == [b"%d\0\r\n\xff" % n for n in range(len(raws))]
    # Bytes that no text can be are no row of a text column, and no error either.
    for raw in (b"\xff", b"\0", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"):
        assert shop.cmd("GET", b"text:" + raw) is Nil
    assert shop.cmd("PING") == "PONG"


def test_a_large_value(shop):
    size = 60000
    shop.db.sql("INSERT INTO texts VALUES ('large', '%s')" % ("x" * size))
    assert shop.cmd("STRLEN", "text:large") == size
    assert shop.cmd("GET", "text:large") == b"x" * size


def test_rows_without_fields_and_rows_of_long_columns(db, forebay):
    """Fields are kept together whatever their length, up to 64 KB."""
    c = forebay(db, maps=["note note:{id} table=items as=hash columns=note",
                          "both both:{k} table=texts as=hash"]).client()
    assert c.cmd("HGETALL", "note:1") == []
    for _ in range(2):
        assert c.cmd("HLEN", "note:1") == 0 and c.cmd("EXISTS", "note:1") == 1
        assert c.cmd("HRANDFIELD", "note:1") is Nil
        assert c.cmd("HRANDFIELD", "note:1", "-3") == []
        assert c.cmd("HRANDFIELD", "note:1", "3") == []
        assert c.cmd("HSCAN", "note:1", "0") == [b"0", []]
        c.cmd("DEL", "note:1")
    for size, packed in ((10, True), (200, True), (8000, True), (8192, True), (60000, True),
                         (66000, False)):
        if db.kind == "mysql" and size > 65535:
            continue
        key, value = "k%d" % size, "x" * size
        db.sql("INSERT INTO texts VALUES ('%s', '%s')" % (key, value))
        for _ in range(2):
            row = pairs(c.cmd("HGETALL", "both:" + key))
            assert row == {b"k": key.encode(), b"v": value.encode()}
            encoding = c.cmd("OBJECT", "ENCODING", "both:" + key)
            assert encoding == (b"listpack" if packed else b"hashtable")
        assert c.cmd("HSTRLEN", "both:" + key, "v") == size


def test_keys_longer_than_the_column(shop):
    assert shop.cmd("GET", "text:" + "k" * 5000) is Nil
    assert shop.cmd("GET", b"blob:" + b"k" * 5000) is Nil


def test_absent_rows(shop):
    """Remembered with absent=, asked for again without."""
    assert shop.cmd("HGETALL", "item:50") == [] and shop.cmd("HGETALL", "gone:50") == []
    shop.db.sql("INSERT INTO items VALUES (50, 'Late', NULL, NULL, NULL)")
    assert shop.cmd("HGET", "item:50", "name") == b"Late"
    assert shop.cmd("HGETALL", "gone:50") == []
    assert shop.cmd("EXISTS", "gone:50") == 0
    assert shop.cmd("TYPE", "gone:50") == "none" and shop.cmd("TTL", "gone:50") == -2
    assert shop.cmd("DEL", "gone:50") in (0, 1)
    assert shop.cmd("HGET", "gone:50", "name") == b"Late"


def test_absent_rows_are_not_shown(shop):
    shop.cmd("HGETALL", "gone:50")
    assert shop.cmd("KEYS", "*") == []
    assert shop.cmd("SCAN", "0") == [b"0", []]
    assert shop.cmd("RANDOMKEY") is Nil


def test_absent_expires(db, forebay):
    c = forebay(db, maps=["gone gone:{id} table=items as=hash absent=50ms"]).client()
    assert c.cmd("HGETALL", "gone:50") == []
    db.sql("INSERT INTO items VALUES (50, 'Late', NULL, NULL, NULL)")
    until(lambda: c.cmd("HGET", "gone:50", "name") == b"Late", "the absence is forgotten", 5)


def test_the_ttl_decides(db, forebay):
    c = forebay(db, maps=["item item:{id} table=items as=hash ttl=2s jitter=0%"]).client()
    began = time.monotonic()
    assert c.cmd("HGET", "item:1", "name") == b"Kettle"
    db.sql("UPDATE items SET name = 'Pot' WHERE id = 1")
    while c.cmd("HGET", "item:1", "name") == b"Kettle":
        assert time.monotonic() - began < 4
        time.sleep(0.01)
    assert c.cmd("HGET", "item:1", "name") == b"Pot"
    assert time.monotonic() - began >= 1.9, "the copy was dropped before its time"


def test_ttl_and_jitter_bounds(db, forebay):
    c = forebay(db, maps=["a a:{id} table=items as=hash ttl=100s jitter=20%",
                          "b b:{id} table=items as=hash ttl=100s jitter=0%",
                          "d d:{id} table=items as=hash"]).client()
    db.sql("INSERT INTO items VALUES " + ",".join(
        "(%d, 'x', NULL, NULL, NULL)" % i for i in range(100, 300)))
    ttls = c.pipeline([["PTTL", "a:%d" % i] for i in range(100, 300)])
    assert all(79000 <= ttl <= 100000 for ttl in ttls)
    assert min(ttls) < 87000 and max(ttls) > 93000, "spread over the jitter"
    exact = c.pipeline([["PTTL", "b:%d" % i] for i in range(100, 300)])
    assert all(98000 <= ttl <= 100000 for ttl in exact)
    assert 3239000 <= c.cmd("PTTL", "d:1") <= 3600000, "the defaults: 1h, 10%"


def test_expire_cannot_outlive_the_ttl(db, forebay):
    c = forebay(db, maps=["b b:{id} table=items as=hash ttl=100s jitter=0%"]).client()
    assert c.cmd("EXPIRE", "b:1", "5") in (0, 1)
    assert c.cmd("TTL", "b:1") <= 100
    c.cmd("HLEN", "b:1")
    assert c.cmd("EXPIRE", "b:1", "5") == 1 and c.cmd("TTL", "b:1") <= 5
    c.cmd("EXPIRE", "b:1", "100000")
    assert c.cmd("TTL", "b:1") <= 100
    c.cmd("PERSIST", "b:1")
    assert 0 <= c.cmd("TTL", "b:1") <= 100


DENIED = [["SET", "qty:1", "5"], ["SETNX", "qty:99", "5"], ["SETEX", "qty:1", "5", "x"],
          ["MSET", "plain", "1", "qty:1", "2"], ["MSETNX", "plain", "1", "qty:1", "2"],
          ["GETSET", "qty:1", "1"], ["INCR", "qty:1"], ["DECRBY", "qty:1", "3"],
          ["INCRBYFLOAT", "qty:1", "1"], ["HSET", "item:1", "name", "x"],
          ["HSETNX", "item:1", "x", "x"], ["HDEL", "item:1", "name"],
          ["HINCRBY", "item:1", "qty", "1"], ["HINCRBYFLOAT", "item:1", "qty", "1"]]
UNSUPPORTED = [["APPEND", "qty:1", "x"], ["SETRANGE", "qty:1", "0", "x"],
               ["RENAME", "item:1", "other"], ["RENAME", "plain", "item:1"],
               ["RENAMENX", "plain", "item:1"], ["COPY", "item:1", "other"],
               ["COPY", "plain", "item:1"]]


@pytest.mark.parametrize("command", DENIED, ids=" ".join)
def test_writes_are_denied(shop, command):
    shop.cmd("SET", "plain", "was")
    assert shop.cmd(*command).startswith("STOREDENIED ")
    assert shop.cmd("GET", "plain") == b"was" and shop.cmd("GET", "qty:1") == b"7"
    assert shop.cmd("HGET", "item:1", "name") == b"Kettle"


@pytest.mark.parametrize("command", UNSUPPORTED, ids=" ".join)
def test_unsupported(shop, command):
    shop.cmd("SET", "plain", "was")
    assert shop.cmd(*command).startswith("STOREUNSUPPORTED ")
    assert shop.cmd("GET", "plain") == b"was" and shop.cmd("GET", "qty:1") == b"7"
    assert shop.cmd("EXISTS", "other") == 0


@pytest.mark.parametrize("drop", [["DEL", "item:1"], ["UNLINK", "item:1"], ["FLUSHALL"],
                                  ["FLUSHDB"], ["FLUSHALL", "ASYNC"]], ids=" ".join)
def test_dropping_a_copy(shop, drop):
    assert shop.cmd("HGET", "item:1", "name") == b"Kettle"
    shop.db.sql("UPDATE items SET name = 'Pot' WHERE id = 1")
    assert shop.cmd("HGET", "item:1", "name") == b"Kettle"
    assert not isinstance(shop.cmd(*drop), Error)
    assert shop.cmd("HGET", "item:1", "name") == b"Pot"
    assert shop.db.lines("SELECT name FROM items WHERE id = 1") == ["Pot"]


def test_scan_and_dbsize_see_copies_only(shop):
    assert shop.cmd("DBSIZE") == 0
    shop.cmd("HGETALL", "item:1")
    shop.cmd("SET", "plain", "1")
    assert shop.cmd("DBSIZE") == 2
    assert sorted(shop.cmd("KEYS", "*")) == [b"item:1", b"plain"]
    assert sorted(shop.cmd("SCAN", "0")[1]) == [b"item:1", b"plain"]


def test_other_databases_do_not_map(shop):
    assert shop.cmd("SELECT", "1") == "OK"
    assert shop.cmd("GET", "qty:1") is Nil
    assert shop.cmd("SET", "qty:1", "own") == "OK" and shop.cmd("GET", "qty:1") == b"own"
    assert shop.cmd("MOVE", "qty:1", "0").startswith("STORE")
    assert shop.cmd("GET", "qty:1") == b"own"
    assert shop.cmd("SELECT", "0") == "OK" and shop.cmd("GET", "qty:1") == b"7"


def test_transaction(shop):
    """Rows are loaded before the block runs, so that it sees one moment."""
    replies = shop.pipeline([["MULTI"], ["GET", "qty:1"], ["SET", "plain", "1"],
                             ["HGET", "item:2", "name"], ["GET", "qty:99"], ["INCR", "plain"],
                             ["MGET", "qty:3", "plain"], ["EXEC"]])
    assert replies[-1] == [b"7", "OK", b"Teapot", Nil, 2, [b"0", b"2"]]


def test_a_write_in_a_transaction_is_denied(shop):
    replies = shop.pipeline([["MULTI"], ["SET", "qty:1", "1"], ["SET", "plain", "1"], ["EXEC"]])
    assert replies[1].startswith("STOREDENIED ")
    assert replies[3].startswith("EXECABORT ") and shop.cmd("GET", "plain") is Nil


def test_watch(shop):
    other = shop.server.client()
    # Loading the watched row is no change of it.
    assert shop.cmd("WATCH", "qty:1") == "OK"
    assert shop.pipeline([["MULTI"], ["GET", "qty:1"], ["EXEC"]])[-1] == [b"7"]
    # Dropping the copy is.
    assert shop.cmd("WATCH", "qty:1") == "OK"
    assert other.cmd("DEL", "qty:1") == 1
    assert shop.pipeline([["MULTI"], ["GET", "qty:1"], ["EXEC"]])[-1] is NilArray
    # An ordinary key's write beside mapped reads, as ever.
    assert shop.cmd("WATCH", "plain", "item:99") == "OK"
    assert other.cmd("SET", "plain", "1") == "OK"
    assert shop.pipeline([["MULTI"], ["GET", "plain"], ["EXEC"]])[-1] is NilArray
    other.close()


def test_pipelines_keep_their_order(shop):
    """Hits, misses, ordinary keys, errors and absent rows mixed; three times over."""
    commands, replies = [], []
    for i in range(50):
        commands += [["SET", "p:%d" % i, str(i)], ["GET", "qty:%d" % (i % 3 + 1)],
                     ["GET", "p:%d" % i], ["HGET", "item:%d" % (i % 3 + 1), "id"],
                     ["GET", "qty:%d" % (1000 + i)], ["NOSUCH"], ["APPEND", "p:%d" % i, "x"],
                     ["INCR", "qty:1"], ["GET", "p:%d" % i], ["DEL", "qty:2"], ["PING", str(i)]]
        replies += ["OK", [b"7", Nil, b"0"][i % 3], b"%d" % i, b"%d" % (i % 3 + 1), Nil, "ERR",
                    len(str(i)) + 1, "STOREDENIED", b"%dx" % i, None, b"%d" % i]
    for _ in range(3):
        for got, want in zip(shop.pipeline(commands), replies):
            if want in ("ERR", "STOREDENIED"):
                assert got.split(" ")[0] == want
            elif want is not None:
                assert got == want
        shop.cmd("DEL", *["p:%d" % i for i in range(50)])


def test_a_read_behind_a_write_sees_it(shop):
    """The row is missed between them; what follows must still run in order."""
    assert shop.pipeline([["SET", "plain", "1"], ["GET", "qty:1"], ["SET", "plain", "2"],
                          ["GET", "plain"], ["DEL", "plain"], ["GET", "qty:3"],
                          ["EXISTS", "plain"]]) == [
        "OK", b"7", "OK", b"2", 1, b"0", 0]


def test_mget_of_many(shop):
    shop.db.sql("INSERT INTO items VALUES " + ",".join(
        "(%d, 'n', NULL, NULL, %d)" % (i, i * 3) for i in range(1000, 1500)))
    keys = ["qty:%d" % i for i in range(1000, 1500)]
    want = [b"%d" % (i * 3) for i in range(1000, 1500)]
    assert shop.cmd("MGET", *keys) == want
    assert shop.cmd("MGET", *reversed(keys)) == want[::-1]
    assert shop.server.count("store_batches") <= 8


def test_mget_of_more_than_one_command_may_wait_for(shop):
    """More rows than ENV_MISSES_MAX, so that the command waits several times."""
    count = 3000
    shop.db.sql("INSERT INTO items VALUES " + ",".join(
        "(%d, 'n', NULL, NULL, %d)" % (i, i) for i in range(10000, 10000 + count)))
    keys = ["qty:%d" % i for i in range(10000, 10000 + count)]
    assert shop.cmd("MGET", *keys) == [b"%d" % i for i in range(10000, 10000 + count)]
    assert shop.cmd("EXISTS", *keys) == count
