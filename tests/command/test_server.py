"""The process: listening, limits of clients, passwords, signals, INFO."""
import os
import re
import signal
import socket
import subprocess

import pytest

from server import AGAINST
from instance import BINARY, SECONDS_MAX, Instance, free_port, info, run_to_end, until
from resp import Client, Error

pytestmark = pytest.mark.skipif(bool(AGAINST), reason="Forebay's own process")


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as s:
            s.bind(("::1", 0))
        return True
    except OSError:
        return False


def closed(sock):
    """Whether the other side ends the connection (in time)."""
    sock.settimeout(SECONDS_MAX)
    try:
        while sock.recv(65536):
            pass
        return True
    except ConnectionResetError:
        return True


def test_log_lines():
    with Instance() as instance:
        assert re.search(r" PID: %d.*Server initialized.*Ready to accept connections tcp" %
                         instance.pid, instance.log, re.S)
        assert "Running on" in instance.log or "running on epoll" in instance.log


def test_starts_in_time():
    with Instance() as instance:
        assert instance.start_seconds < 5  # a loose bound: sanitizers, shared machines


@pytest.mark.parametrize("net", ["epoll", "auto"])
def test_net(net):
    with Instance(net=net) as instance:
        got = info(instance.client())
        assert got["multiplexing_api"] == got["net"]
        if net == "epoll":
            assert got["net"] == "epoll"


def test_tcp_and_unix():
    with Instance() as instance:
        for tcp in (False, True):
            assert instance.client(tcp).cmd("PING") == "PONG"
        path = instance.path
        assert os.path.exists(path)
    assert not os.path.exists(path)


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
def test_ipv6():
    with Instance(bind="::1", port=free_port(socket.AF_INET6, "::1")) as instance:
        with socket.create_connection(("::1", instance.port), SECONDS_MAX) as s:
            s.sendall(b"PING\r\n")
            assert s.recv(100) == b"+PONG\r\n"


def test_optional_address():
    with Instance(bind="127.0.0.1 -198.51.100.77") as instance:
        assert instance.client(True).cmd("PING") == "PONG"


def test_port_clash():
    with Instance() as instance:
        for shards in ("1", "2"):
            got = run_to_end("--port", str(instance.port), "--shards", shards)
            assert got.returncode == 1
            assert "Failed listening on port %d (tcp)" % instance.port in got.stdout


def test_nowhere_to_listen():
    got = run_to_end("--port", "0")
    assert got.returncode == 1 and "Configured to not listen anywhere" in got.stdout


def test_maxclients():
    with Instance(maxclients=3) as instance:
        kept = [instance.client() for _ in range(3)]
        assert [c.cmd("PING") for c in kept] == ["PONG"] * 3
        extra = instance.client()
        assert extra.read() == "ERR max number of clients reached"
        assert closed(extra.sock)
        assert info(kept[0], "stats")["rejected_connections"] == "1"
        assert kept[0].cmd("CONFIG", "SET", "maxclients", "4") == "OK"
        assert instance.client().cmd("PING") == "PONG"


def test_timeout():
    with Instance(timeout=1) as instance:
        assert closed(instance.client().sock)


def test_requirepass():
    with Instance(requirepass="pw") as instance:
        client = instance.client()
        assert client.cmd("GET", "a") == "NOAUTH Authentication required."
        assert client.cmd("AUTH", "no").startswith("WRONGPASS ")
        assert client.cmd("AUTH", "pw") == "OK"
        assert not isinstance(client.cmd("GET", "a"), Error)
        assert client.cmd("CONFIG", "SET", "requirepass", "") == "OK"
        assert not isinstance(instance.client().cmd("GET", "a"), Error)


def own_address():
    """An address of this machine that is not loopback, or None."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        try:
            s.connect(("192.0.2.1", 9))  # sends nothing
            address = s.getsockname()[0]
        except OSError:
            return None
    return None if address.startswith("127.") else address


@pytest.mark.skipif(own_address() is None, reason="only loopback here")
def test_protected_mode():
    """The peer's address decides, so it can be seen only over an outer interface."""
    address = own_address()
    with Instance(bind="*") as instance:
        refused = Client((address, instance.port))
        assert refused.read().startswith("DENIED ")
        assert closed(refused.sock)
        assert instance.client().cmd("CONFIG", "SET", "requirepass", "pw") == "OK"
        # The other shards take the new settings up between their batches.
        until(lambda: Client((address, instance.port)).cmd("AUTH", "pw") == "OK", "still refused")


@pytest.mark.parametrize("how", ["TERM", "INT", "SHUTDOWN", "SHUTDOWN NOW"])
def test_stop(how, tmp_path):
    pidfile = str(tmp_path / "pid")
    with Instance(pidfile=pidfile) as instance:
        with open(pidfile, encoding="ascii") as f:
            assert int(f.read()) == instance.pid
        client = instance.client()
        client.cmd("SET", "a", "b")
        if how.startswith("SHUTDOWN"):
            client.send(*how.split())
        else:
            os.kill(instance.pid, getattr(signal, "SIG" + how))
        assert closed(client.sock)
        assert instance.wait_end() == 0
        assert "bye bye" in instance.log
    assert not os.path.exists(pidfile)


def test_replies_are_flushed_before_the_end():
    """What was executed when the signal came is answered."""
    with Instance() as instance:
        client = instance.client()
        client.cmd("SET", "a", "x" * 1000)
        client.pipeline([["GET", "a"]] * 100)
        for _ in range(2000):
            client.send("GET", "a")
        client.send("SHUTDOWN")
        for _ in range(2000):
            assert client.read() == b"x" * 1000
        assert closed(client.sock)
        assert instance.wait_end() == 0


def test_hangup_is_ignored():
    with Instance() as instance:
        client = instance.client()
        os.kill(instance.pid, signal.SIGHUP)
        assert client.cmd("PING") == "PONG"


def test_stale_unix_socket(tmp_path):
    path = str(tmp_path / "s")
    with Instance(unixsocket=path) as instance:
        os.kill(instance.pid, signal.SIGKILL)
        instance.process.wait()
        assert os.path.exists(path)
        with Instance(unixsocket=path) as again:
            assert again.client().cmd("PING") == "PONG"
        instance.process.returncode = 0  # killed on purpose


def test_restart_after_a_kill():
    with Instance() as instance:
        clients = [instance.client(True) for _ in range(5)]
        assert [c.cmd("PING") for c in clients] == ["PONG"] * 5
        os.kill(instance.pid, signal.SIGKILL)
        instance.process.wait()
        with Instance(port=instance.port, unixsocket=instance.path) as again:
            assert again.client(True).cmd("PING") == "PONG"
        instance.process.returncode = 0  # killed on purpose


def test_logfile(tmp_path):
    path = str(tmp_path / "log")
    process = subprocess.Popen([BINARY, "--port", "0", "--unixsocket", str(tmp_path / "s"),
                                "--logfile", path])
    try:
        until(lambda: os.path.exists(path) and "Ready to accept" in open(path).read(), "no log")
    finally:
        process.terminate()
        assert process.wait(SECONDS_MAX) == 0


INFO_FIELDS = """redis_version redis_mode arch_bits os process_id run_id tcp_port uptime_in_seconds
uptime_in_days connected_clients blocked_clients tracking_clients maxclients used_memory
used_memory_human used_memory_rss used_memory_peak used_memory_peak_human used_memory_lua maxmemory
maxmemory_policy mem_fragmentation_ratio loading async_loading rdb_changes_since_last_save
rdb_bgsave_in_progress aof_enabled aof_rewrite_in_progress total_connections_received
total_commands_processed instantaneous_ops_per_sec rejected_connections expired_keys evicted_keys
keyspace_hits keyspace_misses pubsub_channels pubsub_patterns total_error_replies
tracking_total_keys total_blocking_keys role connected_slaves used_cpu_sys used_cpu_user
cluster_enabled balance_efficiency in_progress shard0 store_status""".split()


def test_info():
    with Instance() as instance:
        client = instance.client()
        client.pipeline([["SET", "a", "1"], ["SET", "b", "1", "EX", "100"], ["GET", "a"],
                         ["GET", "none"], ["INCR", "a", "b"]])
        got = info(client)
        assert [f for f in INFO_FIELDS if f not in got] == []
        assert got["redis_version"].startswith("7.2.") and len(got["run_id"]) == 40
        assert got["process_id"] == str(instance.pid) and got["tcp_port"] == str(instance.port)
        assert got["db0"].startswith("keys=2,expires=1,avg_ttl=")
        assert (got["keyspace_hits"], got["keyspace_misses"]) == ("1", "1")
        assert int(got["used_memory"]) > 0 and int(got["used_memory_peak"]) >= int(got["used_memory"])
        assert got["errorstat_ERR"] == "count=1"
        assert "cmdstat_set" not in got
        got = info(client, "everything")
        assert got["cmdstat_set"].startswith("calls=2,usec=")
        assert "rejected_calls=1" in got["cmdstat_incr"]
        assert "cmdstat_info" in got


def test_info_sections():
    with Instance() as instance:
        client = instance.client()
        text = client.cmd("INFO", "replication", "CLUSTER").decode()
        assert re.findall("# (.*)\r\n", text) == ["Replication", "Cluster"]
        assert client.cmd("INFO", "nothing") == b""
        assert re.findall("# (.*)\r\n", client.cmd("INFO", "all").decode()) == [
            "Server", "Clients", "Memory", "Persistence", "Stats", "Replication", "CPU", "Modules",
            "Commandstats", "Errorstats", "Latencystats", "Cluster", "Shards", "Store", "Missratio",
            "Keyspace"]


def test_info_in_a_transaction():
    with Instance(shards=2) as instance:
        client = instance.client()
        client.pipeline([["SET", "a", "1"], ["MULTI"], ["SET", "b", "1"], ["INFO"]])
        got = client.cmd("EXEC")
        assert b"db0:keys=2" in got[1]


def test_shards_share_the_connections():
    with Instance(shards=3, accept_balance="least-connections") as instance:
        clients = [instance.client(True) for _ in range(12)]
        assert all(c.cmd("PING") == "PONG" for c in clients)
        shards = {k: v for k, v in info(clients[0], "shards").items() if re.match(r"shard\d", k)}
        counts = [int(re.search(r"connections=(\d+)", v).group(1)) for v in shards.values()]
        assert len(counts) == 3 and sum(counts) == 12 and max(counts) - min(counts) <= 1


def test_client_list_of_a_client_that_has_read_everything(server):
    """The line is of this request: its bytes in, nothing left of earlier replies."""
    c = server.client()
    for _ in range(3):
        assert c.cmd("PING") == "PONG"
    line = dict(word.split("=", 1) for word in c.cmd("CLIENT", "INFO").decode().split())
    assert line["qbuf"] == "26"
    assert line["omem"] == "0"
