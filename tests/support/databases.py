"""Databases for Forebay to stand in front of: a private MariaDB, and SQLite files.

Both kinds of Database are used alike: `url` for the `store` option, `sql` to change it behind the
cache's back, `lines` for what a query prints, `stalled` to hold up everybody who reads a table.
"""
import contextlib
import getpass
import os
import shutil
import signal
import sqlite3
import subprocess

from server import free_port, until

PROGRAMS = ("mariadbd", "mariadb-install-db", "mariadb")


def missing_programs():
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    return [name for name in PROGRAMS if not shutil.which(name, path=path)]


class MariaDB:
    """A server of our own: own data, own unix socket, own port on loopback."""

    USER, PASSWORD = "cache", "p@ss:w/rd"
    URL_PASSWORD = "p%40ss%3Aw%2Frd"

    def __init__(self, directory):
        self.directory = directory
        self.data = os.path.join(directory, "data")
        self.socket = os.path.join(directory, "m.sock")
        self.log_path = os.path.join(directory, "mariadb.log")
        self.port = free_port()
        self.process = None
        self.me = getpass.getuser()
        self.as_root = ["--user=root"] if os.geteuid() == 0 else []
        with open(self.log_path, "wb") as log:
            subprocess.run(["mariadb-install-db", "--no-defaults", "--datadir=" + self.data,
                            "--skip-test-db", "--auth-root-authentication-method=socket",
                            "--auth-root-socket-user=" + self.me, "--innodb-log-file-size=8M"]
                           + self.as_root, stdout=log, stderr=log, check=True)
        self.start()
        self.run("CREATE USER '%s'@'%%' IDENTIFIED BY '%s'" % (self.USER, self.PASSWORD))
        self.run("GRANT SELECT ON *.* TO '%s'@'%%'" % self.USER)

    def start(self):
        program = shutil.which("mariadbd", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [program, "--no-defaults", "--datadir=" + self.data, "--socket=" + self.socket,
                 "--port=%d" % self.port, "--bind-address=127.0.0.1", "--skip-log-bin",
                 "--pid-file=" + os.path.join(self.directory, "m.pid"),
                 "--innodb-buffer-pool-size=32M", "--innodb-log-file-size=8M",
                 "--max-connections=400",
                 "--innodb-flush-log-at-trx-commit=2", "--log-output=TABLE",
                 "--character-set-server=utf8mb4", "--skip-name-resolve"] + self.as_root,
                stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        until(self._answers, "MariaDB answers (%s)" % self.log_path, 60)

    def _answers(self):
        if self.process.poll() is not None:
            with open(self.log_path, encoding="utf8", errors="replace") as log:
                raise RuntimeError("MariaDB did not start:\n" + log.read()[-2000:])
        return self._client("SELECT 1", check=False).returncode == 0

    def _client(self, sql, database=None, options=(), check=True):
        command = ["mariadb", "--no-defaults", "--socket=" + self.socket, "--user=" + self.me,
                   "--default-character-set=utf8mb4", "-N", "-r", "-B"]
        result = subprocess.run(command + list(options) + ([database] if database else []),
                                input=sql.encode("utf8"), capture_output=True, check=False)
        if check and result.returncode:
            raise RuntimeError(result.stderr.decode("utf8", "replace"))
        return result

    def run(self, sql, database=None, options=()):
        """What the client prints: the columns' text between tabs, a line a row, unescaped."""
        return self._client(sql, database, options).stdout

    def session(self, database):
        return Session(self, database)

    def url(self, database, password=None):
        return "mysql://%s:%s@127.0.0.1:%d/%s" % (
            self.USER, password or self.URL_PASSWORD, self.port, database)

    def signal(self, number):
        """SIGSTOP is over when all its threads stand: one that still runs may answer."""
        self.process.send_signal(number)
        if number == signal.SIGSTOP:
            _, status = os.waitpid(self.process.pid, os.WUNTRACED)
            assert os.WIFSTOPPED(status), status

    def kill(self):
        self.process.kill()
        self.process.wait()

    def ensure_running(self):
        """For tests that killed or stopped it."""
        if self.process.poll() is not None:
            self.start()
        else:
            self.process.send_signal(signal.SIGCONT)
            until(self._answers, "MariaDB answers again")

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()


class Session:
    """A client session that lasts: locks and transactions live as long as it does."""

    def __init__(self, server, database):
        self.process = subprocess.Popen(
            ["mariadb", "--no-defaults", "--socket=" + server.socket, "--user=" + server.me,
             "-N", "-B", "--unbuffered", database], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT)
        self.marks = 0

    def run(self, sql):
        self.marks += 1
        mark = b"mark-%d" % self.marks
        self.process.stdin.write(sql.encode() + b";\nSELECT '" + mark + b"';\n")
        self.process.stdin.flush()
        lines = []
        while True:
            line = self.process.stdout.readline()
            if line.rstrip(b"\n") == mark:
                return lines
            if not line or line.startswith(b"ERROR"):
                raise RuntimeError("%s: %r" % (sql, line))
            lines.append(line.rstrip(b"\n"))

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def row_of_letters(k, size):
    """The value of row `k` of a table that large_rows made."""
    return bytes([97 + k % 26]) * size


class MySQLDatabase:
    kind = "mysql"

    def __init__(self, server, name):
        self.server, self.name = server, name
        self.url = server.url(name)
        server.run("CREATE DATABASE `%s` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin" % name)

    def sql(self, text):
        self.server.run(text, self.name)

    def lines(self, text):
        return self.server.run(text, self.name).decode("utf8").splitlines()

    def large_rows(self, table, count, size):
        """A table of `count` rows, each of a letter `size` times: row_of_letters(k, size)."""
        self.sql("CREATE TABLE %s (k INT PRIMARY KEY, v LONGBLOB);"
                 "INSERT INTO %s SELECT seq, REPEAT(CHAR(97 + seq %% 26), %d) FROM seq_0_to_%d"
                 % (table, table, size, count - 1))

    def blob(self, raw):
        """The literal of a byte string."""
        return "x'%s'" % raw.hex()

    @contextlib.contextmanager
    def stalled(self, table):
        session = self.server.session(self.name)
        try:
            session.run("LOCK TABLES `%s` WRITE" % table)
            yield
            session.run("UNLOCK TABLES")
        finally:
            session.close()

    @contextlib.contextmanager
    def counted(self, table):
        """A list that gets, at the end, the statements Forebay executed on `table` meanwhile."""
        statements = []
        self.server.run("TRUNCATE mysql.general_log; SET GLOBAL general_log = ON")
        try:
            yield statements
        finally:
            self.server.run("SET GLOBAL general_log = OFF")
        statements += self.server.run(
            "SELECT argument FROM mysql.general_log WHERE command_type IN ('Query', 'Execute') AND "
            "user_host LIKE '%s[%%' AND argument LIKE '%%FROM%%`%s`%%'"
            % (MariaDB.USER, table)).decode("utf8", "replace").splitlines()

    def close(self):
        self.server.run("DROP DATABASE `%s`" % self.name)


class SQLiteDatabase:
    kind = "sqlite"

    def __init__(self, path):
        self.path = path
        self.url = "sqlite://" + path
        self.connection = sqlite3.connect(path, isolation_level=None)

    def sql(self, text):
        self.connection.executescript(text)

    def lines(self, text):
        return ["\t".join("NULL" if v is None else str(v) for v in row)
                for row in self.connection.execute(text)]

    def large_rows(self, table, count, size):
        self.sql("CREATE TABLE %s (k INTEGER PRIMARY KEY, v BLOB)" % table)
        self.connection.executemany("INSERT INTO %s VALUES (?, ?)" % table,
                                    ((k, row_of_letters(k, size)) for k in range(count)))

    def blob(self, raw):
        return "x'%s'" % raw.hex()

    @contextlib.contextmanager
    def stalled(self, table):
        self.connection.execute("BEGIN EXCLUSIVE")
        try:
            yield
        finally:
            self.connection.execute("COMMIT")

    def close(self):
        self.connection.close()
