/* The twin in C of `PythonShortcut` in answering.py, which says what it does; the same tests run over both. */
#include "_answering.h"

typedef struct {
    PyObject_HEAD
    vectorcallfunc call;
    Answerer *answerer;
    PyObject *fresh, *settle, *write, *otherwise;
    PyObject *write_framed, *wait; /* they may be NULL */
    char held; /* everything goes another way: no, yes, or WAITS */
    Py_ssize_t unsettled, heard, said;
} Shortcut;

enum { WAITS = 2 }; /* held by nothing but a coroutine that waits */

/* Note frames that go out, `size` bytes of them, which answer so many messages; -1 with an exception. */
static int note(Shortcut *self, PyObject *answers, Py_ssize_t size, Py_ssize_t messages) {
    PyObject *count = PyLong_FromSsize_t(messages);
    if (count == NULL) return -1;
    int failed = PyList_Append(self->fresh, answers) < 0 || PyList_Append(self->fresh, count) < 0;
    Py_DECREF(count);
    if (failed) return -1;
    if (PyList_GET_SIZE(self->fresh) == 2) self->unsettled = 0; /* somebody else has settled what there was */
    self->said += size;
    self->unsettled += size;
    if (self->unsettled <= FRESH_LIMIT) return 0;
    PyObject *done = PyObject_CallNoArgs(self->settle);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* Send one answer whose payload nobody has to copy. */
static PyObject *send_framed(Shortcut *self, PyObject *header, PyObject *payload) {
    PyObject *piece = PyTuple_Pack(2, header, payload), *done = NULL;
    if (piece == NULL) return NULL;
    if (note(self, piece, HEADER_SIZE + PyObject_Length(payload), 1) == 0) {
        PyObject *both[] = {header, payload};
        done = PyObject_Vectorcall(self->write_framed, both, 2, NULL);
    }
    Py_DECREF(piece);
    return done;
}

/* Send what so many messages were answered with. */
static PyObject *send_answers(Shortcut *self, PyObject *answers, Py_ssize_t messages) {
    Py_ssize_t size = PyBytes_GET_SIZE(answers);
    if (size == 0) Py_RETURN_NONE;
    return note(self, answers, size, messages) < 0 ? NULL : PyObject_CallOneArg(self->write, answers);
}

static PyObject *Shortcut_answer(Shortcut *self, PyObject *const *arguments, Py_ssize_t count) {
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "an answer is an id, and what was replied");
        return NULL;
    }
    unsigned long id = PyLong_AsUnsignedLong(arguments[0]);
    if (id == (unsigned long)-1 && PyErr_Occurred()) return NULL;
    if (self->held != WAITS) Py_RETURN_FALSE;
    unsigned char bytes[4];
    write_u32(bytes, (uint32_t)id);
    Answers answers = {NULL, 0, 0};
    if (append(&answers, self->answerer->answer_limit, bytes, arguments[1]) < 0) return NULL;
    if (answers.bytes == NULL || answers.used > BATCH_LIMIT) {
        Py_XDECREF(answers.bytes);
        Py_RETURN_FALSE;
    }
    self->held = 0; /* before it is written, which may change it */
    PyObject *done = send_answers(self, answers.bytes, 0);
    Py_DECREF(answers.bytes);
    if (done == NULL) return NULL;
    Py_DECREF(done);
    Py_RETURN_TRUE;
}

/* Whether a coroutine that waits is all that has come, and somebody goes on with it. */
static int only_waits(Shortcut *self, Py_ssize_t size, PyObject *answers) {
    Answerer *answerer = self->answerer;
    return self->wait != NULL && answerer->left != NULL && PyTuple_GET_ITEM(answerer->left, 3) != Py_None && !self->held &&
           PyBytes_GET_SIZE(answers) == 0 && answerer->at == size;
}

/* Have a coroutine gone on with; it is not held here any longer. */
static PyObject *wait_for(Shortcut *self) {
    PyObject *left = self->answerer->left;
    self->held = WAITS;
    self->answerer->left = NULL;
    PyObject *done = PyObject_CallOneArg(self->wait, left);
    Py_DECREF(left);
    return done;
}

static PyObject *Shortcut_call(Shortcut *self, PyObject *const *arguments, size_t flags, PyObject *named) {
    if (PyVectorcall_NARGS(flags) != 2 || named != NULL) {
        PyErr_SetString(PyExc_TypeError, "a shortcut takes bytes, and how many");
        return NULL;
    }
    Py_ssize_t size = PyLong_AsSsize_t(arguments[1]);
    if (size == -1 && PyErr_Occurred()) return NULL;
    PyObject *payload = NULL, *done;
    PyObject **only = self->write_framed ? &payload : NULL;
    int held = self->held;
    self->heard += size;
    PyObject *answers = held ? answered(self->answerer, arguments[0], 0, 0, NULL)
                             : answered(self->answerer, arguments[0], 0, size, only);
    if (answers == NULL) {
        Py_XDECREF(payload);
        return NULL;
    }
    if (!held && only_waits(self, size, answers)) {
        done = wait_for(self);
    } else if (held || self->answerer->at < size || self->answerer->left != NULL || PyBytes_GET_SIZE(answers) > BATCH_LIMIT) {
        PyObject *rest[] = {arguments[0], arguments[1], answers};
        done = PyObject_Vectorcall(self->otherwise, rest, 3, NULL);
    } else {
        done = payload != NULL ? send_framed(self, answers, payload) : send_answers(self, answers, self->answerer->count);
    }
    Py_XDECREF(payload);
    Py_DECREF(answers);
    return done;
}

static int Shortcut_traverse(Shortcut *self, visitproc visit, void *arg) {
    Py_VISIT(self->answerer);
    Py_VISIT(self->fresh);
    Py_VISIT(self->settle);
    Py_VISIT(self->write);
    Py_VISIT(self->otherwise);
    Py_VISIT(self->write_framed);
    Py_VISIT(self->wait);
    return 0;
}

static int Shortcut_clear(Shortcut *self) {
    Py_CLEAR(self->answerer);
    Py_CLEAR(self->fresh);
    Py_CLEAR(self->settle);
    Py_CLEAR(self->write);
    Py_CLEAR(self->otherwise);
    Py_CLEAR(self->write_framed);
    Py_CLEAR(self->wait);
    return 0;
}

static void Shortcut_dealloc(Shortcut *self) {
    PyObject_GC_UnTrack(self);
    Shortcut_clear(self);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static PyObject *Shortcut_new(PyTypeObject *type, PyObject *arguments, PyObject *named) {
    static char *names[] = {"answerer", "fresh", "settle", "write", "otherwise", "write_framed", "wait", NULL};
    PyObject *answerer, *fresh, *settle, *write, *otherwise, *write_framed = Py_None;
    PyObject *wait = Py_None;
    if (!PyArg_ParseTupleAndKeywords(arguments, named, "O!O!OOO|OO", names, &AnswererType, &answerer, &PyList_Type, &fresh,
                                     &settle, &write, &otherwise, &write_framed, &wait))
        return NULL;
    Shortcut *self = (Shortcut *)type->tp_alloc(type, 0);
    if (self == NULL) return NULL;
    self->call = (vectorcallfunc)Shortcut_call;
    Py_INCREF(answerer);
    self->answerer = (Answerer *)answerer;
    Py_INCREF(fresh);
    self->fresh = fresh;
    Py_INCREF(settle);
    self->settle = settle;
    Py_INCREF(write);
    self->write = write;
    Py_INCREF(otherwise);
    self->otherwise = otherwise;
    if (write_framed != Py_None) {
        Py_INCREF(write_framed);
        self->write_framed = write_framed;
    }
    if (wait != Py_None) {
        Py_INCREF(wait);
        self->wait = wait;
    }
    return (PyObject *)self;
}

static PyMemberDef shortcut_members[] = {
    {"held", T_BYTE, offsetof(Shortcut, held), 0, "Whether everything goes another way: no, yes, or `WAITS`."},
    {"heard", T_PYSSIZET, offsetof(Shortcut, heard), READONLY, "Bytes that came."},
    {"said", T_PYSSIZET, offsetof(Shortcut, said), READONLY, "Bytes that were written."},
    {NULL},
};

static PyMethodDef shortcut_methods[] = {
    {"answer", (PyCFunction)(void (*)(void))Shortcut_answer, METH_FASTCALL,
     "Answer a message whose coroutine has waited, if nothing has come or was said meanwhile; return whether it is."},
    {NULL},
};

PyTypeObject ShortcutType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "antiphon.wire._answering.Shortcut",
    .tp_basicsize = sizeof(Shortcut),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL,
    .tp_vectorcall_offset = offsetof(Shortcut, call),
    .tp_new = Shortcut_new,
    .tp_call = PyVectorcall_Call,
    .tp_traverse = (traverseproc)Shortcut_traverse,
    .tp_clear = (inquiry)Shortcut_clear,
    .tp_dealloc = (destructor)Shortcut_dealloc,
    .tp_members = shortcut_members,
    .tp_methods = shortcut_methods,
};
