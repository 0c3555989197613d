/* What the C files of endpoint.py share. */
#ifndef ANTIPHON_ENDPOINT_H
#define ANTIPHON_ENDPOINT_H

#include "../_native.h"

/* Prepare the type of `RecordLayer` and return it; NULL with an exception. */
PyTypeObject *make_record_layer_type(void);

#endif
