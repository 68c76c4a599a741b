"""Every column type comes out as MariaDB's own text protocol has it: compared with its client."""
import json

import pytest

from resp import Nil

COLUMNS = {
    "c_tinyint": ("TINYINT", ["-128", "127", "0"]),
    "c_bool": ("BOOLEAN", ["TRUE", "FALSE", "NULL"]),
    "c_smallint": ("SMALLINT", ["-32768", "32767", "1"]),
    "c_mediumint": ("MEDIUMINT UNSIGNED", ["16777215", "0", "5"]),
    "c_int": ("INT", ["-2147483648", "2147483647", "NULL"]),
    "c_zerofill": ("INT(8) ZEROFILL", ["42", "0", "4294967295"]),
    "c_bigint": ("BIGINT", ["-9223372036854775808", "9223372036854775807", "-1"]),
    "c_ubigint": ("BIGINT UNSIGNED", ["18446744073709551615", "0", "9223372036854775808"]),
    "c_decimal": ("DECIMAL(65,30)", ["12345678901234567890.123456789012345678901234567890", "-0.1",
                                     "0"]),
    "c_decimal0": ("DECIMAL(10,2)", ["19.9", "-99999999.99", "NULL"]),
    "c_float": ("FLOAT", ["3.14159265", "1e-20", "16777216"]),
    "c_float2": ("FLOAT(7,3)", ["3.14159265", "-1000.5", "0"]),
    "c_double": ("DOUBLE", ["3.141592653589793", "1e300", "-0.1"]),
    "c_double2": ("DOUBLE", ["123456789012345680", "1e15", "0.000001"]),
    "c_bit1": ("BIT(1)", ["b'1'", "b'0'", "NULL"]),
    "c_bit12": ("BIT(12)", ["b'101010101010'", "b'0'", "b'1'"]),
    "c_bit64": ("BIT(64)", ["b'1'", "x'ffffffffffffffff'", "x'0a09000d5c000027'"]),
    "c_date": ("DATE", ["'2024-02-29'", "'0001-01-01'", "NULL"]),
    "c_time": ("TIME", ["'-838:59:59'", "'00:00:00'", "'12:34:56'"]),
    "c_time6": ("TIME(6)", ["'12:34:56.000001'", "'-00:00:00.500000'", "'1:2:3'"]),
    "c_datetime": ("DATETIME", ["'9999-12-31 23:59:59'", "'2024-01-02 03:04:05'", "NULL"]),
    "c_datetime3": ("DATETIME(3)", ["'2024-01-02 03:04:05.678'", "'2024-01-02'", "NULL"]),
    "c_timestamp": ("TIMESTAMP NULL", ["'2024-01-02 03:04:05'", "'1970-01-02 00:00:01'", "NULL"]),
    "c_year": ("YEAR", ["2024", "1901", "0"]),
    "c_char": ("CHAR(10)", ["'abc'", "''", "'äöü😀'"]),
    "c_varchar": ("VARCHAR(300)", ["'a''b\"c\\\\d'", "REPEAT('x', 300)", "'  spaces  '"]),
    "c_latin1": ("VARCHAR(20) CHARACTER SET latin1", ["'Grüße'", "'é'", "NULL"]),
    "c_utf16": ("VARCHAR(20) CHARACTER SET utf16", ["'日本'", "'😀'", "''"]),
    "c_tinytext": ("TINYTEXT", ["'t'", "''", "NULL"]),
    "c_text": ("TEXT", ["REPEAT('y', 65535)", "'line\\nbreak'", "'a\\tb'"]),
    "c_mediumtext": ("MEDIUMTEXT", ["REPEAT('z', 200000)", "''", "NULL"]),
    "c_longtext": ("LONGTEXT", ["REPEAT('ä', 100000)", "'x'", "NULL"]),
    "c_binary": ("BINARY(6)", ["'ab'", "x'000102030405'", "x'ffffffffffff'"]),
    "c_varbinary": ("VARBINARY(100)", ["x'00ff00'", "x'0d0a'", "''"]),
    "c_blob": ("BLOB", ["x'00'", "REPEAT(x'00ff', 30000)", "NULL"]),
    "c_mediumblob": ("MEDIUMBLOB", ["REPEAT(x'c3', 100000)", "''", "x'27'"]),
    "c_enum": ("ENUM('small','it''s','größe')", ["'small'", "'it''s'", "'größe'"]),
    "c_set": ("SET('a','b','c d')", ["'a,b'", "''", "'a,c d'"]),
    "c_json": ("JSON", ["'{\"a\": [1, null, \"ä\"]}'", "'[]'", "NULL"]),
    "c_uuid": ("UUID", ["'123e4567-e89b-12d3-a456-426655440000'", "NULL",
                        "'FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF'"]),
    "c_inet6": ("INET6", ["'2001:db8::1'", "'::'", "NULL"]),
    "c_inet4": ("INET4", ["'192.0.2.1'", "NULL", "'0.0.0.0'"]),
    "c_geometry": ("POINT", ["ST_GeomFromText('POINT(1 2)')", "NULL", "NULL"]),
    "c_virtual": ("VARCHAR(40) AS (CONCAT('id ', id)) VIRTUAL", None),
    "c_stored": ("INT AS (id * 2) STORED", None),
    "c `odd` name": ("INT", ["1", "2", "3"]),
}
ROW_COUNT = 3


def quoted(name):
    return "`" + name.replace("`", "``") + "`"


@pytest.fixture(scope="module")
def zoo(mariadb):
    import databases
    db = databases.MySQLDatabase(mariadb, "zoo")
    db.sql("CREATE TABLE zoo (id INT PRIMARY KEY, %s) ROW_FORMAT=DYNAMIC" % ", ".join(
        "%s %s" % (quoted(name), kind) for name, (kind, _) in COLUMNS.items()))
    given = [name for name, (_, values) in COLUMNS.items() if values]
    for row in range(ROW_COUNT):
        db.sql("INSERT INTO zoo (id, %s) VALUES (%d, %s)" % (
            ", ".join(map(quoted, given)), row + 1,
            ", ".join(COLUMNS[name][1][row] for name in given)))
    yield db
    db.close()


def text_of(db, name, row):
    """The client's raw output, without the line's end; Nil for NULL."""
    if db.lines("SELECT %s IS NULL FROM zoo WHERE id = %d" % (quoted(name), row)) == ["1"]:
        return Nil
    out = db.server.run("SELECT %s FROM zoo WHERE id = %d" % (quoted(name), row), db.name)
    assert out.endswith(b"\n")
    return out[:-1]


def test_every_type(zoo, forebay):
    string_columns = [name for name in COLUMNS if " " not in name]
    c = forebay(zoo, maps=["zoo zoo:{id} table=zoo as=hash"] + [
        "m%d one:%s:{id} table=zoo as=string:%s" % (i, name, name)
        for i, name in enumerate(string_columns)]).client()
    for row in range(1, ROW_COUNT + 1):
        flat = c.cmd("HGETALL", "zoo:%d" % row)
        got = dict(zip(flat[::2], flat[1::2]))
        for name in COLUMNS:
            want = text_of(zoo, name, row)
            assert got.get(name.encode(), Nil) == want, name
            if name in string_columns:
                assert c.cmd("GET", "one:%s:%d" % (name, row)) == want, name


def test_every_type_as_json(zoo, forebay):
    c = forebay(zoo, maps=["zoo zoo:{id} table=zoo as=json"]).client()
    for row in range(1, ROW_COUNT + 1):
        value = json.loads(c.cmd("GET", "zoo:%d" % row))
        assert list(value) == ["id"] + list(COLUMNS)
    one = json.loads(c.cmd("GET", "zoo:1"))
    assert one["id"] == 1 and one["c_json"] == {"a": [1, None, "ä"]} and one["c_zerofill"] == 42
    assert one["c_ubigint"] == 18446744073709551615 and one["c_enum"] == "small"


@pytest.mark.parametrize("kind,values", [
    ("INT", ["-5", "7"]), ("BIGINT UNSIGNED", ["18446744073709551615", "0"]),
    ("VARCHAR(50) COLLATE utf8mb4_bin", ["Ä", "ä", "😀"]),
    ("VARCHAR(50) COLLATE utf8mb4_general_ci", ["Abc", "xyz"]),
    ("CHAR(10)", ["ab"]), ("VARBINARY(20)", ["b1", "B1"]),
    ("UUID", ["123e4567-e89b-12d3-a456-426655440000"]),
], ids=lambda v: v if isinstance(v, str) else "")
def test_key_types(mysql, forebay, kind, values):
    mysql.sql("CREATE TABLE k (k %s PRIMARY KEY, n INT); INSERT INTO k VALUES %s" % (
        kind, ",".join("('%s', %d)" % (v, n) for n, v in enumerate(values))))
    c = forebay(mysql, maps=["k k:{k} table=k as=string:n"]).client()
    assert c.cmd("MGET", *["k:" + v for v in values]) == [b"%d" % n for n in range(len(values))]
    assert c.pipeline([["GET", "k:" + v] for v in values]) == [
        b"%d" % n for n in range(len(values))]


def test_a_case_insensitive_key_has_one_truth(mysql, forebay):
    """Under such a collation 'A' and 'a' are one row, but only its own spelling is its key."""
    mysql.sql("CREATE TABLE k (k VARCHAR(20) COLLATE utf8mb4_general_ci PRIMARY KEY, n INT);"
              "INSERT INTO k VALUES ('Abc', 1), ('trail', 2), ('é', 3)")
    c = forebay(mysql, maps=["k k:{k} table=k as=string:n"]).client()
    assert c.cmd("MGET", "k:Abc", "k:abc", "k:ABC", "k:trail ", "k:trail", "k:e", "k:é") == [
        b"1", Nil, Nil, Nil, b"2", Nil, b"3"]
