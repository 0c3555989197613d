/* What the C files of the fast path share. docs/batch.md holds the rules of a batch; batch.py is the twin. */
#ifndef ANTIPHON_BATCH_H
#define ANTIPHON_BATCH_H

#include "../_times.h"
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
    Clock clock; /* none if a call may take as long as it takes */
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

typedef struct HeldMessages HeldMessages;

typedef struct {
    PyObject_HEAD
    vectorcallfunc call;
    BatchAnswerer *answerer;
    PyObject *unsettled, *settle, *write, *leave;
    PyObject *write_framed, *wait; /* may be NULL */
    HeldMessages *held; /* likewise */
    char closed; /* 0, 1 or WAITING */
    Py_ssize_t unsettled_bytes, unsettled_limit, received_bytes, sent_bytes;
} BatchResponder;

enum { WAITING = 2 }; /* of `closed`: closed by a coroutine that waits and by nothing else */

enum { MAKE, ENTER, LEAVE, LOOP, VARIABLES, STEPPING_SIZE }; /* the fields of `Stepping`, in order */

extern PyTypeObject BatchAnswererType, BatchResponderType, HeldMessagesType, ExchangeType, AskingType;

/* Make the types of an exchange ready; -1 with an exception. */
int init_exchange(void);

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

/* Answer a message whose coroutine has waited, and open; False if that is left to the caller, NULL with an exception. The
   arguments are an id and a reply. */
PyObject *answer_waited(BatchResponder *self, PyObject *const *arguments, Py_ssize_t count);

/* Return the frame that answers a message whose coroutine has waited, noted but not written; None if that is left to the
   caller, NULL with an exception. The arguments are an id and a reply. */
PyObject *prepare_answer(BatchResponder *self, PyObject *const *arguments, Py_ssize_t count);

/* Write a frame that `prepare_answer` has returned. */
PyObject *send_frame(BatchResponder *self, PyObject *frame);

/* Whether the last batch, whose answers are `frames`, was one message, and its coroutine waits. */
int waits_only(BatchAnswerer *answerer, PyObject *frames);

/* Give that message to `wait`; no reference to it stays with the answerer. */
PyObject *give_to(PyObject *wait, BatchAnswerer *answerer);

/* Hold what stands between two positions, if it is whole messages and nothing else. Return 1 if so, 0 if not; -1 with an
   exception. */
int hold_rest(HeldMessages *self, PyObject *data, Py_ssize_t position, Py_ssize_t end);

/* Return the frame of a message from the client, and the size of its payload; NULL without an exception if that is larger
   than `limit`, NULL with an exception if it is no payload. */
PyObject *frame_message(uint32_t id, PyObject *message, PyObject *token, Py_ssize_t limit, Py_ssize_t *message_size);

/* Functions of the module, for the client; client_batch.py has their twins. */
PyObject *encode_message(PyObject *module, PyObject *const *arguments, Py_ssize_t count);
PyObject *read_answers(PyObject *module, PyObject *const *arguments, Py_ssize_t count);

#endif
