#ifndef FOREBAY_STORE_REQUEST_H
#define FOREBAY_STORE_REQUEST_H
/* What the store itself does with requests, besides store.h. Any thread. */
#include "store/store.h"

/* Keeps `values` readable when its owner destroys the request. */
void request_ref(struct store_request *r);
void request_unref(struct store_request *r);
#endif
