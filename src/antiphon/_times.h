/* Clocks, and the times of messages (wire/times.py), for the C parts that note them. */
#ifndef ANTIPHON_TIMES_H
#define ANTIPHON_TIMES_H

#include "_native.h"

#include <string.h>

/* A clock of Python's, in seconds. */
typedef struct {
    PyObject *call; /* NULL if there is none */
    int is_system; /* it is `time.perf_counter`, and that is CLOCK_MONOTONIC (on Linux) */
} Clock;

/* Set a clock, which keeps the reference; -1 with an exception. */
static inline int set_clock(Clock *clock, PyObject *call) {
    clock->call = Py_NewRef(call);
#ifdef __linux__
    PyObject *module = PyImport_ImportModule("time");
    PyObject *counter = module == NULL ? NULL : PyObject_GetAttrString(module, "perf_counter");
    clock->is_system = call == counter;
    Py_XDECREF(module);
    Py_XDECREF(counter);
    return counter == NULL ? -1 : 0;
#else
    return 0;
#endif
}

/* Read a clock; -1 with an exception. */
static inline int read_clock(const Clock *clock, double *seconds) {
#ifdef __linux__
    struct timespec time;
    if (clock->is_system && clock_gettime(CLOCK_MONOTONIC, &time) == 0) { /* a third of a call's time */
        *seconds = (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
        return 0;
    }
#endif
    PyObject *now = PyObject_CallNoArgs(clock->call);
    if (now == NULL) return -1;
    *seconds = PyFloat_AsDouble(now);
    Py_DECREF(now);
    return *seconds == -1.0 && PyErr_Occurred() ? -1 : 0;
}

/* Have an array of times (wire/times.py) to write to; -1 with an exception. */
static inline int get_times(PyObject *array, Py_buffer *times) {
    if (PyObject_GetBuffer(array, times, PyBUF_WRITABLE | PyBUF_FORMAT) < 0) {
        times->buf = NULL;
        return -1;
    }
    if (times->itemsize == sizeof(double) && strcmp(times->format, "d") == 0 && times->len >= 2 * (Py_ssize_t)sizeof(double))
        return 0;
    PyErr_SetString(PyExc_TypeError, "times must be an array of type d");
    return -1;
}

/* Add messages that have taken `seconds` together, each with their mean. */
static inline void add_times(Py_buffer *array, double seconds, Py_ssize_t messages) {
    double *times = array->buf, mean = seconds / (double)messages;
    Py_ssize_t size = array->len / (Py_ssize_t)sizeof(double), bounds = (size - 2) / 2, at = 0;
    while (at < bounds && mean > times[at]) at++;
    times[bounds + at] += (double)messages;
    times[size - 1] += seconds;
}

#endif
