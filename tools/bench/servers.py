"""Starts, asks and stops the servers the benchmarks compare, and drives them with loadgen.

For the programs beside this file; each server is a process of ours on a port of its own.
"""
import ctypes
import datetime
import json
import math
import os
import platform
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PEERS = ["redis", "valkey", "memcached", "pogocache"]
RESP_PEERS = ["redis", "valkey"]
START_SECONDS_MAX = 20
SETTLE_POLL_S = 0.25
SETTLE_POLLS = 6
SETTLE_SECONDS_MAX = 60
STOP_SECONDS_MAX, END_SECONDS_MAX = 10, 2
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
LIBC = ctypes.CDLL(None)


class Failure(Exception):
    """A server or the load generator did not do what it was started for."""


def add_arguments(parser, servers):
    """The options every benchmark has."""
    parser.add_argument("--servers", default=servers, help="by comma; the first is compared")
    parser.add_argument("--server-cpu", default="0", help="as for taskset: 0, 0-3")
    parser.add_argument("--client-cpu", default="1")
    parser.add_argument("--build", default=os.path.join(ROOT, "build"), help="meson's build folder")
    parser.add_argument("--forebay", help="binary (BUILD/src/forebay)")
    parser.add_argument("--forebay-args", default="", help="its options beside --port")
    parser.add_argument("--redis", default="redis-server", help="binary")
    parser.add_argument("--valkey", default="valkey-server", help="binary")
    parser.add_argument("--memcached", default="memcached", help="binary")
    parser.add_argument("--pogocache", help="binary; joins the servers when given")


def finish_arguments(args):
    """Fills in what depends on --build; the servers that are there in args.wanted."""
    args.build = os.path.abspath(args.build)  # servers run in directories of their own
    args.forebay = os.path.abspath(args.forebay or os.path.join(args.build, "src", "forebay"))
    args.tools = os.path.join(args.build, "tools", "bench")
    args.loadgen = os.path.join(args.tools, "loadgen")
    args.echo = os.path.join(args.tools, "echo")
    names = args.servers.split(",")
    if args.pogocache and "pogocache" not in names:
        names.append("pogocache")
    args.wanted, args.missing = [], []
    for name in names:
        if name not in ("forebay", "echo", *PEERS):
            sys.exit(f"unknown server {name}")
        program = getattr(args, name)
        if program and shutil.which(program):
            args.wanted.append(name)
        else:
            args.missing.append(f"{name}: {os.path.basename(program or name)} is not there: left "
                                "out")


def stay_off_the_server(args):
    """Keeps this program to the client's cores; what it starts is placed by taskset."""
    cpus = set()
    for part in args.client_cpu.split(","):
        low, _, high = part.partition("-")
        cpus |= set(range(int(low), int(high or low) + 1))
    os.sched_setaffinity(0, cpus)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def die_with_parent():
    """In the child: it ends when the program that started it does, however that ends."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def adopt_orphans():
    """What any process of ours leaves behind becomes a child of this program."""
    LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children():
    """Processes of ours that still run; those that have ended are taken note of."""
    found = []
    for task in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{task}/children", encoding="ascii") as f:
            found += [int(word) for word in f.read().split()]
    return [pid for pid in found if os.waitpid(pid, os.WNOHANG) == (0, 0)]


def end_children():
    """Ends what still runs, by its id; which that were. What is ending just now is waited for."""
    deadline = time.monotonic() + END_SECONDS_MAX
    while (left := children()) and time.monotonic() < deadline:
        time.sleep(0.02)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return left


class Connection:
    """One RESP connection."""

    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.file = self.sock.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.sock.close()

    def ask(self, *words):
        """The reply to one command, an error reply as an exception."""
        self.sock.sendall(request(words))
        return read_reply(self.file)

    def ask_many(self, commands):
        """The replies to commands that are sent together."""
        self.sock.sendall(b"".join(request(words) for words in commands))
        return [read_reply(self.file) for _ in commands]


class Server:
    """A process of ours that listens on a port of its own."""

    started = 0  # in this program

    def __init__(self, name, command, port, cpu, folder, protocol="resp", op=None):
        self.name, self.port, self.protocol, self.op = name, port, protocol, op
        self.log = os.path.join(folder, f"{name}-{port}.log")
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(["taskset", "-c", cpu] + command, stdout=log,
                                            stderr=log, stdin=subprocess.DEVNULL, cwd=folder,
                                            preexec_fn=die_with_parent)
        Server.started += 1

    def wait_ready(self):
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline and self.process.poll() is None:
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        with open(self.log, encoding="utf-8", errors="replace") as log:
            raise Failure(f"{self.name} does not answer on its port:\n{log.read()[-2000:]}")

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def rss(self):
        """Resident bytes."""
        with open(f"/proc/{self.process.pid}/statm", encoding="ascii") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def reset_peak(self):
        """peak_rss is of what comes after."""
        with open(f"/proc/{self.process.pid}/clear_refs", "w", encoding="ascii") as f:
            f.write("5")

    def peak_rss(self):
        """The most resident bytes that the kernel has seen."""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as f:
            return next(int(line.split()[1]) * 1024 for line in f if line.startswith("VmHWM"))

    def settled_rss(self, polls=None, seconds_max=SETTLE_SECONDS_MAX):
        """Resident bytes once they have not changed by 1/4000 for some polls."""
        polls = polls or SETTLE_POLLS
        deadline = time.monotonic() + seconds_max
        seen = [self.rss()]
        while time.monotonic() < deadline:
            time.sleep(SETTLE_POLL_S)
            seen = seen[-polls:] + [self.rss()]
            if len(seen) > polls and max(seen) - min(seen) <= max(seen) / 4000:
                break
        return seen[-1]

    def ask(self, *words):
        """One RESP command; its reply, an error reply as an exception."""
        with Connection(self.port) as c:
            return c.ask(*words)

    def memcached_stats(self):
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as s:
            s.sendall(b"stats\r\n")
            stats = {}
            for line in s.makefile("r", encoding="ascii"):
                words = line.split()
                if words[0] != "STAT":
                    return stats
                stats[words[1]] = words[2]
        return stats

    def info(self, field):
        """A number of INFO MEMORY, None where the server has none."""
        if self.protocol == "memcached" or self.name == "pogocache":
            return None
        for line in self.ask("INFO", "memory").split("\r\n"):
            if line.startswith(field + ":"):
                return int(line.split(":", 1)[1])
        return None

    def items(self):
        if self.protocol == "memcached":
            return int(self.memcached_stats()["curr_items"])
        return self.ask("DBSIZE")

    def memcached_item_bytes(self, key_bytes):
        """What memcached counts for an item beyond its value; to be asked of an empty server."""
        name = "k" * key_bytes
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as s:
            s.sendall(f"set {name} 0 0 1\r\nv\r\n".encode())
            reply = s.makefile("rb").readline()
        if reply != b"STORED\r\n":
            raise Failure(f"memcached answers a set with {reply!r}")
        return int(self.memcached_stats()["bytes"]) - 1

    def value_bytes(self, item_bytes=0):
        """Bytes of all values held; `item_bytes` as memcached_item_bytes said."""
        if self.protocol == "memcached":
            stats = self.memcached_stats()
            return int(stats["bytes"]) - int(stats["curr_items"]) * item_bytes
        # pogocache has no STRLEN
        ask = "GET" if self.name == "pogocache" else "STRLEN"
        total, cursor, seen = 0, "0", set()
        with Connection(self.port) as c:
            while True:
                cursor, keys = c.ask("SCAN", cursor, "COUNT", "1000")
                new = [key for key in set(keys) if key not in seen]
                seen.update(new)
                for reply in c.ask_many([(ask, key) for key in new]):
                    total += len(reply or "") if ask == "GET" else reply
                if cursor == "0":
                    return total

    def cpu_ns(self):
        """CPU time of each thread, by its id."""
        found = {}
        for task in os.listdir(f"/proc/{self.process.pid}/task"):
            try:
                with open(f"/proc/{self.process.pid}/task/{task}/schedstat", encoding="ascii") as f:
                    found[task] = int(f.read().split()[0])
            except OSError:  # it has ended meanwhile
                pass
        return found


def request(words):
    parts = [str(w).encode() for w in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts)


def read_reply(f):
    line = f.readline().rstrip(b"\r\n").decode()
    if not line:
        raise Failure("the server has closed the connection")
    kind, rest = line[:1], line[1:]
    if kind == "-":
        raise RuntimeError(rest)
    if kind == ":":
        return int(rest)
    if kind == "$":
        return None if rest == "-1" else f.read(int(rest) + 2)[:-2].decode()
    if kind == "*":
        return [read_reply(f) for _ in range(int(rest))]
    return rest


def start(args, name, folder, memory_mb=0, maxmemory_mb=0, policy="allkeys-lru", more=()):
    """Starts one server, ready. `memory_mb`: what memcached and pogocache need to hold everything;
    `maxmemory_mb`: a limit for all, at which they evict, by `policy` where they have a choice."""
    port = free_port()
    limit = ["--maxmemory", f"{maxmemory_mb}mb",
             "--maxmemory-policy", policy] if maxmemory_mb else []
    protocol = "resp"
    if name == "forebay":
        command = [args.forebay, "--port", str(port)] + limit + shlex.split(args.forebay_args)
    elif name in RESP_PEERS:
        command = [getattr(args, name), "--port", str(port), "--bind", "127.0.0.1", "--save", "",
                   "--appendonly", "no", "--io-threads", "1"] + limit
    elif name == "memcached":
        protocol = "memcached"
        command = [args.memcached, "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-t", "1",
                   "-m", str(maxmemory_mb or memory_mb or 1024), "-c", "4096", "-I", "16m"]
        command += ["-u", "root"] if os.geteuid() == 0 else []
    else:
        command = [os.path.abspath(args.pogocache), "-p", str(port), "--threads", "1"]
        if maxmemory_mb or memory_mb:
            command += ["--maxmemory", f"{maxmemory_mb or memory_mb}mb"]
    server = Server(name, command + list(more), port, args.server_cpu, folder, protocol=protocol)
    try:
        server.wait_ready()
    except Failure:
        server.stop()
        raise
    return server


def run_loadgen(args, server, *more):
    """loadgen's object; the word of a failure goes to stdout."""
    command = ["taskset", "-c", args.client_cpu, args.loadgen, "--json", "--port", str(server.port),
               "--protocol", server.protocol, "--server-pid", str(server.process.pid)]
    command += [str(word) for word in more]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          check=False)
    if not done.stdout:
        raise Failure(f"{server.name}: loadgen failed: {done.stderr.strip()}")
    result = json.loads(done.stdout)
    result["stderr"] = done.stderr
    return result


def mean_of_even_logarithm(low, high):
    """The mean size of values LOW:HIGH as loadgen makes them."""
    return low if low == high else (high - low) / math.log(high / low)


def machine():
    model = platform.processor() or platform.machine()
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        for line in f:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return (f"{model}, {os.cpu_count()} cores, Linux {platform.release()}, "
            f"{datetime.date.today().isoformat()}")


def version(program):
    text = subprocess.run([program, "--version"], capture_output=True, text=True,
                          check=False).stdout.strip()
    return text.split("\n", maxsplit=1)[0][:60]


def describe(args, title):
    """The head of every report: the command, the machine, the peers' versions, who is missing."""
    lines = ["Command: `" + shlex.join([title] + sys.argv[1:]) + "`", "Machine: " + machine()]
    lines += [f"{name}: {version(getattr(args, name))}" for name in args.wanted if name in PEERS]
    return lines + args.missing
