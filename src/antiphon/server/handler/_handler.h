/* What the C files of server/handler/ share. */
#ifndef ANTIPHON_HANDLER_H
#define ANTIPHON_HANDLER_H

#include "../../_times.h"

extern PyTypeObject NativeStepsType, WaitingType;

/* Import and intern what steps need; -1 with an exception. */
int init_steps(void);

/* Intern the names that `Waiting` needs; -1 with an exception. */
int init_waiting(void);

#endif
