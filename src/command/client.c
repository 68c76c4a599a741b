/* Birth and death of a client's command state. */
#include "command/client.h"

#include "base/mem.h"
#include "command/env.h"
#include "command/transaction.h"

void client_init(struct client *c, uint64_t id, int64_t now_ms) {
    *c = (struct client){.id = id, .created_ms = now_ms};
    atomic_init(&c->proto, 2);
    atomic_init(&c->active_ms, now_ms);
    list_init(&c->watches);
}

void client_deinit(struct client *c, struct env *env) {
    transaction_discard(c, env);
    if (c->sliced) {
        c->sliced->destroy(c->sliced);
        c->sliced = NULL;
    }
    for (int i = 0; i < CLIENT_TEXTS; i++) {
        mem_free(c->text[i]);
        c->text[i] = NULL;
    }
}
