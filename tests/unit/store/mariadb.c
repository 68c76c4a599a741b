#include "mariadb.h"
#include "fixture.h"

#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *find_program(const char *name, char *path, size_t len) {
    static const char *const dirs[] = {"/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin",
                                       "/usr/libexec"};
    for (size_t i = 0; i < ARRAY_COUNT(dirs); i++) {
        snprintf(path, len, "%s/%s", dirs[i], name);
        if (access(path, X_OK) == 0) {
            return path;
        }
    }
    return NULL;
}

bool mariadb_available(void) {
    char path[128];
    return find_program("mariadbd", path, sizeof path) &&
           find_program("mariadb-install-db", path, sizeof path);
}

enum { INSTALL_TRIES_MAX = 3 };

static pid_t spawn(const struct mariadb *m, char *const argv[]) {
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        char log[96];
        snprintf(log, sizeof log, "%s/log", m->dir);
        int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
        dup2(fd, 1);
        dup2(fd, 2);
        execv(argv[0], argv);
        _exit(127);
    }
    return pid;
}

static void print_log(const struct mariadb *m) {
    char path[96], line[512];
    snprintf(path, sizeof path, "%s/log", m->dir);
    FILE *log = fopen(path, "r");
    while (log && fgets(line, sizeof line, log)) {
        fputs(line, stderr);
    }
    if (log) {
        fclose(log);
    }
}

void mariadb_create(struct mariadb *m) {
    char program[128], datadir[96];
    *m = (struct mariadb){0};
    snprintf(m->dir, sizeof m->dir, "/tmp/forebay-mariadb-XXXXXX");
    assert_non_null(mkdtemp(m->dir));
    snprintf(m->socket, sizeof m->socket, "%s/sock", m->dir);
    snprintf(m->url, sizeof m->url, "mysql://root@localhost/test?socket=%s", m->socket);
    snprintf(datadir, sizeof datadir, "--datadir=%s/data", m->dir);
    find_program("mariadb-install-db", program, sizeof program);
    char *const argv[] = {program,
                          "--no-defaults",
                          "--user=root",
                          datadir,
                          "--auth-root-authentication-method=normal",
                          "--skip-test-db",
                          "--skip-name-resolve",
                          NULL};
    int status = -1;
    /* Several MariaDBs that start at once can use up the kernel's asynchronous I/O for a moment. */
    for (int i = 0; i < INSTALL_TRIES_MAX && status != 0; i++) {
        pid_t pid = spawn(m, argv);
        assert_int_equal(waitpid(pid, &status, 0), pid);
    }
    if (status != 0) {
        print_log(m);
    }
    assert_int_equal(status, 0);
    mariadb_start(m);
    mariadb_exec(m, "CREATE DATABASE test CHARACTER SET utf8mb4");
    mariadb_exec(m, "USE test");
}

void mariadb_start(struct mariadb *m) {
    char program[128], datadir[96], sock[128], pid_file[96];
    snprintf(datadir, sizeof datadir, "--datadir=%s/data", m->dir);
    snprintf(sock, sizeof sock, "--socket=%s", m->socket);
    snprintf(pid_file, sizeof pid_file, "--pid-file=%s/pid", m->dir);
    find_program("mariadbd", program, sizeof program);
    char *const argv[] = {program,
                          "--no-defaults",
                          "--user=root",
                          datadir,
                          sock,
                          pid_file,
                          "--skip-networking",
                          "--innodb-buffer-pool-size=64M",
                          "--innodb-flush-log-at-trx-commit=2",
                          "--max-allowed-packet=64M",
                          "--performance-schema=OFF",
                          NULL};
    m->pid = spawn(m, argv);
    m->admin = NULL;
    /* Up to 60 s: ready when it lets us in. */
    for (int i = 0; i < 1200 && !m->admin; i++) {
        assert_int_equal(waitpid(m->pid, NULL, WNOHANG), 0);
        MYSQL *my = mysql_init(NULL);
        if (mysql_real_connect(my, NULL, "root", "", NULL, 0, m->socket, 0)) {
            mysql_set_character_set(my, "utf8mb4");
            m->admin = my;
        } else {
            mysql_close(my);
            poll(NULL, 0, 50);
        }
    }
    assert_non_null(m->admin);
    mysql_select_db(m->admin, "test");
}

void mariadb_pause(struct mariadb *m) {
    int status = 0;
    kill(m->pid, SIGSTOP);
    assert_int_equal(waitpid(m->pid, &status, WUNTRACED), m->pid);
    assert_true(WIFSTOPPED(status));
}

void mariadb_stop(struct mariadb *m, int signo) {
    if (m->pid > 0) {
        mysql_close(m->admin);
        m->admin = NULL;
        kill(m->pid, signo);
        waitpid(m->pid, NULL, 0);
        m->pid = 0;
    }
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    return remove(path);
}

void mariadb_destroy(struct mariadb *m) {
    mariadb_stop(m, SIGKILL);
    nftw(m->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void mariadb_exec(struct mariadb *m, const char *sql) {
    if (mysql_query(m->admin, sql) != 0) {
        fail_msg("%.200s: %s", sql, mysql_error(m->admin));
    }
    MYSQL_RES *result = mysql_store_result(m->admin);
    if (result) {
        mysql_free_result(result);
    }
}

const char *mariadb_value(struct mariadb *m, const char *sql) {
    static char value[256];
    if (mysql_query(m->admin, sql) != 0) {
        fail_msg("%.200s: %s", sql, mysql_error(m->admin));
    }
    MYSQL_RES *result = mysql_store_result(m->admin);
    MYSQL_ROW row = mysql_fetch_row(result);
    assert_non_null(row);
    snprintf(value, sizeof value, "%s", row[0] ? row[0] : "NULL");
    mysql_free_result(result);
    return value;
}
