/* Mailboxes. The wake-up protocol is Dekker's: the owner says "asleep", then looks at the queue; a
 * poster pushes, then looks at "asleep"; both with sequential consistency, so at least one sees the
 * other. Atomics: here and in ds/mpsc.h. */
#include "shard/mailbox.h"

#include "base/mem.h"

void mailbox_init(struct mailbox *m) {
    mpsc_init(&m->queue);
    atomic_init(&m->asleep, false);
    atomic_init(&m->net, NULL);
}

void mailbox_post(struct mailbox *m, struct message *message) {
    mpsc_push(&m->queue, &message->node);
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&m->asleep, memory_order_relaxed) &&
        atomic_exchange(&m->asleep, false)) {
        struct net *net = atomic_load(&m->net);
        if (net) {
            net_wake(net);
        }
    }
}

void mailbox_send(struct mailbox *m, enum message_type type, int fd, uint64_t session_id,
                  void *ptr) {
    struct message *message = mem_alloc(sizeof *message);
    *message = (struct message){
        .type = type, .fd = fd, .session_id = session_id, .ptr = ptr, .heap = true};
    mailbox_post(m, message);
}

struct message *mailbox_take(struct mailbox *m) {
    struct mpsc_node *node = mpsc_pop(&m->queue);
    return node ? CONTAINER_OF(node, struct message, node) : NULL;
}

bool mailbox_may_sleep(struct mailbox *m) {
    atomic_store_explicit(&m->asleep, true, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    if (mpsc_empty(&m->queue)) {
        return true;
    }
    atomic_store_explicit(&m->asleep, false, memory_order_relaxed);
    return false;
}

void mailbox_awake(struct mailbox *m) {
    atomic_store_explicit(&m->asleep, false, memory_order_relaxed);
}
