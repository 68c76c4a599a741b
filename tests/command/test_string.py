"""The string commands: replies, errors and edges, in RESP2 and RESP3."""
import threading
import time

from cases import cases, run
from resp import Error, Nil

NOT_INT = "-ERR value is not an integer or out of range"
NOT_FLOAT = "-ERR value is not a valid float"
SYNTAX = "-ERR syntax error"
TOO_BIG = "-ERR string exceeds maximum allowed size (proto-max-bulk-len)"
OVERFLOW = "-ERR increment or decrement would overflow"

CASES = {
    "get": r"""
        GET k                -> nil
        SET k v              -> +OK
        GET k                -> "v"
        gEt k                -> "v"
        SET k ''             -> +OK
        GET k                -> ""
        SET '' empty-key     -> +OK
        GET ''               -> "empty-key"
        SET "a\x00b\r\n" "\x00\xff\r\n" -> +OK
        GET "a\x00b\r\n"     -> "\x00\xff\r\n"
        HSET h f v           -> :1
        GET h                -> -WRONGTYPE
        GET                  -> -ERR wrong number of arguments for 'get' command
        GET a b              -> -ERR wrong number of arguments for 'get' command
    """,
    "set overwrites any type and TTL": """
        HSET k f v           -> :1
        SET k v              -> +OK
        TYPE k               -> +string
        SET k v EX 100       -> +OK
        TTL k                -> :99..100
        SET k v              -> +OK
        TTL k                -> :-1
        SET k                -> -ERR wrong number of arguments for 'set' command
    """,
    "set nx xx": """
        SET k 1 XX           -> nil
        EXISTS k             -> :0
        SET k 1 nx           -> +OK
        SET k 2 NX           -> nil
        GET k                -> "1"
        SET k 3 XX           -> +OK
        GET k                -> "3"
        HSET h f v           -> :1
        SET h v NX           -> nil
        SET h v XX           -> +OK
        GET h                -> "v"
        SET k v NX XX        -> %(syntax)s
        SET k v XX NX        -> %(syntax)s
        SET k v NX NX        -> nil
        SET k v XX XX        -> +OK
    """ % {"syntax": SYNTAX},
    "set get": """
        SET k v1 GET         -> nil
        SET k v2 GET         -> "v1"
        SET k v3 GET GET     -> "v2"
        SET k v4 NX GET      -> "v3"
        GET k                -> "v3"
        SET new v NX GET     -> nil
        GET new              -> "v"
        SET none v XX GET    -> nil
        EXISTS none          -> :0
        SET k v5 XX GET      -> "v3"
        GET k                -> "v5"
        SET k v6 GET EX 100  -> "v5"
        TTL k                -> :99..100
        SET k v7 KEEPTTL GET -> "v6"
        TTL k                -> :99..100
        HSET h f v           -> :1
        SET h v GET          -> -WRONGTYPE
        SET h v XX GET       -> -WRONGTYPE
        SET h v NX GET       -> -WRONGTYPE
        HGET h f             -> "v"
    """,
    "set expiry": """
        SET k v EX 100       -> +OK
        TTL k                -> :99..100
        SET k v PX 100000    -> +OK
        PTTL k               -> :99000..100000
        SET k v ex 10 EX 200 -> +OK
        TTL k                -> :199..200
        SET k v EXAT 33177117420 -> +OK
        EXPIRETIME k         -> :33177117420
        SET k v PXAT 33177117420123 -> +OK
        PEXPIRETIME k        -> :33177117420123
        SET k v KEEPTTL      -> +OK
        PEXPIRETIME k        -> :33177117420123
        SET k v KEEPTTL KEEPTTL -> +OK
        SET new v KEEPTTL    -> +OK
        TTL new              -> :-1
        SET past v EXAT 1    -> +OK
        GET past             -> nil
        SET past v PXAT 1 GET -> nil
        EXISTS past          -> :0
    """,
    "set expiry errors": """
        SET k v EX           -> %(syntax)s
        SET k v PX           -> %(syntax)s
        SET k v EXAT         -> %(syntax)s
        SET k v PXAT         -> %(syntax)s
        SET k v EX 10 PX 10  -> %(syntax)s
        SET k v EX 10 EXAT 10 -> %(syntax)s
        SET k v PXAT 10 PX 10 -> %(syntax)s
        SET k v KEEPTTL EX 10 -> %(syntax)s
        SET k v EX 10 KEEPTTL -> %(syntax)s
        SET k v PERSIST      -> %(syntax)s
        SET k v junk         -> %(syntax)s
        SET k v EX 10 junk   -> %(syntax)s
        SET k v EX abc junk  -> %(syntax)s
        SET k v EX abc       -> %(not_int)s
        SET k v EX 1.5       -> %(not_int)s
        SET k v EX ''        -> %(not_int)s
        SET k v EX 0         -> -ERR invalid expire time in 'set' command
        SET k v EX -1        -> -ERR invalid expire time in 'set' command
        SET k v PX 0         -> -ERR invalid expire time in 'set' command
        SET k v EXAT 0       -> -ERR invalid expire time in 'set' command
        SET k v PXAT -5      -> -ERR invalid expire time in 'set' command
        SET k v EX 9223372036854776 -> -ERR invalid expire time in 'set' command
        SET k v EX 9223372036854775 -> -ERR invalid expire time in 'set' command
        SET k v PX 9223372036854775807 -> -ERR invalid expire time in 'set' command
        SET k v EXAT 9223372036854776 -> -ERR invalid expire time in 'set' command
        SET k v EX 9223372036854775808 -> %(not_int)s
        EXISTS k             -> :0
        HSET h f v           -> :1
        SET h v GET EX 0     -> -ERR invalid expire time in 'set' command
        SET h v EX abc GET   -> %(not_int)s
    """ % {"syntax": SYNTAX, "not_int": NOT_INT},
    "setnx setex psetex": """
        SETNX k v            -> :1
        SETNX k w            -> :0
        GET k                -> "v"
        HSET h f v           -> :1
        SETNX h v            -> :0
        SETEX k 100 v2       -> +OK
        TTL k                -> :99..100
        GET k                -> "v2"
        PSETEX k 200000 v3   -> +OK
        PTTL k               -> :199000..200000
        SETEX h 100 v        -> +OK
        GET h                -> "v"
        SETEX k 0 v          -> -ERR invalid expire time in 'setex' command
        SETEX k -1 v         -> -ERR invalid expire time in 'setex' command
        SETEX k abc v        -> %(not_int)s
        SETEX k 9223372036854775807 v -> -ERR invalid expire time in 'setex' command
        PSETEX k 0 v         -> -ERR invalid expire time in 'psetex' command
        PSETEX k -10 v       -> -ERR invalid expire time in 'psetex' command
        PSETEX k 9223372036854775807 v -> -ERR invalid expire time in 'psetex' command
        GET k                -> "v3"
        SETNX k              -> -ERR wrong number of arguments for 'setnx' command
        SETEX k 10           -> -ERR wrong number of arguments for 'setex' command
        PSETEX k 10          -> -ERR wrong number of arguments for 'psetex' command
    """ % {"not_int": NOT_INT},
    "getset getdel": """
        GETSET k v1          -> nil
        EXPIRE k 100         -> :1
        GETSET k v2          -> "v1"
        TTL k                -> :-1
        GETDEL k             -> "v2"
        GETDEL k             -> nil
        EXISTS k             -> :0
        HSET h f v           -> :1
        GETSET h v           -> -WRONGTYPE
        GETDEL h             -> -WRONGTYPE
        EXISTS h             -> :1
        GETSET k             -> -ERR wrong number of arguments for 'getset' command
        GETDEL               -> -ERR wrong number of arguments for 'getdel' command
    """,
    "getex": """
        GETEX k              -> nil
        GETEX k EX 10        -> nil
        SET k v              -> +OK
        GETEX k              -> "v"
        TTL k                -> :-1
        GETEX k EX 100       -> "v"
        TTL k                -> :99..100
        GETEX k              -> "v"
        TTL k                -> :99..100
        GETEX k PX 200000    -> "v"
        PTTL k               -> :199000..200000
        GETEX k EXAT 33177117420 -> "v"
        EXPIRETIME k         -> :33177117420
        GETEX k PXAT 33177117420123 -> "v"
        PEXPIRETIME k        -> :33177117420123
        GETEX k PERSIST      -> "v"
        TTL k                -> :-1
        GETEX k PERSIST      -> "v"
        GETEX k PERSIST PERSIST -> "v"
        GETEX k EXAT 1       -> "v"
        EXISTS k             -> :0
        SET k v              -> +OK
        GETEX k PXAT 1       -> "v"
        EXISTS k             -> :0
        HSET h f v           -> :1
        GETEX h              -> -WRONGTYPE
        GETEX h EX 0         -> -WRONGTYPE
    """,
    "getex errors": """
        GETEX k EX 0         -> nil
        SET k v              -> +OK
        GETEX k EX 0         -> -ERR invalid expire time in 'getex' command
        GETEX k PX -1        -> -ERR invalid expire time in 'getex' command
        GETEX k EX abc       -> %(not_int)s
        GETEX k EX           -> %(syntax)s
        GETEX k NX           -> %(syntax)s
        GETEX k GET          -> %(syntax)s
        GETEX k KEEPTTL      -> %(syntax)s
        GETEX k EX 10 PERSIST -> %(syntax)s
        GETEX k PERSIST EX 10 -> %(syntax)s
        GETEX k EX 10 PX 10  -> %(syntax)s
        GETEX k EX 10 EX 100 -> "v"
        TTL k                -> :99..100
        GETEX                -> -ERR wrong number of arguments for 'getex' command
    """ % {"syntax": SYNTAX, "not_int": NOT_INT},
    "mget mset": """
        MGET a               -> [nil]
        MSET a 1 b 2         -> +OK
        MGET a b c a         -> ["1" "2" nil "1"]
        HSET h f v           -> :1
        MGET a h b           -> ["1" nil "2"]
        EXPIRE a 100         -> :1
        MSET a 1 a 2 h 3     -> +OK
        MGET a h             -> ["2" "3"]
        TTL a                -> :-1
        MSET a               -> -ERR wrong number of arguments for 'mset' command
        MSET a 1 b           -> -ERR wrong number of arguments for 'mset' command
        MGET                 -> -ERR wrong number of arguments for 'mget' command
        GET a                -> "2"
    """,
    "msetnx": """
        MSETNX a 1 b 2       -> :1
        MSETNX b 3 c 4       -> :0
        MGET a b c           -> ["1" "2" nil]
        MSETNX d 1 d 2       -> :1
        GET d                -> "2"
        HSET h f v           -> :1
        MSETNX e 1 h 2       -> :0
        EXISTS e             -> :0
        MSETNX e 1 f         -> -ERR wrong number of arguments for 'msetnx' command
        MSETNX e             -> -ERR wrong number of arguments for 'msetnx' command
    """,
    "append strlen": """
        STRLEN k             -> :0
        APPEND k ''          -> :0
        EXISTS k             -> :1
        GET k                -> ""
        APPEND k abc         -> :3
        APPEND k def         -> :6
        GET k                -> "abcdef"
        STRLEN k             -> :6
        EXPIRE k 100         -> :1
        APPEND k g           -> :7
        TTL k                -> :99..100
        SET n 12             -> +OK
        APPEND n 3           -> :3
        INCR n               -> :124
        HSET h f v           -> :1
        APPEND h x           -> -WRONGTYPE
        STRLEN h             -> -WRONGTYPE
        APPEND k             -> -ERR wrong number of arguments for 'append' command
        STRLEN               -> -ERR wrong number of arguments for 'strlen' command
    """,
    "incr decr": """
        INCR n               -> :1
        INCR n               -> :2
        DECR n               -> :1
        INCRBY n 10          -> :11
        DECRBY n 20          -> :-9
        INCRBY n -1          -> :-10
        DECRBY n -10         -> :0
        GET n                -> "0"
        DECR m               -> :-1
        DECRBY x 5           -> :-5
        EXPIRE n 100         -> :1
        INCR n               -> :1
        TTL n                -> :99..100
        SET n 9223372036854775806 -> +OK
        INCR n               -> :9223372036854775807
        INCR n               -> %(overflow)s
        INCRBY n 1           -> %(overflow)s
        INCRBY n -9223372036854775808 -> :-1
        SET n -9223372036854775808 -> +OK
        DECR n               -> %(overflow)s
        DECRBY n 1           -> %(overflow)s
        DECRBY n -9223372036854775808 -> -ERR decrement would overflow
        INCR n               -> :-9223372036854775807
    """ % {"overflow": OVERFLOW},
    "incr errors": """
        SET k abc            -> +OK
        INCR k               -> %(not_int)s
        SET k ' 1'           -> +OK
        INCR k               -> %(not_int)s
        SET k '1 '           -> +OK
        DECR k               -> %(not_int)s
        SET k 01             -> +OK
        INCR k               -> %(not_int)s
        SET k +1             -> +OK
        INCR k               -> %(not_int)s
        SET k -0             -> +OK
        INCR k               -> %(not_int)s
        SET k 1.0            -> +OK
        INCR k               -> %(not_int)s
        SET k ''             -> +OK
        INCR k               -> %(not_int)s
        SET k 9223372036854775808 -> +OK
        INCR k               -> %(not_int)s
        GET k                -> "9223372036854775808"
        INCRBY n 1.5         -> %(not_int)s
        INCRBY n ''          -> %(not_int)s
        DECRBY n abc         -> %(not_int)s
        EXISTS n             -> :0
        HSET h f v           -> :1
        INCR h               -> -WRONGTYPE
        DECR h               -> -WRONGTYPE
        INCRBY h 1           -> -WRONGTYPE
        DECRBY h 1           -> -WRONGTYPE
        INCRBY h abc         -> %(not_int)s
        INCR                 -> -ERR wrong number of arguments for 'incr' command
        INCRBY n             -> -ERR wrong number of arguments for 'incrby' command
        DECR                 -> -ERR wrong number of arguments for 'decr' command
        DECRBY n             -> -ERR wrong number of arguments for 'decrby' command
    """ % {"not_int": NOT_INT},
    "incrbyfloat": """
        INCRBYFLOAT n 0.1    -> "0.1"
        INCRBYFLOAT n 0.2    -> "0.3"
        GET n                -> "0.3"
        INCRBYFLOAT n -0.3   -> "0"
        SET n 3.0e3          -> +OK
        INCRBYFLOAT n 200    -> "3200"
        INCRBYFLOAT n 1.5e1  -> "3215"
        SET n 10.50          -> +OK
        EXPIRE n 100         -> :1
        INCRBYFLOAT n 0.1    -> "10.6"
        TTL n                -> :99..100
        SET n 1              -> +OK
        INCRBYFLOAT n 1000000000000000000 -> "1000000000000000001"
        SET n 0x10           -> +OK
        INCRBYFLOAT n 1      -> "17"
        SET n ' 1'           -> +OK
        INCRBYFLOAT n 1      -> %(not_float)s
        SET n '1 '           -> +OK
        INCRBYFLOAT n 1      -> %(not_float)s
        SET n abc            -> +OK
        INCRBYFLOAT n 1      -> %(not_float)s
        SET n 1              -> +OK
        INCRBYFLOAT n abc    -> %(not_float)s
        INCRBYFLOAT n ''     -> %(not_float)s
        INCRBYFLOAT n nan    -> %(not_float)s
        INCRBYFLOAT n inf    -> -ERR increment would produce NaN or Infinity
        INCRBYFLOAT n -inf   -> -ERR increment would produce NaN or Infinity
        GET n                -> "1"
        INCRBYFLOAT new +inf -> -ERR increment would produce NaN or Infinity
        EXISTS new           -> :0
        HSET h f v           -> :1
        INCRBYFLOAT h 1      -> -WRONGTYPE
        INCRBYFLOAT h abc    -> -WRONGTYPE
        INCRBYFLOAT n        -> -ERR wrong number of arguments for 'incrbyfloat' command
    """ % {"not_float": NOT_FLOAT},
    "setrange": r"""
        SETRANGE k 0 ''      -> :0
        SETRANGE k 5 ''      -> :0
        EXISTS k             -> :0
        SETRANGE k 3 abc     -> :6
        GET k                -> "\x00\x00\x00abc"
        SETRANGE k 1 x       -> :6
        GET k                -> "\x00x\x00abc"
        SETRANGE k 5 ''      -> :6
        SETRANGE k 100 ''    -> :6
        SETRANGE k 8 z       -> :9
        GET k                -> "\x00x\x00abc\x00\x00z"
        EXPIRE k 100         -> :1
        SETRANGE k 0 yy      -> :9
        TTL k                -> :99..100
        SET n 1234           -> +OK
        SETRANGE n 1 9       -> :4
        INCR n               -> :1935
        SETRANGE k -1 x      -> -ERR offset is out of range
        SETRANGE k abc x     -> %(not_int)s
        SETRANGE k 536870912 x -> %(too_big)s
        SETRANGE k 9223372036854775807 x -> %(too_big)s
        SETRANGE new 536870912 x -> %(too_big)s
        SETRANGE new 536870912 '' -> :0
        EXISTS new           -> :0
        HSET h f v           -> :1
        SETRANGE h 0 x       -> -WRONGTYPE
        SETRANGE h 0 ''      -> -WRONGTYPE
        SETRANGE h -1 x      -> -ERR offset is out of range
        SETRANGE h 536870912 x -> -WRONGTYPE
        SETRANGE k 0         -> -ERR wrong number of arguments for 'setrange' command
    """ % {"not_int": NOT_INT, "too_big": TOO_BIG},
    "getrange substr": """
        GETRANGE k 0 -1      -> ""
        SET k 0123456789     -> +OK
        GETRANGE k 0 0       -> "0"
        GETRANGE k 0 -1      -> "0123456789"
        GETRANGE k 3 5       -> "345"
        GETRANGE k -3 -1     -> "789"
        GETRANGE k -100 2    -> "012"
        GETRANGE k 8 100     -> "89"
        GETRANGE k 5 3       -> ""
        GETRANGE k 10 20     -> ""
        GETRANGE k -1 -5     -> ""
        GETRANGE k -100 -100 -> "0"
        GETRANGE k -100 -101 -> ""
        GETRANGE k 0 -100    -> "0"
        GETRANGE k 1 -100    -> ""
        GETRANGE k 0 9223372036854775807 -> "0123456789"
        GETRANGE k -9223372036854775808 9223372036854775807 -> "0123456789"
        SUBSTR k 2 4         -> "234"
        SUBSTR none 2 4      -> ""
        SET e ''             -> +OK
        GETRANGE e 0 -1      -> ""
        GETRANGE e 0 0       -> ""
        GETRANGE k a 1       -> %(not_int)s
        GETRANGE k 1 b       -> %(not_int)s
        GETRANGE none 1 b    -> %(not_int)s
        HSET h f v           -> :1
        GETRANGE h 0 1       -> -WRONGTYPE
        GETRANGE h a 1       -> %(not_int)s
        SUBSTR h 0 1         -> -WRONGTYPE
        GETRANGE k 1         -> -ERR wrong number of arguments for 'getrange' command
        SUBSTR k 1           -> -ERR wrong number of arguments for 'substr' command
    """ % {"not_int": NOT_INT},
    "lcs": """
        MSET a ohmytext b mynewtext -> +OK
        LCS a b              -> "mytext"
        LCS a b LEN          -> :6
        LCS a b IDX          -> {"matches" [[[4 7] [5 8]] [[2 3] [0 1]]] "len" :6}
        LCS a b IDX MINMATCHLEN 4 -> {"matches" [[[4 7] [5 8]]] "len" :6}
        LCS a b IDX MINMATCHLEN 4 WITHMATCHLEN -> {"matches" [[[4 7] [5 8] 4]] "len" :6}
        LCS a b IDX WITHMATCHLEN -> {"matches" [[[4 7] [5 8] 4] [[2 3] [0 1] 2]] "len" :6}
        LCS a b IDX MINMATCHLEN -5 -> {"matches" [[[4 7] [5 8]] [[2 3] [0 1]]] "len" :6}
        LCS a b IDX MINMATCHLEN 100 -> {"matches" [] "len" :6}
        LCS a b MINMATCHLEN 5 -> "mytext"
        LCS a b WITHMATCHLEN -> "mytext"
        LCS a a              -> "ohmytext"
        LCS a a IDX          -> {"matches" [[[0 7] [0 7]]] "len" :8}
        LCS a none           -> ""
        LCS none none        -> ""
        LCS a none LEN       -> :0
        LCS none a IDX       -> {"matches" [] "len" :0}
        MSET p AGGTAB q GXTXAYB -> +OK
        LCS p q              -> "GTAB"
        LCS p q IDX          -> {"matches" [[[5 5] [6 6]] [[4 4] [4 4]] [[3 3] [2 2]] [[2 2] [0 0]]] "len" :4}
        MSET x aXbXc y aYbYc -> +OK
        LCS x y IDX WITHMATCHLEN -> {"matches" [[[4 4] [4 4] 1] [[2 2] [2 2] 1] [[0 0] [0 0] 1]] "len" :3}
        LCS a b LEN IDX      -> -ERR If you want both the length and indexes, please just use IDX.
        LCS a b junk         -> %(syntax)s
        LCS a b MINMATCHLEN  -> %(syntax)s
        LCS a b MINMATCHLEN x -> %(not_int)s
        HSET h f v           -> :1
        LCS a h              -> -ERR The specified keys must contain string values
        LCS h none           -> -ERR The specified keys must contain string values
        LCS h a junk         -> -ERR The specified keys must contain string values
        LCS a                -> -ERR wrong number of arguments for 'lcs' command
    """ % {"syntax": SYNTAX, "not_int": NOT_INT},
}


@cases(CASES)
def test_string(client, lines):
    run(client, lines)


SIZES = [0, 1, 43, 44, 45, 255, 256, 8191, 8192, 8193, 65535, 65536, 300000, 2 << 20]


def test_values_of_all_sizes(client):
    for size in SIZES:
        value = bytes(i & 255 for i in range(251)) * (size // 251 + 1)
        value = value[:size]
        assert client.cmd("SET", "k", value) == "OK"
        assert client.cmd("GET", "k") == value
        assert client.cmd("STRLEN", "k") == size
        assert client.cmd("MGET", "k", "none", "k") == [value, Nil, value]
        assert client.cmd("GETRANGE", "k", 1, -2) == value[1:-1]
        assert client.cmd("SET", "k", b"x" + value, "GET") == value
        assert client.cmd("GETSET", "k", value) == b"x" + value
        assert client.cmd("APPEND", "k", "tail") == size + 4
        assert client.cmd("GET", "k") == value + b"tail"
        assert client.cmd("SETRANGE", "k", size, "TA") == size + 4
        assert client.cmd("GETDEL", "k") == value + b"TAil"


def test_a_reply_is_not_changed_by_what_follows_in_the_pipeline(client):
    value = b"v" * 100000
    other = b"w" * 100000
    replies = client.pipeline([
        ("SET", "k", value), ("GET", "k"), ("SETRANGE", "k", 0, "XX"), ("GET", "k"),
        ("APPEND", "k", "YY"), ("GET", "k"), ("SET", "k", other), ("GET", "k"), ("DEL", "k"),
        ("GET", "k")])
    assert replies == ["OK", value, 100000, b"XX" + value[2:], 100002, b"XX" + value[2:] + b"YY",
                       "OK", other, 1, Nil]


def test_many_appends(client):
    for i in range(2000):
        assert client.cmd("APPEND", "k", "0123456789") == (i + 1) * 10
    assert client.cmd("GET", "k") == b"0123456789" * 2000


def test_many_keys_in_one_command(client):
    pairs = [("key:%d" % i, "value:%d" % i) for i in range(3000)]
    assert client.cmd("MSET", *[x for pair in pairs for x in pair]) == "OK"
    assert client.cmd("MGET", *[k for k, _ in pairs]) == [v.encode() for _, v in pairs]
    assert client.cmd("DBSIZE") == 3000


def test_result_longer_than_the_limit(client):
    before = client.cmd("CONFIG", "GET", "proto-max-bulk-len")
    before = (before[0][1] if client.proto == 3 else before[1]).decode()
    assert client.cmd("CONFIG", "SET", "proto-max-bulk-len", 1 << 20) == "OK"
    try:
        assert client.cmd("SETRANGE", "k", (1 << 20) - 1, "x") == 1 << 20
        assert client.cmd("APPEND", "k", "y") == TOO_BIG[1:]
        assert client.cmd("SETRANGE", "k", 1 << 20, "y") == TOO_BIG[1:]
        assert client.cmd("STRLEN", "k") == 1 << 20
        assert client.cmd("MSET", "a", "x" * 600, "b", "y" * 600) == "OK"
        reply = client.cmd("LCS", "a", "b")
        assert reply == ("ERR Insufficient memory, transient memory for LCS exceeds "
                         "proto-max-bulk-len") and isinstance(reply, Error)
    finally:
        assert client.cmd("CONFIG", "SET", "proto-max-bulk-len", before) == "OK"


def test_expired_string_is_gone(client):
    assert client.cmd("SET", "k", "v", "PX", "30") == "OK"
    deadline = time.monotonic() + 10
    while client.cmd("GET", "k") is not Nil:
        assert time.monotonic() < deadline
    assert client.cmd("SET", "k", "w", "XX") is Nil
    assert client.cmd("INCR", "k") == 1


def test_increments_of_several_clients_add_up(client, server):
    def work():
        mine = server.client()
        for _ in range(300):
            mine.cmd("INCR", "n")
        mine.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert client.cmd("GET", "n") == b"1200"


def test_strings_inside_a_transaction(client):
    run(client, """
        MULTI                -> +OK
        SET k v              -> +QUEUED
        MSET a 1 b 2         -> +QUEUED
        INCR a               -> +QUEUED
        INCR k               -> +QUEUED
        GET k                -> +QUEUED
    """)
    replies = client.cmd("EXEC")
    assert replies == ["OK", "OK", 2, NOT_INT[1:], b"v"]
    assert isinstance(replies[3], Error)
