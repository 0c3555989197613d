/* `BatchResponder`, the twin in C of `PythonBatchResponder` in batch.py; the same tests run over both. The rules are in
 * docs/batch.md. */
#include "_batch.h"

enum {
    UNSETTLED_LIMIT = 128 * 1024, /* bytes of memory for answers after which `settle` is called; as in batch.py */
    PIECE_OVERHEAD = 64, /* bytes of memory that a piece takes beside its frames; as in batch.py */
};

/* Note frames of `size` bytes that answer `messages` messages, and settle if there are many; -1 with an exception. */
static int note_answers(BatchResponder *self, PyObject *frames, Py_ssize_t size, Py_ssize_t messages) {
    PyObject *count = PyLong_FromSsize_t(messages);
    if (count == NULL) return -1;
    int failed = PyList_Append(self->unsettled, frames) < 0 || PyList_Append(self->unsettled, count) < 0;
    Py_DECREF(count);
    if (failed) return -1;
    if (PyList_GET_SIZE(self->unsettled) == 2) self->unsettled_bytes = 0; /* the owner of the list has emptied it */
    self->sent_bytes += size;
    self->unsettled_bytes += size + PIECE_OVERHEAD;
    return self->unsettled_bytes <= self->unsettled_limit ? 0 : drop_result(PyObject_CallNoArgs(self->settle));
}

/* Send one answer without copying its payload. */
static PyObject *send_framed(BatchResponder *self, PyObject *header, PyObject *payload) {
    PyObject *frame = PyTuple_Pack(2, header, payload), *done = NULL;
    if (frame == NULL) return NULL;
    if (note_answers(self, frame, HEADER_SIZE + PyObject_Length(payload), 1) == 0) {
        PyObject *arguments[] = {header, payload};
        done = PyObject_Vectorcall(self->write_framed, arguments, 2, NULL);
    }
    Py_DECREF(frame);
    return done;
}

/* Send the frames that answer `messages` messages. */
static PyObject *send_answers(BatchResponder *self, PyObject *frames, Py_ssize_t messages) {
    Py_ssize_t size = PyBytes_GET_SIZE(frames);
    if (size == 0) Py_RETURN_NONE;
    return note_answers(self, frames, size, messages) < 0 ? NULL : PyObject_CallOneArg(self->write, frames);
}

/* Return the frame that answers a message whose coroutine has waited; None if that is left to the caller, NULL with an
   exception. The arguments are an id and a reply. */
static PyObject *waited_for(BatchResponder *self, PyObject *const *arguments, Py_ssize_t count) {
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "an answer takes an id and a reply");
        return NULL;
    }
    unsigned long id = PyLong_AsUnsignedLong(arguments[0]);
    if (id == (unsigned long)-1 && PyErr_Occurred()) return NULL;
    if (self->closed != WAITING) Py_RETURN_NONE;
    Answers answers = {NULL, 0, 0};
    if (append_reply(self->answerer, &answers, (uint32_t)id, arguments[1]) < 0) return NULL;
    if (answers.bytes == NULL || answers.used > BATCH_LIMIT) {
        Py_XDECREF(answers.bytes);
        Py_RETURN_NONE;
    }
    return answers.bytes;
}

PyObject *answer_waited(BatchResponder *self, PyObject *const *arguments, Py_ssize_t count) {
    PyObject *frame = waited_for(self, arguments, count);
    if (frame == NULL) return NULL;
    int left = frame == Py_None, failed = 0;
    if (!left) {
        self->closed = 0; /* before the write, which may close it again */
        failed = drop_result(send_answers(self, frame, 0));
    }
    Py_DECREF(frame);
    return failed ? NULL : PyBool_FromLong(!left);
}

PyObject *prepare_answer(BatchResponder *self, PyObject *const *arguments, Py_ssize_t count) {
    PyObject *frame = waited_for(self, arguments, count);
    if (frame == NULL || frame == Py_None) return frame;
    Py_ssize_t size = PyBytes_GET_SIZE(frame);
    if (note_answers(self, frame, size, 0) < 0) Py_CLEAR(frame);
    self->sent_bytes -= size; /* the caller sends it */
    return frame;
}

PyObject *send_frame(BatchResponder *self, PyObject *frame) {
    Py_ssize_t size = PyObject_Length(frame);
    if (size < 0) return NULL;
    self->sent_bytes += size;
    return PyObject_CallOneArg(self->write, frame);
}

int waits_only(BatchAnswerer *answerer, PyObject *frames) {
    return answerer->unanswered != NULL && PyTuple_GET_ITEM(answerer->unanswered, 3) != Py_None && PyBytes_GET_SIZE(frames) == 0;
}

PyObject *give_to(PyObject *wait, BatchAnswerer *answerer) {
    PyObject *unanswered = answerer->unanswered, *began = PyFloat_FromDouble(answerer->began), *done = NULL;
    if (began == NULL) return NULL;
    answerer->unanswered = NULL;
    PyObject *arguments[] = {unanswered, began};
    done = PyObject_Vectorcall(wait, arguments, 2, NULL);
    Py_DECREF(began);
    Py_DECREF(unanswered);
    return done;
}

static PyObject *BatchResponder_call(BatchResponder *self, PyObject *const *arguments, size_t flags, PyObject *named) {
    if (PyVectorcall_NARGS(flags) != 2 || named != NULL) {
        PyErr_SetString(PyExc_TypeError, "a responder takes bytes and their number");
        return NULL;
    }
    BatchAnswerer *answerer = self->answerer;
    Py_ssize_t size = PyLong_AsSsize_t(arguments[1]);
    if (size == -1 && PyErr_Occurred()) return NULL;
    PyObject *payload = NULL, *done;
    int closed = self->closed; /* a handler may close it */
    self->received_bytes += size;
    PyObject *frames = closed ? answer_batch(answerer, arguments[0], 0, 0, NULL)
                              : answer_batch(answerer, arguments[0], 0, size, self->write_framed ? &payload : NULL);
    if (frames == NULL) {
        Py_XDECREF(payload);
        return NULL;
    }
    int waits = !closed && !self->closed && self->wait != NULL && waits_only(answerer, frames);
    if (waits && answerer->position < size) {
        waits = self->held == NULL ? 0 : hold_rest(self->held, arguments[0], answerer->position, size);
    }
    if (waits > 0) {
        self->closed = WAITING;
        done = give_to(self->wait, answerer);
    } else if (waits < 0) {
        done = NULL;
    } else if (closed || answerer->position < size || answerer->unanswered != NULL || PyBytes_GET_SIZE(frames) > BATCH_LIMIT) {
        PyObject *left[] = {arguments[0], arguments[1], frames};
        done = PyObject_Vectorcall(self->leave, left, 3, NULL);
    } else {
        done = payload != NULL ? send_framed(self, frames, payload) : send_answers(self, frames, answerer->count);
    }
    Py_XDECREF(payload);
    Py_DECREF(frames);
    return done;
}

static int BatchResponder_traverse(BatchResponder *self, visitproc visit, void *arg) {
    Py_VISIT(self->answerer);
    Py_VISIT(self->unsettled);
    Py_VISIT(self->settle);
    Py_VISIT(self->write);
    Py_VISIT(self->leave);
    Py_VISIT(self->write_framed);
    Py_VISIT(self->wait);
    Py_VISIT(self->held);
    return 0;
}

static int BatchResponder_clear(BatchResponder *self) {
    Py_CLEAR(self->answerer);
    Py_CLEAR(self->unsettled);
    Py_CLEAR(self->settle);
    Py_CLEAR(self->write);
    Py_CLEAR(self->leave);
    Py_CLEAR(self->write_framed);
    Py_CLEAR(self->wait);
    Py_CLEAR(self->held);
    return 0;
}

static void BatchResponder_dealloc(BatchResponder *self) {
    PyObject_GC_UnTrack(self);
    BatchResponder_clear(self);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static PyObject *BatchResponder_new(PyTypeObject *type, PyObject *arguments, PyObject *named) {
    static char *names[] = {"answerer", "unsettled", "settle", "write", "leave", "write_framed", "wait", NULL};
    PyObject *answerer, *unsettled, *settle, *write, *leave, *write_framed = Py_None, *wait = Py_None;
    if (!PyArg_ParseTupleAndKeywords(arguments, named, "O!O!OOO|OO", names, &BatchAnswererType, &answerer, &PyList_Type,
                                     &unsettled, &settle, &write, &leave, &write_framed, &wait))
        return NULL;
    BatchResponder *self = (BatchResponder *)type->tp_alloc(type, 0);
    if (self == NULL) return NULL;
    self->call = (vectorcallfunc)BatchResponder_call;
    self->unsettled_limit = UNSETTLED_LIMIT;
    self->answerer = (BatchAnswerer *)Py_NewRef(answerer);
    self->unsettled = Py_NewRef(unsettled);
    self->settle = Py_NewRef(settle);
    self->write = Py_NewRef(write);
    self->leave = Py_NewRef(leave);
    if (write_framed != Py_None) self->write_framed = Py_NewRef(write_framed);
    if (wait != Py_None) self->wait = Py_NewRef(wait);
    return (PyObject *)self;
}

static PyObject *get_held(BatchResponder *self, void *Py_UNUSED(closure)) {
    return Py_NewRef(self->held == NULL ? Py_None : (PyObject *)self->held);
}

static int set_held(BatchResponder *self, PyObject *held, void *Py_UNUSED(closure)) {
    if (held != NULL && held != Py_None && !PyObject_TypeCheck(held, &HeldMessagesType)) {
        PyErr_SetString(PyExc_TypeError, "held must be HeldMessages");
        return -1;
    }
    Py_XSETREF(self->held, held == NULL || held == Py_None ? NULL : (HeldMessages *)Py_NewRef(held));
    return 0;
}

static PyGetSetDef properties[] = {
    {"held", (getter)get_held, (setter)set_held, "Takes what is received behind a message whose coroutine waits.", NULL},
    {NULL},
};

static PyMemberDef members[] = {
    {"closed", T_BYTE, offsetof(BatchResponder, closed), 0, "0: open; 1: everything is left; WAITING: a coroutine waits."},
    {"received_bytes", T_PYSSIZET, offsetof(BatchResponder, received_bytes), READONLY, "Bytes received so far."},
    {"unsettled_bytes", T_PYSSIZET, offsetof(BatchResponder, unsettled_bytes), READONLY,
     "Bytes of memory that the list took after the last answer."},
    {"unsettled_limit", T_PYSSIZET, offsetof(BatchResponder, unsettled_limit), 0, "What it may take before `settle`."},
    {"sent_bytes", T_PYSSIZET, offsetof(BatchResponder, sent_bytes), READONLY, "Bytes written so far."},
    {NULL},
};

static PyMethodDef methods[] = {
    {"answer", (PyCFunction)(void (*)(void))answer_waited, METH_FASTCALL,
     "Answer a message whose coroutine has waited; return False if that is left to the caller."},
    {"prepare", (PyCFunction)(void (*)(void))prepare_answer, METH_FASTCALL,
     "Return the frame of such an answer, noted but not written; None if that is left to the caller."},
    {"send", (PyCFunction)send_frame, METH_O, "Write a frame that `prepare` has returned."},
    {NULL},
};

PyTypeObject BatchResponderType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "antiphon.wire._batch.BatchResponder",
    .tp_basicsize = sizeof(BatchResponder),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL,
    .tp_vectorcall_offset = offsetof(BatchResponder, call),
    .tp_new = BatchResponder_new,
    .tp_call = PyVectorcall_Call,
    .tp_traverse = (traverseproc)BatchResponder_traverse,
    .tp_clear = (inquiry)BatchResponder_clear,
    .tp_dealloc = (destructor)BatchResponder_dealloc,
    .tp_members = members,
    .tp_getset = properties,
    .tp_methods = methods,
};
