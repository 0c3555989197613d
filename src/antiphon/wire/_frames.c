/* Frames of answers; _frames.h says what each function does. */
#include "_frames.h"

/* Write the header of the only answer to a message. */
static void write_header(unsigned char *frame, Py_ssize_t size, unsigned char flags, uint32_t id) {
    write_u32(frame, (uint32_t)(COUNTED_HEADER_SIZE + size));
    frame[4] = MESSAGE;
    frame[5] = flags | LAST;
    frame[6] = frame[7] = 0;
    write_u32(frame + 8, id);
}

/* Append a frame; the result is that of `append_answer`. */
static int append_frame(Answers *answers, Py_ssize_t limit, uint32_t id, const char *body, Py_ssize_t size, unsigned char flags) {
    if (size > limit) return 0;
    Py_ssize_t needed = answers->used + HEADER_SIZE + size;
    if (answers->bytes == NULL) {
        answers->bytes = PyBytes_FromStringAndSize(NULL, needed > answers->expected ? needed : answers->expected);
    } else if (needed > PyBytes_GET_SIZE(answers->bytes)) {
        _PyBytes_Resize(&answers->bytes, needed + needed / 2);
    }
    if (answers->bytes == NULL) return -1;
    unsigned char *frame = (unsigned char *)PyBytes_AS_STRING(answers->bytes) + answers->used;
    write_header(frame, size, flags, id);
    memcpy(frame + HEADER_SIZE, body, size);
    answers->used = needed;
    return 1;
}

int append_answer(Answers *answers, Py_ssize_t limit, uint32_t id, PyObject *reply) {
    if (PyBytes_CheckExact(reply))
        return append_frame(answers, limit, id, PyBytes_AS_STRING(reply), PyBytes_GET_SIZE(reply), 0);
    if (!PyUnicode_CheckExact(reply)) return 0;
    Py_ssize_t size;
    const char *body = PyUnicode_AsUTF8AndSize(reply, &size);
    if (body != NULL) return append_frame(answers, limit, id, body, size, TEXT);
    PyErr_Clear(); /* half a surrogate pair: the caller meets it again, and reports it */
    return 0;
}

int append_text(Answers *answers, Py_ssize_t limit, uint32_t id, PyObject *text) {
    return append_frame(answers, limit, id, PyByteArray_AS_STRING(text), PyByteArray_GET_SIZE(text), TEXT);
}

int is_large(PyObject *reply, Py_ssize_t limit) {
    Py_ssize_t size;
    if (PyBytes_CheckExact(reply)) size = PyBytes_GET_SIZE(reply);
    else if (PyUnicode_CheckExact(reply) && PyUnicode_IS_COMPACT_ASCII(reply)) size = PyUnicode_GET_LENGTH(reply);
    else return 0;
    return size >= FRAMED_SIZE && size <= limit && HEADER_SIZE + size <= BATCH_LIMIT;
}

int put_framed(Answers *answers, PyObject **payload, uint32_t id, PyObject *reply) {
    int is_text = PyUnicode_CheckExact(reply);
    answers->bytes = PyBytes_FromStringAndSize(NULL, HEADER_SIZE);
    if (answers->bytes == NULL) return -1;
    answers->used = HEADER_SIZE;
    Py_ssize_t size = is_text ? PyUnicode_GET_LENGTH(reply) : PyBytes_GET_SIZE(reply);
    write_header((unsigned char *)PyBytes_AS_STRING(answers->bytes), size, is_text ? TEXT : 0, id);
    *payload = Py_NewRef(reply);
    return 1;
}

PyObject *finish_answers(Answers *answers) {
    if (answers->bytes == NULL) return PyBytes_FromStringAndSize(NULL, 0);
    if (answers->used < PyBytes_GET_SIZE(answers->bytes)) _PyBytes_Resize(&answers->bytes, answers->used);
    return answers->bytes;
}

/* Python's decoder checks and copies in one pass, a word at a time only where it is aligned; to check first and then copy
   what is ASCII takes a third of its time for long text. */
PyObject *decode_text(const unsigned char *bytes, Py_ssize_t size) {
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
