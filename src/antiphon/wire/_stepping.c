/* The first step of a coroutine: in a task and a copy of the context variables of its own. */
#include "_batch.h"

static PyObject *coroutine_name, *variables_name, *returned_name, *raised_name;

enum { ATTRIBUTES = 2 }; /* that a step sets on its task: the coroutine and its variables */

int init_stepping(void) {
    coroutine_name = PyUnicode_InternFromString("coroutine");
    variables_name = PyUnicode_InternFromString("variables");
    returned_name = PyUnicode_InternFromString("returned");
    raised_name = PyUnicode_InternFromString("raised");
    return coroutine_name && variables_name && returned_name && raised_name ? 0 : -1;
}

/* Whether a task is as new: only the caller refers to it, weak references included, and nothing else was set on it. */
static int is_as_new(PyObject *task, PyObject *attributes) {
    if (Py_REFCNT(task) != 1 || PyDict_GET_SIZE(attributes) != ATTRIBUTES) return 0;
    return !PyType_SUPPORTS_WEAKREFS(Py_TYPE(task)) || *PyObject_GET_WEAKREFS_LISTPTR(task) == NULL;
}

/* Set what a step needs on a task; with None, drop it. -1 with an exception. */
static int set_step(PyObject *attributes, PyObject *coroutine, PyObject *variables) {
    if (PyDict_SetItem(attributes, coroutine_name, coroutine) < 0) return -1;
    return PyDict_SetItem(attributes, variables_name, variables);
}

/* Make a task the current task of the loop (ENTER), or no longer (LEAVE); -1 with an exception. */
static int switch_task(BatchAnswerer *self, int how, PyObject *task) {
    PyObject *arguments[] = {PyTuple_GET_ITEM(self->stepping, LOOP), task};
    return drop_result(PyObject_Vectorcall(PyTuple_GET_ITEM(self->stepping, how), arguments, 2, NULL));
}

/* Send None to a coroutine, in its variables, while its task is the current one. Works as `PyIter_Send`. */
static PySendResult send_none(BatchAnswerer *self, PyObject *coroutine, PyObject *task, PyObject *variables, PyObject **result) {
    PySendResult how = PYGEN_ERROR;
    if (switch_task(self, ENTER, task) < 0) return how;
    int entered = PyContext_Enter(variables) == 0;
    if (entered) how = PyIter_Send(coroutine, Py_None, result);
    PyObject *error = how == PYGEN_ERROR ? take_exception() : NULL;
    int failed = entered && PyContext_Exit(variables) < 0;
    if (switch_task(self, LEAVE, task) < 0 || failed) {
        Py_CLEAR(*result);
        Py_XDECREF(error);
        return PYGEN_ERROR;
    }
    if (error != NULL) set_exception(error);
    return how;
}

/* End a task with the result of its coroutine, or with the exception that the coroutine raised. Steals both. Return
   the result, which the task may change; NULL with an exception. */
static PyObject *end_task(PyObject *task, PyObject *result, PyObject *error) {
    if (error == NULL) {
        PyObject *changed = PyObject_CallMethodOneArg(task, returned_name, result);
        Py_DECREF(result);
        return changed;
    }
    if (drop_result(PyObject_CallMethodOneArg(task, raised_name, error)) == 0) {
        set_exception(error);
    } else {
        Py_DECREF(error);
    }
    return NULL;
}

PyObject *take_first_step(BatchAnswerer *self, PyObject *coroutine, PyObject **waiting) {
    PyObject *task = self->task, *result = NULL;
    self->task = NULL; /* a nested call needs another one */
    if (task == NULL) task = PyObject_CallNoArgs(PyTuple_GET_ITEM(self->stepping, MAKE));
    PyObject *attributes = task == NULL ? NULL : PyObject_GenericGetDict(task, NULL);
    if (attributes == NULL) {
        Py_XDECREF(task);
        return NULL;
    }
    PyObject *variables = PyContext_Copy(PyTuple_GET_ITEM(self->stepping, VARIABLES));
    PySendResult how = PYGEN_ERROR;
    if (variables != NULL && set_step(attributes, coroutine, variables) == 0) {
        how = send_none(self, coroutine, task, variables, &result);
    }
    Py_XDECREF(variables);
    PyObject *error = how == PYGEN_ERROR ? take_exception() : NULL;
    if (how == PYGEN_NEXT) {
        *waiting = PyTuple_Pack(2, task, result);
        Py_CLEAR(result);
    } else if (is_as_new(task, attributes) && set_step(attributes, Py_None, Py_None) == 0) {
        Py_XSETREF(self->task, Py_NewRef(task)); /* a nested call may have put another one there */
        if (error != NULL) set_exception(error);
    } else {
        PyErr_Clear();
        result = end_task(task, result, error);
    }
    Py_DECREF(attributes);
    Py_DECREF(task);
    return result;
}
