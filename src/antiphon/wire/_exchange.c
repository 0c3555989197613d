/* `Exchange` and `Asking`, the twins in C of `PythonExchange` and `PythonAsking` in exchange.py, which describes them; the
 * same tests run over both. */
#include "_batch.h"

enum { LOOP_OBJECT, CALL_SOON, CURRENT_TASK, CANCELLED_ERROR, RAISES, LOOP_SIZE }; /* the fields of `Loop`, in order */
enum { WRITE, IS_CLOSING, TOKEN, MESSAGE_LIMIT, ANSWER_LIMIT, UNACKNOWLEDGED_LIMIT, FORKS, WIRE_SIZE }; /* of `Wire` */
enum { ASKED, ANSWERED, CANCELLED }; /* the states of a message, as in exchange.py */

typedef struct Asking Asking;

typedef struct {
    PyObject_HEAD
    PyObject *loop, *wire, *settle; /* NULL once the garbage collector has cleared them */
    Py_ssize_t message_limit, answer_limit, unacknowledged_limit, forks, answered, unacknowledged;
    uint32_t id;
    char open;
    Asking *pending; /* or NULL */
} Exchange;

struct Asking {
    PyObject_HEAD
    Exchange *exchange;
    PyObject *message, *answer, *answers, *resume, *context, *cancellation; /* each may be NULL */
    uint32_t id;
    Py_ssize_t size;
    char state, blocking;
};

static PyObject *context_names; /* ("context",) */

/* --- a message on its way ---------------------------------------------------------------------------------------- */

/* Call a function of the loop soon, in the context of the task if it has one; -1 with an exception. */
static int call_soon(Exchange *exchange, PyObject *function, PyObject *argument, PyObject *context) {
    if (exchange->loop == NULL) return 0;
    PyObject *arguments[] = {function, argument, context};
    PyObject *names = context == NULL ? NULL : context_names;
    return drop_result(PyObject_Vectorcall(PyTuple_GET_ITEM(exchange->loop, CALL_SOON), arguments, 2, names));
}

/* Resume the task that waits, if there is one, in the next turn of the loop; -1 with an exception. */
static int resume_soon(Asking *self) {
    PyObject *function = self->resume, *context = self->context;
    self->resume = self->context = NULL; /* they refer to the task, which refers to this message */
    int failed = function == NULL ? 0 : call_soon(self->exchange, function, (PyObject *)self, context);
    Py_XDECREF(function);
    Py_XDECREF(context);
    return failed;
}

/* Whether no task runs now; -1 with an exception. */
static int is_outside_of_tasks(PyObject *loop) {
    PyObject *task = PyObject_CallOneArg(PyTuple_GET_ITEM(loop, CURRENT_TASK), PyTuple_GET_ITEM(loop, LOOP_OBJECT));
    if (task == NULL) return -1;
    Py_DECREF(task);
    return task == Py_None;
}

/* Have the loop raise what a step of the task has raised, as from a callback of its own: it must not end the connection.
   Steals the reference. */
static int raise_soon(Exchange *exchange, PyObject *error) {
    int failed = 0;
    if (exchange->loop != NULL) failed = call_soon(exchange, PyTuple_GET_ITEM(exchange->loop, RAISES), error, NULL);
    Py_DECREF(error);
    return failed;
}

/* Resume the task at once, outside of other tasks; soon if that cannot be. -1 with an exception. */
static int resume(Asking *self) {
    PyObject *loop = self->exchange->loop;
    if (self->resume == NULL || loop == NULL) return 0;
    int outside = self->context == NULL ? 0 : is_outside_of_tasks(loop);
    if (outside <= 0) return outside < 0 ? -1 : resume_soon(self);
    if (PyContext_Enter(self->context) < 0) { /* it is entered already */
        PyErr_Clear();
        return resume_soon(self);
    }
    Exchange *exchange = (Exchange *)Py_NewRef((PyObject *)self->exchange);
    PyObject *context = self->context, *function = self->resume;
    self->resume = self->context = NULL;
    int failed = drop_result(PyObject_CallOneArg(function, (PyObject *)self));
    Py_DECREF(function);
    PyObject *error = failed ? take_exception() : NULL;
    failed = PyContext_Exit(context);
    if (error != NULL) {
        if (failed) PyErr_Clear();
        failed = raise_soon(exchange, error);
    }
    Py_DECREF(context);
    Py_DECREF(exchange);
    return failed;
}

static PyObject *Asking_wake(Asking *self, PyObject *Py_UNUSED(none)) {
    if (self->state == ASKED) {
        self->state = ANSWERED;
        if (resume_soon(self) < 0) return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *Asking_await(Asking *self) { return Py_NewRef((PyObject *)self); }

static int raise_if_cancelled(Asking *self) {
    if (self->state != CANCELLED) return 0;
    PyObject *loop = self->exchange->loop;
    if (loop != NULL) PyErr_SetObject(PyTuple_GET_ITEM(loop, CANCELLED_ERROR), self->cancellation);
    return -1;
}

static PyObject *answer_of(Asking *self) { return Py_NewRef(self->answer == NULL ? Py_None : self->answer); }

/* Whether a task waits already; if so, an exception is set. */
static int is_awaited(Asking *self) {
    if (self->resume != NULL) PyErr_SetString(PyExc_RuntimeError, "a message is awaited twice");
    return self->resume != NULL;
}

/* Go on with what awaits: yield itself, or return the answer. */
static PySendResult Asking_send(Asking *self, PyObject *Py_UNUSED(value), PyObject **result) {
    *result = NULL;
    if (self->state == ASKED) {
        if (is_awaited(self)) return PYGEN_ERROR;
        self->blocking = 1;
        *result = Py_NewRef((PyObject *)self);
        return PYGEN_NEXT;
    }
    if (raise_if_cancelled(self) < 0) return PYGEN_ERROR;
    *result = answer_of(self);
    return PYGEN_RETURN;
}

static PyObject *Asking_next(Asking *self) {
    PyObject *result;
    PySendResult how = Asking_send(self, Py_None, &result);
    if (how != PYGEN_RETURN) return result;
    PyErr_SetObject(PyExc_StopIteration, result); /* text, bytes or None */
    Py_DECREF(result);
    return NULL;
}

static PyObject *Asking_get_loop(Asking *self, PyObject *Py_UNUSED(none)) {
    return Py_NewRef(self->exchange->loop == NULL ? Py_None : PyTuple_GET_ITEM(self->exchange->loop, LOOP_OBJECT));
}

static PyObject *Asking_done(Asking *self, PyObject *Py_UNUSED(none)) { return PyBool_FromLong(self->state != ASKED); }

static PyObject *Asking_result(Asking *self, PyObject *Py_UNUSED(none)) {
    return raise_if_cancelled(self) < 0 ? NULL : answer_of(self);
}

static PyObject *Asking_add_done_callback(Asking *self, PyObject *const *arguments, Py_ssize_t count, PyObject *names) {
    Py_ssize_t named = names == NULL ? 0 : PyTuple_GET_SIZE(names);
    if (count != 1 || named > 1 || (named == 1 && PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(names, 0), "context"))) {
        PyErr_SetString(PyExc_TypeError, "add_done_callback takes a function, and context");
        return NULL;
    }
    if (is_awaited(self)) return NULL;
    PyObject *context = named == 1 ? arguments[1] : Py_None;
    if (context != Py_None && !PyContext_CheckExact(context)) {
        PyErr_SetString(PyExc_TypeError, "context must be a Context");
        return NULL;
    }
    self->resume = Py_NewRef(arguments[0]);
    Py_XSETREF(self->context, context == Py_None ? NULL : Py_NewRef(context));
    if (self->state != ASKED && resume_soon(self) < 0) return NULL;
    Py_RETURN_NONE;
}

/* Cancel the waiting, with the arguments of the exception; -1 with an exception. Steals the reference. */
static int cancel(Asking *self, PyObject *cancellation) {
    if (cancellation == NULL) return -1;
    self->state = CANCELLED;
    Py_XSETREF(self->cancellation, cancellation);
    return resume_soon(self);
}

static PyObject *Asking_cancel(Asking *self, PyObject *arguments, PyObject *named) {
    static char *names[] = {"msg", NULL};
    PyObject *message = Py_None;
    if (!PyArg_ParseTupleAndKeywords(arguments, named, "|O", names, &message)) return NULL;
    if (self->state != ASKED) Py_RETURN_FALSE;
    if (cancel(self, message == Py_None ? PyTuple_New(0) : PyTuple_Pack(1, message)) < 0) return NULL;
    Py_RETURN_TRUE;
}

static PyObject *Asking_cancelled(Asking *self, void *Py_UNUSED(closure)) { return PyBool_FromLong(self->state == CANCELLED); }

static int Asking_traverse(Asking *self, visitproc visit, void *arg) {
    Py_VISIT(self->exchange);
    Py_VISIT(self->message);
    Py_VISIT(self->answer);
    Py_VISIT(self->answers);
    Py_VISIT(self->resume);
    Py_VISIT(self->context);
    Py_VISIT(self->cancellation);
    return 0;
}

static int Asking_clear(Asking *self) { /* `exchange` stays: methods rely on it, and it clears what it refers to */
    Py_CLEAR(self->message);
    Py_CLEAR(self->answer);
    Py_CLEAR(self->answers);
    Py_CLEAR(self->resume);
    Py_CLEAR(self->context);
    Py_CLEAR(self->cancellation);
    return 0;
}

static void Asking_dealloc(Asking *self) {
    PyObject_GC_UnTrack(self);
    Asking_clear(self);
    Py_XDECREF(self->exchange);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static PyMemberDef asking_members[] = {
    {"_asyncio_future_blocking", T_BOOL, offsetof(Asking, blocking), 0, "As of a future."},
    {"id", T_UINT, offsetof(Asking, id), READONLY, "The id of the message."},
    {"message", T_OBJECT, offsetof(Asking, message), READONLY, "The message."},
    {"size", T_PYSSIZET, offsetof(Asking, size), READONLY, "Bytes of the message."},
    {"answers", T_OBJECT, offsetof(Asking, answers), 0, "What gets the answer after the exchange was left; None before."},
    {NULL},
};

static PyGetSetDef asking_properties[] = {
    {"cancelled", (getter)Asking_cancelled, NULL, "Whether nobody waits any more.", NULL},
    {NULL},
};

static PyMethodDef asking_methods[] = {
    {"wake", (PyCFunction)Asking_wake, METH_NOARGS, "Resume the task soon: there is news in `answers`."},
    {"get_loop", (PyCFunction)Asking_get_loop, METH_NOARGS, "Return the event loop."},
    {"done", (PyCFunction)Asking_done, METH_NOARGS, "Return whether the task is resumed."},
    {"result", (PyCFunction)Asking_result, METH_NOARGS, "Return the answer."},
    {"add_done_callback", (PyCFunction)(void (*)(void))Asking_add_done_callback, METH_FASTCALL | METH_KEYWORDS,
     "Call a function when there is an answer."},
    {"cancel", (PyCFunction)(void (*)(void))Asking_cancel, METH_VARARGS | METH_KEYWORDS, "Resume the task soon with a cancellation."},
    {NULL},
};

static PyAsyncMethods asking_async = {.am_await = (unaryfunc)Asking_await, .am_send = (sendfunc)Asking_send};

PyTypeObject AskingType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "antiphon.wire._batch.Asking",
    .tp_basicsize = sizeof(Asking),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_traverse = (traverseproc)Asking_traverse,
    .tp_clear = (inquiry)Asking_clear,
    .tp_dealloc = (destructor)Asking_dealloc,
    .tp_as_async = &asking_async,
    .tp_iter = (getiterfunc)Asking_await,
    .tp_iternext = (iternextfunc)Asking_next,
    .tp_members = asking_members,
    .tp_getset = asking_properties,
    .tp_methods = asking_methods,
};

/* --- the exchange ------------------------------------------------------------------------------------------------ */

static PyObject *Exchange_enter(Exchange *self, PyObject *const *arguments, Py_ssize_t count) {
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "enter takes an id and a number of bytes");
        return NULL;
    }
    unsigned long id = PyLong_AsUnsignedLong(arguments[0]);
    if (id == (unsigned long)-1 && PyErr_Occurred()) return NULL;
    if (id > UINT32_MAX) {
        PyErr_SetString(PyExc_OverflowError, "the id does not fit in 32 bits");
        return NULL;
    }
    Py_ssize_t unacknowledged = PyLong_AsSsize_t(arguments[1]);
    if (unacknowledged == -1 && PyErr_Occurred()) return NULL;
    self->id = (uint32_t)id;
    self->unacknowledged = unacknowledged;
    self->open = self->settle != NULL;
    Py_RETURN_NONE;
}

/* Close the exchange if it is open; -1 with an exception. */
static int leave(Exchange *self) {
    if (!self->open) return 0;
    PyObject *pending = self->pending == NULL ? Py_NewRef(Py_None) : (PyObject *)self->pending;
    PyObject *answered = PyLong_FromSsize_t(self->answered), *bytes = PyLong_FromSsize_t(self->unacknowledged);
    PyObject *settle = Py_NewRef(self->settle);
    self->open = 0;
    self->pending = NULL;
    self->answered = self->unacknowledged = 0;
    int failed = -1;
    if (answered != NULL && bytes != NULL) {
        PyObject *arguments[] = {answered, bytes, pending};
        failed = drop_result(PyObject_Vectorcall(settle, arguments, 3, NULL));
    }
    Py_XDECREF(answered);
    Py_XDECREF(bytes);
    Py_DECREF(pending);
    Py_DECREF(settle);
    return failed;
}

static PyObject *Exchange_leave(Exchange *self, PyObject *Py_UNUSED(none)) {
    if (leave(self) < 0) return NULL;
    Py_RETURN_NONE;
}

/* Whether a message may be sent now; -1 with an exception. */
static int may_ask(Exchange *self) {
    if (!self->open || self->pending != NULL || self->wire == NULL) return 0;
    if (PyList_GET_SIZE(PyTuple_GET_ITEM(self->wire, FORKS)) != self->forks) return 0;
    PyObject *answer = PyObject_CallNoArgs(PyTuple_GET_ITEM(self->wire, IS_CLOSING));
    int closing = answer == NULL ? -1 : PyObject_IsTrue(answer);
    Py_XDECREF(answer);
    if (closing != 0) return closing < 0 ? -1 : 0;
    return self->open && self->pending == NULL && self->wire != NULL;
}

static Asking *new_asking(Exchange *exchange, PyObject *message, uint32_t id, Py_ssize_t size) {
    Asking *self = (Asking *)AskingType.tp_alloc(&AskingType, 0);
    if (self == NULL) return NULL;
    self->exchange = (Exchange *)Py_NewRef((PyObject *)exchange);
    self->message = Py_NewRef(message);
    self->id = id;
    self->size = size;
    return self;
}

/* Cancel a message that could not be written, and leave the exchange; the exception stays. */
static void give_up(Exchange *self, Asking *asking) {
    PyObject *error = take_exception();
    if (asking->state == ASKED && cancel(asking, PyTuple_New(0)) < 0) PyErr_Clear();
    if (leave(self) < 0) PyErr_Clear();
    set_exception(error);
}

static PyObject *Exchange_ask(Exchange *self, PyObject *message) {
    int may = PyUnicode_CheckExact(message) || PyBytes_CheckExact(message) ? may_ask(self) : 0;
    if (may < 0) return NULL;
    if (!may) Py_RETURN_NONE;
    uint32_t id = self->id == UINT32_MAX ? 1 : self->id + 1;
    Py_ssize_t size;
    PyObject *wire = Py_NewRef(self->wire), *token = PyTuple_GET_ITEM(wire, TOKEN);
    PyObject *frame = frame_message(id, message, token, self->message_limit, &size);
    PyObject *write = Py_NewRef(PyTuple_GET_ITEM(wire, WRITE));
    Asking *asking = frame == NULL ? NULL : new_asking(self, message, id, size);
    Py_DECREF(wire);
    if (asking != NULL) {
        self->id = id;
        self->pending = (Asking *)Py_NewRef((PyObject *)asking);
        if (drop_result(PyObject_CallOneArg(write, frame)) < 0) {
            give_up(self, asking);
            Py_CLEAR(asking);
        }
    } else if (frame == NULL && (!PyErr_Occurred() || PyErr_ExceptionMatches(PyExc_UnicodeEncodeError))) {
        PyErr_Clear();
        Py_DECREF(write);
        Py_RETURN_NONE;
    }
    Py_XDECREF(frame);
    Py_DECREF(write);
    return (PyObject *)asking;
}

/* Return the answer to `asking`, if bytes are that and nothing else; NULL if not, or with an exception. */
static PyObject *read_answer(Exchange *self, Asking *asking, const unsigned char *bytes, Py_ssize_t end) {
    if (end < HEADER_SIZE) return NULL;
    Header header = read_header(bytes);
    Py_ssize_t length = header.length, size = length - COUNTED_HEADER_SIZE;
    if (header.kind != MESSAGE || (header.flags | TEXT) != (TEXT | LAST) || header.reserved || header.id != asking->id || size < 0 ||
        size > self->answer_limit || end != LENGTH_SIZE + length)
        return NULL;
    if (!(header.flags & TEXT)) return PyBytes_FromStringAndSize((const char *)bytes + HEADER_SIZE, size);
    PyObject *text = decode_text(bytes + HEADER_SIZE, size);
    if (text == NULL && PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) PyErr_Clear();
    return text;
}

static PyObject *Exchange_take(Exchange *self, PyObject *data) {
    if (!self->open) Py_RETURN_FALSE;
    Asking *asking = self->pending;
    PyObject *answer = NULL;
    if (asking != NULL && asking->state == ASKED && PyBytes_CheckExact(data)) {
        Py_ssize_t size = PyBytes_GET_SIZE(data);
        if (size < self->unacknowledged_limit - self->unacknowledged)
            answer = read_answer(self, asking, (const unsigned char *)PyBytes_AS_STRING(data), size);
        if (answer == NULL && PyErr_Occurred()) return NULL;
    }
    if (answer == NULL) {
        if (leave(self) < 0) return NULL;
        Py_RETURN_FALSE;
    }
    self->unacknowledged += PyBytes_GET_SIZE(data);
    self->answered++;
    self->pending = NULL; /* the reference is `asking` now */
    asking->answer = answer;
    asking->state = ANSWERED;
    int failed = resume(asking);
    Py_DECREF(asking);
    if (failed) return NULL;
    Py_RETURN_TRUE;
}

static int Exchange_traverse(Exchange *self, visitproc visit, void *arg) {
    Py_VISIT(self->loop);
    Py_VISIT(self->wire);
    Py_VISIT(self->settle);
    Py_VISIT(self->pending);
    return 0;
}

static int Exchange_clear(Exchange *self) {
    self->open = 0;
    Py_CLEAR(self->loop);
    Py_CLEAR(self->wire);
    Py_CLEAR(self->settle);
    Py_CLEAR(self->pending);
    return 0;
}

static void Exchange_dealloc(Exchange *self) {
    PyObject_GC_UnTrack(self);
    Exchange_clear(self);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

/* Whether a `Loop` and a `Wire` hold what they must; the limits are read. Sets an exception if not. */
static int is_complete(Exchange *self) {
    if (PyTuple_GET_SIZE(self->loop) == LOOP_SIZE && PyTuple_GET_SIZE(self->wire) == WIRE_SIZE &&
        PyBytes_CheckExact(PyTuple_GET_ITEM(self->wire, TOKEN)) && PyList_CheckExact(PyTuple_GET_ITEM(self->wire, FORKS))) {
        self->message_limit = PyLong_AsSsize_t(PyTuple_GET_ITEM(self->wire, MESSAGE_LIMIT));
        Py_ssize_t most = (Py_ssize_t)UINT32_MAX - COUNTED_HEADER_SIZE - PyBytes_GET_SIZE(PyTuple_GET_ITEM(self->wire, TOKEN));
        if (self->message_limit > most) self->message_limit = most;
        self->answer_limit = PyLong_AsSsize_t(PyTuple_GET_ITEM(self->wire, ANSWER_LIMIT));
        self->unacknowledged_limit = PyLong_AsSsize_t(PyTuple_GET_ITEM(self->wire, UNACKNOWLEDGED_LIMIT));
        self->forks = PyList_GET_SIZE(PyTuple_GET_ITEM(self->wire, FORKS));
        return !PyErr_Occurred();
    }
    PyErr_SetString(PyExc_TypeError, "an exchange needs a Loop and a Wire");
    return 0;
}

static PyObject *Exchange_new(PyTypeObject *type, PyObject *arguments, PyObject *named) {
    static char *names[] = {"loop", "wire", "settle", NULL};
    PyObject *loop, *wire, *settle;
    if (!PyArg_ParseTupleAndKeywords(arguments, named, "O!O!O", names, &PyTuple_Type, &loop, &PyTuple_Type, &wire, &settle))
        return NULL;
    Exchange *self = (Exchange *)type->tp_alloc(type, 0);
    if (self == NULL) return NULL;
    self->loop = Py_NewRef(loop);
    self->wire = Py_NewRef(wire);
    self->settle = Py_NewRef(settle);
    if (is_complete(self)) return (PyObject *)self;
    Py_DECREF(self);
    return NULL;
}

static PyMemberDef exchange_members[] = {
    {"open", T_BOOL, offsetof(Exchange, open), READONLY, "Whether `ask` sends and `take` takes."},
    {NULL},
};

static PyMethodDef exchange_methods[] = {
    {"enter", (PyCFunction)(void (*)(void))Exchange_enter, METH_FASTCALL,
     "Open it; the last message had this id, and so many bytes are not acknowledged."},
    {"leave", (PyCFunction)Exchange_leave, METH_NOARGS, "Close it; nothing happens if it is closed."},
    {"ask", (PyCFunction)Exchange_ask, METH_O, "Send a message and return it, to be awaited; None if that is left to the caller."},
    {"take", (PyCFunction)Exchange_take, METH_O, "Take received bytes, if they are the answer to the message on its way."},
    {NULL},
};

PyTypeObject ExchangeType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "antiphon.wire._batch.Exchange",
    .tp_basicsize = sizeof(Exchange),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_new = Exchange_new,
    .tp_traverse = (traverseproc)Exchange_traverse,
    .tp_clear = (inquiry)Exchange_clear,
    .tp_dealloc = (destructor)Exchange_dealloc,
    .tp_members = exchange_members,
    .tp_methods = exchange_methods,
};

int init_exchange(void) {
    context_names = Py_BuildValue("(s)", "context");
    return context_names == NULL || PyType_Ready(&AskingType) < 0 ? -1 : PyType_Ready(&ExchangeType);
}
