/* The twin in C of `PythonAnswerer` in answering.py, which says what it does; the same tests run over both.
 *
 * One call answers all whole messages that have come. Whatever is out of the ordinary (another kind, a wrong token,
 * text that is no UTF-8, half a frame, an answer that comes later) is left to Python: this file refuses nothing, sends
 * nothing and keeps nothing between two calls but where it stopped.
 */
#include "_answering.h"

static uint32_t read_u32(const unsigned char *bytes) {
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

void write_u32(unsigned char *bytes, uint32_t number) {
    bytes[0] = number >> 24;
    bytes[1] = number >> 16;
    bytes[2] = number >> 8;
    bytes[3] = number;
}

/* Whether two tokens are the same, in a time that does not depend on where they differ: no step is left out. */
static int same_token(const unsigned char *one, const unsigned char *other) {
    uint64_t a[TOKEN_SIZE / 8], b[TOKEN_SIZE / 8];
    memcpy(a, one, TOKEN_SIZE);
    memcpy(b, other, TOKEN_SIZE);
    volatile uint64_t difference = (a[0] ^ b[0]) | (a[1] ^ b[1]);
    return difference == 0;
}

/* Write the header of an answer. */
static void head(unsigned char *frame, Py_ssize_t size, unsigned char flags, const unsigned char *id) {
    write_u32(frame, (uint32_t)(COUNTED + size));
    frame[4] = MESSAGE;
    frame[5] = flags;
    frame[6] = frame[7] = 0;
    memcpy(frame + 8, id, 4);
}

int append(Answers *answers, Py_ssize_t limit, const unsigned char *id, PyObject *reply) {
    const char *body;
    Py_ssize_t size;
    unsigned char flags = LAST;
    if (PyUnicode_CheckExact(reply)) {
        flags |= TEXT;
        body = PyUnicode_AsUTF8AndSize(reply, &size);
        if (body == NULL) { /* half a surrogate pair: the caller meets it again, and says so */
            PyErr_Clear();
            return 0;
        }
    } else if (PyBytes_CheckExact(reply)) {
        body = PyBytes_AS_STRING(reply);
        size = PyBytes_GET_SIZE(reply);
    } else {
        return 0;
    }
    if (size > limit) return 0;
    Py_ssize_t needed = answers->used + HEADER_SIZE + size;
    if (answers->bytes == NULL) {
        answers->bytes = PyBytes_FromStringAndSize(NULL, needed > answers->expected ? needed : answers->expected);
    } else if (needed > PyBytes_GET_SIZE(answers->bytes)) {
        _PyBytes_Resize(&answers->bytes, needed + needed / 2);
    }
    if (answers->bytes == NULL) return -1;
    unsigned char *frame = (unsigned char *)PyBytes_AS_STRING(answers->bytes) + answers->used;
    head(frame, size, flags, id);
    memcpy(frame + HEADER_SIZE, body, size);
    answers->used = needed;
    return 1;
}

/* Whether an answer is large, and bytes as it stands. */
static int is_large(PyObject *reply, Py_ssize_t limit) {
    Py_ssize_t size;
    if (PyBytes_CheckExact(reply)) size = PyBytes_GET_SIZE(reply);
    else if (PyUnicode_CheckExact(reply) && PyUnicode_IS_COMPACT_ASCII(reply)) size = PyUnicode_GET_LENGTH(reply);
    else return 0;
    return size >= FRAMED_FROM && size <= limit && HEADER_SIZE + size <= BATCH_LIMIT;
}

/* Have the only answer be its header, and hand out its payload by itself; -1 with an exception. */
static int put_framed(Answers *answers, PyObject **payload, const unsigned char *id, PyObject *reply) {
    int is_text = PyUnicode_CheckExact(reply);
    answers->bytes = PyBytes_FromStringAndSize(NULL, HEADER_SIZE);
    if (answers->bytes == NULL) return -1;
    answers->used = HEADER_SIZE;
    Py_ssize_t size = is_text ? PyUnicode_GET_LENGTH(reply) : PyBytes_GET_SIZE(reply);
    head((unsigned char *)PyBytes_AS_STRING(answers->bytes), size, LAST | (is_text ? TEXT : 0), id);
    Py_INCREF(reply);
    *payload = reply;
    return 1;
}

/* Return text. Python's own decoder looks at it and copies it at once, a word at a time and only where it is aligned;
   to look first, and then to copy what is ASCII, takes a third of its time where there is much. */
static PyObject *text_of(const unsigned char *bytes, Py_ssize_t size) {
    uint64_t all = 0, word;
    Py_ssize_t at = 0;
    for (; at + 8 <= size; at += 8) {
        memcpy(&word, bytes + at, 8);
        all |= word;
    }
    for (; at < size; at++) all |= (uint64_t)bytes[at];
    if (size < 2 || all & 0x8080808080808080u) return PyUnicode_DecodeUTF8((const char *)bytes, size, NULL);
    PyObject *text = PyUnicode_New(size, 127);
    if (text != NULL) memcpy(PyUnicode_1BYTE_DATA(text), bytes, size);
    return text;
}

/* Return the payload as the service takes it; NULL without an exception where it is not for the fast way. */
static PyObject *payload_of(Answerer *self, const unsigned char *payload, Py_ssize_t size, int is_text) {
    if (!is_text) return self->takes_bytes ? PyBytes_FromStringAndSize((const char *)payload, size) : NULL;
    PyObject *text = text_of(payload, size);
    if (text == NULL) {
        PyErr_Clear();
        return NULL;
    }
    if (self->takes_text) return text;
    Py_DECREF(text); /* a service of bytes is given what was sent, once it is seen to be text */
    return PyBytes_FromStringAndSize((const char *)payload, size);
}

PyObject *raised(void) {
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

/* Keep what the service gave, and its task with what it waits for, or what was raised, for the caller. */
static int leave(Answerer *self, uint32_t id, PyObject *reply, PyObject *waiting) {
    Py_CLEAR(self->left); /* what a call within this one has left */
    if (waiting != NULL) {
        self->left = Py_BuildValue("(IOOO)", id, reply, Py_None, waiting);
    } else if (reply != NULL) {
        self->left = Py_BuildValue("(IOOO)", id, reply, Py_None, Py_None);
    } else {
        PyObject *error = raised();
        self->left = Py_BuildValue("(IOOO)", id, Py_None, error, Py_None);
        Py_XDECREF(error);
    }
    return self->left == NULL ? -1 : 0;
}

/* Pass on the count of an ACK; 0 where none stands there, -1 with an exception. */
static int acknowledged(Answerer *self, const unsigned char *frame, Py_ssize_t room) {
    static const unsigned char header[HEADER_SIZE] = {0, 0, 0, COUNTED + TOKEN_SIZE + COUNT_SIZE, ACK};
    const unsigned char *token = frame + HEADER_SIZE, *count = token + TOKEN_SIZE;
    if (self->acknowledge == NULL || room < HEADER_SIZE + TOKEN_SIZE + COUNT_SIZE || memcmp(frame, header, HEADER_SIZE) ||
        !same_token(token, self->token))
        return 0;
    PyObject *number = PyLong_FromUnsignedLongLong((uint64_t)read_u32(count) << 32 | read_u32(count + 4));
    if (number == NULL) return -1;
    PyObject *done = PyObject_CallOneArg(self->acknowledge, number);
    Py_DECREF(number);
    if (done == NULL) return -1;
    Py_DECREF(done);
    self->at += HEADER_SIZE + TOKEN_SIZE + COUNT_SIZE;
    return 1;
}

/* Answer what stands in `bytes` from self->at to `end`; -1 with an exception of our own. Where there is a place for
   the payload of the only answer, it may be put there instead of behind its header. */
static int converse(Answerer *self, const unsigned char *bytes, Py_ssize_t end, Answers *answers, PyObject **only) {
    while (end - self->at >= HEADER_SIZE + TOKEN_SIZE && answers->used < BATCH_LIMIT) {
        const unsigned char *frame = bytes + self->at;
        Py_ssize_t length = read_u32(frame);
        Py_ssize_t size = length - COUNTED - TOKEN_SIZE;
        uint32_t id = read_u32(frame + 8);
        if (frame[4] != MESSAGE || frame[5] & ~(TEXT | LAST) || frame[6] || frame[7] || id == 0 || size < 0 ||
            size > self->message_limit || end - self->at < LENGTH_SIZE + length ||
            !same_token(frame + HEADER_SIZE, self->token)) {
            int done = acknowledged(self, frame, end - self->at);
            if (done == 1) continue;
            return done;
        }
        PyObject *payload = payload_of(self, frame + HEADER_SIZE + TOKEN_SIZE, size, frame[5] & TEXT);
        if (payload == NULL) return PyErr_Occurred() ? -1 : 0;
        self->at += LENGTH_SIZE + length;
        self->count++;
        PyObject *reply = PyObject_CallOneArg(self->handle, payload);
        Py_DECREF(payload);
        if (reply != NULL && self->stepping != NULL && PyCoro_CheckExact(reply)) {
            PyObject *waiting = NULL, *answer = first_step(self, reply, &waiting);
            if (waiting != NULL) {
                int failed = leave(self, id, reply, waiting);
                Py_DECREF(reply);
                Py_DECREF(waiting);
                return failed;
            }
            Py_SETREF(reply, answer);
        }
        if (reply == NULL) return leave(self, id, NULL, NULL);
        int framed = only != NULL && answers->used == 0 && self->at == end && is_large(reply, self->answer_limit);
        if (answers->bytes == NULL) { /* room for all, if they are alike: an echo's frames are shorter by the token */
            answers->expected = ((end - self->at) / (LENGTH_SIZE + length) + 1) * (HEADER_SIZE + size);
        }
        int done = framed ? put_framed(answers, only, frame + 8, reply)
                          : append(answers, self->answer_limit, frame + 8, reply);
        if (done == 0 && leave(self, id, reply, NULL) < 0) done = -1;
        Py_DECREF(reply);
        if (done != 1) return done;
    }
    return 0;
}

PyObject *answered(Answerer *self, PyObject *data, Py_ssize_t at, Py_ssize_t end, PyObject **only) {
    Py_buffer buffer;
    Answers answers = {NULL, 0, 0};
    if (PyObject_GetBuffer(data, &buffer, PyBUF_SIMPLE) < 0) return NULL;
    int failed = -1;
    if (at < 0 || end < 0 || end > buffer.len) {
        PyErr_SetString(PyExc_ValueError, "these places are not within the bytes");
    } else {
        self->at = at;
        self->count = 0;
        Py_CLEAR(self->left);
        failed = converse(self, buffer.buf, end, &answers, only);
    }
    PyBuffer_Release(&buffer);
    if (failed) {
        Py_XDECREF(answers.bytes);
        return NULL;
    }
    if (answers.bytes == NULL) return PyBytes_FromStringAndSize(NULL, 0);
    if (answers.used < PyBytes_GET_SIZE(answers.bytes)) _PyBytes_Resize(&answers.bytes, answers.used);
    return answers.bytes;
}

/* The places that a caller has named; -1 with an exception. */
static int places(PyObject *const *numbers, Py_ssize_t *at, Py_ssize_t *end) {
    *at = PyLong_AsSsize_t(numbers[0]);
    *end = PyLong_AsSsize_t(numbers[1]);
    return (*at == -1 || *end == -1) && PyErr_Occurred() ? -1 : 0;
}

static PyObject *Answerer_call(Answerer *self, PyObject *const *arguments, size_t flags, PyObject *named) {
    Py_ssize_t at, end;
    if (PyVectorcall_NARGS(flags) != 3 || named != NULL) {
        PyErr_SetString(PyExc_TypeError, "an answerer takes bytes, and from where to where");
        return NULL;
    }
    return places(arguments + 1, &at, &end) < 0 ? NULL : answered(self, arguments[0], at, end, NULL);
}

static int Answerer_init(Answerer *self, PyObject *arguments, PyObject *named) {
    static char *names[] = {"handle", "takes", "token", "message_limit", "answer_limit", "stepping", "acknowledge", NULL};
    PyObject *handle, *takes, *stepping = Py_None, *acknowledge = Py_None;
    const char *token;
    Py_ssize_t size;
    self->call = (vectorcallfunc)Answerer_call;
    if (!PyArg_ParseTupleAndKeywords(arguments, named, "OOy#nn|$OO", names, &handle, &takes, &token, &size,
                                     &self->message_limit, &self->answer_limit, &stepping, &acknowledge))
        return -1;
    if (size != TOKEN_SIZE) {
        PyErr_SetString(PyExc_ValueError, "a token has 16 bytes");
        return -1;
    }
    if (stepping != Py_None && (!PyTuple_Check(stepping) || PyTuple_GET_SIZE(stepping) != STEPPING_SIZE)) {
        PyErr_SetString(PyExc_TypeError, "how coroutines take a step is told by a `Stepping`");
        return -1;
    }
    memcpy(self->token, token, TOKEN_SIZE);
    self->takes_text = takes != (PyObject *)&PyBytes_Type;
    self->takes_bytes = takes != (PyObject *)&PyUnicode_Type;
    Py_INCREF(handle);
    Py_XSETREF(self->handle, handle);
    if (acknowledge == Py_None) acknowledge = NULL;
    Py_XINCREF(acknowledge);
    Py_XSETREF(self->acknowledge, acknowledge);
    if (stepping == Py_None) stepping = NULL;
    Py_XINCREF(stepping);
    Py_XSETREF(self->stepping, stepping);
    return 0;
}

static PyObject *Answerer_left(Answerer *self, void *Py_UNUSED(closure)) {
    PyObject *left = self->left ? self->left : Py_None;
    Py_INCREF(left);
    return left;
}

/* Let go of what is left, whatever is put in its place: nobody has anything but None to put there. */
static int Answerer_let_go(Answerer *self, PyObject *Py_UNUSED(none), void *Py_UNUSED(closure)) {
    Py_CLEAR(self->left);
    return 0;
}

static int Answerer_traverse(Answerer *self, visitproc visit, void *arg) {
    Py_VISIT(self->handle);
    Py_VISIT(self->acknowledge);
    Py_VISIT(self->left);
    Py_VISIT(self->stepping);
    Py_VISIT(self->task);
    return 0;
}

static int Answerer_clear(Answerer *self) {
    Py_CLEAR(self->handle);
    Py_CLEAR(self->acknowledge);
    Py_CLEAR(self->left);
    Py_CLEAR(self->stepping);
    Py_CLEAR(self->task);
    return 0;
}

static void Answerer_dealloc(Answerer *self) {
    PyObject_GC_UnTrack(self);
    Answerer_clear(self);
    memset(self->token, 0, TOKEN_SIZE);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static PyMemberDef members[] = {
    {"at", T_PYSSIZET, offsetof(Answerer, at), READONLY, "Where in the bytes the first frame stands that is not answered."},
    {"count", T_PYSSIZET, offsetof(Answerer, count), READONLY, "How many messages the service was given."},
    {NULL},
};

static PyGetSetDef properties[] = {
    {"left", (getter)Answerer_left, (setter)Answerer_let_go,
     "The id, what the service gave, raised and waits for, where it was no answer.", NULL},
    {NULL},
};

PyTypeObject AnswererType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "antiphon.wire._answering.Answerer",
    .tp_basicsize = sizeof(Answerer),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL,
    .tp_vectorcall_offset = offsetof(Answerer, call),
    .tp_new = PyType_GenericNew,
    .tp_init = (initproc)Answerer_init,
    .tp_call = PyVectorcall_Call,
    .tp_traverse = (traverseproc)Answerer_traverse,
    .tp_clear = (inquiry)Answerer_clear,
    .tp_dealloc = (destructor)Answerer_dealloc,
    .tp_members = members,
    .tp_getset = properties,
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, .m_name = "_answering", .m_size = -1};

PyMODINIT_FUNC PyInit__answering(void) {
    if (init_stepping() < 0 || PyType_Ready(&AnswererType) < 0 || PyType_Ready(&ShortcutType) < 0) return NULL;
    PyObject *made = PyModule_Create(&module);
    if (made != NULL && (PyModule_AddObjectRef(made, "Answerer", (PyObject *)&AnswererType) < 0 ||
                         PyModule_AddObjectRef(made, "Shortcut", (PyObject *)&ShortcutType) < 0))
        Py_CLEAR(made);
    return made;
}
