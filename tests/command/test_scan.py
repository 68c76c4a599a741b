"""KEYS and SCAN: patterns, cursors, types, and what a walk promises while keys come and go."""
from cases import cases, run

NOT_INT = "-ERR value is not an integer or out of range"
SYNTAX = "-ERR syntax error"
CURSOR = "-ERR invalid cursor"

CASES = {
    "keys": r"""
        KEYS *               -> []
        MSET hello 1 hallo 2 hxllo 3 hllo 4 heeello 5 -> +OK
        KEYS *               -> <"hello" "hallo" "hxllo" "hllo" "heeello">
        KEYS h?llo           -> <"hello" "hallo" "hxllo">
        KEYS h*llo           -> <"hello" "hallo" "hxllo" "hllo" "heeello">
        KEYS h[ae]llo        -> <"hello" "hallo">
        KEYS h[^e]llo        -> <"hallo" "hxllo">
        KEYS h[a-f]llo       -> <"hello" "hallo">
        KEYS h[f-a]llo       -> <"hello" "hallo">
        KEYS hello           -> ["hello"]
        KEYS HELLO           -> []
        KEYS none            -> []
        KEYS ''              -> []
        KEYS h**o            -> <"hello" "hallo" "hxllo" "hllo" "heeello">
        SET "h*llo" 6        -> +OK
        KEYS "h\\*llo"       -> ["h*llo"]
        KEYS "h[*]llo"       -> ["h*llo"]
        FLUSHDB              -> +OK
        SET '' empty         -> +OK
        KEYS *               -> [""]
        KEYS ''              -> [""]
        SET "a\x00b" v       -> +OK
        KEYS "a\x00*"        -> ["a\x00b"]
        SELECT 1             -> +OK
        KEYS *               -> []
        KEYS                 -> -ERR wrong number of arguments for 'keys' command
        KEYS a b             -> -ERR wrong number of arguments for 'keys' command
    """,
    "scan of few keys": """
        SCAN 0               -> ["0" []]
        MSET a 1 b 2         -> +OK
        HSET h f v           -> :1
        SCAN 0 COUNT 1000    -> ["0" <"a" "b" "h">]
        SCAN 0 count 1000 match * -> ["0" <"a" "b" "h">]
        SCAN 0 COUNT 1000 MATCH a -> ["0" ["a"]]
        SCAN 0 COUNT 1000 MATCH none -> ["0" []]
        SCAN 0 COUNT 1000 MATCH x MATCH [ab] -> ["0" <"a" "b">]
        SCAN 0 COUNT 1000 TYPE hash -> ["0" ["h"]]
        SCAN 0 COUNT 1000 TYPE STRING -> ["0" <"a" "b">]
        SCAN 0 COUNT 1000 TYPE list -> ["0" []]
        SCAN 0 COUNT 1000 TYPE zset -> ["0" []]
        SCAN 0 COUNT 1000 TYPE set -> ["0" []]
        SCAN 0 COUNT 1000 TYPE stream -> ["0" []]
        SCAN 0 COUNT 1000 TYPE junk -> ["0" []]
        SCAN 0 COUNT 1000 TYPE hash MATCH a -> ["0" []]
        SCAN 0 COUNT 9223372036854775807 -> ["0" <"a" "b" "h">]
    """,
    "scan errors": """
        SCAN abc             -> %(cursor)s
        SCAN 1x              -> %(cursor)s
        SCAN ' 1'            -> %(cursor)s
        SCAN '1 '            -> %(cursor)s
        SCAN -               -> %(cursor)s
        SCAN 18446744073709551616 -> %(cursor)s
        SCAN ''              -> ["0" []]
        SCAN +0              -> ["0" []]
        SCAN 00              -> ["0" []]
        SCAN 0 COUNT         -> %(syntax)s
        SCAN 0 MATCH         -> %(syntax)s
        SCAN 0 TYPE          -> %(syntax)s
        SCAN 0 junk          -> %(syntax)s
        SCAN 0 junk x        -> %(syntax)s
        SCAN 0 COUNT 0       -> %(syntax)s
        SCAN 0 COUNT -5      -> %(syntax)s
        SCAN 0 COUNT abc     -> %(not_int)s
        SCAN 0 COUNT 10 junk -> %(syntax)s
        SCAN abc COUNT 0     -> %(cursor)s
        SCAN                 -> -ERR wrong number of arguments for 'scan' command
    """ % {"cursor": CURSOR, "syntax": SYNTAX, "not_int": NOT_INT},
}


@cases(CASES)
def test_scan(client, lines):
    run(client, lines)


def walk(client, *options, between=None):
    """All replies of a whole SCAN, and how many calls it took."""
    cursor, keys, calls = b"0", [], 0
    while True:
        reply = client.cmd("SCAN", cursor, *options)
        assert type(reply) is list and type(reply[0]) is bytes and reply[0].isdigit()
        cursor = reply[0]
        keys += reply[1]
        calls += 1
        assert calls < 100000
        if cursor == b"0":
            return keys, calls
        if between:
            between()


def fill(client, count, prefix="key:"):
    names = ["%s%d" % (prefix, i) for i in range(count)]
    for start in range(0, count, 1000):
        client.cmd("MSET", *[x for n in names[start:start + 1000] for x in (n, "v")])
    return {n.encode() for n in names}


def test_scan_finds_every_key(client):
    names = fill(client, 5000)
    for count in (1, 10, 100, 1000, 100000):
        keys, _ = walk(client, "COUNT", count)
        assert set(keys) == names
        assert len(keys) <= len(names) * 1.1


def test_count_is_about_how_many_keys_a_call_answers(client):
    fill(client, 5000)
    for count in (1, 10, 100, 1000):
        _, calls = walk(client, "COUNT", count)
        assert 5000 / (count * 3 + 20) <= calls <= 5000 * 3 / count + 20, (count, calls)


def test_scan_with_match_and_type(client):
    fill(client, 1000)
    for i in range(100):
        client.cmd("HSET", "hash:%d" % i, "f", "v")
    keys, _ = walk(client, "MATCH", "key:1?")
    assert sorted(keys) == [b"key:1%d" % i for i in range(10)]
    keys, _ = walk(client, "TYPE", "hash", "COUNT", 50)
    assert set(keys) == {b"hash:%d" % i for i in range(100)}


def test_keys_there_throughout_are_found_while_others_come_and_go(client, other):
    names = fill(client, 1000)
    state = {"n": 0}

    def between():
        start = state["n"]
        other.cmd("MSET", *[x for i in range(start, start + 100) for x in ("new:%d" % i, "v")])
        other.cmd("DEL", *["new:%d" % i for i in range(start - 1000, start - 900)])
        state["n"] += 100

    keys, _ = walk(client, "COUNT", 20, between=between)
    assert names <= set(keys)


def test_cursors_nobody_gave_out_are_harmless(client):
    fill(client, 100)
    for cursor in ("1", "42", "65535", "4294967296", "9223372036854775807", "18446744073709551615",
                   "-1"):
        reply = client.cmd("SCAN", cursor)
        assert type(reply) is list and reply[0].isdigit() and type(reply[1]) is list


def test_scan_sees_one_database(client):
    fill(client, 50)
    client.cmd("SELECT", 5)
    client.cmd("SET", "elsewhere", "v")
    assert walk(client)[0] == [b"elsewhere"]


def test_keys_of_many(client):
    names = fill(client, 20000)
    assert set(client.cmd("KEYS", "*")) == names
    keys = client.cmd("KEYS", "*")
    assert len(keys) == len(names)
    assert set(client.cmd("KEYS", "key:1999?")) == {b"key:1999%d" % i for i in range(10)}


def test_keys_keeps_its_place_in_a_pipeline(client):
    names = fill(client, 20000)
    replies = client.pipeline([("SET", "more", "v"), ("KEYS", "*"), ("GET", "more"),
                               ("KEYS", "mor?"), ("DEL", "more")])
    assert replies[0] == "OK" and replies[2] == b"v" and replies[4] == 1
    assert set(replies[1]) == names | {b"more"} and replies[3] == [b"more"]


def test_walks_inside_a_transaction(client):
    names = fill(client, 20000)
    client.cmd("MULTI")
    for command in (("DEL", "key:0"), ("KEYS", "*"), ("SCAN", "0", "COUNT", "10"), ("KEYS", "*")):
        assert client.cmd(*command) == "QUEUED"
    deleted, keys, scanned, again = client.cmd("EXEC")
    assert deleted == 1 and set(keys) == names - {b"key:0"} and set(again) == set(keys)
    assert set(scanned[1]) <= names


def test_keys_reports_no_key_twice_while_the_table_grows(client, server):
    names = fill(client, 20000)
    writer = server.client()
    batches = [[x for i in range(b * 500, b * 500 + 500) for x in ("new:%d" % i, "v")]
               for b in range(40)]
    client.send("KEYS", "*")
    for batch in batches:
        writer.send("MSET", *batch)
    keys = client.read()
    assert [writer.read() for _ in batches] == ["OK"] * len(batches)
    writer.close()
    assert names <= set(keys) and len(keys) == len(set(keys))


def test_a_client_that_leaves_while_keys_is_running(client, server):
    fill(client, 20000)
    for _ in range(5):
        leaving = server.client()
        leaving.send("KEYS", "*")
        leaving.close()
    assert client.cmd("DBSIZE") == 20000
