/* Helpers that the C parts of wire/ and transport/ share. Each part is a library of its own, so they are inline. */
#ifndef ANTIPHON_NATIVE_H
#define ANTIPHON_NATIVE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>
#include <time.h>

#ifdef CLOCK_MONOTONIC_COARSE
#define FENCE_CLOCK CLOCK_MONOTONIC_COARSE /* of the same time as Python's, a few ms behind, at a quarter of the cost */
#elif defined(__APPLE__)
#define FENCE_CLOCK CLOCK_UPTIME_RAW /* Python's */
#else
#define FENCE_CLOCK CLOCK_MONOTONIC
#endif
#define FROZEN_SECONDS 2.0 /* as in endpoint.py */

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

/* Whether a fence is open beyond doubt; if so, the look is noted. Otherwise ask `Fence.check` (server/home/fence.py). `state` is
   the fence's: the time of the last look, 0 if there is no home, and 1 while it is closed. */
static inline int is_known_open(double *state) {
    if (state[0] == 0) return state[1] == 0;
    struct timespec time;
    clock_gettime(FENCE_CLOCK, &time);
    double now = (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
    if (now - state[0] > FROZEN_SECONDS || state[1] != 0) return 0;
    if (now > state[0]) state[0] = now;
    return 1;
}

/* Whether an object is the state of a fence. */
static inline int is_fence_state(PyObject *state) {
    return PyByteArray_Check(state) && PyByteArray_GET_SIZE(state) == 2 * (Py_ssize_t)sizeof(double);
}

#endif
