/* The twins in C of `PythonEndpoint` and `PythonRecords` in endpoint.py, which says what they do; the same tests run over
 * both. TLS is what Python's `ssl` makes of it: this file knows no OpenSSL. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <errno.h>
#include <structmember.h>
#include <sys/socket.h>
#include <sys/uio.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* Python ignores SIGPIPE */
#endif

typedef struct {
    PyObject_HEAD
    int fd;
    char held, spoke;
    PyObject *buffer, *received, *ended, *rest;
} Endpoint;

static int would_block(void) {
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

/* Return the exception that is set, as an object, and set none. */
static PyObject *taken(void) {
    PyObject *kind, *error, *trace;
    PyErr_Fetch(&kind, &error, &trace);
    PyErr_NormalizeException(&kind, &error, &trace);
    if (trace != NULL) PyException_SetTraceback(error, trace);
    Py_XDECREF(kind);
    Py_XDECREF(trace);
    return error;
}

/* Tell why nothing more comes: the exception that is set. */
static PyObject *failed(Endpoint *self) {
    PyObject *error = taken();
    PyObject *done = PyObject_CallOneArg(self->ended, error);
    Py_DECREF(error);
    return done;
}

/* Whether the peer has reset the connection: with the exception. */
static int was_reset(int fd) {
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 || error == 0) return 0;
    errno = error;
    PyErr_SetFromErrno(PyExc_OSError);
    return 1;
}

static PyObject *Endpoint_call(Endpoint *self, PyObject *Py_UNUSED(arguments), PyObject *Py_UNUSED(named)) {
    ssize_t size = recv(self->fd, PyByteArray_AS_STRING(self->buffer), PyByteArray_GET_SIZE(self->buffer), MSG_DONTWAIT);
    if (size < 0) {
        if (would_block()) Py_RETURN_NONE;
        PyErr_SetFromErrno(PyExc_OSError);
        return failed(self);
    }
    if (size == 0) return PyObject_CallOneArg(self->ended, Py_None);
    PyObject *length = PyLong_FromSsize_t(size);
    if (length == NULL) return NULL;
    PyObject *arguments[] = {self->buffer, length};
    PyObject *received = self->received; /* which may be changed within the call */
    if (received == NULL) {
        Py_DECREF(length);
        PyErr_SetString(PyExc_AttributeError, "received");
        return failed(self);
    }
    Py_INCREF(received);
    self->spoke = 0;
    PyObject *done = PyObject_Vectorcall(received, arguments, 2, NULL);
    Py_DECREF(received);
    Py_DECREF(length);
    if (done != NULL && !self->spoke && was_reset(self->fd)) {
        Py_DECREF(done);
        done = NULL;
    }
    if (done == NULL && PyErr_ExceptionMatches(PyExc_Exception)) return failed(self);
    return done;
}

static PyObject *Endpoint_send(Endpoint *self, PyObject *data) {
    Py_buffer bytes;
    if (PyObject_GetBuffer(data, &bytes, PyBUF_SIMPLE) < 0) return NULL;
    ssize_t sent = send(self->fd, bytes.buf, bytes.len, MSG_DONTWAIT | MSG_NOSIGNAL);
    PyBuffer_Release(&bytes);
    if (sent >= 0) return PyLong_FromSsize_t(sent);
    if (would_block()) return PyLong_FromLong(0);
    return PyErr_SetFromErrno(PyExc_OSError);
}

/* Have the transport see to what was not sent: all but the first bytes. */
static PyObject *leave(Endpoint *self, PyObject *data, Py_ssize_t sent) {
    PyObject *length = PyLong_FromSsize_t(sent);
    if (length == NULL) return NULL;
    PyObject *arguments[] = {data, length};
    PyObject *done = PyObject_Vectorcall(self->rest, arguments, 2, NULL);
    Py_DECREF(length);
    return done;
}

static PyObject *Endpoint_write(Endpoint *self, PyObject *data) {
    Py_buffer bytes;
    self->spoke = 1;
    if (self->held) return leave(self, data, 0);
    if (PyObject_GetBuffer(data, &bytes, PyBUF_SIMPLE) < 0) return NULL;
    ssize_t sent = send(self->fd, bytes.buf, bytes.len, MSG_DONTWAIT | MSG_NOSIGNAL);
    int complete = sent == bytes.len;
    PyBuffer_Release(&bytes);
    if (complete) Py_RETURN_NONE;
    if (sent >= 0) return leave(self, data, sent);
    if (would_block()) return leave(self, data, 0);
    PyErr_SetFromErrno(PyExc_OSError);
    return failed(self);
}

/* The bytes of a payload; -1 with an exception. */
static int payload_of(PyObject *payload, struct iovec *bytes) {
    Py_ssize_t size = -1;
    if (PyUnicode_Check(payload)) {
        bytes->iov_base = (void *)PyUnicode_AsUTF8AndSize(payload, &size);
        if (bytes->iov_base == NULL) return -1;
    } else if (PyBytes_Check(payload)) {
        bytes->iov_base = PyBytes_AS_STRING(payload);
        size = PyBytes_GET_SIZE(payload);
    } else {
        PyErr_SetString(PyExc_TypeError, "a payload is text or bytes");
        return -1;
    }
    bytes->iov_len = size;
    return 0;
}

static PyObject *Endpoint_write_framed(Endpoint *self, PyObject *const *arguments, Py_ssize_t count) {
    struct iovec parts[2];
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    if (count != 2 || !PyBytes_Check(arguments[0])) {
        PyErr_SetString(PyExc_TypeError, "a header of bytes and a payload are needed");
        return NULL;
    }
    parts[0].iov_base = PyBytes_AS_STRING(arguments[0]);
    parts[0].iov_len = PyBytes_GET_SIZE(arguments[0]);
    if (payload_of(arguments[1], parts + 1) < 0) return NULL;
    self->spoke = 1;
    ssize_t total = parts[0].iov_len + parts[1].iov_len, sent = 0;
    if (!self->held) {
        sent = sendmsg(self->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent == total) Py_RETURN_NONE;
        if (sent < 0 && !would_block()) {
            PyErr_SetFromErrno(PyExc_OSError);
            return failed(self);
        }
        if (sent < 0) sent = 0;
    }
    PyObject *whole = PyBytes_FromStringAndSize(NULL, total);
    if (whole == NULL) return NULL;
    memcpy(PyBytes_AS_STRING(whole), parts[0].iov_base, parts[0].iov_len);
    memcpy(PyBytes_AS_STRING(whole) + parts[0].iov_len, parts[1].iov_base, parts[1].iov_len);
    PyObject *done = leave(self, whole, sent);
    Py_DECREF(whole);
    return done;
}

static int Endpoint_traverse(Endpoint *self, visitproc visit, void *arg) {
    Py_VISIT(self->buffer);
    Py_VISIT(self->received);
    Py_VISIT(self->ended);
    Py_VISIT(self->rest);
    return 0;
}

static int Endpoint_clear(Endpoint *self) {
    Py_CLEAR(self->buffer);
    Py_CLEAR(self->received);
    Py_CLEAR(self->ended);
    Py_CLEAR(self->rest);
    return 0;
}

static int Endpoint_init(Endpoint *self, PyObject *arguments, PyObject *named) {
    static char *names[] = {"sock", "buffer", "received", "ended", "rest", NULL};
    PyObject *sock, *buffer, *received, *ended, *rest;
    if (!PyArg_ParseTupleAndKeywords(arguments, named, "OO!OOO", names, &sock, &PyByteArray_Type, &buffer, &received,
                                     &ended, &rest))
        return -1;
    self->fd = PyObject_AsFileDescriptor(sock);
    if (self->fd < 0) return -1;
    Py_INCREF(buffer);
    Py_XSETREF(self->buffer, buffer);
    Py_INCREF(received);
    Py_XSETREF(self->received, received);
    Py_INCREF(ended);
    Py_XSETREF(self->ended, ended);
    Py_INCREF(rest);
    Py_XSETREF(self->rest, rest);
    return 0;
}

static PyObject *Endpoint_new(PyTypeObject *type, PyObject *arguments, PyObject *named) {
    PyObject *self = type->tp_alloc(type, 0);
    if (self != NULL && Endpoint_init((Endpoint *)self, arguments, named) < 0) Py_CLEAR(self);
    return self;
}

static void Endpoint_dealloc(Endpoint *self) {
    PyObject_GC_UnTrack(self);
    Endpoint_clear(self);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static PyMethodDef methods[] = {
    {"write", (PyCFunction)Endpoint_write, METH_O, "Send at once; what the socket does not take goes to `rest`."},
    {"write_framed", (PyCFunction)(void (*)(void))Endpoint_write_framed, METH_FASTCALL,
     "Do so with a header and the payload behind it, which is not copied."},
    {"send", (PyCFunction)Endpoint_send, METH_O, "Send as much as the socket takes now; return how many bytes."},
    {NULL},
};

static PyMemberDef members[] = {
    {"held", T_BOOL, offsetof(Endpoint, held), 0, "Whether all that is written goes to `rest`."},
    {"received", T_OBJECT_EX, offsetof(Endpoint, received), 0, "Who is handed what has come."},
    {NULL},
};

static PyTypeObject EndpointType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "antiphon.transport._endpoint.Endpoint",
    .tp_basicsize = sizeof(Endpoint),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_new = Endpoint_new,
    .tp_call = (ternaryfunc)Endpoint_call,
    .tp_traverse = (traverseproc)Endpoint_traverse,
    .tp_clear = (inquiry)Endpoint_clear,
    .tp_dealloc = (destructor)Endpoint_dealloc,
    .tp_members = members,
    .tp_methods = methods,
};

/* --- TLS --------------------------------------------------------------------------------------------------------- */

static PyObject *name_pending, *name_read, *name_write;

typedef struct {
    PyObject_HEAD
    vectorcallfunc call;
    char held;
    PyObject *tls, *incoming, *outgoing, *received, *left, *send, *failed;
} Records;

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
    PyObject *tls = Py_NewRef(self->tls);
    int whole = decrypt(self, tls, arguments[0], size, &said);
    Py_DECREF(tls);
    PyObject *error = whole < 0 ? taken() : Py_NewRef(Py_None), *length = PyLong_FromSsize_t(said), *done = NULL;
    PyObject *given[] = {arguments[0], length, error};
    PyObject *taker = Py_NewRef(whole == 1 ? self->received : self->left); /* which may be changed within the call */
    if (length != NULL) done = PyObject_Vectorcall(taker, given, whole == 1 ? 2 : 3, NULL);
    Py_DECREF(taker);
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

static PyObject *Records_write(Records *self, PyObject *data) {
    int empty = PyObject_Not(data);
    if (empty < 0) return NULL;
    if (self->held || empty) Py_RETURN_NONE;
    PyObject *tls = self->tls;
    Py_INCREF(tls);
    int failed = encrypt(tls, data) < 0;
    Py_DECREF(tls);
    PyObject *taker = failed ? self->failed : self->send, *given;
    if (failed && !PyErr_ExceptionMatches(PyExc_OSError)) return NULL;
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

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, .m_name = "_endpoint", .m_size = -1};

PyMODINIT_FUNC PyInit__endpoint(void) {
    if (PyType_Ready(&EndpointType) < 0 || PyType_Ready(&RecordsType) < 0) return NULL;
    name_pending = PyUnicode_InternFromString("pending");
    name_read = PyUnicode_InternFromString("read");
    name_write = PyUnicode_InternFromString("write");
    if (name_pending == NULL || name_read == NULL || name_write == NULL) return NULL;
    PyObject *made = PyModule_Create(&module);
    if (made != NULL && (PyModule_AddObjectRef(made, "Endpoint", (PyObject *)&EndpointType) < 0 ||
                         PyModule_AddObjectRef(made, "Records", (PyObject *)&RecordsType) < 0))
        Py_CLEAR(made);
    return made;
}
