/* What the twins in C of endpoint.py share. */
#ifndef ANTIPHON_ENDPOINT_H
#define ANTIPHON_ENDPOINT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

/* Return the exception that is set, as an object, and set none. */
PyObject *taken(void);

/* Make ready what `Records` are made of; return their type, NULL with an exception. */
PyTypeObject *records_type(void);

#endif
