"""node-redis and ioredis: connect, pipeline, transaction, and on after the server restarted.

The packages named in node/package.json are installed there once, by npm; without npm, or without
its registry, these tests are skipped."""
import os
import shutil
import subprocess

import pytest

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "node")
INSTALL_SECONDS_MAX = 120


@pytest.fixture(scope="module")
def packages():
    if not shutil.which("node"):
        pytest.skip("node is not installed")
    wanted = [os.path.join(HERE, "node_modules", name) for name in ("redis", "ioredis")]
    if all(os.path.isdir(path) for path in wanted):
        return
    if not shutil.which("npm"):
        pytest.skip("npm is not installed")
    try:
        result = subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"],
                                cwd=HERE, capture_output=True, check=False,
                                timeout=INSTALL_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        pytest.skip("npm did not install the packages in %d s" % INSTALL_SECONDS_MAX)
    if result.returncode:
        pytest.skip("npm: " + result.stderr.decode("utf8", "replace")[-500:])


@pytest.mark.parametrize("script", ["node_redis.js", "ioredis.js"])
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_node_client(packages, forebay, script, end):
    server = forebay(port=True)
    process = subprocess.Popen(["node", script, str(server.port)], cwd=HERE, text=True,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    try:
        line = process.stdout.readline()
        assert line == "restart\n", line + process.stderr.read()
        names = server.client().cmd("CLIENT", "LIST").decode()
        assert "name=node-test" in names or "name=io-test" in names
        getattr(server, end)()
        server.start()
        out, errors = process.communicate("go on\n", timeout=30)
        assert process.returncode == 0 and out == "done\n", out + errors
    finally:
        process.kill()
        process.wait()
