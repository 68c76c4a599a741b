"""redis-cli and redis-benchmark, as one runs them by hand."""
import re
import shutil
import subprocess

import pytest

COMMANDS = 100000

pytestmark = pytest.mark.skipif(not shutil.which("redis-cli"), reason="redis-cli is not installed")


@pytest.fixture
def cli(plain):
    c = plain.client()
    c.cmd("FLUSHALL")
    c.close()

    def run(*words, text=None, seconds=60, status=0):
        result = subprocess.run(["redis-cli", "-p", str(plain.port), *words], input=text,
                                capture_output=True, check=False, timeout=seconds)
        out = (result.stdout + result.stderr).decode("utf8", "replace")
        assert result.returncode == status, out
        return out

    return run


def watch(command, enough, seconds=30):
    """The output of a command that runs for ever, until `enough` of its text says so."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    out = b""
    try:
        while not enough(out):
            chunk = process.stdout.read1(65536)
            assert chunk, out
            out += chunk
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    return out.decode()


def fill(cli):
    commands = b"".join(b"SET key:%d %s\r\n" % (i, b"x" * (i % 100 + 1)) for i in range(1000))
    cli("--pipe", text=commands + b"HSET wide a 1 b 2 c 3\r\nSET big " + b"y" * 5000 + b"\r\n")


def test_commands(cli):
    assert cli("SET", "k", "hello") == "OK\n" and cli("GET", "k") == "hello\n"
    assert cli("-3", "HSET", "h", "f", "v") == "1\n" and "f" in cli("-3", "HGETALL", "h")
    assert cli("-n", "5", "GET", "k") == "\n"
    assert cli(text=b"MULTI\nINCR n\nINCR n\nEXEC\n").splitlines() == [
        "OK", "QUEUED", "QUEUED", "1", "2"]
    assert "WRONGTYPE" in cli("INCR", "h") and "ERR unknown command" in cli("NOSUCH")
    assert "redis_version:7.2" in cli("INFO", "server")


@pytest.mark.parametrize("protocol", [False, True], ids=["inline", "RESP"])
def test_pipe(cli, protocol):
    if protocol:
        one = b"*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$1\r\nv\r\n"
        commands = b"".join(one % (len(k), k) for k in (b"k%d" % i for i in range(COMMANDS)))
    else:
        commands = b"".join(b"SET k%d v\r\n" % i for i in range(COMMANDS))
    assert "errors: 0, replies: %d" % COMMANDS in cli("--pipe", text=commands)
    assert cli("DBSIZE") == "%d\n" % COMMANDS


def test_pipe_counts_errors(cli):
    assert "errors: 1, replies: 3" in cli("--pipe", text=b"SET a x\r\nINCR a\r\nGET a\r\n",
                                             status=1)


def test_bigkeys(cli):
    fill(cli)
    out = cli("--bigkeys")
    assert "Sampled 1002 keys in the keyspace!" in out
    assert re.search(r'Biggest string found .*big.* has 5000 bytes', out), out
    assert re.search(r'Biggest +hash found .*wide.* has 3 fields', out), out


def test_memkeys(cli):
    fill(cli)
    assert "Sampled 1002 keys in the keyspace!" in cli("--memkeys")


def test_scan(cli):
    fill(cli)
    assert len(set(cli("--scan").split())) == 1002
    assert len(set(cli("--scan", "--pattern", "key:99?").split())) == 10


def test_stat(plain):
    out = watch(["redis-cli", "-p", str(plain.port), "-i", "0.05", "--stat"],
                lambda text: text.count(b"\n") >= 5)
    rows = [line.split() for line in out.splitlines()[2:5]]
    assert all(len(row) >= 7 and row[0].isdigit() for row in rows), out


def test_latency(plain):
    out = watch(["redis-cli", "-p", str(plain.port), "-i", "0.1", "--raw", "--latency"],
                lambda text: len(text.split()) >= 4)
    lowest, highest, mean, samples = out.split()[:4]
    assert 0 <= float(lowest) <= float(mean) <= float(highest) and int(samples) > 0


@pytest.mark.parametrize("depth", [1, 16])
def test_benchmark(plain, depth):
    if not shutil.which("redis-benchmark"):
        pytest.skip("redis-benchmark is not installed")
    result = subprocess.run(
        ["redis-benchmark", "-p", str(plain.port), "-t", "ping,set,get,incr,mset,hset", "-n",
         "20000", "-P", str(depth), "-r", "1000", "--csv"], capture_output=True, check=False,
        timeout=60)
    out = (result.stdout + result.stderr).decode()
    assert result.returncode == 0 and "rror" not in out and "WARN" not in out, out
    rows = [line.split(",") for line in out.splitlines() if line.startswith('"')]
    for row in rows[1:]:
        assert float(row[1].strip('"')) > 1000, out
    names = {row[0].strip('"').split(" ")[0] for row in rows[1:]}
    assert {"PING_INLINE", "PING_MBULK", "SET", "GET", "INCR", "HSET", "MSET"} <= names, out
