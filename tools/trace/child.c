/* Servers as child processes; see child.h. */
#include "child.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "wire_play.h"

enum { POLL_MS = 10 };

static void pause_shortly(void) {
    nanosleep(&(struct timespec){.tv_nsec = POLL_MS * 1000 * 1000}, NULL);
}

bool child_free_port(char port[8]) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool good = fd >= 0 && bind(fd, (struct sockaddr *)&address, len) == 0 &&
                getsockname(fd, (struct sockaddr *)&address, &len) == 0;
    if (fd >= 0) {
        close(fd);
    }
    snprintf(port, 8, "%u", (unsigned)ntohs(address.sin_port));
    return good;
}

static _Noreturn void become(const char *const *words, pid_t parent) {
    int null = open("/dev/null", O_RDWR);
    if (null >= 0) {
        dup2(null, STDIN_FILENO);
        dup2(null, STDOUT_FILENO);
        dup2(null, STDERR_FILENO);
    }
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() == parent) {
        execvp(words[0], (char *const *)words);
    }
    _exit(127);
}

bool child_start(struct child *c, const char *const *words, char *error) {
    pid_t parent = getpid(), pid = fork();
    if (pid < 0) {
        snprintf(error, CHILD_ERROR_BYTES, "can't start %s: %s", words[0], strerror(errno));
        return false;
    }
    if (pid == 0) {
        become(words, parent);
    }
    c->pid = pid;
    return true;
}

/* Somebody else may have taken the port meanwhile, so the answer must name our process. */
static bool answers(const struct child *c) {
    const char *info[] = {"INFO", "server", NULL};
    struct wire w;
    struct wire_reply reply;
    struct buf text = {NULL};
    bool good = wire_open(&w, "127.0.0.1", c->port) && wire_call(&w, info, &reply, &text) &&
                wire_info_number(buf_slice(&text), "process_id") == (uint64_t)c->pid;
    wire_close(&w);
    buf_free(&text);
    return good;
}

bool child_wait_ready(struct child *c, char *error) {
    int64_t until_us = clock_mono_us() + CHILD_START_MS_MAX * 1000ll;
    while (!answers(c)) {
        int status;
        if (waitpid(c->pid, &status, WNOHANG) == c->pid) {
            c->pid = 0;
            snprintf(error, CHILD_ERROR_BYTES, "it ended with status %d instead of listening",
                     WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
            return false;
        }
        if (clock_mono_us() > until_us) {
            snprintf(error, CHILD_ERROR_BYTES, "it did not answer within %d s",
                     CHILD_START_MS_MAX / 1000);
            return false;
        }
        pause_shortly();
    }
    return true;
}

void child_stop(struct child *c) {
    if (c->pid <= 0) {
        return;
    }
    int64_t until_us = clock_mono_us() + CHILD_STOP_MS_MAX * 1000ll;
    kill(c->pid, SIGTERM);
    while (waitpid(c->pid, NULL, WNOHANG) == 0) {
        if (clock_mono_us() > until_us) {
            kill(c->pid, SIGKILL);
            waitpid(c->pid, NULL, 0);
            break;
        }
        pause_shortly();
    }
    c->pid = 0;
}
