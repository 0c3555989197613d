/* The client's batch: frames of messages, and the answers in received bytes. client_batch.py has the twins in Python,
 * docs/batch.md the rules. */
#include "_batch.h"

/* Return the payload of a message and its size, with `owner` to release after use; -1 with an exception. */
static Py_ssize_t find_payload(PyObject *message, const char **payload, unsigned char *flags, PyObject **owner) {
    Py_ssize_t size;
    *owner = NULL;
    if (PyBytes_Check(message)) {
        *payload = PyBytes_AS_STRING(message);
        return PyBytes_GET_SIZE(message);
    }
    if (!PyUnicode_Check(message)) {
        PyErr_SetString(PyExc_TypeError, "a message is bytes or str");
        return -1;
    }
    *flags |= TEXT;
    if (PyUnicode_IS_COMPACT_ASCII(message)) {
        *payload = PyUnicode_AsUTF8AndSize(message, &size); /* the text itself: nothing is encoded or kept */
        return *payload == NULL ? -1 : size;
    }
    *owner = PyUnicode_AsUTF8String(message); /* PyUnicode_AsUTF8AndSize would keep it for as long as the text lives */
    if (*owner == NULL) return -1;
    *payload = PyBytes_AS_STRING(*owner);
    return PyBytes_GET_SIZE(*owner);
}

PyObject *frame_message(uint32_t id, PyObject *message, PyObject *token, Py_ssize_t limit, Py_ssize_t *message_size) {
    const char *payload;
    unsigned char flags = 0;
    PyObject *owner, *frame = NULL;
    Py_ssize_t size = find_payload(message, &payload, &flags, &owner), token_size = PyBytes_GET_SIZE(token);
    if (size < 0) return NULL;
    *message_size = size;
    if (size <= limit) frame = PyBytes_FromStringAndSize(NULL, HEADER_SIZE + token_size + size);
    if (frame != NULL) {
        unsigned char *bytes = (unsigned char *)PyBytes_AS_STRING(frame);
        write_u32(bytes, (uint32_t)(COUNTED_HEADER_SIZE + token_size + size));
        bytes[4] = MESSAGE;
        bytes[5] = flags;
        bytes[6] = bytes[7] = 0;
        write_u32(bytes + 8, id);
        memcpy(bytes + HEADER_SIZE, PyBytes_AS_STRING(token), token_size);
        memcpy(bytes + HEADER_SIZE + token_size, payload, size);
    }
    Py_XDECREF(owner);
    return frame;
}

PyObject *encode_message(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count) {
    if (count != 3 || !PyBytes_Check(arguments[2])) {
        PyErr_SetString(PyExc_TypeError, "encode_message takes an id, a message and a token");
        return NULL;
    }
    unsigned long id = PyLong_AsUnsignedLong(arguments[0]);
    if (id == (unsigned long)-1 && PyErr_Occurred()) return NULL;
    Py_ssize_t size, limit = (Py_ssize_t)UINT32_MAX - COUNTED_HEADER_SIZE - PyBytes_GET_SIZE(arguments[2]);
    PyObject *frame = id > UINT32_MAX ? NULL : frame_message((uint32_t)id, arguments[1], arguments[2], limit, &size);
    if (frame == NULL && !PyErr_Occurred()) PyErr_SetString(PyExc_OverflowError, "the id or the length does not fit in 32 bits");
    return frame;
}

/* Return an answer, its id and its payload; NULL if it is text but no UTF-8, or with an exception. */
static PyObject *make_answer(Header header, const unsigned char *payload, Py_ssize_t size) {
    PyObject *content = header.flags & TEXT ? decode_text(payload, size)
                                            : PyBytes_FromStringAndSize((const char *)payload, size);
    if (content == NULL) {
        if (PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) PyErr_Clear();
        return NULL;
    }
    PyObject *id = PyLong_FromUnsignedLong(header.id);
    PyObject *answer = id == NULL ? NULL : PyTuple_Pack(2, id, content);
    Py_XDECREF(id);
    Py_DECREF(content);
    return answer;
}

/* Append the answers in `bytes` from `position` to `end`. Return where the first frame begins that is not read; -1 with
   an exception. */
static Py_ssize_t append_answers(PyObject *answers, const unsigned char *bytes, Py_ssize_t position, Py_ssize_t end, Py_ssize_t limit) {
    while (end - position >= HEADER_SIZE) {
        Header header = read_header(bytes + position);
        Py_ssize_t length = header.length, size = length - COUNTED_HEADER_SIZE;
        if (header.kind != MESSAGE || (header.flags | TEXT) != (TEXT | LAST) || header.reserved || header.id == 0 || size < 0 ||
            size > limit || end - position < LENGTH_SIZE + length)
            break;
        PyObject *answer = make_answer(header, bytes + position + HEADER_SIZE, size);
        if (answer == NULL) return PyErr_Occurred() ? -1 : position;
        int failed = PyList_Append(answers, answer);
        Py_DECREF(answer);
        if (failed) return -1;
        position += LENGTH_SIZE + length;
    }
    return position;
}

PyObject *read_answers(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count) {
    if (count != 4) {
        PyErr_SetString(PyExc_TypeError, "read_answers takes bytes, a position, an end and a limit");
        return NULL;
    }
    Py_ssize_t position = PyLong_AsSsize_t(arguments[1]), end = PyLong_AsSsize_t(arguments[2]);
    Py_ssize_t limit = PyLong_AsSsize_t(arguments[3]);
    if ((position == -1 || end == -1 || limit == -1) && PyErr_Occurred()) return NULL;
    Py_buffer buffer;
    if (PyObject_GetBuffer(arguments[0], &buffer, PyBUF_SIMPLE) < 0) return NULL;
    PyObject *answers = NULL, *result = NULL;
    if (position < 0 || end < 0 || end > buffer.len) {
        PyErr_SetString(PyExc_ValueError, "the positions are not within the bytes");
    } else {
        answers = PyList_New(0);
    }
    if (answers != NULL) {
        position = append_answers(answers, buffer.buf, position, end, limit);
        if (position >= 0) result = Py_BuildValue("(On)", answers, position);
        Py_DECREF(answers);
    }
    PyBuffer_Release(&buffer);
    return result;
}
