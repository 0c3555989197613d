/* The twin in C of `PythonEndpoint` in endpoint.py, which says what it does; the same tests run over both. */
#include "_endpoint.h"

#include <errno.h>
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

PyObject *taken(void) {
#if PY_VERSION_HEX >= 0x030C0000
    return PyErr_GetRaisedException();
#else
    PyObject *kind, *error, *trace;
    PyErr_Fetch(&kind, &error, &trace);
    PyErr_NormalizeException(&kind, &error, &trace);
    if (trace != NULL) PyException_SetTraceback(error, trace);
    Py_XDECREF(kind);
    Py_XDECREF(trace);
    return error;
#endif
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

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, .m_name = "_endpoint", .m_size = -1};

PyMODINIT_FUNC PyInit__endpoint(void) {
    PyTypeObject *records = records_type();
    if (records == NULL || PyType_Ready(&EndpointType) < 0) return NULL;
    PyObject *made = PyModule_Create(&module);
    if (made != NULL && (PyModule_AddObjectRef(made, "Endpoint", (PyObject *)&EndpointType) < 0 ||
                         PyModule_AddObjectRef(made, "Records", (PyObject *)records) < 0))
        Py_CLEAR(made);
    return made;
}
