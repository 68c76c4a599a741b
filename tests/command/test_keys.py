"""The commands on keys of any type, OBJECT among them."""
from cases import cases, run
from resp import Nil

NOT_INT = "-ERR value is not an integer or out of range"
SYNTAX = "-ERR syntax error"
NO_KEY = "-ERR no such key"
SAME = "-ERR source and destination objects are the same"
DB_RANGE = "-ERR DB index is out of range"

CASES = {
    "del unlink": """
        DEL k                -> :0
        MSET a 1 b 2 c 3     -> +OK
        HSET h f v           -> :1
        DEL a none b         -> :2
        DEL c c              -> :1
        DEL h                -> :1
        DBSIZE               -> :0
        MSET a 1 b 2         -> +OK
        UNLINK a a b none    -> :2
        DBSIZE               -> :0
        SET k v PXAT 1       -> +OK
        DEL k                -> :0
        DEL                  -> -ERR wrong number of arguments for 'del' command
        UNLINK               -> -ERR wrong number of arguments for 'unlink' command
    """,
    "exists touch": """
        EXISTS k             -> :0
        TOUCH k              -> :0
        SET k v              -> +OK
        HSET h f v           -> :1
        EXISTS k             -> :1
        EXISTS k k none h k  -> :4
        TOUCH k k none h     -> :3
        EXISTS               -> -ERR wrong number of arguments for 'exists' command
        TOUCH                -> -ERR wrong number of arguments for 'touch' command
    """,
    "type": """
        TYPE k               -> +none
        SET k v              -> +OK
        TYPE k               -> +string
        HSET h f v           -> :1
        TYPE h               -> +hash
        SET k v PXAT 1       -> +OK
        TYPE k               -> +none
        TYPE                 -> -ERR wrong number of arguments for 'type' command
        TYPE a b             -> -ERR wrong number of arguments for 'type' command
    """,
    "rename": """
        RENAME none x        -> %(no_key)s
        RENAME none none     -> %(no_key)s
        SET a 1 EX 100       -> +OK
        RENAME a a           -> +OK
        TTL a                -> :99..100
        RENAME a b           -> +OK
        EXISTS a             -> :0
        GET b                -> "1"
        TTL b                -> :99..100
        SET c 3              -> +OK
        RENAME c b           -> +OK
        GET b                -> "3"
        TTL b                -> :-1
        HSET h f v           -> :1
        RENAME h b           -> +OK
        HGETALL b            -> {"f" "v"}
        TYPE h               -> +none
        SET s a-longer-name-than-before -> +OK
        RENAME s a-very-much-longer-name-than-the-key-had-before -> +OK
        GET a-very-much-longer-name-than-the-key-had-before -> "a-longer-name-than-before"
        DBSIZE               -> :2
        RENAME a             -> -ERR wrong number of arguments for 'rename' command
    """ % {"no_key": NO_KEY},
    "renamenx": """
        RENAMENX none x      -> %(no_key)s
        RENAMENX none none   -> %(no_key)s
        MSET a 1 b 2         -> +OK
        RENAMENX a b         -> :0
        RENAMENX a a         -> :0
        GET a                -> "1"
        GET b                -> "2"
        EXPIRE a 100         -> :1
        RENAMENX a c         -> :1
        EXISTS a             -> :0
        GET c                -> "1"
        TTL c                -> :99..100
        SET p v PXAT 1       -> +OK
        RENAMENX c p         -> :1
        RENAMENX a           -> -ERR wrong number of arguments for 'renamenx' command
    """ % {"no_key": NO_KEY},
    "copy": """
        COPY none x          -> :0
        SET a 1 EX 100       -> +OK
        COPY a b             -> :1
        GET b                -> "1"
        TTL b                -> :99..100
        SET a 2              -> +OK
        GET b                -> "1"
        COPY a b             -> :0
        COPY a b REPLACE     -> :1
        GET b                -> "2"
        TTL b                -> :-1
        COPY a b replace REPLACE -> :1
        COPY none b REPLACE  -> :0
        GET b                -> "2"
        COPY a a             -> %(same)s
        COPY none none       -> %(same)s
        COPY a a REPLACE     -> %(same)s
        COPY a a DB 0        -> %(same)s
        COPY a a DB 1        -> :1
        COPY a a DB 1        -> :0
        COPY a a DB 1 REPLACE -> :1
        COPY a c DB 2 DB 1   -> :1
        SELECT 1             -> +OK
        GET a                -> "2"
        GET c                -> "2"
        SELECT 0             -> +OK
        HSET h f v g w       -> :2
        COPY h h2            -> :1
        HSET h f changed     -> :0
        HDEL h g             -> :1
        HGETALL h2           -> {"f" "v" "g" "w"}
        COPY a b DB          -> %(syntax)s
        COPY a b junk        -> %(syntax)s
        COPY a b DB abc      -> %(not_int)s
        COPY a b DB -1       -> %(db_range)s
        COPY a b DB 16       -> %(db_range)s
        COPY a b DB 99999999999 -> -ERR value is out of range, value must between -2147483648 and 2147483647
        COPY a b DB 16 junk  -> %(db_range)s
        COPY a               -> -ERR wrong number of arguments for 'copy' command
    """ % {"same": SAME, "syntax": SYNTAX, "not_int": NOT_INT, "db_range": DB_RANGE},
    "move": """
        MOVE none 1          -> :0
        SET a 1 EX 100       -> +OK
        MOVE a 1             -> :1
        EXISTS a             -> :0
        SELECT 1             -> +OK
        GET a                -> "1"
        TTL a                -> :99..100
        SELECT 0             -> +OK
        SET a 2              -> +OK
        MOVE a 1             -> :0
        GET a                -> "2"
        HSET h f v           -> :1
        MOVE h 15            -> :1
        SELECT 15            -> +OK
        HGET h f             -> "v"
        SELECT 0             -> +OK
        MOVE a 0             -> %(same)s
        MOVE none 0          -> %(same)s
        MOVE a 16            -> %(db_range)s
        MOVE a -1            -> %(db_range)s
        MOVE a abc           -> %(not_int)s
        MOVE a 99999999999   -> -ERR value is out of range, value must between -2147483648 and 2147483647
        MOVE a               -> -ERR wrong number of arguments for 'move' command
    """ % {"same": SAME, "not_int": NOT_INT, "db_range": DB_RANGE},
    "randomkey": """
        RANDOMKEY            -> nil
        SET only v           -> +OK
        RANDOMKEY            -> "only"
        SELECT 3             -> +OK
        RANDOMKEY            -> nil
        RANDOMKEY x          -> -ERR wrong number of arguments for 'randomkey' command
    """,
    "object encoding": """
        OBJECT ENCODING none -> nil
        SET k 123            -> +OK
        OBJECT ENCODING k    -> "int"
        object encoding k    -> "int"
        SET k -9223372036854775808 -> +OK
        OBJECT ENCODING k    -> "int"
        SET k 9223372036854775807 -> +OK
        OBJECT ENCODING k    -> "int"
        SET k 9223372036854775808 -> +OK
        OBJECT ENCODING k    -> "embstr"
        SET k 0123           -> +OK
        OBJECT ENCODING k    -> "embstr"
        SET k ''             -> +OK
        OBJECT ENCODING k    -> "embstr"
        SET k aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeee -> +OK
        OBJECT ENCODING k    -> "embstr"
        SET k aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeee -> +OK
        OBJECT ENCODING k    -> "raw"
        SET k 12             -> +OK
        APPEND k 3           -> :3
        OBJECT ENCODING k    -> "raw"
        INCR k               -> :124
        OBJECT ENCODING k    -> "int"
        SETRANGE k 0 9       -> :3
        OBJECT ENCODING k    -> "raw"
        SET k 12             -> +OK
        OBJECT ENCODING k    -> "int"
        APPEND fresh 12      -> :2
        OBJECT ENCODING fresh -> "int"
        APPEND fresh ''      -> :2
        OBJECT ENCODING fresh -> "raw"
        SETRANGE made 0 12   -> :2
        OBJECT ENCODING made -> "raw"
        HSET h f v           -> :1
        OBJECT ENCODING h    -> "listpack"
    """,
    "object refcount idletime freq": """
        OBJECT REFCOUNT none -> nil
        OBJECT IDLETIME none -> nil
        OBJECT FREQ none     -> nil
        SET k v              -> +OK
        OBJECT REFCOUNT k    -> :1
        OBJECT IDLETIME k    -> :0..1
        OBJECT FREQ k        -> -ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.
        CONFIG SET maxmemory-policy allkeys-lfu -> +OK
        OBJECT FREQ none     -> nil
        SET f v              -> +OK
        OBJECT FREQ f        -> :0..255
        OBJECT IDLETIME none -> nil
        OBJECT IDLETIME k    -> -ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.
        CONFIG SET maxmemory-policy noeviction -> +OK
    """,
    "object errors": """
        OBJECT               -> -ERR wrong number of arguments for 'object' command
        OBJECT ENCODING      -> -ERR wrong number of arguments for 'object|encoding' command
        OBJECT ENCODING a b  -> -ERR wrong number of arguments for 'object|encoding' command
        OBJECT FREQ          -> -ERR wrong number of arguments for 'object|freq' command
        OBJECT IDLETIME      -> -ERR wrong number of arguments for 'object|idletime' command
        OBJECT REFCOUNT      -> -ERR wrong number of arguments for 'object|refcount' command
        OBJECT HELP x        -> -ERR wrong number of arguments for 'object|help' command
        OBJECT junk k        -> -ERR unknown subcommand 'junk'. Try OBJECT HELP.
    """,
}


@cases(CASES)
def test_keys(client, lines):
    run(client, lines)


def test_object_help_is_a_list_of_lines(client):
    lines = client.cmd("OBJECT", "HELP")
    assert type(lines) is list and len(lines) >= 10
    assert lines[0].startswith("OBJECT <subcommand>")
    assert "ENCODING <key>" in lines and "HELP" in lines


def test_randomkey_reaches_every_key(client):
    names = {b"key:%d" % i for i in range(20)}
    for name in names:
        client.cmd("SET", name, "v")
    seen = set()
    for _ in range(5000):
        seen.add(client.cmd("RANDOMKEY"))
        if seen == names:
            break
    assert seen == names


def test_object_encoding_of_a_large_hash(client):
    reply = client.cmd("CONFIG", "GET", "hash-max-listpack-entries")
    limit = int(reply[0][1] if client.proto == 3 else reply[1])
    for i in range(limit):
        client.cmd("HSET", "h", "field:%d" % i, "v")
    assert client.cmd("OBJECT", "ENCODING", "h") == b"listpack"
    client.cmd("HSET", "h", "one-more", "v")
    assert client.cmd("OBJECT", "ENCODING", "h") == b"hashtable"
    client.cmd("HSET", "long-value", "f", "v" * 64)
    assert client.cmd("OBJECT", "ENCODING", "long-value") == b"listpack"
    client.cmd("HSET", "long-value", "g", "v" * 65)
    assert client.cmd("OBJECT", "ENCODING", "long-value") == b"hashtable"
    client.cmd("HSET", "long-field", "f" * 65, "v")
    assert client.cmd("OBJECT", "ENCODING", "long-field") == b"hashtable"


def test_large_values_move_and_copy(client):
    value = b"v" * 200000
    client.cmd("SET", "s", value)
    for i in range(500):
        client.cmd("HSET", "h", "field:%d" % i, "value:%d" % i)
    assert client.cmd("COPY", "s", "s2") == 1
    assert client.cmd("COPY", "h", "h2") == 1
    assert client.cmd("RENAME", "s", "s3") == "OK"
    assert client.cmd("RENAME", "h", "h3") == "OK"
    assert client.cmd("APPEND", "s3", "x") == 200001
    assert client.cmd("HDEL", "h3", "field:0") == 1
    assert client.cmd("GET", "s2") == value
    assert client.cmd("GET", "s3") == value + b"x"
    assert client.cmd("HLEN", "h2") == 500
    assert client.cmd("HLEN", "h3") == 499
    assert client.cmd("MOVE", "h3", 1) == 1
    assert client.cmd("DEL", "h2", "s2", "s3") == 3
    assert client.cmd("DBSIZE") == 0
    client.cmd("SELECT", 1)
    assert client.cmd("HGET", "h3", "field:499") == b"value:499"


def test_deleting_many_keys(client):
    names = ["key:%d" % i for i in range(2000)]
    client.cmd("MSET", *[x for n in names for x in (n, "v")])
    assert client.cmd("EXISTS", *names) == 2000
    assert client.cmd("UNLINK", *names[:1000]) == 1000
    assert client.cmd("DEL", *names) == 1000
    assert client.cmd("DBSIZE") == 0


def watched_change_aborts(client, other, prepare, change):
    for command in prepare:
        other.cmd(*command)
    assert client.cmd("WATCH", "k", "k2") == "OK"
    other.cmd(*change)
    assert client.cmd("MULTI") == "OK"
    assert client.cmd("PING") == "QUEUED"
    return not isinstance(client.cmd("EXEC"), list)


def test_changes_are_seen_by_watchers(client, other):
    string, fields = [("SET", "k", "1")], [("DEL", "k"), ("HSET", "k", "f", "1")]
    changing = [
        (string, ("SET", "k", "2")), (string, ("DEL", "k")), (string, ("APPEND", "k", "x")),
        (string, ("SETRANGE", "k", "0", "x")), (string, ("INCR", "k")), (string, ("GETDEL", "k")),
        (string, ("EXPIRE", "k", "100")), (string, ("EXPIRE", "k", "-1")),
        (string, ("GETEX", "k", "EX", "100")), (string, ("RENAME", "k", "x")),
        (string, ("RENAME", "k", "k2")), (string, ("MOVE", "k", "5")),
        (string, ("COPY", "k", "k2", "REPLACE")), (string, ("MSET", "z", "1", "k", "2")),
        (string, ("INCRBYFLOAT", "k", "1")),
        (fields, ("HSET", "k", "f", "2")), (fields, ("HDEL", "k", "f")),
        (fields, ("HINCRBY", "k", "f", "1")), (fields, ("HINCRBYFLOAT", "k", "f", "1")),
        (fields, ("HSETNX", "k", "g", "1")),
        ([("SET", "k", "1", "EX", "100")], ("PERSIST", "k")),
        ([("DEL", "k")], ("HSET", "k", "f", "1")),
    ]
    for prepare, change in changing:
        assert watched_change_aborts(client, other, prepare, change), change
        other.cmd("FLUSHALL")


def test_what_changes_nothing_is_not_seen_by_watchers(client, other):
    string, fields = [("SET", "k", "1")], [("DEL", "k"), ("HSET", "k", "f", "1")]
    harmless = [
        (string, ("GET", "k")), (string, ("GETEX", "k")), (string, ("SET", "k", "2", "NX")),
        (string, ("SETNX", "k", "2")), (string, ("PERSIST", "k")), (string, ("TOUCH", "k")),
        (string, ("EXPIRE", "k", "100", "XX")), (string, ("RENAMENX", "k", "k")),
        (string, ("SETRANGE", "k", "0", "")), (string, ("HSET", "k", "f", "v")),
        (fields, ("HDEL", "k", "none")), (fields, ("HSETNX", "k", "f", "2")),
        (fields, ("INCR", "k")), (fields, ("HINCRBY", "k", "f", "x")),
    ]
    for prepare, command in harmless:
        assert not watched_change_aborts(client, other, prepare, command), command
        other.cmd("FLUSHALL")


def test_keys_inside_a_transaction(client):
    run(client, """
        SET a 1              -> +OK
        MULTI                -> +OK
        COPY a b             -> +QUEUED
        RENAME b c           -> +QUEUED
        DEL a                -> +QUEUED
        RANDOMKEY            -> +QUEUED
        KEYS *               -> +QUEUED
        SCAN 0 COUNT 100     -> +QUEUED
    """)
    assert client.cmd("EXEC") == [1, "OK", 1, b"c", [b"c"], [b"0", [b"c"]]]
    assert client.cmd("MGET", "a", "b", "c") == [Nil, Nil, b"1"]
