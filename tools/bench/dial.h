#ifndef FOREBAY_BENCH_DIAL_H
#define FOREBAY_BENCH_DIAL_H
#include "options.h"

/* A connected blocking socket, without Nagle's delay; -1 after a message on stderr. */
int dial(const struct options *o);
#endif
