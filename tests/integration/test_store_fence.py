"""Loads in flight against what happens meanwhile: the fence, and the memory limit."""
from resp import Nil
from server import until


def test_del_stops_a_load_in_flight(db, forebay):
    """Who asked before is answered; the row, read before the DEL, is not kept."""
    server = forebay(db, store_timeout="30s")
    reader, other = server.client(timeout=30), server.client(timeout=30)
    with db.stalled("items"):
        reader.send("HGET", "item:1", "name")
        until(lambda: server.count("blocked_clients") == 1, "the load is in flight", 10)
        assert other.cmd("DEL", "item:1") == 0
    assert reader.read() == b"Kettle"
    assert server.count("store_fills_refused") == 1
    assert other.cmd("DBSIZE") == 0
    assert other.cmd("HGET", "item:1", "name") == b"Kettle"
    assert server.count("store_loads") == 2
    assert other.cmd("DBSIZE") == 1


def test_del_of_another_key_stops_nothing(db, forebay):
    server = forebay(db, store_timeout="30s")
    reader, other = server.client(timeout=30), server.client(timeout=30)
    with db.stalled("items"):
        reader.send("HGET", "item:1", "name")
        until(lambda: server.count("blocked_clients") == 1, "the load is in flight", 10)
        for i in range(100):
            other.cmd("DEL", "ordinary:%d" % i)
    assert reader.read() == b"Kettle"
    assert server.count("store_fills_refused") == 0


def test_read_behind_a_del_in_one_pipeline(db, forebay):
    """The third command's row was asked for ahead, before the DEL ran: it is asked for again."""
    server = forebay(db, store_timeout="30s")
    c = server.client(timeout=30)
    assert c.pipeline([["HGET", "item:1", "name"], ["DEL", "item:1"],
                       ["HGET", "item:1", "name"]]) == [b"Kettle", 1, b"Kettle"]
    assert server.count("store_loads") == 2


def test_flushall_stops_a_load_in_flight(db, forebay):
    server = forebay(db, store_timeout="30s")
    reader, other = server.client(timeout=30), server.client(timeout=30)
    with db.stalled("items"):
        reader.send("HGET", "item:1", "name")
        until(lambda: server.count("blocked_clients") == 1, "the load is in flight", 10)
        assert other.cmd("FLUSHALL") == "OK"
    assert reader.read() == b"Kettle"
    assert other.cmd("DBSIZE") == 0


def test_rows_are_answered_but_not_kept_past_maxmemory(db, forebay):
    server = forebay(db, maxmemory="1mb", maxmemory_policy="noeviction")
    c = server.client()
    assert c.cmd("HGET", "item:1", "name") == b"Kettle"
    assert c.cmd("HGET", "item:1", "name") == b"Kettle"
    assert c.cmd("HGET", "item:999999", "name") == Nil
    assert c.cmd("DBSIZE") == 0
    assert server.count("store_fills_refused") >= 2


def test_rows_evict_rows(db, forebay):
    """With a policy that evicts, rows make room for rows."""
    server = forebay(db, maxmemory_policy="allkeys-lru")
    c = server.client()
    assert c.cmd("HGET", "item:1", "name") == b"Kettle"
    c.cmd("CONFIG", "SET", "maxmemory", "1")
    assert c.cmd("HGET", "item:2", "name") is not None
    until(lambda: server.count("evicted_keys") >= 1, "a row was evicted", 10)
