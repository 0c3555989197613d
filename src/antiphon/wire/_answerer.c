/* `BatchAnswerer`, the twin in C of `PythonBatchAnswerer` in batch.py; the same tests run over both.
 *
 * It refuses nothing and sends nothing; between two calls it keeps where it stopped and a task to use again. The rules
 * are in docs/batch.md. */
#include "_batch.h"

enum {
    LOOK_EVERY = 32, /* frames between two looks at the clock, at most; as in batch.py */
    SPARE_SIZE = 512, /* bytes of JSON for which the same memory is used again */
};

static PyObject *spare; /* a bytearray for the JSON of the next answer; NULL if there is none */

/* Whether two tokens are equal, in a time that does not depend on where they differ. */
static int same_token(const unsigned char *one, const unsigned char *other) {
    uint64_t a[TOKEN_SIZE / 8], b[TOKEN_SIZE / 8];
    memcpy(a, one, TOKEN_SIZE);
    memcpy(b, other, TOKEN_SIZE);
    volatile uint64_t difference = (a[0] ^ b[0]) | (a[1] ^ b[1]);
    return difference == 0;
}

/* Return a payload as the handler takes it; NULL if it is left to the caller, or with an exception. */
static PyObject *make_payload(BatchAnswerer *self, const unsigned char *payload, Py_ssize_t size, int is_text) {
    if (!is_text) return self->takes_bytes ? PyBytes_FromStringAndSize((const char *)payload, size) : NULL;
    PyObject *text = decode_text(payload, size);
    if (text == NULL) {
        PyErr_Clear();
        return NULL;
    }
    if (self->takes_text) return text;
    Py_DECREF(text); /* a handler of bytes gets the UTF-8, which is checked now */
    return PyBytes_FromStringAndSize((const char *)payload, size);
}

/* Return what the handler is given; NULL if it is left to the caller, or with an exception. */
static PyObject *make_message(BatchAnswerer *self, const unsigned char *bytes, Py_ssize_t size, int is_text) {
    PyObject *payload = make_payload(self, bytes, size, is_text);
    if (payload == NULL || self->decode == NULL) return payload;
    PyObject *message = PyObject_CallOneArg(self->decode, payload);
    Py_DECREF(payload);
    if (message == NULL && !PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) PyErr_Clear(); /* the caller meets it again */
    return message;
}

/* Whether a reply is a value, to be sent as JSON: no payload, and nothing to await or iterate. */
static int is_value(PyObject *reply) {
    PyAsyncMethods *methods = Py_TYPE(reply)->tp_as_async;
    if (methods != NULL && (methods->am_await || methods->am_aiter || methods->am_anext)) return 0;
    return reply != Py_None && !PyUnicode_Check(reply) && !PyBytes_Check(reply) && !PyByteArray_Check(reply) &&
           !PyMemoryView_Check(reply);
}

/* Append the JSON of a value. */
static int append_json(BatchAnswerer *self, Answers *answers, uint32_t id, PyObject *value) {
    PyObject *json = spare != NULL ? spare : PyByteArray_FromStringAndSize(NULL, SPARE_SIZE);
    spare = NULL; /* a nested call uses another one */
    if (json == NULL) return -1;
    PyObject *arguments[] = {value, json}, *none = PyObject_Vectorcall(self->encode, arguments, 2, NULL);
    int done = none == NULL ? -1 : append_text(answers, self->answer_limit, id, json);
    if (none != NULL && spare == NULL && PyByteArray_GET_SIZE(json) <= SPARE_SIZE) spare = Py_NewRef(json);
    Py_DECREF(json);
    Py_XDECREF(none);
    if (none == NULL && PyErr_ExceptionMatches(PyExc_Exception)) {
        PyErr_Clear(); /* the caller meets it again, and reports it */
        return 0;
    }
    return done;
}

int append_reply(BatchAnswerer *self, Answers *answers, uint32_t id, PyObject *reply) {
    if (PyUnicode_CheckExact(reply) || self->encode == NULL || !is_value(reply))
        return append_answer(answers, self->answer_limit, id, reply);
    return append_json(self, answers, id, reply);
}

/* Keep for the caller: what the handler returned; with `waiting`, its task and what it waits for; else the exception
   that is set. -1 with an exception. */
static int keep_unanswered(BatchAnswerer *self, uint32_t id, PyObject *reply, PyObject *waiting) {
    PyObject *error = reply == NULL ? take_exception() : Py_NewRef(Py_None), *number = PyLong_FromUnsignedLong(id);
    Py_CLEAR(self->unanswered); /* a nested call may have left one */
    if (number != NULL) self->unanswered = PyTuple_Pack(4, number, reply ? reply : Py_None, error, waiting ? waiting : Py_None);
    Py_XDECREF(number);
    Py_DECREF(error);
    return self->unanswered == NULL ? -1 : 0;
}

/* Pass on the count of an ACK. Return 1; 0 if there is none, or `acknowledge` leaves it; -1 with an exception. */
static int take_ack(BatchAnswerer *self, Header header, const unsigned char *body, Py_ssize_t size) {
    const unsigned char *count = body + TOKEN_SIZE;
    if (self->acknowledge == NULL || header.kind != ACK || header.flags || header.reserved || header.id ||
        header.length != COUNTED_HEADER_SIZE + TOKEN_SIZE + COUNT_SIZE || size < TOKEN_SIZE + COUNT_SIZE ||
        !same_token(body, self->token))
        return 0;
    PyObject *number = PyLong_FromUnsignedLongLong((uint64_t)read_u32(count) << 32 | read_u32(count + 4));
    if (number == NULL) return -1;
    PyObject *taken = PyObject_CallOneArg(self->acknowledge, number);
    int left = taken == Py_False;
    Py_DECREF(number);
    if (drop_result(taken)) return -1;
    if (left) return 0;
    self->position += HEADER_SIZE + TOKEN_SIZE + COUNT_SIZE;
    return 1;
}

/* Return what the handler gives for a message, after the first step of a coroutine; NULL with an exception, or with
   `waiting` set if the coroutine waits: then it is in `coroutine`. */
static PyObject *call_handler(BatchAnswerer *self, PyObject *message, PyObject **coroutine, PyObject **waiting) {
    PyObject *reply = PyObject_CallOneArg(self->handle, message);
    if (reply == NULL || self->stepping == NULL || !PyCoro_CheckExact(reply)) return reply;
    PyObject *result = take_first_step(self, reply, waiting);
    if (*waiting != NULL) {
        *coroutine = reply;
    } else {
        Py_DECREF(reply);
    }
    return result;
}

/* How many messages are answered and not yet in `times`. */
static Py_ssize_t count_untimed(BatchAnswerer *self) {
    return self->count - self->timed - (self->unanswered != NULL);
}

/* Note the time of the messages that are answered since the last look at the clock, if there are `times`. */
static void add_time(BatchAnswerer *self, double now) {
    if (self->times.buf == NULL) return;
    Py_ssize_t untimed = count_untimed(self);
    if (untimed > 0) {
        add_times(&self->times, now - self->began, untimed);
        self->seconds += now - self->began;
        self->timed += untimed;
    }
    self->began = now;
}

/* Whether the time for the frames of this call is over; it starts with the first look. -1 with an exception. */
static int is_time_over(BatchAnswerer *self, int first, double *ends) {
    double seconds;
    if (read_clock(&self->clock, &seconds) < 0) return -1;
    add_time(self, seconds);
    if (first) *ends = seconds + self->turn_seconds;
    return !first && seconds >= *ends;
}

/* Answer the frames in `bytes` from self->position to `end`; -1 with an exception. `only` as for `answer_batch`. */
static int answer_frames(BatchAnswerer *self, const unsigned char *bytes, Py_ssize_t end, Answers *answers, PyObject **only) {
    Py_ssize_t frames = 0, look = 1; /* at the clock, after so many frames; as in batch.py */
    double ends = 0;
    while (end - self->position >= HEADER_SIZE + TOKEN_SIZE && answers->used < BATCH_LIMIT) {
        if (frames == look && self->clock.call != NULL) {
            int over = is_time_over(self, look == 1, &ends);
            if (over) return over < 0 ? -1 : 0;
            look += look == 1 ? 1 : 3 * look < LOOK_EVERY ? 3 * look : LOOK_EVERY;
        }
        frames++;
        const unsigned char *frame = bytes + self->position, *body = frame + HEADER_SIZE;
        Header header = read_header(frame);
        Py_ssize_t length = header.length;
        Py_ssize_t size = length - COUNTED_HEADER_SIZE - TOKEN_SIZE;
        if (header.kind != MESSAGE || header.flags & ~(TEXT | LAST) || header.reserved || header.id == 0 || size < 0 ||
            size > self->message_limit || end - self->position < LENGTH_SIZE + length ||
            !same_token(body, self->token)) {
            int done = take_ack(self, header, body, end - self->position - HEADER_SIZE);
            if (done == 1) continue;
            return done;
        }
        Py_ssize_t after = self->position + LENGTH_SIZE + length; /* a nested call may change the position */
        PyObject *message = make_message(self, body + TOKEN_SIZE, size, header.flags & TEXT);
        if (message == NULL) return PyErr_Occurred() ? -1 : 0;
        self->position = after;
        self->count++;
        PyObject *coroutine = NULL, *waiting = NULL, *reply = call_handler(self, message, &coroutine, &waiting);
        Py_DECREF(message);
        if (reply == NULL) {
            int failed = keep_unanswered(self, header.id, coroutine, waiting);
            Py_XDECREF(coroutine);
            Py_XDECREF(waiting);
            return failed;
        }
        int framed = only != NULL && answers->used == 0 && self->position == end && is_large(reply, self->answer_limit);
        if (answers->bytes == NULL) { /* room for all, if they are alike: the frames of an echo are shorter by the token */
            answers->expected = ((end - self->position) / (LENGTH_SIZE + length) + 1) * (HEADER_SIZE + size);
        }
        int done = framed ? put_framed(answers, only, header.id, reply)
                          : append_reply(self, answers, header.id, reply);
        if (done == 0 && keep_unanswered(self, header.id, reply, NULL) < 0) done = -1;
        Py_DECREF(reply);
        if (done != 1) return done;
    }
    return 0;
}

PyObject *answer_batch(BatchAnswerer *self, PyObject *data, Py_ssize_t position, Py_ssize_t end, PyObject **only) {
    Py_buffer buffer;
    Answers answers = {NULL, 0, 0};
    if (PyObject_GetBuffer(data, &buffer, PyBUF_SIMPLE) < 0) return NULL;
    int failed = -1;
    if (position < 0 || end < 0 || end > buffer.len) {
        PyErr_SetString(PyExc_ValueError, "the positions are not within the bytes");
    } else {
        self->position = position;
        self->count = self->timed = 0;
        Py_CLEAR(self->unanswered);
        int timed = self->times.buf != NULL && end - position >= HEADER_SIZE;
        failed = timed && read_clock(&self->clock, &self->began) < 0 ? -1 : answer_frames(self, buffer.buf, end, &answers, only);
        if (!failed && timed && count_untimed(self) > 0) {
            double now;
            failed = read_clock(&self->clock, &now);
            if (!failed) add_time(self, now);
        }
    }
    PyBuffer_Release(&buffer);
    if (!failed) return finish_answers(&answers);
    Py_XDECREF(answers.bytes);
    return NULL;
}

static PyObject *BatchAnswerer_call(BatchAnswerer *self, PyObject *const *arguments, size_t flags, PyObject *named) {
    if (PyVectorcall_NARGS(flags) != 3 || named != NULL) {
        PyErr_SetString(PyExc_TypeError, "an answerer takes bytes, a position and an end");
        return NULL;
    }
    Py_ssize_t position = PyLong_AsSsize_t(arguments[1]), end = PyLong_AsSsize_t(arguments[2]);
    if ((position == -1 || end == -1) && PyErr_Occurred()) return NULL;
    return answer_batch(self, arguments[0], position, end, NULL);
}

static int BatchAnswerer_traverse(BatchAnswerer *self, visitproc visit, void *arg) {
    Py_VISIT(self->handle);
    Py_VISIT(self->acknowledge);
    Py_VISIT(self->decode);
    Py_VISIT(self->encode);
    Py_VISIT(self->clock.call);
    Py_VISIT(self->stepping);
    Py_VISIT(self->task);
    Py_VISIT(self->unanswered);
    return 0;
}

static int BatchAnswerer_clear(BatchAnswerer *self) {
    Py_CLEAR(self->handle);
    Py_CLEAR(self->acknowledge);
    Py_CLEAR(self->decode);
    Py_CLEAR(self->encode);
    Py_CLEAR(self->clock.call);
    Py_CLEAR(self->stepping);
    Py_CLEAR(self->task);
    Py_CLEAR(self->unanswered);
    return 0;
}

static void BatchAnswerer_dealloc(BatchAnswerer *self) {
    PyObject_GC_UnTrack(self);
    BatchAnswerer_clear(self);
    if (self->times.buf != NULL) PyBuffer_Release(&self->times);
    memset(self->token, 0, TOKEN_SIZE);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static PyObject *BatchAnswerer_new(PyTypeObject *type, PyObject *arguments, PyObject *named) {
    static char *names[] = {"handle", "takes", "token", "message_limit", "answer_limit", "stepping", "acknowledge", "clock",
                            "decode", "encode", "times", NULL};
    PyObject *handle, *takes, *stepping = Py_None, *acknowledge = Py_None, *clock = Py_None;
    PyObject *decode = Py_None, *encode = Py_None, *times = Py_None;
    const char *token;
    Py_ssize_t size, message_limit, answer_limit;
    if (!PyArg_ParseTupleAndKeywords(arguments, named, "OOy#nn|$OOOOOO", names, &handle, &takes, &token, &size, &message_limit,
                                     &answer_limit, &stepping, &acknowledge, &clock, &decode, &encode, &times))
        return NULL;
    if (size != TOKEN_SIZE) {
        PyErr_SetString(PyExc_ValueError, "a token has 16 bytes");
        return NULL;
    }
    if (stepping != Py_None && (!PyTuple_Check(stepping) || PyTuple_GET_SIZE(stepping) != STEPPING_SIZE)) {
        PyErr_SetString(PyExc_TypeError, "stepping must be a Stepping");
        return NULL;
    }
    BatchAnswerer *self = (BatchAnswerer *)type->tp_alloc(type, 0);
    if (self == NULL) return NULL;
    self->call = (vectorcallfunc)BatchAnswerer_call;
    memcpy(self->token, token, TOKEN_SIZE);
    self->message_limit = message_limit;
    self->answer_limit = answer_limit;
    self->takes_text = takes != (PyObject *)&PyBytes_Type;
    self->takes_bytes = takes != (PyObject *)&PyUnicode_Type;
    self->handle = Py_NewRef(handle);
    if (stepping != Py_None) self->stepping = Py_NewRef(stepping);
    if (acknowledge != Py_None) self->acknowledge = Py_NewRef(acknowledge);
    if (decode != Py_None) self->decode = Py_NewRef(decode);
    if (encode != Py_None) self->encode = Py_NewRef(encode);
    if (clock == Py_None) return (PyObject *)self;
    if (set_clock(&self->clock, clock) < 0 || (times != Py_None && get_times(times, &self->times) < 0)) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static PyObject *get_unanswered(BatchAnswerer *self, void *Py_UNUSED(closure)) {
    return Py_NewRef(self->unanswered ? self->unanswered : Py_None);
}

/* Drop the message; there is nothing but None to set. */
static int drop_unanswered(BatchAnswerer *self, PyObject *Py_UNUSED(none), void *Py_UNUSED(closure)) {
    Py_CLEAR(self->unanswered);
    return 0;
}

static PyMemberDef members[] = {
    {"position", T_PYSSIZET, offsetof(BatchAnswerer, position), READONLY, "Where the first frame begins that is not read."},
    {"count", T_PYSSIZET, offsetof(BatchAnswerer, count), READONLY, "How many messages the handler was given."},
    {"began", T_DOUBLE, offsetof(BatchAnswerer, began), READONLY, "When the last look at the clock was, with times."},
    {"seconds", T_DOUBLE, offsetof(BatchAnswerer, seconds), READONLY, "What it has added to the seconds of `times`."},
    {"turn_seconds", T_DOUBLE, offsetof(BatchAnswerer, turn_seconds), 0, "Seconds in which further frames are read."},
    {NULL},
};

static PyGetSetDef properties[] = {
    {"unanswered", (getter)get_unanswered, (setter)drop_unanswered, "The last message, if it is not answered; or None.", NULL},
    {NULL},
};

PyTypeObject BatchAnswererType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "antiphon.wire._batch.BatchAnswerer",
    .tp_basicsize = sizeof(BatchAnswerer),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL,
    .tp_vectorcall_offset = offsetof(BatchAnswerer, call),
    .tp_new = BatchAnswerer_new,
    .tp_call = PyVectorcall_Call,
    .tp_traverse = (traverseproc)BatchAnswerer_traverse,
    .tp_clear = (inquiry)BatchAnswerer_clear,
    .tp_dealloc = (destructor)BatchAnswerer_dealloc,
    .tp_members = members,
    .tp_getset = properties,
};
