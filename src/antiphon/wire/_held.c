/* `HeldMessages`, the twin in C of `PythonHeldMessages` in held.py, which describes it; the same tests run over both. */
#include "_batch.h"

enum { MOST, LATE, LATER, WAIT, LAST_ONE, GO_ON, FENCE, DUE, GREW, WRITE, HOLDING_SIZE }; /* the fields of `Holding`, in order */

enum { DUE_MOST = 32 }; /* as in held.py */

struct HeldMessages {
    PyObject_HEAD
    BatchAnswerer *answerer;
    BatchResponder *responder;
    PyObject *holding;
    PyObject *state, *check; /* of the fence */
    PyObject *data; /* bytes; NULL if nothing is held */
    Py_ssize_t position, messages, most, alone, at_once;
};

/* Hold so many messages from a position in bytes on. Steals the reference. */
static void hold(HeldMessages *self, PyObject *data, Py_ssize_t position, Py_ssize_t messages) {
    Py_XSETREF(self->data, data);
    self->position = position;
    self->messages = messages;
}

/* How many whole messages stand between two positions, and nothing else; 0 if it is anything else, or `most` of them. */
static Py_ssize_t count_messages(HeldMessages *self, const unsigned char *bytes, Py_ssize_t position, Py_ssize_t end) {
    Py_ssize_t count = 0, least = COUNTED_HEADER_SIZE + TOKEN_SIZE;
    while (end - position >= HEADER_SIZE && count < self->most) {
        Header header = read_header(bytes + position);
        Py_ssize_t length = header.length;
        if (header.kind != MESSAGE || header.flags & ~(TEXT | LAST) || header.reserved || header.id == 0 || length < least ||
            length - least > self->answerer->message_limit || end - position < LENGTH_SIZE + length)
            return 0;
        position += LENGTH_SIZE + length;
        count++;
    }
    return position == end && count < self->most ? count : 0;
}

int hold_rest(HeldMessages *self, PyObject *data, Py_ssize_t position, Py_ssize_t end) {
    Py_buffer buffer;
    if (PyObject_GetBuffer(data, &buffer, PyBUF_SIMPLE) < 0) return -1;
    Py_ssize_t count = position < 0 || end > buffer.len ? 0 : count_messages(self, buffer.buf, position, end);
    PyObject *rest = count == 0 ? NULL : PyBytes_FromStringAndSize((char *)buffer.buf + position, end - position);
    PyBuffer_Release(&buffer);
    if (rest == NULL) return count == 0 ? 0 : -1;
    hold(self, rest, 0, count);
    return 1;
}

/* Whether messages may be answered; -1 with an exception. */
static int is_open(HeldMessages *self) {
    if (is_known_open((double *)PyByteArray_AS_STRING(self->state))) return 1;
    PyObject *answer = PyObject_CallNoArgs(self->check);
    int open = answer == NULL ? -1 : PyObject_IsTrue(answer);
    Py_XDECREF(answer);
    return open;
}

/* Call a field of `Holding` with one argument; -1 with an exception. */
static int call(HeldMessages *self, int field, PyObject *argument) {
    return drop_result(PyObject_CallOneArg(PyTuple_GET_ITEM(self->holding, field), argument));
}

/* Write a frame at once, or with those of other connections; -1 with an exception. */
static int write_alone(HeldMessages *self, PyObject *frame) {
    if (self->at_once > 0) {
        self->at_once--;
        return drop_result(send_frame(self->responder, frame));
    }
    PyObject *due = PyTuple_GET_ITEM(self->holding, DUE);
    if (PyList_Append(PyTuple_GET_ITEM(self->holding, LATE), frame) < 0 || PyList_Append(due, (PyObject *)self) < 0) return -1;
    Py_ssize_t count = PyList_GET_SIZE(due);
    return count == 1 || count == DUE_MOST ? drop_result(PyObject_CallNoArgs(PyTuple_GET_ITEM(self->holding, GREW))) : 0;
}

/* Write the frame of an answer, now or later; -1 with an exception. */
static int put(HeldMessages *self, PyObject *frame) {
    PyObject *late = PyTuple_GET_ITEM(self->holding, LATE);
    if (PyList_GET_SIZE(late) > 0) return PyList_Append(late, frame);
    if (self->alone > 0) {
        self->alone--;
        return write_alone(self, frame);
    }
    PyObject *alone = PyObject_CallOneArg(PyTuple_GET_ITEM(self->holding, LATER), frame);
    if (alone == NULL) return -1;
    self->alone = PyLong_AsSsize_t(alone);
    Py_DECREF(alone);
    return self->alone == -1 && PyErr_Occurred() ? -1 : 0;
}

/* Give the next message to the handler; -1 with an exception. */
static int answer_next(HeldMessages *self) {
    BatchAnswerer *answerer = self->answerer;
    int open = self->messages == 0 ? 0 : is_open(self), failed;
    if (open <= 0) return open < 0 ? -1 : call(self, GO_ON, Py_None);
    PyObject *data = Py_NewRef(self->data);
    Py_ssize_t position = self->position, messages = self->messages, size = PyBytes_GET_SIZE(data);
    hold(self, NULL, 0, 0); /* a nested call may take what is held: not the message that is being answered */
    PyObject *frames = answer_batch(answerer, data, position, size, NULL);
    if (frames != NULL && answerer->position < size) {
        hold(self, data, answerer->position, messages - answerer->count);
    } else {
        Py_DECREF(data);
    }
    if (frames == NULL) return -1;
    if (waits_only(answerer, frames) && self->responder->closed == WAITING) {
        failed = drop_result(give_to(PyTuple_GET_ITEM(self->holding, WAIT), answerer));
    } else {
        failed = call(self, GO_ON, frames);
    }
    Py_DECREF(frames);
    return failed;
}

static PyObject *HeldMessages_answer(HeldMessages *self, PyObject *const *arguments, Py_ssize_t count) {
    if (self->messages == 0) {
        if (PyList_GET_SIZE(PyTuple_GET_ITEM(self->holding, LATE)) == 0) return answer_waited(self->responder, arguments, count);
        return PyObject_Vectorcall(PyTuple_GET_ITEM(self->holding, LAST_ONE), arguments, count, NULL);
    }
    PyObject *frame = prepare_answer(self->responder, arguments, count);
    if (frame == NULL) return NULL;
    if (frame == Py_None) {
        Py_DECREF(frame);
        Py_RETURN_FALSE;
    }
    int failed = put(self, frame);
    Py_DECREF(frame);
    if (failed || (self->responder->closed == WAITING && answer_next(self) < 0)) return NULL;
    Py_RETURN_TRUE;
}

static PyObject *HeldMessages_write_late(HeldMessages *self, PyObject *Py_UNUSED(none)) {
    PyObject *late = PyTuple_GET_ITEM(self->holding, LATE);
    if (PyList_GET_SIZE(late) == 0) Py_RETURN_NONE;
    int open = PyList_GET_SIZE(late) == 1 && self->responder->closed == WAITING ? is_open(self) : 0;
    if (open < 0) return NULL;
    if (PyList_GET_SIZE(late) == 0) Py_RETURN_NONE; /* the look at the fence has run other code */
    if (!open) return PyObject_CallNoArgs(PyTuple_GET_ITEM(self->holding, WRITE));
    PyObject *frame = Py_NewRef(PyList_GET_ITEM(late, 0)); /* out of the list before the write, which may come here again */
    PyObject *done = PyList_SetSlice(late, 0, 1, NULL) < 0 ? NULL : send_frame(self->responder, frame);
    Py_DECREF(frame);
    return done;
}

static PyObject *HeldMessages_hold(HeldMessages *self, PyObject *arguments) {
    PyObject *data;
    Py_ssize_t messages;
    if (!PyArg_ParseTuple(arguments, "Sn", &data, &messages)) return NULL;
    hold(self, messages > 0 ? Py_NewRef(data) : NULL, 0, messages > 0 ? messages : 0);
    Py_RETURN_NONE;
}

static PyObject *HeldMessages_hold_rest(HeldMessages *self, PyObject *arguments) {
    PyObject *data;
    Py_ssize_t position, end;
    if (!PyArg_ParseTuple(arguments, "Onn", &data, &position, &end)) return NULL;
    int held = hold_rest(self, data, position, end);
    return held < 0 ? NULL : PyBool_FromLong(held);
}

static PyObject *HeldMessages_take(HeldMessages *self, PyObject *Py_UNUSED(none)) {
    PyObject *rest = self->data == NULL
                         ? PyBytes_FromStringAndSize(NULL, 0)
                         : PyBytes_FromStringAndSize(PyBytes_AS_STRING(self->data) + self->position,
                                                     PyBytes_GET_SIZE(self->data) - self->position);
    if (rest != NULL) hold(self, NULL, 0, 0);
    return rest;
}

static int HeldMessages_traverse(HeldMessages *self, visitproc visit, void *arg) {
    Py_VISIT(self->answerer);
    Py_VISIT(self->responder);
    Py_VISIT(self->holding);
    Py_VISIT(self->state);
    Py_VISIT(self->check);
    Py_VISIT(self->data);
    return 0;
}

static int HeldMessages_clear(HeldMessages *self) {
    Py_CLEAR(self->answerer);
    Py_CLEAR(self->responder);
    Py_CLEAR(self->holding);
    Py_CLEAR(self->state);
    Py_CLEAR(self->check);
    Py_CLEAR(self->data);
    return 0;
}

static void HeldMessages_dealloc(HeldMessages *self) {
    PyObject_GC_UnTrack(self);
    HeldMessages_clear(self);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static PyObject *HeldMessages_new(PyTypeObject *type, PyObject *arguments, PyObject *named) {
    static char *names[] = {"answerer", "responder", "holding", NULL};
    PyObject *answerer, *responder, *holding;
    if (!PyArg_ParseTupleAndKeywords(arguments, named, "O!O!O!", names, &BatchAnswererType, &answerer, &BatchResponderType,
                                     &responder, &PyTuple_Type, &holding))
        return NULL;
    Py_ssize_t most = PyTuple_GET_SIZE(holding) == HOLDING_SIZE ? PyLong_AsSsize_t(PyTuple_GET_ITEM(holding, MOST)) : 0;
    if (PyErr_Occurred()) return NULL;
    if (PyTuple_GET_SIZE(holding) != HOLDING_SIZE || !PyList_Check(PyTuple_GET_ITEM(holding, LATE)) ||
        !PyList_Check(PyTuple_GET_ITEM(holding, DUE))) {
        PyErr_SetString(PyExc_TypeError, "holding must be a Holding");
        return NULL;
    }
    HeldMessages *self = (HeldMessages *)type->tp_alloc(type, 0);
    if (self == NULL) return NULL;
    self->answerer = (BatchAnswerer *)Py_NewRef(answerer);
    self->responder = (BatchResponder *)Py_NewRef(responder);
    self->holding = Py_NewRef(holding);
    self->most = most;
    self->state = PyObject_GetAttrString(PyTuple_GET_ITEM(holding, FENCE), "state");
    if (self->state != NULL) self->check = PyObject_GetAttrString(PyTuple_GET_ITEM(holding, FENCE), "check");
    if (self->check != NULL && is_fence_state(self->state)) return (PyObject *)self;
    if (self->check != NULL) PyErr_SetString(PyExc_TypeError, "the state of a fence is two doubles");
    Py_DECREF(self);
    return NULL;
}

static PyMemberDef members[] = {
    {"messages", T_PYSSIZET, offsetof(HeldMessages, messages), READONLY, "How many are held."},
    {"alone", T_PYSSIZET, offsetof(HeldMessages, alone), READONLY,
     "How many of the next answers wait for none of this connection."},
    {"at_once", T_PYSSIZET, offsetof(HeldMessages, at_once), 0, "How many of those are to be written at once."},
    {NULL},
};

static PyMethodDef methods[] = {
    {"answer", (PyCFunction)(void (*)(void))HeldMessages_answer, METH_FASTCALL,
     "Answer a message whose coroutine has waited, and go on with the next."},
    {"hold", (PyCFunction)HeldMessages_hold, METH_VARARGS, "Hold bytes, which are so many whole messages."},
    {"hold_rest", (PyCFunction)HeldMessages_hold_rest, METH_VARARGS,
     "Hold what stands between two positions, if it is fewer than `most` whole messages and nothing else."},
    {"write_late", (PyCFunction)HeldMessages_write_late, METH_NOARGS, "Write the only late frame, or leave that to `write`."},
    {"take", (PyCFunction)HeldMessages_take, METH_NOARGS, "Return what is held, and hold nothing."},
    {NULL},
};

PyTypeObject HeldMessagesType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "antiphon.wire._batch.HeldMessages",
    .tp_basicsize = sizeof(HeldMessages),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_new = HeldMessages_new,
    .tp_traverse = (traverseproc)HeldMessages_traverse,
    .tp_clear = (inquiry)HeldMessages_clear,
    .tp_dealloc = (destructor)HeldMessages_dealloc,
    .tp_members = members,
    .tp_methods = methods,
};
