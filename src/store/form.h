#ifndef FOREBAY_STORE_FORM_H
#define FOREBAY_STORE_FORM_H
/* A row in its mapping's form. */
#include <stdbool.h>
#include "store/mapping.h"
#include "store/schema.h"
#include "store/store.h"

/* Copies what the form needs from `cells` into one allocation, *memory (mem_free), which `out`
 * points into. False when the row counts as absent: as=string:col of a NULL,
 * or a cell that can't be read. */
bool form_build(const struct schema *s, enum mapping_form form, const struct schema_cell *cells,
                struct store_value *out, void **memory) MUST_USE;
#endif
