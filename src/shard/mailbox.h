#ifndef FOREBAY_SHARD_MAILBOX_H
#define FOREBAY_SHARD_MAILBOX_H
/* The only channel between threads: each shard has one mailbox, anybody may post, the shard takes.
 * A post wakes the shard only if it sleeps, so posting to a busy shard is one atomic exchange. */
#include <stdint.h>
#include "ds/mpsc.h"
#include "net/net.h"

enum message_type {
    MESSAGE_ADOPT,    /* fd: a connection accepted elsewhere is this shard's */
    MESSAGE_LOADED,   /* load: its request came back from the store */
    MESSAGE_RESUME,   /* load, session_id: a load started elsewhere is done */
    MESSAGE_ROOM,     /* session_id: it has been let in to take its room */
    MESSAGE_SHARE,    /* session_id: it may ask for the rows that its command misses */
    MESSAGE_SETTINGS, /* settings: a new snapshot, with its reference */
    MESSAGE_KILL,     /* session_id: close that client */
    MESSAGE_SHED,     /* clients hold too much, one of its most */
    MESSAGE_UNPAUSE,  /* look at paused clients again */
    MESSAGE_RESET,    /* zero the resettable counters */
    MESSAGE_STOP,     /* wind down */
};

struct message {
    struct mpsc_node node;
    enum message_type type;
    int fd;
    uint64_t session_id;
    void *ptr; /* struct load *, struct settings * */
    bool heap; /* the taker frees it */
};

struct mailbox {
    struct mpsc queue;
    atomic_bool asleep;
    _Atomic(struct net *) net; /* to wake; NULL until the shard runs */
};

void mailbox_init(struct mailbox *m);
/* Any thread. `message` is the mailbox's until taken. */
void mailbox_post(struct mailbox *m, struct message *message);
/* Makes a message on the heap and posts it. Any thread. */
void mailbox_send(struct mailbox *m, enum message_type type, int fd, uint64_t session_id,
                  void *ptr);
/* The owner: the next message, NULL when there is none. */
struct message *mailbox_take(struct mailbox *m);
/* The owner, before it waits: true when it may sleep. After waiting: mailbox_awake. */
bool mailbox_may_sleep(struct mailbox *m);
void mailbox_awake(struct mailbox *m);
#endif
