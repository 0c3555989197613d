/* What the twins in C of answering.py share. */
#ifndef ANTIPHON_ANSWERING_H
#define ANTIPHON_ANSWERING_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>
#include <structmember.h>

enum {
    LENGTH_SIZE = 4,
    HEADER_SIZE = 12,
    COUNTED = HEADER_SIZE - LENGTH_SIZE, /* bytes of the header that its length counts */
    TOKEN_SIZE = 16,
    COUNT_SIZE = 8,
    MESSAGE = 0x10,
    ACK = 0x14,
    TEXT = 1,
    LAST = 2,
    BATCH_LIMIT = 64 * 1024, /* bytes of answers after which the caller looks whether the peer takes them */
    FRAMED_FROM = 4 * 1024, /* bytes of an answer that is worth to be written without a copy */
    FRESH_LIMIT = 128 * 1024, /* bytes of answers after which those are settled that took the shortcut */
};

typedef struct {
    PyObject_HEAD
    vectorcallfunc call;
    PyObject *handle, *acknowledge; /* the latter NULL, where an ACK is left to others */
    unsigned char token[TOKEN_SIZE];
    Py_ssize_t message_limit, answer_limit;
    int takes_text, takes_bytes; /* both: whatever was sent */
    PyObject *stepping, *task; /* how coroutines take their first step, and a task that can be used again; or NULL */
    Py_ssize_t at, count;
    PyObject *left;
} Answerer;

/* Frames of answers, in a bytes object that grows. */
typedef struct {
    PyObject *bytes;
    Py_ssize_t used, expected;
} Answers;

enum { MAKE, ENTER, LEAVE, LOOP, VARIABLES, STEPPING_SIZE }; /* what stands where in `Stepping` */

extern PyTypeObject AnswererType, ShortcutType;

/* Intern the attribute names of tasks; -1 with an exception. */
int init_stepping(void);

/* Take the first step of a coroutine that the service gave, in a task of its own. Return what it returns, or NULL: with
   an exception, or with `waiting` set to its task and what it waits for, if it goes on later. */
PyObject *first_step(Answerer *self, PyObject *coroutine, PyObject **waiting);

/* Answer what stands in `data` from one place to another; return the frames. Where there is a place for the payload of
   the only answer, it may be put there instead of behind its header. */
PyObject *answered(Answerer *self, PyObject *data, Py_ssize_t at, Py_ssize_t end, PyObject **only);

/* Append one answer; 1 when done, 0 where it is none that can be sent as it is, -1 with an exception. */
int append(Answers *answers, Py_ssize_t limit, const unsigned char *id, PyObject *reply);

/* Return the exception that is set, with its traceback, and set none. */
PyObject *raised(void);

void write_u32(unsigned char *bytes, uint32_t number);

#endif
