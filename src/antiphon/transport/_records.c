/* The twin in C of `PythonRecords` in endpoint.py, which says what they do; the same tests run over both. TLS is what
 * Python's `ssl` makes of it: this file knows no OpenSSL. */
#include "_endpoint.h"

static PyObject *name_pending, *name_read, *name_write;

typedef struct {
    PyObject_HEAD
    vectorcallfunc call;
    char held;
    PyObject *tls, *incoming, *outgoing, *received, *left, *send, *failed;
} Records;

/* One of ours, which nobody may have taken away; NULL with an exception. */
static PyObject *there(PyObject *one, const char *name) {
    if (one == NULL) PyErr_SetString(PyExc_AttributeError, name);
    return Py_XNewRef(one);
}

/* How many bytes stand in a BIO; -1 with an exception. */
static Py_ssize_t pending(PyObject *bio) {
    PyObject *number = PyObject_GetAttr(bio, name_pending);
    if (number == NULL) return -1;
    Py_ssize_t size = PyLong_AsSsize_t(number);
    Py_DECREF(number);
    return size;
}

/* The number that a method was to return; -1 with an exception. */
static Py_ssize_t number_of(PyObject *given) {
    if (given == NULL) return -1;
    Py_ssize_t size = PyLong_AsSsize_t(given);
    Py_DECREF(given);
    return size;
}

/* Have TLS read what has come; -1 with an exception. */
static int feed(Records *self, PyObject *buffer, Py_ssize_t size) {
    PyObject *given[] = {self->incoming, PyMemoryView_FromMemory(PyByteArray_AS_STRING(buffer), size, PyBUF_READ)};
    if (given[1] == NULL) return -1;
    PyObject *done = PyObject_VectorcallMethod(name_write, given, 2, NULL);
    Py_DECREF(given[1]);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* Have TLS fill a buffer with what one record says, behind the bytes that are there; return how many, -1 with an
   exception. */
static Py_ssize_t fill(PyObject *tls, PyObject *buffer, Py_ssize_t from) {
    Py_ssize_t size = PyByteArray_GET_SIZE(buffer);
    PyObject *whole = from ? PyMemoryView_FromObject(buffer) : NULL;
    PyObject *room = whole ? PySequence_GetSlice(whole, from, size) : from ? NULL : Py_NewRef(buffer);
    PyObject *length = PyLong_FromSsize_t(size - from), *given[] = {tls, length, room};
    Py_ssize_t more = room && length ? number_of(PyObject_VectorcallMethod(name_read, given, 3, NULL)) : -1;
    Py_XDECREF(whole);
    Py_XDECREF(room);
    Py_XDECREF(length);
    return more;
}

/* Have TLS decrypt what has come, into the same buffer, and count the bytes; return whether that is all there is to do,
   -1 with an exception. */
static int decrypt(Records *self, PyObject *tls, PyObject *buffer, Py_ssize_t size, Py_ssize_t *said) {
    Py_ssize_t waiting;
    if (feed(self, buffer, size) < 0) return -1;
    do {
        Py_ssize_t more = fill(tls, buffer, *said);
        if (more <= 0) return more; /* 0: a goodbye */
        *said += more;
        if (*said == PyByteArray_GET_SIZE(buffer)) return 0;
        waiting = pending(self->incoming);
    } while (waiting > 0); /* a record is read to its end */
    if (waiting == 0) waiting = pending(self->outgoing);
    return waiting < 0 ? -1 : waiting == 0;
}

static PyObject *Records_call(Records *self, PyObject *const *arguments, size_t flags, PyObject *named) {
    if (PyVectorcall_NARGS(flags) != 2 || named != NULL || !PyByteArray_Check(arguments[0])) {
        PyErr_SetString(PyExc_TypeError, "records take a buffer, and how many bytes");
        return NULL;
    }
    Py_ssize_t size = PyLong_AsSsize_t(arguments[1]), said = 0;
    if (size == -1 && PyErr_Occurred()) return NULL;
    if (size < 0 || size > PyByteArray_GET_SIZE(arguments[0])) {
        PyErr_SetString(PyExc_ValueError, "the buffer holds less");
        return NULL;
    }
    if (self->held) Py_RETURN_NONE;
    PyObject *tls = there(self->tls, "tls");
    if (tls == NULL) return NULL;
    int whole = decrypt(self, tls, arguments[0], size, &said);
    Py_DECREF(tls);
    PyObject *error = whole < 0 ? taken() : Py_NewRef(Py_None), *length = PyLong_FromSsize_t(said), *done = NULL;
    PyObject *given[] = {arguments[0], length, error};
    PyObject *taker = there(whole == 1 ? self->received : self->left, "received"); /* it may change within the call */
    if (taker != NULL && length != NULL) done = PyObject_Vectorcall(taker, given, whole == 1 ? 2 : 3, NULL);
    Py_XDECREF(taker);
    Py_XDECREF(length);
    Py_DECREF(error);
    return done;
}

/* Have TLS encrypt some bytes, of which it takes a record at a time; -1 with an exception. */
static int encrypt(PyObject *tls, PyObject *data) {
    PyObject *given[] = {tls, data};
    Py_ssize_t size = PyObject_Size(data);
    Py_ssize_t written = size < 0 ? -1 : number_of(PyObject_VectorcallMethod(name_write, given, 2, NULL));
    if (written < 0 || written == size) return written < 0 ? -1 : 0;
    PyObject *whole = PyMemoryView_FromObject(data);
    while (whole != NULL && written < size) {
        given[1] = PySequence_GetSlice(whole, written, size);
        Py_ssize_t more = given[1] ? number_of(PyObject_VectorcallMethod(name_write, given, 2, NULL)) : -1;
        Py_XDECREF(given[1]);
        if (more < 0) break;
        written += more;
    }
    Py_XDECREF(whole);
    return written == size ? 0 : -1;
}

/* Let go of what was encrypted before another fault than one of TLS: others share the buffer. */
static PyObject *drop(Records *self) {
    PyObject *error = taken(), *dropped = PyObject_CallMethodNoArgs(self->outgoing, name_read);
    if (dropped == NULL) PyErr_Clear();
    Py_XDECREF(dropped);
    PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    Py_DECREF(error);
    return NULL;
}

static PyObject *Records_write(Records *self, PyObject *data) {
    int empty = PyObject_Not(data);
    if (empty < 0) return NULL;
    if (self->held || empty) Py_RETURN_NONE;
    PyObject *tls = there(self->tls, "tls");
    if (tls == NULL) return NULL;
    int failed = encrypt(tls, data) < 0;
    Py_DECREF(tls);
    PyObject *taker = failed ? self->failed : self->send, *given;
    if (failed && !PyErr_ExceptionMatches(PyExc_OSError)) return drop(self);
    given = failed ? taken() : PyObject_CallMethodNoArgs(self->outgoing, name_read);
    if (given == NULL) return NULL;
    PyObject *done = PyObject_CallOneArg(taker, given);
    Py_DECREF(given);
    return done;
}

static int Records_traverse(Records *self, visitproc visit, void *arg) {
    Py_VISIT(self->tls);
    Py_VISIT(self->incoming);
    Py_VISIT(self->outgoing);
    Py_VISIT(self->received);
    Py_VISIT(self->left);
    Py_VISIT(self->send);
    Py_VISIT(self->failed);
    return 0;
}

static int Records_clear(Records *self) {
    self->held = 1;
    Py_CLEAR(self->tls);
    Py_CLEAR(self->incoming);
    Py_CLEAR(self->outgoing);
    Py_CLEAR(self->received);
    Py_CLEAR(self->left);
    Py_CLEAR(self->send);
    Py_CLEAR(self->failed);
    return 0;
}

static PyObject *Records_new(PyTypeObject *type, PyObject *arguments, PyObject *named) {
    static char *names[] = {"tls", "incoming", "outgoing", "received", "left", "send", "failed", NULL};
    PyObject *tls, *incoming, *outgoing, *received, *left, *send, *failed;
    if (!PyArg_ParseTupleAndKeywords(arguments, named, "OOOOOOO", names, &tls, &incoming, &outgoing, &received, &left,
                                     &send, &failed))
        return NULL;
    Records *self = (Records *)type->tp_alloc(type, 0);
    if (self == NULL) return NULL;
    self->call = (vectorcallfunc)Records_call;
    self->tls = Py_NewRef(tls);
    self->incoming = Py_NewRef(incoming);
    self->outgoing = Py_NewRef(outgoing);
    self->received = Py_NewRef(received);
    self->left = Py_NewRef(left);
    self->send = Py_NewRef(send);
    self->failed = Py_NewRef(failed);
    return (PyObject *)self;
}

static void Records_dealloc(Records *self) {
    PyObject_GC_UnTrack(self);
    Records_clear(self);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static PyMethodDef records_methods[] = {
    {"write", (PyCFunction)Records_write, METH_O, "Encrypt, and send at once."},
    {NULL},
};

static PyMemberDef records_members[] = {
    {"held", T_BOOL, offsetof(Records, held), 0, "Nothing more is written, and what comes is not looked at."},
    {"received", T_OBJECT_EX, offsetof(Records, received), 0, "Who is handed what was said."},
    {"tls", T_OBJECT_EX, offsetof(Records, tls), 0, "None where nothing is left to do: all is held."},
    {NULL},
};

static PyTypeObject RecordsType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "antiphon.transport._endpoint.Records",
    .tp_basicsize = sizeof(Records),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL,
    .tp_vectorcall_offset = offsetof(Records, call),
    .tp_new = Records_new,
    .tp_call = PyVectorcall_Call,
    .tp_traverse = (traverseproc)Records_traverse,
    .tp_clear = (inquiry)Records_clear,
    .tp_dealloc = (destructor)Records_dealloc,
    .tp_members = records_members,
    .tp_methods = records_methods,
};

PyTypeObject *records_type(void) {
    name_pending = PyUnicode_InternFromString("pending");
    name_read = PyUnicode_InternFromString("read");
    name_write = PyUnicode_InternFromString("write");
    if (name_pending == NULL || name_read == NULL || name_write == NULL) return NULL;
    return PyType_Ready(&RecordsType) < 0 ? NULL : &RecordsType;
}
