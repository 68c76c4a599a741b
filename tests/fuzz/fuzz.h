#ifndef FOREBAY_FUZZ_H
#define FOREBAY_FUZZ_H
/* What libFuzzer calls, and so does replay.c. Returns 0; a violated invariant aborts. */
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
#endif
