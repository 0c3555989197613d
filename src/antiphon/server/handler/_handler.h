/* What the C files of server/handler/ share. */
#ifndef ANTIPHON_HANDLER_H
#define ANTIPHON_HANDLER_H

#include "../../_times.h"

extern PyTypeObject NativeStepsType, WaitingType;

/* Take the next step of a task when `waits_for` is done, as its `go_on`; -1 with an exception. */
int go_on(PyObject *task, PyObject *waits_for);

/* Set what a task calls when it has ended; -1 with an exception. */
int set_then(PyObject *task, PyObject *then);

/* Answer the message of a task that has ended, as a call of a `Waiting`; `reply` is what it has returned, NULL if it is not
   known. -1 with an exception. */
int answer_ended(PyObject *waiting, PyObject *task, PyObject *reply);

/* Import and intern what steps need; -1 with an exception. */
int init_steps(void);

/* Intern the names that `Waiting` needs; -1 with an exception. */
int init_waiting(void);

#endif
