/* What the C files of the fast path share. docs/batch.md holds the rules of a batch; batch.py is the twin. */
#ifndef ANTIPHON_BATCH_H
#define ANTIPHON_BATCH_H

#include "_frames.h"

typedef struct {
    PyObject_HEAD
    vectorcallfunc call;
    PyObject *handle;
    PyObject *acknowledge; /* NULL if an ACK is left to the caller */
    unsigned char token[TOKEN_SIZE];
    Py_ssize_t message_limit, answer_limit;
    int takes_text, takes_bytes; /* both: the handler takes what was sent */
    PyObject *decode; /* NULL if the handler is given the payload */
    PyObject *encode; /* NULL if answers are text or bytes */
    PyObject *clock; /* NULL if a call may take as long as it takes */
    int reads_system_clock; /* `clock` is `time.perf_counter`, which is the system's monotonic clock */
    double turn_seconds;
    Py_buffer times; /* an array as in times.py; `buf` is NULL if there is none */
    Py_ssize_t timed; /* of `count`, how many are in `times` */
    double began; /* when the last look at the clock was, if there are `times` */
    double seconds; /* what this answerer has added to the seconds of `times` */
    PyObject *stepping; /* a `Stepping`; NULL if coroutines are left to the caller */
    PyObject *task; /* a task for the next coroutine, as new; or NULL */
    Py_ssize_t position, count;
    PyObject *unanswered;
} BatchAnswerer;

enum { MAKE, ENTER, LEAVE, LOOP, VARIABLES, STEPPING_SIZE }; /* the fields of `Stepping`, in order */

extern PyTypeObject BatchAnswererType, BatchResponderType;

/* Intern the names that steps need; -1 with an exception. */
int init_stepping(void);

/* Take the first step of a coroutine, in a task of its own. Return its result; NULL with an exception; or NULL with
   `waiting` set to the task and what the coroutine waits for. */
PyObject *take_first_step(BatchAnswerer *self, PyObject *coroutine, PyObject **waiting);

/* Append the frame of an answer, as `append_answer` does; a value is sent as JSON. */
int append_reply(BatchAnswerer *self, Answers *answers, uint32_t id, PyObject *reply);

/* Answer the frames of `data` between two positions; return the frames of the answers, NULL with an exception. If `only`
   is not NULL, the payload of a large answer that is the only one may be put there, and its header alone returned. */
PyObject *answer_batch(BatchAnswerer *self, PyObject *data, Py_ssize_t position, Py_ssize_t end, PyObject **only);

/* Functions of the module, for the client; client_batch.py has their twins. */
PyObject *encode_message(PyObject *module, PyObject *const *arguments, Py_ssize_t count);
PyObject *read_answers(PyObject *module, PyObject *const *arguments, Py_ssize_t count);

#endif
