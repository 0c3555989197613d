/* `RecordLayer`, the twin in C of `PythonRecordLayer` in endpoint.py, which describes it; the same tests run over both.
 * It calls the objects of Python's `ssl` and uses no OpenSSL itself. */
#include "_endpoint.h"

static PyObject *name_pending, *name_read, *name_write;

typedef struct {
    PyObject_HEAD
    vectorcallfunc call;
    char closed;
    PyObject *tls, *incoming, *outgoing, *received, *leave, *send, *failed;
} RecordLayer;

/* Return an attribute, with a reference; NULL with an exception if it was deleted. */
static PyObject *get_attribute(PyObject *value, const char *name) {
    if (value == NULL) PyErr_SetString(PyExc_AttributeError, name);
    return Py_XNewRef(value);
}

/* Return the number that a method has returned; -1 with an exception. Steals the reference. */
static Py_ssize_t as_size(PyObject *given) {
    if (given == NULL) return -1;
    Py_ssize_t size = PyLong_AsSsize_t(given);
    Py_DECREF(given);
    return size;
}

/* Return how many bytes a BIO holds; -1 with an exception. */
static Py_ssize_t pending(PyObject *bio) {
    return as_size(PyObject_GetAttr(bio, name_pending));
}

/* Give TLS the received bytes; -1 with an exception. */
static int feed(RecordLayer *self, PyObject *buffer, Py_ssize_t size) {
    PyObject *given[] = {self->incoming, PyMemoryView_FromMemory(PyByteArray_AS_STRING(buffer), size, PyBUF_READ)};
    if (given[1] == NULL) return -1;
    int failed = drop_result(PyObject_VectorcallMethod(name_write, given, 2, NULL));
    Py_DECREF(given[1]);
    return failed;
}

/* Decrypt one record into a buffer, after the bytes that are in it; return how many bytes were added, -1 with an
   exception. */
static Py_ssize_t fill(PyObject *tls, PyObject *buffer, Py_ssize_t from) {
    Py_ssize_t size = PyByteArray_GET_SIZE(buffer);
    PyObject *whole = from ? PyMemoryView_FromObject(buffer) : NULL;
    PyObject *room = whole ? PySequence_GetSlice(whole, from, size) : from ? NULL : Py_NewRef(buffer);
    PyObject *length = PyLong_FromSsize_t(size - from), *given[] = {tls, length, room};
    Py_ssize_t more = room && length ? as_size(PyObject_VectorcallMethod(name_read, given, 3, NULL)) : -1;
    Py_XDECREF(whole);
    Py_XDECREF(room);
    Py_XDECREF(length);
    return more;
}

/* Decrypt received bytes into the same buffer, and count them; return whether nothing else is to be done, -1 with an
   exception. */
static int decrypt(RecordLayer *self, PyObject *tls, PyObject *buffer, Py_ssize_t size, Py_ssize_t *decrypted) {
    Py_ssize_t waiting;
    if (feed(self, buffer, size) < 0) return -1;
    do {
        Py_ssize_t more = fill(tls, buffer, *decrypted);
        if (more <= 0) return more; /* 0: the peer has closed TLS */
        *decrypted += more;
        if (*decrypted == PyByteArray_GET_SIZE(buffer)) return 0;
        waiting = pending(self->incoming);
    } while (waiting > 0); /* TLS reads a record to its end */
    if (waiting == 0) waiting = pending(self->outgoing);
    return waiting < 0 ? -1 : waiting == 0;
}

static PyObject *RecordLayer_call(RecordLayer *self, PyObject *const *arguments, size_t flags, PyObject *named) {
    if (PyVectorcall_NARGS(flags) != 2 || named != NULL || !PyByteArray_Check(arguments[0])) {
        PyErr_SetString(PyExc_TypeError, "a record layer takes a buffer and the number of bytes");
        return NULL;
    }
    Py_ssize_t size = PyLong_AsSsize_t(arguments[1]), decrypted = 0;
    if (size == -1 && PyErr_Occurred()) return NULL;
    if (size < 0 || size > PyByteArray_GET_SIZE(arguments[0])) {
        PyErr_SetString(PyExc_ValueError, "the buffer holds fewer bytes");
        return NULL;
    }
    if (self->closed) Py_RETURN_NONE;
    PyObject *tls = get_attribute(self->tls, "tls");
    if (tls == NULL) return NULL;
    int whole = decrypt(self, tls, arguments[0], size, &decrypted);
    Py_DECREF(tls);
    PyObject *error = whole < 0 ? take_exception() : Py_NewRef(Py_None), *length = PyLong_FromSsize_t(decrypted), *done = NULL;
    PyObject *given[] = {arguments[0], length, error};
    PyObject *taker = get_attribute(whole == 1 ? self->received : self->leave, "received"); /* the call may change it */
    if (taker != NULL && length != NULL) done = PyObject_Vectorcall(taker, given, whole == 1 ? 2 : 3, NULL);
    Py_XDECREF(taker);
    Py_XDECREF(length);
    Py_DECREF(error);
    return done;
}

/* Encrypt bytes, of which TLS takes a record at a time; -1 with an exception. */
static int encrypt(PyObject *tls, PyObject *data) {
    PyObject *given[] = {tls, data};
    Py_ssize_t size = PyObject_Size(data);
    Py_ssize_t written = size < 0 ? -1 : as_size(PyObject_VectorcallMethod(name_write, given, 2, NULL));
    if (written < 0 || written == size) return written < 0 ? -1 : 0;
    PyObject *whole = PyMemoryView_FromObject(data);
    while (whole != NULL && written < size) {
        given[1] = PySequence_GetSlice(whole, written, size);
        Py_ssize_t more = given[1] ? as_size(PyObject_VectorcallMethod(name_write, given, 2, NULL)) : -1;
        Py_XDECREF(given[1]);
        if (more < 0) break;
        written += more;
    }
    Py_XDECREF(whole);
    return written == size ? 0 : -1;
}

/* Drop what was encrypted before an error that is not one of TLS: other connections share the buffer. */
static PyObject *drop_encrypted(RecordLayer *self) {
    PyObject *error = take_exception();
    if (drop_result(PyObject_CallMethodNoArgs(self->outgoing, name_read)) < 0) PyErr_Clear();
    set_exception(error);
    return NULL;
}

static PyObject *RecordLayer_write(RecordLayer *self, PyObject *data) {
    int empty = PyObject_Not(data);
    if (empty < 0) return NULL;
    if (self->closed || empty) Py_RETURN_NONE;
    PyObject *tls = get_attribute(self->tls, "tls");
    if (tls == NULL) return NULL;
    int failed = encrypt(tls, data) < 0;
    Py_DECREF(tls);
    PyObject *taker = failed ? self->failed : self->send, *given;
    if (failed && !PyErr_ExceptionMatches(PyExc_OSError)) return drop_encrypted(self);
    given = failed ? take_exception() : PyObject_CallMethodNoArgs(self->outgoing, name_read);
    if (given == NULL) return NULL;
    PyObject *done = PyObject_CallOneArg(taker, given);
    Py_DECREF(given);
    return done;
}

static int RecordLayer_traverse(RecordLayer *self, visitproc visit, void *arg) {
    Py_VISIT(self->tls);
    Py_VISIT(self->incoming);
    Py_VISIT(self->outgoing);
    Py_VISIT(self->received);
    Py_VISIT(self->leave);
    Py_VISIT(self->send);
    Py_VISIT(self->failed);
    return 0;
}

static int RecordLayer_clear(RecordLayer *self) {
    self->closed = 1;
    Py_CLEAR(self->tls);
    Py_CLEAR(self->incoming);
    Py_CLEAR(self->outgoing);
    Py_CLEAR(self->received);
    Py_CLEAR(self->leave);
    Py_CLEAR(self->send);
    Py_CLEAR(self->failed);
    return 0;
}

static PyObject *RecordLayer_new(PyTypeObject *type, PyObject *arguments, PyObject *named) {
    static char *names[] = {"tls", "incoming", "outgoing", "received", "leave", "send", "failed", NULL};
    PyObject *tls, *incoming, *outgoing, *received, *leave, *send, *failed;
    if (!PyArg_ParseTupleAndKeywords(arguments, named, "OOOOOOO", names, &tls, &incoming, &outgoing, &received, &leave,
                                     &send, &failed))
        return NULL;
    RecordLayer *self = (RecordLayer *)type->tp_alloc(type, 0);
    if (self == NULL) return NULL;
    self->call = (vectorcallfunc)RecordLayer_call;
    self->tls = Py_NewRef(tls);
    self->incoming = Py_NewRef(incoming);
    self->outgoing = Py_NewRef(outgoing);
    self->received = Py_NewRef(received);
    self->leave = Py_NewRef(leave);
    self->send = Py_NewRef(send);
    self->failed = Py_NewRef(failed);
    return (PyObject *)self;
}

static void RecordLayer_dealloc(RecordLayer *self) {
    PyObject_GC_UnTrack(self);
    RecordLayer_clear(self);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static PyMethodDef methods[] = {
    {"write", (PyCFunction)RecordLayer_write, METH_O, "Encrypt bytes and send them at once."},
    {NULL},
};

static PyMemberDef members[] = {
    {"closed", T_BOOL, offsetof(RecordLayer, closed), 0, "Nothing more is written, and received bytes are ignored."},
    {"received", T_OBJECT_EX, offsetof(RecordLayer, received), 0, "Function that takes decrypted bytes."},
    {"tls", T_OBJECT_EX, offsetof(RecordLayer, tls), 0, "None once the connection is lost; then `closed` is set."},
    {NULL},
};

static PyTypeObject RecordLayerType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "antiphon.transport._endpoint.RecordLayer",
    .tp_basicsize = sizeof(RecordLayer),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL,
    .tp_vectorcall_offset = offsetof(RecordLayer, call),
    .tp_new = RecordLayer_new,
    .tp_call = PyVectorcall_Call,
    .tp_traverse = (traverseproc)RecordLayer_traverse,
    .tp_clear = (inquiry)RecordLayer_clear,
    .tp_dealloc = (destructor)RecordLayer_dealloc,
    .tp_members = members,
    .tp_methods = methods,
};

PyTypeObject *make_record_layer_type(void) {
    name_pending = PyUnicode_InternFromString("pending");
    name_read = PyUnicode_InternFromString("read");
    name_write = PyUnicode_InternFromString("write");
    if (name_pending == NULL || name_read == NULL || name_write == NULL) return NULL;
    return PyType_Ready(&RecordLayerType) < 0 ? NULL : &RecordLayerType;
}
