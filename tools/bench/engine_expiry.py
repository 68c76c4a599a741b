"""Part of tools/bench/engine: what expired keys cost: memory, CPU of the sweep, others' latency.

The shapes of --expiry-shapes:

    spread  --expiry-keys keys whose times are spread evenly over --expiry-span seconds; new ones
            are written at the rate at which they expire, so that as many are alive all the time
    second  --expiry-second-rate SETs a second with a TTL of 1 s
    burst   all keys are due in the same second, --expiry-span seconds after the fill
    few     1 key of 100 is due within the span, the others have no TTL; new short ones as they
            expire

What is due is known from the schedule, what is there from the server's count of keys (which has
expired ones that were not removed yet): their difference is what the sweep has left. All keys and
values have one size, so a share of the keys is one of their memory. Meanwhile loadgen reads keys
that do not expire, at a fixed rate, with the sweep and without in turn, where the server can be
told: --rounds windows without it, where little is left behind by them (spread, few), else one. All
windows are as long, as a long one sees more of what the machine does now and then.
"""
import math
import os
import threading
import time

from harness import FAILED, median
import servers as fleet

STABLE_KEYS, STABLE_KEY_BYTES = 10000, 15
BATCH = 500
SLICE_MS = 10             # of the schedule
OFF_SECONDS_MAX = 60      # without the sweep
SECOND_SECONDS_MAX = 60   # of the shape `second`
STEADY = ["spread", "few"]  # shapes of which a window without the sweep leaves little to the next
SAMPLES = 100             # of the share, in a window
RATE_SHARE_MIN = 0.95     # a schedule that is late by more measured the client
WARMUP_S = 0.5


def now_ms():
    return int(time.time() * 1000)


class Resp:
    """What is asked of Forebay, Redis and Valkey."""

    def __init__(self, server):
        self.server, self.connection = server, fleet.Connection(server.port)

    def close(self):
        self.connection.sock.close()

    def format(self, key, value, at):
        if at is None:
            return b"*3\r\n$3\r\nSET\r\n$16\r\n%s\r\n$%d\r\n%s\r\n" % (key, len(value), value)
        return (b"*5\r\n$3\r\nSET\r\n$16\r\n%s\r\n$%d\r\n%s\r\n$4\r\nPXAT\r\n$13\r\n%013d\r\n"
                % (key, len(value), value, at))

    DONE = b"+OK\r\n"

    def set_many(self, first, due_ms, value):
        """Keys `first` and on, each due at its time (None: never)."""
        self.connection.sock.sendall(b"".join(
            self.format(b"key:%012d" % n, value, at) for n, at in enumerate(due_ms, first)))
        replies = self.connection.file.read(len(self.DONE) * len(due_ms))
        if replies != self.DONE * len(due_ms):
            raise fleet.Failure(f"{self.server.name} answers SETs with {replies[:80]!r}")

    def count(self):
        """Keys there, expired ones included, without those that do not expire."""
        return self.connection.ask("DBSIZE") - STABLE_KEYS

    def sweep(self, on):
        """False where the server can't be told."""
        self.connection.ask("DEBUG", "SET-ACTIVE-EXPIRE", "1" if on else "0")
        return True

    def sweep_cpu_s(self):
        stats = self.connection.ask("INFO", "stats")
        return int(stats.split("expire_cycle_cpu_milliseconds:", 1)[1].split("\r\n", 1)[0]) / 1000

    def stale(self):
        """What the server believes itself, a cell."""
        stats = self.connection.ask("INFO", "stats")
        return stats.split("expired_stale_perc:", 1)[1].split("\r\n", 1)[0] + "%"


def background_cpu_s(server):
    """CPU of all threads but the one that serves, which has used most."""
    used = sorted(server.cpu_ns().values())
    return sum(used[:-1]) / 1e9


class Pogocache(Resp):
    def format(self, key, value, at):
        if at is None:
            return super().format(key, value, at)
        left = b"%d" % max(at - now_ms(), 1)  # its PXAT counts from the machine's start
        return (b"*5\r\n$3\r\nSET\r\n$16\r\n%s\r\n$%d\r\n%s\r\n$2\r\nPX\r\n$%d\r\n%s\r\n"
                % (key, len(value), value, len(left), left))

    def sweep(self, on):
        return on  # an option of its start

    def sweep_cpu_s(self):
        return background_cpu_s(self.server)

    def stale(self):
        return "-"


class Memcached(Resp):
    DONE = b"STORED\r\n"

    def format(self, key, value, at):
        due_s = 0 if at is None else -(-at // 1000)
        return b"set %s 0 %d %d\r\n%s\r\n" % (key, due_s, len(value), value)

    def count(self):
        return self.server.items() - STABLE_KEYS

    swept = True  # as it starts

    def sweep(self, on):
        if on == self.swept:  # to be told the same again is an error
            return True
        self.swept = on
        self.connection.sock.sendall(b"lru_crawler %s\r\n" % (b"enable" if on else b"disable"))
        reply = self.connection.file.readline()
        if reply != b"OK\r\n":
            raise fleet.Failure(f"memcached answers lru_crawler with {reply!r}")
        return True

    def sweep_cpu_s(self):
        return background_cpu_s(self.server)

    def stale(self):
        return "-"


class Schedule:
    """What is written when, and how much of it should be alive at a time."""

    def __init__(self, args, shape):
        self.shape, self.keys, self.span_ms = shape, args.expiry_keys, args.expiry_span * 1000
        self.value = b"v" * args.expiry_value_bytes
        self.next, self.alive_count, self.forever = 0, 0, 0
        self.due = {}  # keys by slice of SLICE_MS
        self.slice = now_ms() // SLICE_MS  # those before it have passed
        self.rate, self.ttl_ms = {  # new keys a second, and their TTL
            "spread": (self.keys / args.expiry_span, self.span_ms),
            "few": (self.keys / 100 / args.expiry_span, self.span_ms),
            "second": (args.expiry_second_rate, 1000), "burst": (0, 0)}[shape]

    def write(self, side, due):
        for i in range(0, len(due), BATCH):
            part = due[i:i + BATCH]
            side.set_many(self.next, part, self.value)
            self.next += len(part)
            for at in part:
                if at is None:
                    self.forever += 1
                elif at // SLICE_MS >= self.slice:
                    self.due[at // SLICE_MS] = self.due.get(at // SLICE_MS, 0) + 1
                    self.alive_count += 1

    def alive(self):
        """Keys that are not due yet."""
        now = now_ms() // SLICE_MS
        for passed in range(self.slice, now):
            self.alive_count -= self.due.pop(passed, 0)
        self.slice = max(self.slice, now)
        return self.alive_count + self.forever

    def fill(self, side):
        start, span, keys = now_ms(), int(self.span_ms), self.keys
        if self.shape == "second":
            return
        step = int(keys * 0.6180339887) | 1  # visits all places of the span, here and there
        while math.gcd(step, keys) > 1:
            step += 1
        burst_at = start + span + keys // 200  # the fill itself takes about that long
        for first in range(0, keys, BATCH):
            numbers = range(first, min(first + BATCH, keys))
            if self.shape == "burst":
                due = [burst_at] * len(numbers)
            else:
                due = [None if self.shape == "few" and n % 100 else
                       start + 1 + n * step % keys * span // keys for n in numbers]
            self.write(side, due)


class Writer(threading.Thread):
    """Writes at the schedule's rate and notes the share of expired keys, without taking the
    client's core from loadgen."""

    def __init__(self, side, schedule, seconds):
        super().__init__()
        self.side, self.schedule, self.seconds = side, schedule, seconds
        self.shares, self.written, self.wanted, self.error = [], 0, 0, None

    def run(self):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        try:
            self.work()
        except Exception as e:  # pylint: disable=broad-exception-caught
            self.error = e

    def work(self):
        schedule = self.schedule
        begin = sample = time.monotonic()
        while (now := time.monotonic()) - begin < self.seconds:
            due = int((now - begin) * schedule.rate) - self.written
            if due > 0:
                count = min(due, 5 * BATCH)
                schedule.write(self.side, [now_ms() + int(schedule.ttl_ms)] * count)
                self.written += count
            else:
                time.sleep(0.005)
            if now >= sample:
                sample += max(0.2, self.seconds / SAMPLES)
                there = self.side.count()
                self.shares.append(max(0, there - schedule.alive()) / max(1, there))
        self.wanted = schedule.rate * (time.monotonic() - begin)


def observe(bench, server, side, schedule, seconds):
    """One window: what the sweep left and cost, and the latency of the paced reads."""
    args = bench.args
    spent = side.sweep_cpu_s()
    writer = Writer(side, schedule, seconds)
    begin = time.monotonic()
    writer.start()
    try:
        load = fleet.run_loadgen(args, server, "--connections", 4, "--keys", STABLE_KEYS,
                                 "--key-bytes", STABLE_KEY_BYTES, "--rate", args.expiry_rate,
                                 "--seconds", max(seconds - 2 * WARMUP_S, 0.5), "--warmup",
                                 WARMUP_S)
    finally:
        writer.join()
    if writer.error:
        raise writer.error
    spent = side.sweep_cpu_s() - spent
    took = time.monotonic() - begin
    if load["failed"]:
        bench.report.fail(f"{server.name}, reads beside the sweep: {load['first_error']} misses "
                          f"{load['misses']}, unanswered {load['unanswered']} {load['stderr']}")
    if writer.written < RATE_SHARE_MIN * writer.wanted:
        bench.report.fail(f"{server.name}: {writer.written} keys written where "
                          f"{writer.wanted:.0f} were due: the client was too slow")
    return {"mean": sum(writer.shares) / len(writer.shares), "worst": max(writer.shares),
            "end": writer.shares[-1], "sweep_core": spent / took, "stale": side.stale(),
            "written": writer.written, "shares": writer.shares, "load": load}


SIDES = {"memcached": Memcached, "pogocache": Pogocache}
OPTIONS = {"forebay": ["--enable-debug-command", "yes"],
           "redis": ["--enable-debug-command", "yes"],
           "valkey": ["--enable-debug-command", "yes"]}


def summary(windows, on):
    """Cells of a row: means of what is a share, the worst, and medians of the latencies."""
    loads = [w["load"] for w in windows]

    def mean(values):
        return sum(values) / len(windows)

    def us(key):
        return f"{median([load[key] for load in loads]):,.0f}"

    return [f"{mean(w['mean'] for w in windows):.1%}", f"{max(w['worst'] for w in windows):.1%}",
            windows[-1]["stale"] if on else "-", f"{mean(w['sweep_core'] for w in windows):.2%}",
            f"{mean(load['server_busy'] for load in loads):.0%}", us("p50_us"), us("p99_us"),
            us("p999_us"), us("max_us")]


def expiry_case(bench, name, shape):
    """The rows of one server."""
    args = bench.args
    room = bench.megabytes(2 * args.expiry_keys, args.expiry_value_bytes)
    rows = []
    with bench.start(name, room, more=OPTIONS.get(name, [])) as server:
        stable = fleet.run_loadgen(args, server, "--op", "set", "--fill", "sequential", "--keys",
                                   STABLE_KEYS, "--key-bytes", STABLE_KEY_BYTES)
        if stable["failed"]:
            raise fleet.Failure(f"loading failed: {stable['first_error']} {stable['stderr']}")
        side, schedule = SIDES.get(name, Resp)(server), Schedule(args, shape)
        try:
            side.sweep(True)
            schedule.fill(side)
            seconds = min(args.expiry_seconds,
                          SECOND_SECONDS_MAX if shape == "second" else args.expiry_seconds)
            rounds = args.rounds if shape in STEADY else 1
            without = min(seconds, OFF_SECONDS_MAX)
            turns = [True] * round(seconds / without) + [False]
            windows = {True: [], False: []}
            for on in turns * rounds:
                if side.sweep(on):
                    found = observe(bench, server, side, schedule, without / rounds)
                    windows[on].append(found)
                    bench.report.add("expiry", server=name, shape=shape, sweep=on, **found)
            for on, found in windows.items():
                if found:
                    bench.report.row(rows, [name, "on" if on else "off"] + summary(found, on))
        finally:
            side.close()
    return rows


def title_of(args, shape):
    keys, span = f"{args.expiry_keys:,} keys", f"{args.expiry_span:g} s"
    return {"spread": f"{keys}, due evenly over {span}, as many new ones as expire",
            "second": f"{args.expiry_second_rate:,} SETs a second with a TTL of 1 s",
            "burst": f"{keys}, all due in the same second, {span} after the fill",
            "few": f"{keys}, 1 of 100 due within {span}"}[shape]


def expiry(bench):
    args, report = bench.args, bench.report
    report.say("### Expiry\n")
    report.say(f"Keys of 16 bytes, values of {args.expiry_value_bytes}. \"Expired present\": keys "
               "there that are past their time, as a share of all keys there; all have one size, "
               "so it is the share of their memory. The sweep's CPU is what INFO says "
               "(`expire_cycle_cpu_milliseconds`); memcached's and pogocache's is that of all "
               "their threads but the serving one. Latency is of "
               f"{args.expiry_rate:,.0f} GETs a second of other keys (open loop), with the sweep "
               "and without it (`DEBUG SET-ACTIVE-EXPIRE 0`, memcached: `lru_crawler disable`; "
               "pogocache can't be told while it runs), in turn; medians of the windows.\n")
    head = ["server", "sweep", "expired present, mean", "worst", "its own estimate",
            "sweep's CPU, of a core", "server's CPU, of a core", "p50 us", "p99 us", "p99.9 us",
            "max us"]
    for shape in args.expiry_shapes:
        report.say(f"#### {title_of(args, shape)}\n")
        rows = []
        for name in args.wanted:
            if name == "memcached" and shape in ("second", "burst"):
                continue
            rows += (bench.attempt(f"{name}, expiry, {shape}", expiry_case, bench, name, shape)
                     or [[name, FAILED] + [""] * (len(head) - 2)])
        report.table(head, rows)
        if "memcached" in args.wanted and shape in ("second", "burst"):
            report.say("memcached's times are whole seconds: left out here.\n")
