/* Guard of the signals that stop a server: ends the process when the interpreter does not come to its own handlers.
 *
 * Python runs its handlers between two steps of its bytecode; a handler of a session that computes in C keeps it from
 * them. `signals.py` says what the signals mean. Everything here is async-signal-safe.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <errno.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#define GUARDED_MOST 8

#ifdef __linux__
#define HAS_TIMER 1
#pragma weak timer_create /* before glibc 2.34 it is in a library of its own, which may not be loaded */
static timer_t timer;
static int timer_made;
#endif

static struct {
    int number;
    struct sigaction before; /* Python's own, which runs the handler that `signal.signal` has set */
} guarded[GUARDED_MOST];
static int count;
static volatile sig_atomic_t came; /* whether the first signal has come, at `came_at` */
static struct timespec came_at;
static double repeat_seconds, limit_seconds;

static void start_timer(double seconds) {
#ifdef HAS_TIMER
    struct itimerspec when = {{0, 0}, {(time_t)seconds, (long)((seconds - (time_t)seconds) * 1e9)}};
    if (timer_made) timer_settime(timer, 0, &when, NULL);
#else
    (void)seconds;
#endif
}

static int is_repeat(const siginfo_t *info) {
#ifdef HAS_TIMER
    if (info->si_code == SI_TIMER) return 1;
#else
    (void)info;
#endif
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (now.tv_sec - came_at.tv_sec) + (now.tv_nsec - came_at.tv_nsec) / 1e9 >= repeat_seconds;
}

static void on_signal(int number, siginfo_t *info, void *context) {
    int error = errno;
    if (came) {
        if (is_repeat(info)) _exit(128 + number);
    } else {
        came = 1;
        clock_gettime(CLOCK_MONOTONIC, &came_at);
        start_timer(limit_seconds);
        for (int i = 0; i < count; i++) {
            struct sigaction *before = &guarded[i].before;
            if (guarded[i].number != number) continue;
            if (before->sa_flags & SA_SIGINFO) before->sa_sigaction(number, info, context);
            else if (before->sa_handler != SIG_DFL && before->sa_handler != SIG_IGN) before->sa_handler(number);
        }
    }
    errno = error;
}

PyDoc_STRVAR(release_doc, "release() -> None\n\nRestore the handlers before `guard`, and stop the timer.");

static PyObject *release(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    start_timer(0);
    while (count > 0) {
        count--;
        sigaction(guarded[count].number, &guarded[count].before, NULL);
    }
#ifdef HAS_TIMER
    if (timer_made) timer_delete(timer);
    timer_made = 0;
#endif
    Py_RETURN_NONE;
}

PyDoc_STRVAR(guard_doc,
             "guard(numbers: tuple[int, ...], repeat_seconds: float, limit_seconds: float) -> None\n\n"
             "Call the present handlers at the first of the signals `numbers`. End the process at one that comes\n"
             "`repeat_seconds` later or more, and by itself `limit_seconds` after the first (on Linux).");

static PyObject *guard(PyObject *module, PyObject *args) {
    PyObject *numbers;
    (void)module;
    if (!PyArg_ParseTuple(args, "O!dd", &PyTuple_Type, &numbers, &repeat_seconds, &limit_seconds)) return NULL;
    Py_DECREF(release(NULL, NULL));
    came = 0;
    if (PyTuple_GET_SIZE(numbers) > GUARDED_MOST) return PyErr_Format(PyExc_ValueError, "too many signals");
    struct sigaction action = {0};
    action.sa_sigaction = on_signal;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(numbers); i++) {
        long number = PyLong_AsLong(PyTuple_GET_ITEM(numbers, i));
        if (PyErr_Occurred()) return NULL;
        sigaddset(&action.sa_mask, (int)number);
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(numbers); i++) {
        int number = (int)PyLong_AsLong(PyTuple_GET_ITEM(numbers, i));
        guarded[count].number = number;
        if (sigaction(number, NULL, &guarded[count].before) != 0) return PyErr_SetFromErrno(PyExc_OSError);
        count++;
        if (sigaction(number, &action, NULL) != 0) return PyErr_SetFromErrno(PyExc_OSError);
    }
#ifdef HAS_TIMER
    struct sigevent event = {0};
    event.sigev_notify = SIGEV_SIGNAL;
    event.sigev_signo = guarded[0].number;
    timer_made = count > 0 && timer_create && timer_create(CLOCK_MONOTONIC, &event, &timer) == 0;
#endif
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"guard", guard, METH_VARARGS, guard_doc},
    {"release", release, METH_NOARGS, release_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_signals", "Guard of the signals that stop a server.", -1, functions, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__signals(void) { return PyModule_Create(&definition); }
