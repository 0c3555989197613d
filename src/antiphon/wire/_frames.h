/* Frames in C: the header of version 1 (docs/protocol.md), as frames.py has it in Python, and what every part in C does with frames. */
#ifndef ANTIPHON_FRAMES_H
#define ANTIPHON_FRAMES_H

#include "../_native.h"

#include <stdint.h>
#include <string.h>

enum {
    LENGTH_SIZE = 4,
    HEADER_SIZE = 12,
    COUNTED_HEADER_SIZE = HEADER_SIZE - LENGTH_SIZE, /* bytes of the header that its length counts */
    TOKEN_SIZE = 16,
    COUNT_SIZE = 8,
    MESSAGE = 0x10,
    ACK = 0x14,
    TEXT = 1,
    LAST = 2,
    BATCH_LIMIT = 64 * 1024, /* bytes of answers in one piece; as in batch.py */
    FRAMED_SIZE = 4 * 1024, /* bytes of an answer that is worth writing without a copy */
};

typedef struct {
    uint32_t length, id;
    unsigned char kind, flags;
    uint16_t reserved;
} Header;

static inline uint32_t read_u32(const unsigned char *bytes) {
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static inline void write_u32(unsigned char *bytes, uint32_t number) {
    bytes[0] = number >> 24;
    bytes[1] = number >> 16;
    bytes[2] = number >> 8;
    bytes[3] = number;
}

/* Read a header. Precondition: HEADER_SIZE bytes can be read. */
static inline Header read_header(const unsigned char *frame) {
    return (Header){
        .length = read_u32(frame),
        .kind = frame[4],
        .flags = frame[5],
        .reserved = (uint16_t)(frame[6] << 8 | frame[7]),
        .id = read_u32(frame + 8),
    };
}

/* Frames of answers, in a bytes object that grows. */
typedef struct {
    PyObject *bytes; /* NULL as long as there is none */
    Py_ssize_t used, expected; /* bytes in use; bytes to allocate at first */
} Answers;

/* Append the frame of an answer. Return 1; 0 if the reply cannot be sent as it is; -1 with an exception. */
int append_answer(Answers *answers, Py_ssize_t limit, uint32_t id, PyObject *reply);

/* Append the frame of an answer of text, whose UTF-8 is in a bytearray; returns the same. */
int append_text(Answers *answers, Py_ssize_t limit, uint32_t id, PyObject *text);

/* Whether a reply is large, and its bytes can be sent without encoding. */
int is_large(PyObject *reply, Py_ssize_t limit);

/* Make the header of the only answer, and hand out its payload beside it. Return 1, or -1 with an exception. */
int put_framed(Answers *answers, PyObject **payload, uint32_t id, PyObject *reply);

/* Return the frames, which may be none; NULL with an exception. Steals the reference. */
PyObject *finish_answers(Answers *answers);

/* Return text; NULL with an exception if it is not UTF-8. */
PyObject *decode_text(const unsigned char *bytes, Py_ssize_t size);

#endif
