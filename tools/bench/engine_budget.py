"""Parts of tools/bench/engine: what holds when memory is short: maxmemory, eviction,
defragmentation."""
import time

from harness import FAILED, SAMPLE_S, Watch, median
import servers as fleet

TTL_S = 86400
DEFRAG_POLLS = 12   # of fleet.SETTLE_POLL_S without a change
EVICT_LOW, EVICT_HIGH = 20, 20000
EVICT_WARM = 1.25      # of what fits at most is written before anything is measured
EVICT_WARM_S_MIN = 3   # and for so long: pogocache looks at its memory once a second
EVICT_SHARE = 0.25     # of what fits, in each of the measured rounds
EVICT_ROUND_S_MIN = 1  # about
EVICT_ROUNDS_MAX = 3
LARGE_ROUNDS = 8
LARGE_FILL = 1.5       # of what fits at most
LARGE_PAUSE_S = 0.5    # eviction that goes on after the fill is not the command's


# --- defragmentation ---

def defrag_shapes(bench):
    """Title -> what is done to a fresh server."""
    keys = int(2 * 10**6 * bench.args.scale)

    def deleted(server, op, keys, value):
        bench.fill(server, keys, value, op=op)
        bench.fill(server, keys, value, op="del", order="shuffled", share="0:0.6")

    def overwritten(server, op, keys, value, then):
        deleted(server, op, keys, value)
        bench.fill(server, keys, then, op=op, order="shuffled", share="0.6:1")

    return {
        "100 B, 60% deleted": lambda s: deleted(s, "set", keys, 100),
        "100 B, 60% deleted, rest 300 B": lambda s: overwritten(s, "set", keys, 100, 300),
        "300 B, 60% deleted, rest 20 B": lambda s: overwritten(s, "set", keys, 300, 20),
        "10..1000 B, 60% deleted": lambda s: deleted(s, "set", keys, "10:1000"),
        "hashes of 10 x 30 B, 60% deleted": lambda s: deleted(s, "hset", keys // 5, 30),
        "hashes, 60% deleted, rest 10 x 90 B":
            lambda s: overwritten(s, "hset", keys // 5, 30, 90),
    }


def defrag_case(bench, name, title, change, refusals):
    """A cell of the table; a server's own words when it can't in `refusals`."""
    with bench.start(name) as server:
        server.ask("CONFIG", "SET", "activedefrag", "no")
        change(server)
        before = server.settled_rss(), server.info("used_memory")
        start = time.monotonic()
        try:
            server.ask("CONFIG", "SET", "activedefrag", "yes")
        except RuntimeError as e:
            refusals[name] = str(e)
            bench.report.add("defrag", server=name, case=title, before=before, refused=str(e))
            return f"{before[0] / before[1]:.2f}, refused"
        after = server.settled_rss(DEFRAG_POLLS), server.info("used_memory")
        took = max(time.monotonic() - start - DEFRAG_POLLS * fleet.SETTLE_POLL_S, 0)
        bench.report.add("defrag", server=name, case=title, before=before, after=after, took=took)
        return f"{before[0] / before[1]:.2f} -> {after[0] / after[1]:.2f}, {took:.1f} s"


def defrag(bench):
    report = bench.report
    report.say("### Defragmentation: resident memory / used memory\n")
    report.say("After the shape of the data changed (keys deleted and overwritten at random) with "
               "`activedefrag no`, then with `activedefrag yes` once resident memory no longer "
               "changes, and how long that took. memcached and pogocache do not say what they "
               "use.\n")
    names = bench.each(["forebay", *fleet.RESP_PEERS])
    rows, refusals = [], {}
    for title, change in defrag_shapes(bench).items():
        row = [title]
        for name in names:
            row.append(bench.attempt(f"{name}, defragmentation of {title}", defrag_case, bench,
                                     name, title, change, refusals) or FAILED)
        report.row(rows, row)
    report.table(["shape"] + names, rows)
    for name, words in refusals.items():
        report.say(f"{name} refuses `activedefrag yes`: \"{words}\"\n")


# --- maxmemory ---

def maxmemory_loads(bench):
    """Title -> (what fills the server several times over, names of those that can). The last
    fill's result is what is printed."""
    limit = bench.args.maxmemory_mb * 2**20

    def times(size, by=3):
        return by * limit // (size + bench.args.key_bytes)

    def shape_change(server):
        bench.fill(server, times(100, 1), 100, may_fail=True, pipeline=16)
        return bench.fill(server, times(1000), 1000, first_key=20_000_000, may_fail=True,
                          pipeline=16)

    def reads(server):
        count = times(100_000, 1)
        bench.fill(server, count, 100_000, may_fail=True, pipeline=4)
        return fleet.run_loadgen(bench.args, server, "--op", "mix:0.8", "--keys", count,
                                 "--value-bytes", 100_000, "--pipeline", 32, "--connections", 50,
                                 "--allow-miss", "--warmup", 0, "--seconds", 3,
                                 "--key-bytes", bench.args.key_bytes)

    def plain(keys, value, pipeline=16, **options):
        return lambda s: bench.fill(s, keys, value, may_fail=True, pipeline=pipeline, **options)

    everyone, with_hashes = bench.args.wanted, bench.each(["forebay", *fleet.RESP_PEERS])
    return {
        "100 B": (plain(times(100), 100), everyone),
        "100 B with TTL": (plain(times(100), 100, ttl=TTL_S), everyone),
        "10 B .. 50 KB": (plain(times(5900), "10:50000"), everyone),
        "100 B, then 1 KB": (shape_change, everyone),
        "1 MB, 50 clients x 4": (plain(times(10**6, 10), 10**6, pipeline=4), everyone),
        "reads and writes of 100 KB, 50 clients x 32": (reads, everyone),
        "hashes, 10 x 100 B": (plain(times(1100), 100, op="hset"), with_hashes),
    }


def maxmemory_case(bench, name, title, load):
    """A row of the table."""
    limit = bench.args.maxmemory_mb * 2**20
    with bench.start(name, maxmemory_mb=bench.args.maxmemory_mb) as server:
        with Watch(server) as watch:
            result = load(server)
        items, end = server.items(), server.rss()
    bench.report.add("maxmemory", server=name, case=title, rss_max=watch.max, rss_end=end,
                     items=items, **result)
    errors = result["errors"] + result["wrong"]
    return [title, name, f"{watch.max / limit:.3f}", f"{end / limit:.3f}",
            f"{result['p999_us'] / 1000:.1f}", f"{items:,}", f"{result['requests_per_s']:,.0f}",
            f"{errors:,}" + (f" ({result['first_error'][:40]})" if errors else "")]


def large_commands(limit):
    """Title -> (commands before, the command of a round). Sizes are shares of the limit."""
    value, piece = "v" * 8000, "v" * 500_000
    pieces, replies = limit * 15 // 100 // len(piece), limit * 16 // 100 // len(value)
    return {
        "SETRANGE, 20%": ([], lambda i: ("SETRANGE", f"new{i}", limit // 5 - 1, "x")),
        "COPY, 10%": ([("SETRANGE", "large", limit // 10 - 1, "x")],
                      lambda i: ("COPY", "large", f"copy{i}")),
        "MSET of 500 KB, 15%": ([], lambda i: ["MSET"] + [
            word for n in range(pieces) for word in (f"new{i}:{n}", piece)]),
        "MGET of 8 KB, 16%": ([("SET", "value", value)],
                              lambda _: ["MGET"] + ["value"] * replies),
    }


def large_case(bench, name, low, high, before, command):
    """Peak over the limit, and ms a command: median."""
    limit, took, errors = bench.args.maxmemory_mb * 2**20, [], 0
    count = int(LARGE_FILL * limit / (bench.args.key_bytes +
                                      fleet.mean_of_even_logarithm(low, high)))
    with bench.start(name, maxmemory_mb=bench.args.maxmemory_mb) as server:
        bench.fill(server, count, low if low == high else f"{low}:{high}", may_fail=True,
                   pipeline=16)
        with fleet.Connection(server.port) as c:
            for words in before:
                c.ask(*words)
            time.sleep(LARGE_PAUSE_S)
            server.reset_peak()
            for i in range(LARGE_ROUNDS):
                start = time.monotonic()
                try:
                    c.ask(*command(i))
                except RuntimeError:
                    errors += 1
                took.append((time.monotonic() - start) * 1000)
            peak = server.peak_rss()
    bench.report.add("large commands", server=name, low=low, high=high, peak=peak, ms=took, errors=errors)
    return f"{peak / limit:.3f}, {median(took):.0f} ms" + (f", {errors} refused" if errors else "")


def large(bench):
    """The maxmemory part's second table."""
    args, report = bench.args, bench.report
    caches = {"100 B": (100, 100), "20 B .. 20 KB": (EVICT_LOW, EVICT_HIGH)}
    report.say(f"#### One command that takes much, maxmemory {args.maxmemory_mb} MB\n")
    report.say(f"{LARGE_ROUNDS} times by one client, in a cache full of values as in the head of the "
               "column, each command's size a share of maxmemory: the most resident memory (the "
               "kernel's own peak) as a share of maxmemory, the median time of a command.\n")
    rows = []
    for title, (before, command) in large_commands(args.maxmemory_mb * 2**20).items():
        for name in bench.each(["forebay", *fleet.RESP_PEERS]):
            row = [title, name]
            for low, high in caches.values():
                row.append(bench.attempt(f"{name}, maxmemory, {title}", large_case, bench, name,
                                         low, high, before, command) or FAILED)
            report.row(rows, row)
    report.table(["command", "server", *caches], rows)


def maxmemory(bench):
    fills(bench)
    large(bench)


def fills(bench):
    args, report = bench.args, bench.report
    report.say(f"### maxmemory {args.maxmemory_mb} MB\n")
    report.say("Several times as much is written as fits, policy `allkeys-lru` (memcached: `-m`). "
               f"Resident memory is sampled every {SAMPLE_S * 1000:.0f} ms: the most, as a share "
               "of maxmemory; SET p99.9 is of whole batches, in a closed loop of 50 connections; "
               "items are those held at the end.\n")
    head = ["load", "server", "most RSS / maxmemory", "at the end", "p99.9 ms", "items",
            "requests/s", "errors"]
    rows = []
    for title, (load, names) in maxmemory_loads(bench).items():
        for name in names:
            row = bench.attempt(f"{name}, maxmemory, {title}", maxmemory_case, bench, name, title,
                                load)
            report.row(rows, row or [title, name, FAILED] + [""] * (len(head) - 3))
    report.table(head, rows)


# --- eviction ---

def evict_case(bench, name, policy, megabytes, low, high):
    """Fills a server beyond its limit, then measures SETs of keys it has never seen."""
    limit = megabytes * 2**20
    mean = fleet.mean_of_even_logarithm(low, high)
    fits = int(limit / (bench.args.key_bytes + mean))
    value = f"{low}:{high}"
    with bench.start(name, maxmemory_mb=megabytes, policy=policy) as server:
        item_bytes = (server.memcached_item_bytes(bench.args.key_bytes)
                      if server.protocol == "memcached" else 0)
        there, rounds = 0, []

        def more(count):
            nonlocal there
            result = bench.fill(server, count, value, order="shuffled", pipeline=16, may_fail=True,
                                first_key=there)
            there += count
            return result

        with Watch(server) as watch:
            warm_end = time.monotonic() + EVICT_WARM_S_MIN
            rate = more(int(fits * EVICT_WARM))["requests_per_s"]
            while time.monotonic() < warm_end:
                rate = more(int(rate * 0.5) + 1000)["requests_per_s"]
            for _ in range(min(bench.args.rounds, EVICT_ROUNDS_MAX)):
                rounds.append(more(max(int(fits * EVICT_SHARE), int(rate * EVICT_ROUND_S_MIN))))
        end, items = server.rss(), server.items()
        held = items * low if low == high else server.value_bytes(item_bytes)
    cpu = [r["server_ns"] for r in rounds]
    rates = [r["requests_per_s"] for r in rounds]
    errors = sum(r["errors"] + r["wrong"] for r in rounds)
    busy = median([r["client_busy"] for r in rounds])
    bench.report.add("evict", server=name, policy=policy, maxmemory_mb=megabytes, low=low,
                     high=high, rss_max=watch.max, rss_end=end, items=items, value_bytes=held,
                     rounds=rounds)
    return [f"{median(cpu):,.0f} ({min(cpu):,.0f})", f"{median(rates):,.0f}", f"{busy:.0%}",
            f"{watch.max / limit:.3f}", f"{items:,}" + (" (all)" if items >= there else ""),
            f"{held / 2**20:,.1f}",
            f"{end / 2**20:,.1f}", f"{held / end:.3f}", f"{errors:,}"]


def evict(bench):
    args, report = bench.args, bench.report
    report.say("### Eviction: SETs of new keys in a full cache\n")
    report.say(f"{EVICT_WARM} times what fits at most is written first, for {EVICT_WARM_S_MIN} s at "
               "least; then every key is new and another must leave for it. 50 connections, pipeline 16, keys in random order. CPU "
               f"is the server's (lowest round); resident memory is sampled every "
               f"{SAMPLE_S * 1000:.0f} ms. What the server holds at the end is in the last "
               "columns, MB of 2^20 bytes: values (without keys) / resident says how much data the "
               f"same memory keeps. {EVICT_LOW} B .. {EVICT_HIGH // 1000} KB: the logarithm of "
               "the size is even.\n")
    head = ["maxmemory, values", "server", "server CPU ns a SET", "requests/s", "client busy",
            "most RSS / maxmemory", "keys held", "values held, MB", "resident, MB",
            "values / resident", "errors"]
    contenders = []
    for name in args.wanted:
        policies = {"forebay": ["allkeys-lru", "allkeys-lfu"], "redis": ["allkeys-lru"],
                    "valkey": ["allkeys-lru"]}.get(name, [None])
        contenders += [(name, policy) for policy in policies]
    rows = []
    for megabytes in args.evict_mb:
        for low, high in ((100, 100), (EVICT_LOW, EVICT_HIGH)):
            title = f"{megabytes} MB, " + (f"{low} B" if low == high else
                                           f"{low} B .. {high // 1000} KB")
            for name, policy in contenders:
                label = f"{name} {policy}" if policy else name
                cells = bench.attempt(f"{label}, eviction, {title}", evict_case, bench, name,
                                      policy or "", megabytes, low, high)
                report.row(rows, [title, label] + (cells or [FAILED] + [""] * (len(head) - 3)))
    report.table(head, rows)
