#ifndef FOREBAY_BASE_MEM_H
#define FOREBAY_BASE_MEM_H
/* Memory from jemalloc (from libc under sanitizers), counted per thread so that the sum over the
 * process costs a few loads. Any thread may free what another allocated. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/assert.h"

/* Never NULL: out of memory ends the process. mem_alloc(0) is a valid pointer. */
void *mem_alloc(size_t size_bytes) __attribute__((malloc, returns_nonnull));
void *mem_zalloc(size_t size_bytes) __attribute__((malloc, returns_nonnull));
void *mem_realloc(void *ptr, size_t size_bytes) __attribute__((returns_nonnull));
/* Aligned to `align` bytes (a power of two, at least 8); freed by mem_free. */
void *mem_alloc_aligned(size_t align, size_t size_bytes) __attribute__((malloc, returns_nonnull));
/* Takes NULL. */
void mem_free(void *ptr);
/* For what one thread allocates and another frees: what is large goes past the caches of both,
 * where it would wait for the like of it, which one never frees and the other never allocates.
 * `size_bytes`: about what was asked for. mem_free may free it too. */
void *mem_alloc_handed(size_t size_bytes) __attribute__((malloc, returns_nonnull));
void mem_free_handed(void *ptr, size_t size_bytes);
char *mem_strdup(const char *text);
/* `len` bytes and a terminating zero. */
char *mem_dup(const void *ptr, size_t len);

/* What the allocator really reserved for `ptr`, in bytes. */
size_t mem_size(const void *ptr);
/* What an allocation of `size_bytes` would really take. */
size_t mem_good_size(size_t size_bytes);

/* Defragmentation (mem_slab.c): whether the allocator can tell; whether `ptr` lies in a slab that
 * is emptier than others of its size, so that moving it helps; moves the first `size_bytes` (not 0)
 * and frees `ptr`. `align`: a power of two, at least 8. Where memory ran out it stays. */
bool mem_knows_slabs(void);
bool mem_is_sparse(const void *ptr);
void *mem_move(void *ptr, size_t size_bytes, size_t align) __attribute__((returns_nonnull));

/* Address space of `size_bytes`, aligned to `align` bytes (both multiples of the page size), zeroed
 * and without memory until it is touched. Never NULL. Not in mem_used_bytes: what is made of it is
 * counted by mem_count. */
void *mem_map(size_t size_bytes, size_t align) __attribute__((returns_nonnull));
void mem_unmap(void *ptr, size_t size_bytes);
/* Asks for huge pages, or for none. False: the kernel knows none. */
bool mem_map_huge(void *ptr, size_t size_bytes, bool wanted);
/* Gives the memory back and keeps the address space; zeroed when touched again. */
void mem_map_release(void *ptr, size_t size_bytes);

/* Whole pages outside the allocator, for what is large, grows and soon goes: grown without copying,
 * and given back to the kernel at once. `ptr` and `old_bytes` are what an earlier call gave and was
 * asked for (NULL, 0: nothing yet); `size_bytes` a multiple of MEM_PAGE_BYTES, 0 frees and returns
 * NULL, else it is never NULL. In mem_used_bytes, of the calling thread. */
enum { MEM_PAGE_BYTES = 4096 };
void *mem_resize_pages(void *ptr, size_t old_bytes, size_t size_bytes);
/* Whether such pages may be kept for long: the kernel has a limit of mappings (65530 is usual),
 * beyond which nobody gets memory. Any thread. */
enum { MEM_KEPT_PAGES_MAX = 16384 };
bool mem_may_keep_pages(void);

/* Bytes now allocated in the whole process, as of a few loads ago. Threads that never called
 * mem_thread_register() are not in it; what ended threads held is. At most MEM_THREADS_MAX. */
enum { MEM_THREADS_MAX = 256 };
int64_t mem_used_bytes(void);
/* The same, and what of it mem_count counted. */
int64_t mem_used_and_counted(int64_t *counted_bytes);
void mem_thread_register(void);
/* The calling thread's arena of the allocator, and from now on that of another one: threads that
 * mostly wait need none each, with slabs and metadata of its own. */
unsigned mem_thread_arena(void);
void mem_thread_use_arena(unsigned arena);
/* Counts `bytes` more (or less) in mem_used_bytes: for an allocator on top of mem_map. */
void mem_count(int64_t bytes);
/* Of the calling thread alone, what it allocated and counted less what it freed: for differences,
 * at the price of a few loads. 0 when it is not registered. */
int64_t mem_thread_bytes(void);
/* Of the calling thread, what it has ever allocated. 0 when it is not registered. */
uint64_t mem_thread_allocated_bytes(void);
/* Called by a registered thread as its last act; slots are not reused. */
void mem_thread_unregister(void);
/* Resident bytes say something of what was allocated: not under sanitizers. */
bool mem_resident_is_telling(void);
/* Resident bytes of the process, from the kernel, in 5 us; 0 = it can't be asked. */
size_t mem_resident_bytes(void);
/* Allocator figures for INFO; 0 where the allocator has none. */
struct mem_stats {
    size_t allocated, active, resident, retained; /* bytes */
};
void mem_stats_read(struct mem_stats *out);
/* "jemalloc-5.3.0" or "libc". */
const char *mem_allocator_name(void);
/* Gives back the pages that were free for long enough: the allocator itself looks only when it is
 * used. Some microseconds. */
void mem_decay(void);
/* Gives unused pages back to the kernel. False: another thread does, and has not ended: resident
 * memory is in between. */
bool mem_purge(void) MUST_USE;
#endif
