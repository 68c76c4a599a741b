#ifndef FOREBAY_TRACE_REPORT_H
#define FOREBAY_TRACE_REPORT_H
/* What replay prints, a function a mode; all return the exit status: 0, 1 when a bar was missed, 2
 * when something failed (after a message on stderr). The first thread's. */
#include "grid.h"
#include "options.h"

enum { STATUS_GOOD, STATUS_MISSED, STATUS_FAILED };

/* The traces of a run, in the order they were given. */
struct traces {
    struct trace *list[TRACES_MAX];
    uint32_t count;
};

int report_policies(const struct options *o, const struct traces *traces);
int report_budget(const struct options *o, const struct traces *traces);
int report_servers(const struct options *o, const struct traces *traces);
int report_table(const struct options *o, const struct traces *traces);   /* acceptance.c */
int report_curves(const struct options *o, const struct traces *traces);  /* curve.c */
int report_peers(const struct options *o, const struct traces *traces);   /* peers.c */

/* A line about a trace: requests, keys, footprint. */
void report_trace(const struct trace *t);
/* A message; STATUS_FAILED. */
int report_failure(const char *message);
/* Rows of server runs have these columns, behind those of the caller. */
void report_wire_head(struct grid *g);
struct wire_result;
void report_wire_cells(struct grid *g, const struct wire_result *r);
#endif
