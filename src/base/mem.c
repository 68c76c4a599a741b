/* The allocator behind mem.h. jemalloc keeps two running totals a thread (allocated, freed); we
 * remember where they lie and add them up. Under sanitizers, libc's malloc_usable_size is counted
 * into thread-local totals of our own.
 *
 * Atomics: relaxed loads of other threads' counters. These lie in the threads' own storage and end
 * with it: a thread that adds them up says so in its slot meanwhile, and one that ends withdraws
 * its pointers and then waits until nobody is adding. And a count of page runs, relaxed. */
#include "base/mem.h"

#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <malloc.h>
#include <sys/mman.h>
#ifdef FOREBAY_JEMALLOC
#include <jemalloc/jemalloc.h>
#endif

#include "base/assert.h"

struct thread_counters {
    const uint64_t *allocated, *freed;
    const int64_t *counted; /* by mem_count */
    const int64_t *pages;   /* by mem_resize_pages */
};

/* A cache line each, as its thread writes `adding` at every sum. */
struct thread_slot {
    _Alignas(64) struct thread_counters counters;
    atomic_uint adding;
};

static struct thread_slot threads[MEM_THREADS_MAX];
static struct thread_slot unregistered; /* only `adding`, of all threads without a slot */
static atomic_uint threads_count;
static atomic_llong ended_bytes, ended_counted_bytes; /* balances left by threads that ended */
static atomic_uint page_runs; /* of mem_resize_pages */
static _Thread_local int thread_slot = -1;
static _Thread_local int64_t own_counted, own_pages;

static _Noreturn void out_of_memory(size_t size_bytes) {
    fprintf(stderr, "Forebay: out of memory allocating %zu bytes\n", size_bytes);
    abort();
}

#ifdef FOREBAY_JEMALLOC

enum { HANDED_BYTES_MIN = 2048 }; /* below it the caches are worth more than what lies in them */

/* Read by jemalloc when the process starts; MALLOC_CONF in the environment goes before it. Freed
 * pages go back within a second: what is kept counts as much as what is used. */
const char *malloc_conf = "dirty_decay_ms:1000,muzzy_decay_ms:0";

void *mem_alloc(size_t size_bytes) {
    void *p = malloc(size_bytes ? size_bytes : 1);
    if (UNLIKELY(!p)) {
        out_of_memory(size_bytes);
    }
    return p;
}

void *mem_zalloc(size_t size_bytes) {
    void *p = calloc(1, size_bytes ? size_bytes : 1);
    if (UNLIKELY(!p)) {
        out_of_memory(size_bytes);
    }
    return p;
}

void *mem_realloc(void *ptr, size_t size_bytes) {
    void *p = realloc(ptr, size_bytes ? size_bytes : 1);
    if (UNLIKELY(!p)) {
        out_of_memory(size_bytes);
    }
    return p;
}

void *mem_alloc_aligned(size_t align, size_t size_bytes) {
    void *p = aligned_alloc(align, (size_bytes + align - 1) & ~(align - 1));
    if (UNLIKELY(!p)) {
        out_of_memory(size_bytes);
    }
    return p;
}

void mem_free(void *ptr) {
    free(ptr);
}

void *mem_alloc_handed(size_t size_bytes) {
    if (size_bytes < HANDED_BYTES_MIN) {
        return mem_alloc(size_bytes);
    }
    void *p = mallocx(size_bytes, MALLOCX_TCACHE_NONE);
    if (UNLIKELY(!p)) {
        out_of_memory(size_bytes);
    }
    return p;
}

void mem_free_handed(void *ptr, size_t size_bytes) {
    if (ptr && size_bytes >= HANDED_BYTES_MIN) {
        dallocx(ptr, MALLOCX_TCACHE_NONE);
    } else {
        free(ptr);
    }
}

size_t mem_good_size(size_t size_bytes) {
    return nallocx(size_bytes ? size_bytes : 1, 0);
}

unsigned mem_thread_arena(void) {
    unsigned arena = 0;
    size_t len = sizeof arena;
    mallctl("thread.arena", &arena, &len, NULL, 0);
    return arena;
}

void mem_thread_use_arena(unsigned arena) {
    mallctl("thread.arena", NULL, NULL, &arena, sizeof arena);
}

static void find_counters(struct thread_counters *out) {
    size_t len = sizeof out->allocated;
    if (mallctl("thread.allocatedp", &out->allocated, &len, NULL, 0) != 0 ||
        mallctl("thread.deallocatedp", &out->freed, &len, NULL, 0) != 0) {
        static const uint64_t zero;
        out->allocated = out->freed = &zero;
    }
}

void mem_stats_read(struct mem_stats *out) {
    uint64_t epoch = 1;
    size_t len = sizeof epoch;
    *out = (struct mem_stats){0};
    mallctl("epoch", &epoch, &len, &epoch, len);
    len = sizeof(size_t);
    mallctl("stats.allocated", &out->allocated, &len, NULL, 0);
    mallctl("stats.active", &out->active, &len, NULL, 0);
    mallctl("stats.resident", &out->resident, &len, NULL, 0);
    mallctl("stats.retained", &out->retained, &len, NULL, 0);
}

const char *mem_allocator_name(void) {
    return "jemalloc-5.3.0";
}

bool mem_resident_is_telling(void) {
    return true;
}

/* jemalloc lets one thread purge an arena at a time, a second one does nothing. */
static atomic_bool purging;

static bool each_arena(const char *what) {
    char name[32];
    snprintf(name, sizeof name, "arena.%u.%s", (unsigned)MALLCTL_ARENAS_ALL, what);
    if (atomic_exchange(&purging, true)) {
        return false;
    }
    mallctl(name, NULL, NULL, NULL, 0);
    atomic_store(&purging, false);
    return true;
}

void mem_decay(void) {
    each_arena("decay");
}

bool mem_purge(void) {
    return each_arena("purge");
}

#else /* libc, under sanitizers */

static _Thread_local uint64_t own_allocated, own_freed;

static void *counted(void *ptr, size_t size_bytes) {
    if (UNLIKELY(!ptr)) {
        out_of_memory(size_bytes);
    }
    __atomic_store_n(&own_allocated, own_allocated + malloc_usable_size(ptr), __ATOMIC_RELAXED);
    return ptr;
}

static void uncount(void *ptr) {
    __atomic_store_n(&own_freed, own_freed + (ptr ? malloc_usable_size(ptr) : 0), __ATOMIC_RELAXED);
}

void *mem_alloc(size_t size_bytes) {
    return counted(malloc(size_bytes ? size_bytes : 1), size_bytes);
}

void *mem_zalloc(size_t size_bytes) {
    return counted(calloc(1, size_bytes ? size_bytes : 1), size_bytes);
}

void *mem_realloc(void *ptr, size_t size_bytes) {
    uncount(ptr);
    return counted(realloc(ptr, size_bytes ? size_bytes : 1), size_bytes);
}

void *mem_alloc_aligned(size_t align, size_t size_bytes) {
    size_t rounded = (size_bytes + align - 1) & ~(align - 1);
    return counted(aligned_alloc(align, rounded), size_bytes);
}

void mem_free(void *ptr) {
    uncount(ptr);
    free(ptr);
}

void *mem_alloc_handed(size_t size_bytes) {
    return mem_alloc(size_bytes);
}

void mem_free_handed(void *ptr, size_t size_bytes) {
    mem_free(ptr);
}

size_t mem_good_size(size_t size_bytes) {
    return (size_bytes + 15) & ~(size_t)15;
}

unsigned mem_thread_arena(void) {
    return 0;
}

void mem_thread_use_arena(unsigned arena) {
}

static void find_counters(struct thread_counters *out) {
    out->allocated = &own_allocated;
    out->freed = &own_freed;
}

void mem_stats_read(struct mem_stats *out) {
    size_t used = (size_t)mem_used_bytes(), resident = mem_resident_bytes();
    *out = (struct mem_stats){.allocated = used, .active = used, .resident = resident};
}

const char *mem_allocator_name(void) {
    return "libc";
}

bool mem_resident_is_telling(void) {
    return false;
}

void mem_decay(void) {
}

bool mem_purge(void) {
    return true;
}
#endif

size_t mem_size(const void *ptr) {
    return malloc_usable_size((void *)ptr);
}

char *mem_dup(const void *ptr, size_t len) {
    char *copy = mem_alloc(len + 1);
    if (len) {
        memcpy(copy, ptr, len);
    }
    copy[len] = '\0';
    return copy;
}

char *mem_strdup(const char *text) {
    return mem_dup(text, strlen(text));
}

void mem_thread_register(void) {
    if (thread_slot >= 0) {
        return;
    }
    unsigned slot = atomic_fetch_add(&threads_count, 1);
    ASSERT(slot < MEM_THREADS_MAX);
    struct thread_counters found;
    find_counters(&found);
    struct thread_counters *mine = &threads[slot].counters;
    __atomic_store_n(&mine->counted, &own_counted, __ATOMIC_RELEASE);
    __atomic_store_n(&mine->pages, &own_pages, __ATOMIC_RELEASE);
    __atomic_store_n(&mine->freed, found.freed, __ATOMIC_RELEASE);
    __atomic_store_n(&mine->allocated, found.allocated, __ATOMIC_RELEASE);
    thread_slot = (int)slot;
}

static unsigned slots_count(void) {
    unsigned count = atomic_load(&threads_count);
    return MIN(count, (unsigned)MEM_THREADS_MAX);
}

/* Adding takes some tens of loads, so the wait is short. */
static void wait_until_nobody_adds(void) {
    unsigned count = slots_count();
    for (unsigned i = 0; i <= count; i++) {
        struct thread_slot *slot = i < count ? &threads[i] : &unregistered;
        while (atomic_load(&slot->adding)) {
            sched_yield();
        }
    }
}

void mem_thread_unregister(void) {
    if (thread_slot < 0) {
        return;
    }
    struct thread_counters *mine = &threads[thread_slot].counters, last = *mine;
    thread_slot = -1;
    __atomic_store_n(&mine->allocated, NULL, __ATOMIC_SEQ_CST);
    wait_until_nobody_adds();
    atomic_fetch_add(&ended_bytes, (long long)(*last.allocated - *last.freed) + own_pages);
    atomic_fetch_add(&ended_counted_bytes, own_counted);
}

/* Allocated less freed bytes of a thread, and what it counted. */
static void add_balance(const struct thread_counters *counters, int64_t *used, int64_t *counted) {
    const uint64_t *allocated = __atomic_load_n(&counters->allocated, __ATOMIC_SEQ_CST);
    if (!allocated) {
        return;
    }
    const uint64_t *freed = __atomic_load_n(&counters->freed, __ATOMIC_RELAXED);
    const int64_t *own = __atomic_load_n(&counters->counted, __ATOMIC_RELAXED);
    const int64_t *pages = __atomic_load_n(&counters->pages, __ATOMIC_RELAXED);
    *used += __atomic_load_n(pages, __ATOMIC_RELAXED);
    *used += (int64_t)(__atomic_load_n(allocated, __ATOMIC_RELAXED) -
                       __atomic_load_n(freed, __ATOMIC_RELAXED));
    *counted += __atomic_load_n(own, __ATOMIC_RELAXED);
}

int64_t mem_used_and_counted(int64_t *counted_bytes) {
    struct thread_slot *mine = thread_slot >= 0 ? &threads[thread_slot] : &unregistered;
    atomic_fetch_add(&mine->adding, 1);
    int64_t used = atomic_load_explicit(&ended_bytes, memory_order_relaxed);
    int64_t counted = atomic_load_explicit(&ended_counted_bytes, memory_order_relaxed);
    unsigned count = slots_count();
    for (unsigned i = 0; i < count; i++) {
        add_balance(&threads[i].counters, &used, &counted);
    }
    atomic_fetch_sub_explicit(&mine->adding, 1, memory_order_release);
    *counted_bytes = MAX(counted, 0);
    return MAX(used + counted, 0);
}

int64_t mem_used_bytes(void) {
    int64_t counted;
    return mem_used_and_counted(&counted);
}

int64_t mem_thread_bytes(void) {
    if (thread_slot < 0) {
        return 0;
    }
    const struct thread_counters *own = &threads[thread_slot].counters;
    return (int64_t)(*own->allocated - *own->freed) + own_counted + own_pages;
}

uint64_t mem_thread_allocated_bytes(void) {
    return thread_slot < 0 ? 0 : *threads[thread_slot].counters.allocated;
}

void mem_count(int64_t bytes) {
    __atomic_store_n(&own_counted, own_counted + bytes, __ATOMIC_RELAXED);
}

/* Fresh pages, zeroed; `flags` beyond what all have. */
static void *map_pages(size_t size_bytes, int flags) {
    void *at = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags,
                    -1, 0);
    if (UNLIKELY(at == MAP_FAILED)) {
        out_of_memory(size_bytes);
    }
    return at;
}

#ifdef FOREBAY_JEMALLOC
static void *move_pages(void *ptr, size_t old_bytes, size_t size_bytes) {
    void *now = mremap(ptr, old_bytes, size_bytes, MREMAP_MAYMOVE);
    if (UNLIKELY(now == MAP_FAILED)) {
        out_of_memory(size_bytes);
    }
    return now;
}
#else
/* Sanitizers know nothing of mremap: addresses would keep what they noted of an earlier user. */
static void *move_pages(void *ptr, size_t old_bytes, size_t size_bytes) {
    void *now = map_pages(size_bytes, 0);
    memcpy(now, ptr, MIN(old_bytes, size_bytes));
    munmap(ptr, old_bytes);
    return now;
}
#endif

void *mem_resize_pages(void *ptr, size_t old_bytes, size_t size_bytes) {
    ASSERT(size_bytes % MEM_PAGE_BYTES == 0 && !ptr == (old_bytes == 0));
    void *now = NULL;
    if (size_bytes == 0) {
        if (ptr) {
            mem_unmap(ptr, old_bytes);
            atomic_fetch_sub_explicit(&page_runs, 1, memory_order_relaxed);
        }
    } else if (ptr) {
        now = move_pages(ptr, old_bytes, size_bytes);
    } else {
        now = map_pages(size_bytes, 0);
        atomic_fetch_add_explicit(&page_runs, 1, memory_order_relaxed);
    }
    __atomic_store_n(&own_pages, own_pages + (int64_t)size_bytes - (int64_t)old_bytes,
                     __ATOMIC_RELAXED);
    return now;
}

bool mem_may_keep_pages(void) {
    return atomic_load_explicit(&page_runs, memory_order_relaxed) < MEM_KEPT_PAGES_MAX;
}

void *mem_map(size_t size_bytes, size_t align) {
    size_t space = size_bytes + align;
    char *at = map_pages(space, MAP_NORESERVE);
    size_t before = (size_t)(-(uintptr_t)at & (align - 1));
    if (before) {
        munmap(at, before);
    }
    if (align - before) {
        munmap(at + before + size_bytes, align - before);
    }
    return at + before;
}

void mem_unmap(void *ptr, size_t size_bytes) {
    if (munmap(ptr, size_bytes) != 0) { /* too many mappings: the address space is lost */
        mem_map_release(ptr, size_bytes);
    }
}

bool mem_map_huge(void *ptr, size_t size_bytes, bool wanted) {
    return madvise(ptr, size_bytes, wanted ? MADV_HUGEPAGE : MADV_NOHUGEPAGE) == 0;
}

void mem_map_release(void *ptr, size_t size_bytes) {
    int failed = madvise(ptr, size_bytes, MADV_DONTNEED);
    ASSERT(!failed);
}

size_t mem_resident_bytes(void) {
    char text[128];
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0) {
        close(fd);
    }
    text[MAX(len, (ssize_t)0)] = '\0';
    const char *resident = strchr(text, ' '); /* the second number, pages */
    return resident ? strtoul(resident, NULL, 10) * (size_t)sysconf(_SC_PAGESIZE) : 0;
}
