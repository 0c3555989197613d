/* `Waiting`, the twin in C of `PythonWaiting` in waiting.py, which describes it; the same tests run over both. */
#include "_handler.h"

#include <stdint.h>

typedef struct {
    PyObject_HEAD
    vectorcallfunc call;
    PyObject *limits, *begun, *ended;
    PyObject *task, *answer, *count; /* may be NULL; the last two may be None */
    Py_buffer times;
    Clock clock;
    double began, seconds;
    uint32_t id;
    char cancelled;
} Waiting;

static PyObject *add_name, *timer_name, *time_name, *loop_name, *result_name, *cancelled_name;

int init_waiting(void) {
    add_name = PyUnicode_InternFromString("add");
    timer_name = PyUnicode_InternFromString("timer");
    time_name = PyUnicode_InternFromString("time");
    loop_name = PyUnicode_InternFromString("_loop");
    result_name = PyUnicode_InternFromString("result");
    cancelled_name = PyUnicode_InternFromString("cancelled");
    int failed = !add_name || !timer_name || !time_name || !loop_name || !result_name;
    return failed || !cancelled_name ? -1 : 0;
}

/* Note when the time of a task begins, as `TimeLimits.add`, which is called if the timer is not set; -1 with an exception. */
static int limit_time(Waiting *self, PyObject *task) {
    PyObject *timer = PyObject_GetAttr(self->limits, timer_name);
    if (timer == NULL) return -1;
    Py_DECREF(timer);
    if (timer == Py_None) return drop_result(PyObject_CallMethodOneArg(self->limits, add_name, task));
    PyObject *loop = PyObject_GetAttr(task, loop_name);
    PyObject *now = loop == NULL ? NULL : PyObject_CallMethodNoArgs(loop, time_name);
    int failed = now == NULL ? -1 : PyDict_SetItem(self->begun, task, now);
    Py_XDECREF(loop);
    Py_XDECREF(now);
    return failed;
}

static void begin(Waiting *self, uint32_t id, PyObject *task, double began) {
    self->id = id;
    self->began = began;
    self->cancelled = 0;
    Py_XSETREF(self->task, Py_NewRef(task));
}

static int limit(Waiting *self, uint32_t id, PyObject *task, double began) {
    if (set_then(task, (PyObject *)self) < 0 || limit_time(self, task) < 0) return -1;
    begin(self, id, task, began);
    return 0;
}

static PyObject *Waiting_begin(Waiting *self, PyObject *arguments) {
    unsigned int id;
    PyObject *task;
    double began;
    if (!PyArg_ParseTuple(arguments, "IOd", &id, &task, &began)) return NULL;
    begin(self, id, task, began);
    Py_RETURN_NONE;
}

static PyObject *Waiting_limit(Waiting *self, PyObject *arguments) {
    unsigned int id;
    PyObject *task;
    double began;
    if (!PyArg_ParseTuple(arguments, "IOd", &id, &task, &began) || limit(self, id, task, began) < 0) return NULL;
    Py_RETURN_NONE;
}

static PyObject *Waiting_wait(Waiting *self, PyObject *const *arguments, Py_ssize_t count) {
    PyObject *unanswered = count == 2 ? arguments[0] : Py_None;
    PyObject *waiting = PyTuple_Check(unanswered) && PyTuple_GET_SIZE(unanswered) == 4 ? PyTuple_GET_ITEM(unanswered, 3) : Py_None;
    if (!PyTuple_Check(waiting) || PyTuple_GET_SIZE(waiting) != 2) {
        PyErr_SetString(PyExc_TypeError, "a message whose coroutine waits and its beginning are needed");
        return NULL;
    }
    unsigned long id = PyLong_AsUnsignedLong(PyTuple_GET_ITEM(unanswered, 0));
    double began = PyErr_Occurred() ? 0 : PyFloat_AsDouble(arguments[1]);
    if (PyErr_Occurred()) return NULL;
    PyObject *task = PyTuple_GET_ITEM(waiting, 0);
    if (self->count != NULL && self->count != Py_None && drop_result(PyObject_CallNoArgs(self->count)) < 0) return NULL;
    if (go_on(task, PyTuple_GET_ITEM(waiting, 1)) < 0) return NULL;
    if (limit(self, (uint32_t)id, task, began) < 0) return NULL;
    Py_RETURN_NONE;
}

/* Return what a task has returned; NULL if it was cancelled or has raised something, which the caller meets again; NULL with
 * an exception if that cannot be told. */
static PyObject *result_of(PyObject *task) {
    PyObject *cancelled = PyObject_CallMethodNoArgs(task, cancelled_name);
    Py_XDECREF(cancelled);
    if (cancelled != Py_False) return NULL;
    PyObject *reply = PyObject_CallMethodNoArgs(task, result_name);
    if (reply == NULL) PyErr_Clear(); /* the caller meets it again */
    return reply;
}

/* Have the message answered directly. Return 1 if it is; 0 if that is left; -1 with an exception. */
static int answer_directly(Waiting *self, PyObject *id, PyObject *task, PyObject *reply) {
    if (self->answer == NULL || self->answer == Py_None) return 0;
    reply = reply == NULL ? result_of(task) : Py_NewRef(reply);
    if (reply == NULL) return PyErr_Occurred() ? -1 : 0;
    PyObject *arguments[] = {id, reply}, *answer = Py_NewRef(self->answer); /* the call may change the attribute */
    PyObject *done = PyObject_Vectorcall(answer, arguments, 2, NULL);
    int answered = done == NULL ? -1 : PyObject_IsTrue(done);
    Py_DECREF(answer);
    Py_DECREF(reply);
    Py_XDECREF(done);
    return answered;
}

int answer_ended(PyObject *waiting, PyObject *task, PyObject *reply) {
    Waiting *self = (Waiting *)waiting;
    Py_CLEAR(self->task);
    if (PyDict_DelItem(self->begun, task) < 0) {
        if (!PyErr_ExceptionMatches(PyExc_KeyError)) return -1;
        PyErr_Clear();
    }
    double now;
    if (read_clock(&self->clock, &now) < 0) return -1;
    add_times(&self->times, now - self->began, 1);
    self->seconds += now - self->began;
    PyObject *id = PyLong_FromUnsignedLong(self->id);
    if (id == NULL) return -1;
    int answered = answer_directly(self, id, task, reply);
    if (answered == 0) {
        PyObject *left[] = {id, task};
        answered = drop_result(PyObject_Vectorcall(self->ended, left, 2, NULL));
    }
    Py_DECREF(id);
    return answered < 0 ? -1 : 0;
}

static PyObject *Waiting_call(Waiting *self, PyObject *const *arguments, size_t flags, PyObject *named) {
    if (PyVectorcall_NARGS(flags) != 1 || named != NULL) {
        PyErr_SetString(PyExc_TypeError, "a task is needed");
        return NULL;
    }
    if (answer_ended((PyObject *)self, arguments[0], NULL) < 0) return NULL;
    Py_RETURN_NONE;
}

static int Waiting_traverse(Waiting *self, visitproc visit, void *arg) {
    Py_VISIT(self->limits);
    Py_VISIT(self->begun);
    Py_VISIT(self->ended);
    Py_VISIT(self->task);
    Py_VISIT(self->answer);
    Py_VISIT(self->count);
    Py_VISIT(self->clock.call);
    return 0;
}

static int Waiting_clear(Waiting *self) {
    Py_CLEAR(self->limits);
    Py_CLEAR(self->begun);
    Py_CLEAR(self->ended);
    Py_CLEAR(self->task);
    Py_CLEAR(self->answer);
    Py_CLEAR(self->count);
    Py_CLEAR(self->clock.call);
    return 0;
}

static void Waiting_dealloc(Waiting *self) {
    PyObject_GC_UnTrack(self);
    Waiting_clear(self);
    if (self->times.buf != NULL) PyBuffer_Release(&self->times);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static PyObject *Waiting_new(PyTypeObject *type, PyObject *arguments, PyObject *named) {
    static char *names[] = {"limits", "times", "ended", NULL};
    PyObject *limits, *times, *ended;
    if (!PyArg_ParseTupleAndKeywords(arguments, named, "OOO", names, &limits, &times, &ended)) return NULL;
    Waiting *self = (Waiting *)type->tp_alloc(type, 0);
    if (self == NULL) return NULL;
    self->call = (vectorcallfunc)Waiting_call;
    self->limits = Py_NewRef(limits);
    self->ended = Py_NewRef(ended);
    PyObject *module = PyImport_ImportModule("time"), *clock = NULL;
    if (module != NULL) clock = PyObject_GetAttrString(module, "perf_counter");
    self->begun = PyObject_GetAttrString(limits, "begun");
    int failed = clock == NULL || self->begun == NULL || set_clock(&self->clock, clock) < 0 || get_times(times, &self->times) < 0;
    if (!failed && (failed = !PyDict_Check(self->begun))) PyErr_SetString(PyExc_TypeError, "begun must be a dict");
    Py_XDECREF(module);
    Py_XDECREF(clock);
    if (failed) Py_CLEAR(self);
    return (PyObject *)self;
}

static PyMemberDef members[] = {
    {"id", T_UINT, offsetof(Waiting, id), 0, "The message that the handler is working on; 0 if it can get no more answers."},
    {"task", T_OBJECT, offsetof(Waiting, task), READONLY, "The handler; None if none waits."},
    {"began", T_DOUBLE, offsetof(Waiting, began), READONLY, "When it was called."},
    {"seconds", T_DOUBLE, offsetof(Waiting, seconds), READONLY, "What it has added to the seconds of `times`."},
    {"cancelled", T_BOOL, offsetof(Waiting, cancelled), 0, "The client has cancelled the message."},
    {"answer", T_OBJECT, offsetof(Waiting, answer), 0, "Sends an answer if nothing else is to be done."},
    {"count", T_OBJECT, offsetof(Waiting, count), 0, "Counts a message that is given to `wait`."},
    {NULL},
};

static PyMethodDef methods[] = {
    {"begin", (PyCFunction)Waiting_begin, METH_VARARGS, "Wait for the end of a task, which calls this object."},
    {"limit", (PyCFunction)Waiting_limit, METH_VARARGS, "Wait for the end of a handler task, as long as handlers may take."},
    {"wait", (PyCFunction)(void (*)(void))Waiting_wait, METH_FASTCALL, "Go on with a message of the fast path."},
    {NULL},
};

PyTypeObject WaitingType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "antiphon.server.handler._handler.Waiting",
    .tp_basicsize = sizeof(Waiting),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL,
    .tp_vectorcall_offset = offsetof(Waiting, call),
    .tp_new = Waiting_new,
    .tp_call = PyVectorcall_Call,
    .tp_traverse = (traverseproc)Waiting_traverse,
    .tp_clear = (inquiry)Waiting_clear,
    .tp_dealloc = (destructor)Waiting_dealloc,
    .tp_members = members,
    .tp_methods = methods,
};
