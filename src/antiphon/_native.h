/* Helpers that the C parts of wire/ and transport/ share. Each part is a library of its own, so they are inline. */
#ifndef ANTIPHON_NATIVE_H
#define ANTIPHON_NATIVE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

/* Take the exception that is set, as an object with its traceback. Precondition: one is set. */
static inline PyObject *take_exception(void) {
#if PY_VERSION_HEX >= 0x030C0000
    return PyErr_GetRaisedException();
#else
    PyObject *kind, *error, *trace;
    PyErr_Fetch(&kind, &error, &trace);
    PyErr_NormalizeException(&kind, &error, &trace);
    if (trace != NULL) PyException_SetTraceback(error, trace);
    Py_XDECREF(kind);
    Py_XDECREF(trace);
    return error;
#endif
}

/* Set an exception that `take_exception` returned. Steals the reference. */
static inline void set_exception(PyObject *error) {
    PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    Py_DECREF(error);
}

/* Drop the result of a call. Return -1 if it is NULL, with an exception; else 0. */
static inline int drop_result(PyObject *result) {
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

#endif
