"""Parts of tools/bench/engine: speed far beyond the caches, and large values."""
import json
import os
import subprocess

from harness import median
import servers as fleet

GB = 1e9
LARGE_BYTES = 2**28  # of all values together
LARGE_ROOM_MB = 4096


def run_words(bench, keys, value, results):
    args = bench.args
    words = [os.path.join(fleet.HERE, "run"), "--servers", ",".join(args.wanted), "--keys", keys,
             "--key-bytes", args.key_bytes, "--value-bytes", value, "--ops", "get,set",
             "--pipelines", "16", "--rounds", args.rounds, "--seconds", args.seconds, "--build",
             args.build, "--forebay", args.forebay, "--forebay-args=" + args.forebay_args,
             "--redis", args.redis, "--valkey", args.valkey, "--memcached", args.memcached,
             "--server-cpu", args.server_cpu, "--client-cpu", args.client_cpu, "--json", results]
    words += ["--pogocache", args.pogocache] if args.pogocache else []
    return [str(word) for word in words]


def speed_case(bench, keys, value):
    report = bench.report
    results = os.path.join(bench.folder, f"speed-{keys}-{value}.json")
    done = subprocess.run(run_words(bench, keys, value, results), capture_output=True, text=True,
                          check=False)
    for line in done.stdout.splitlines():
        if line.startswith("FAILED: "):
            report.fail(line[len("FAILED: "):])
    if done.stderr or (done.returncode and "FAILED" not in done.stdout):
        report.fail(f"tools/bench/run: status {done.returncode}: {done.stderr[-1000:]}")
    tables = done.stdout.find("\n### ")
    report.say(f"{keys:,} keys of {bench.args.key_bytes} bytes, values of {value}:")
    kept = [line for line in done.stdout[max(tables, 0):].split("\n")
            if not line.startswith("FAILED: ")]
    report.say("\n".join(kept).replace("\n### ", "\n#### ") if tables >= 0 else "")
    with open(results, encoding="utf-8") as f:
        for result in json.load(f)["rounds"]:
            report.add("speed", keys=keys, value=value, **result)


def speed(bench):
    bench.report.say("### Speed far beyond the caches\n")
    for keys, value in ((10**7, 100), (4 * 10**6, 32)):
        bench.attempt("speed", speed_case, bench, int(keys * bench.args.scale), value)


def only_send(bench, size):
    """A server that only sends that many bytes, from one place."""
    args = bench.args
    port = fleet.free_port()
    request = len(f"*2\r\n$3\r\nGET\r\n${args.key_bytes}\r\n\r\n") + args.key_bytes
    command = [args.echo, "--mode", "epoll", "--port", str(port), "--request-bytes", str(request),
               "--reply-bytes", str(len(f"${size}\r\n\r\n") + size)]
    server = fleet.Server("only send()", command, port, args.server_cpu, bench.folder)
    try:
        server.wait_ready()
    except fleet.Failure:
        server.stop()
        raise
    return server


def large_keys(size):
    return max(LARGE_BYTES // size, 8)


def large_ready(bench, name, size):
    server = bench.start(name, LARGE_ROOM_MB)
    try:
        result = bench.fill(server, large_keys(size), size, connections=4, pipeline=1,
                            may_fail=True)
        if result["failed"]:
            raise fleet.Failure(result["first_error"] or result["stderr"] or "a fill failed")
    except Exception:
        server.stop()
        raise
    return server


def large_round(bench, server, op, size):
    result = fleet.run_loadgen(bench.args, server, "--op", op, "--keys", large_keys(size),
                               "--value-bytes", size, "--key-bytes", bench.args.key_bytes,
                               "--connections", 8, "--pipeline", 1, "--warmup", 0.3, "--seconds",
                               bench.args.seconds)
    if result["failed"]:
        bench.report.fail(f"{server.name} {op} {size}: {result['first_error']} misses "
                          f"{result['misses']} {result['stderr']}")
    bench.report.add("large", server=server.name, size=size, **result)
    return result


def large_op(bench, fleets, op, size, rows):
    found = {s.name: [] for s in fleets}
    for _ in range(bench.args.rounds):
        for server in fleets:
            result = bench.attempt(f"{server.name} {op} {size}", large_round, bench, server, op,
                                   size)
            found[server.name] += [result] if result and result["requests"] else []
    for name, results in found.items():
        if not results:
            continue
        rate = median([r["requests_per_s"] for r in results]) * size / GB
        cpu = median([r["server_ns"] for r in results]) / size
        busy = median([r["client_busy"] for r in results])
        bench.report.row(rows, [f"{op.upper()} {size:,} B", name, f"{rate:.2f}", f"{cpu:.3f}",
                                f"{busy:.0%}"])


def large(bench):
    args, report = bench.args, bench.report
    report.say("### Large values\n")
    copies = json.loads(subprocess.run(["taskset", "-c", args.server_cpu,
                                        os.path.join(args.tools, "copy-speed")],
                                       capture_output=True, text=True, check=True).stdout)
    report.add("large", **copies)
    report.say(f"8 connections. A plain memcpy on this machine: {copies['memory_gb_s']:.1f} GB/s "
               f"from memory to memory, {copies['cached_gb_s']:.1f} GB/s within the cache. \"only "
               "send()\" is a server that sends the same bytes from one place, whatever it is "
               "asked. The client receives on the other core.\n")
    rows = []
    for size in (64 * 1024, 10**6, 10**7):
        fleets, sender = [], None
        try:
            for name in args.wanted:
                server = bench.attempt(f"{name}, values of {size} B", large_ready, bench, name,
                                       size)
                fleets += [server] if server else []
            sender = bench.attempt("echo", only_send, bench, size)
            large_op(bench, fleets + ([sender] if sender else []), "get", size, rows)
            large_op(bench, fleets, "set", size, rows)
        finally:
            for server in fleets + ([sender] if sender else []):
                server.stop()
    report.table(["op", "server", "GB/s", "server CPU s/GB", "client busy"], rows)
