/* `SocketEndpoint`, the twin in C of `PythonSocketEndpoint` in endpoint.py, which describes it; the same tests run over
 * both. */
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
    char queueing, wrote; /* everything written is queued; something was written since the last read */
    Py_ssize_t read_limit; /* bytes read at once; at most the buffer */
    PyObject *buffer, *received, *ended, *unsent;
    PyObject *fence, *fenced; /* may be NULL */
} SocketEndpoint;

static int would_block(void) {
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

/* Report the exception that is set as the end of the connection. */
static PyObject *report_error(SocketEndpoint *self) {
    PyObject *error = take_exception();
    PyObject *done = PyObject_CallOneArg(self->ended, error);
    Py_DECREF(error);
    return done;
}

/* Whether the peer has reset the connection; if so, with the exception. */
static int was_reset(int fd) {
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 || error == 0) return 0;
    errno = error;
    PyErr_SetFromErrno(PyExc_OSError);
    return 1;
}

/* Whether nothing may be read because the process has not run for a while; -1 with an exception. */
static int is_fenced(SocketEndpoint *self) {
    if (self->fence == NULL) return 0;
    if (is_known_open((double *)PyByteArray_AS_STRING(self->fence))) return 0;
    PyObject *answer = PyObject_CallNoArgs(self->fenced);
    int fenced = answer == NULL ? -1 : PyObject_IsTrue(answer);
    Py_XDECREF(answer);
    return fenced;
}

static PyObject *SocketEndpoint_call(SocketEndpoint *self, PyObject *Py_UNUSED(arguments), PyObject *Py_UNUSED(named)) {
    int fenced = is_fenced(self);
    if (fenced < 0) return NULL;
    if (fenced) Py_RETURN_NONE;
    Py_ssize_t room = PyByteArray_GET_SIZE(self->buffer);
    if (self->read_limit > 0 && self->read_limit < room) room = self->read_limit;
    ssize_t size = recv(self->fd, PyByteArray_AS_STRING(self->buffer), room, MSG_DONTWAIT);
    if (size < 0) {
        if (would_block()) Py_RETURN_NONE;
        PyErr_SetFromErrno(PyExc_OSError);
        return report_error(self);
    }
    if (size == 0) return PyObject_CallOneArg(self->ended, Py_None);
    PyObject *length = PyLong_FromSsize_t(size);
    if (length == NULL) return NULL;
    PyObject *arguments[] = {self->buffer, length};
    PyObject *received = self->received; /* the call may change the attribute */
    if (received == NULL) {
        Py_DECREF(length);
        PyErr_SetString(PyExc_AttributeError, "received");
        return report_error(self);
    }
    Py_INCREF(received);
    self->wrote = 0;
    PyObject *done = PyObject_Vectorcall(received, arguments, 2, NULL);
    Py_DECREF(received);
    Py_DECREF(length);
    if (done != NULL && !self->wrote && was_reset(self->fd)) {
        Py_DECREF(done);
        done = NULL;
    }
    if (done == NULL && PyErr_ExceptionMatches(PyExc_Exception)) return report_error(self);
    return done;
}

static PyObject *SocketEndpoint_send(SocketEndpoint *self, PyObject *data) {
    Py_buffer bytes;
    if (PyObject_GetBuffer(data, &bytes, PyBUF_SIMPLE) < 0) return NULL;
    ssize_t sent = send(self->fd, bytes.buf, bytes.len, MSG_DONTWAIT | MSG_NOSIGNAL);
    PyBuffer_Release(&bytes);
    if (sent >= 0) return PyLong_FromSsize_t(sent);
    if (would_block()) return PyLong_FromLong(0);
    return PyErr_SetFromErrno(PyExc_OSError);
}

/* Have the transport queue what was not sent: all but the first `sent` bytes. */
static PyObject *queue_unsent(SocketEndpoint *self, PyObject *data, Py_ssize_t sent) {
    PyObject *length = PyLong_FromSsize_t(sent);
    if (length == NULL) return NULL;
    PyObject *arguments[] = {data, length};
    PyObject *done = PyObject_Vectorcall(self->unsent, arguments, 2, NULL);
    Py_DECREF(length);
    return done;
}

static PyObject *SocketEndpoint_write(SocketEndpoint *self, PyObject *data) {
    Py_buffer bytes;
    self->wrote = 1;
    if (self->queueing) return queue_unsent(self, data, 0);
    if (PyObject_GetBuffer(data, &bytes, PyBUF_SIMPLE) < 0) return NULL;
    ssize_t sent = send(self->fd, bytes.buf, bytes.len, MSG_DONTWAIT | MSG_NOSIGNAL);
    int complete = sent == bytes.len;
    PyBuffer_Release(&bytes);
    if (complete) Py_RETURN_NONE;
    if (sent >= 0) return queue_unsent(self, data, sent);
    if (would_block()) return queue_unsent(self, data, 0);
    PyErr_SetFromErrno(PyExc_OSError);
    return report_error(self);
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

static PyObject *SocketEndpoint_write_framed(SocketEndpoint *self, PyObject *const *arguments, Py_ssize_t count) {
    struct iovec parts[2];
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    if (count != 2 || !PyBytes_Check(arguments[0])) {
        PyErr_SetString(PyExc_TypeError, "a header of bytes and a payload are needed");
        return NULL;
    }
    parts[0].iov_base = PyBytes_AS_STRING(arguments[0]);
    parts[0].iov_len = PyBytes_GET_SIZE(arguments[0]);
    if (payload_of(arguments[1], parts + 1) < 0) return NULL;
    self->wrote = 1;
    ssize_t total = parts[0].iov_len + parts[1].iov_len, sent = 0;
    if (!self->queueing) {
        sent = sendmsg(self->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent == total) Py_RETURN_NONE;
        if (sent < 0 && !would_block()) {
            PyErr_SetFromErrno(PyExc_OSError);
            return report_error(self);
        }
        if (sent < 0) sent = 0;
    }
    PyObject *whole = PyBytes_FromStringAndSize(NULL, total);
    if (whole == NULL) return NULL;
    memcpy(PyBytes_AS_STRING(whole), parts[0].iov_base, parts[0].iov_len);
    memcpy(PyBytes_AS_STRING(whole) + parts[0].iov_len, parts[1].iov_base, parts[1].iov_len);
    PyObject *done = queue_unsent(self, whole, sent);
    Py_DECREF(whole);
    return done;
}

static int SocketEndpoint_traverse(SocketEndpoint *self, visitproc visit, void *arg) {
    Py_VISIT(self->buffer);
    Py_VISIT(self->received);
    Py_VISIT(self->ended);
    Py_VISIT(self->unsent);
    Py_VISIT(self->fence);
    Py_VISIT(self->fenced);
    return 0;
}

static int SocketEndpoint_clear(SocketEndpoint *self) {
    Py_CLEAR(self->buffer);
    Py_CLEAR(self->received);
    Py_CLEAR(self->ended);
    Py_CLEAR(self->unsent);
    Py_CLEAR(self->fence);
    Py_CLEAR(self->fenced);
    return 0;
}

static int SocketEndpoint_init(SocketEndpoint *self, PyObject *arguments, PyObject *named) {
    static char *names[] = {"sock", "buffer", "received", "ended", "unsent", "fence", "fenced", NULL};
    PyObject *sock, *buffer, *received, *ended, *unsent, *fence = NULL, *fenced = NULL;
    if (!PyArg_ParseTupleAndKeywords(arguments, named, "OO!OOO|O!O", names, &sock, &PyByteArray_Type, &buffer, &received,
                                     &ended, &unsent, &PyByteArray_Type, &fence, &fenced))
        return -1;
    if ((fence == NULL) != (fenced == NULL) || (fence != NULL && PyByteArray_GET_SIZE(fence) < 2 * (Py_ssize_t)sizeof(double))) {
        PyErr_SetString(PyExc_TypeError, "a fence is a bytearray of two doubles, and comes with a function");
        return -1;
    }
    self->fd = PyObject_AsFileDescriptor(sock);
    if (self->fd < 0) return -1;
    Py_INCREF(buffer);
    Py_XSETREF(self->buffer, buffer);
    Py_INCREF(received);
    Py_XSETREF(self->received, received);
    Py_INCREF(ended);
    Py_XSETREF(self->ended, ended);
    Py_INCREF(unsent);
    Py_XSETREF(self->unsent, unsent);
    Py_XSETREF(self->fence, Py_XNewRef(fence));
    Py_XSETREF(self->fenced, Py_XNewRef(fenced));
    return 0;
}

static PyObject *SocketEndpoint_new(PyTypeObject *type, PyObject *arguments, PyObject *named) {
    PyObject *self = type->tp_alloc(type, 0);
    if (self != NULL && SocketEndpoint_init((SocketEndpoint *)self, arguments, named) < 0) Py_CLEAR(self);
    return self;
}

static void SocketEndpoint_dealloc(SocketEndpoint *self) {
    PyObject_GC_UnTrack(self);
    SocketEndpoint_clear(self);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static PyMethodDef methods[] = {
    {"write", (PyCFunction)SocketEndpoint_write, METH_O, "Send at once; what the socket does not take goes to `unsent`."},
    {"write_framed", (PyCFunction)(void (*)(void))SocketEndpoint_write_framed, METH_FASTCALL,
     "Write a header and its payload, which is not copied."},
    {"send", (PyCFunction)SocketEndpoint_send, METH_O, "Send as much as the socket takes now; return how many bytes."},
    {NULL},
};

static PyMemberDef members[] = {
    {"queueing", T_BOOL, offsetof(SocketEndpoint, queueing), 0, "Whether everything written goes to `unsent`."},
    {"read_limit", T_PYSSIZET, offsetof(SocketEndpoint, read_limit), 0, "Bytes read at once; 0 for the whole buffer."},
    {"received", T_OBJECT_EX, offsetof(SocketEndpoint, received), 0, "Function that takes received bytes."},
    {NULL},
};

static PyTypeObject SocketEndpointType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "antiphon.transport._endpoint.SocketEndpoint",
    .tp_basicsize = sizeof(SocketEndpoint),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_new = SocketEndpoint_new,
    .tp_call = (ternaryfunc)SocketEndpoint_call,
    .tp_traverse = (traverseproc)SocketEndpoint_traverse,
    .tp_clear = (inquiry)SocketEndpoint_clear,
    .tp_dealloc = (destructor)SocketEndpoint_dealloc,
    .tp_members = members,
    .tp_methods = methods,
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, .m_name = "_endpoint", .m_size = -1};

PyMODINIT_FUNC PyInit__endpoint(void) {
    PyTypeObject *record_layer = make_record_layer_type();
    if (record_layer == NULL || PyType_Ready(&SocketEndpointType) < 0) return NULL;
    PyObject *made = PyModule_Create(&module);
    if (made != NULL && (PyModule_AddObjectRef(made, "SocketEndpoint", (PyObject *)&SocketEndpointType) < 0 ||
                         PyModule_AddObjectRef(made, "RecordLayer", (PyObject *)record_layer) < 0))
        Py_CLEAR(made);
    return made;
}
