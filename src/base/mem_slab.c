/* Moving allocations out of sparse slabs, so that these become empty and their pages go back
 * (mem.h). Any thread.
 *
 * jemalloc cuts a slab into regions of one size class; it fills the current slab, then the oldest
 * that is not full. A region that is moved when its slab is emptier than those of its class are on
 * average leads, over some rounds, to full slabs and empty ones: the criterion of Redis'
 * defragmentation. Moved past the thread's cache, or it would get a region freed here just now.
 *
 * The figures of a slab are from a query that jemalloc 5.3 calls experimental: where it is missing
 * nothing is sparse. It takes the lock of the size class for a moment. */
#include "base/mem.h"

#include <string.h>
#ifdef FOREBAY_JEMALLOC
#include <jemalloc/jemalloc.h>
#endif

#include "base/assert.h"

#ifdef FOREBAY_JEMALLOC

enum {
    /* Of a size class in an arena: free regions below either are nothing to gain. */
    CLASS_WASTE_MIN_BYTES = 64 * 1024,
    CLASS_WASTE_MIN_PERCENT = 2,
    QUERY_LEVELS = 3, /* of its name */
};

/* As jemalloc's inspect.h lays it out. */
struct slab_query {
    void *current; /* the slab that its class allocates from */
    size_t free_count, regions_count, slab_bytes;
    size_t class_free_count, class_regions_count; /* of the class in the arena of the slab */
};

static bool query_slab(const void *ptr, struct slab_query *out) {
    static _Thread_local size_t query_mib[QUERY_LEVELS];
    static _Thread_local size_t query_levels;
    if (!query_levels) {
        size_t levels = QUERY_LEVELS;
        if (mallctlnametomib("experimental.utilization.query", query_mib, &levels) != 0) {
            return false;
        }
        query_levels = levels;
    }
    size_t len = sizeof *out;
    return mallctlbymib(query_mib, query_levels, out, &len, &ptr, sizeof ptr) == 0 &&
           len == sizeof *out;
}

bool mem_knows_slabs(void) {
    struct slab_query q;
    void *probe = mem_alloc(1);
    bool known = query_slab(probe, &q);
    mem_free(probe);
    return known;
}

bool mem_is_sparse(const void *ptr) {
    struct slab_query q;
    if (!query_slab(ptr, &q) || q.free_count == 0 || q.class_regions_count == 0) {
        return false;
    }
    uintptr_t offset = (uintptr_t)ptr - (uintptr_t)q.current;
    if (q.current && offset < q.slab_bytes) {
        return false;
    }
    size_t region_bytes = q.slab_bytes / q.regions_count;
    return q.class_free_count * region_bytes >= CLASS_WASTE_MIN_BYTES &&
           q.class_free_count * 100 >= q.class_regions_count * CLASS_WASTE_MIN_PERCENT &&
           q.free_count * q.class_regions_count >= q.class_free_count * q.regions_count;
}

/* The flag that allocates in the arena of `ptr`: where it was found sparse, and which has the free
 * regions that it is to fill. */
static int same_arena(void *ptr) {
    unsigned arena;
    size_t len = sizeof arena;
    int failed = mallctl("arenas.lookup", &arena, &len, &ptr, sizeof ptr);
    return failed ? 0 : (int)MALLOCX_ARENA(arena);
}

void *mem_move(void *ptr, size_t size_bytes, size_t align) {
    void *to = mallocx(size_bytes, MALLOCX_ALIGN(align) | MALLOCX_TCACHE_NONE | same_arena(ptr));
    if (UNLIKELY(!to)) {
        return ptr;
    }
    memcpy(to, ptr, size_bytes);
    dallocx(ptr, MALLOCX_TCACHE_NONE);
    return to;
}

#else /* libc, under sanitizers: only what a test wants moved */

bool mem_knows_slabs(void) {
    return false;
}

bool mem_is_sparse(const void *ptr) {
    (void)ptr;
    return false;
}

void *mem_move(void *ptr, size_t size_bytes, size_t align) {
    void *to = mem_alloc_aligned(align, size_bytes);
    memcpy(to, ptr, size_bytes);
    mem_free(ptr);
    return to;
}
#endif
