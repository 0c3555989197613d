/* The first step of a coroutine, as `PythonAnswerer` in answering.py takes it: in a task and a context of its own. */
#include "_answering.h"

static PyObject *coroutine_name, *variables_name, *touched_name, *returned_name, *raised_name;

int init_stepping(void) {
    coroutine_name = PyUnicode_InternFromString("coroutine");
    variables_name = PyUnicode_InternFromString("variables");
    touched_name = PyUnicode_InternFromString("touched");
    returned_name = PyUnicode_InternFromString("returned");
    raised_name = PyUnicode_InternFromString("raised");
    return coroutine_name && variables_name && touched_name && returned_name && raised_name ? 0 : -1;
}

/* Whether a handler has changed its task; -1 with an exception. */
static int is_touched(PyObject *task) {
    PyObject *touched = PyObject_GetAttr(task, touched_name);
    if (touched == NULL) return -1;
    int answer = PyObject_IsTrue(touched);
    Py_DECREF(touched);
    return answer;
}

/* Whether anybody but the caller refers to an object, weakly or not. */
static int is_referred_to(PyObject *object) {
    return Py_REFCNT(object) != 1 ||
           (PyType_SUPPORTS_WEAKREFS(Py_TYPE(object)) && *PyObject_GET_WEAKREFS_LISTPTR(object) != NULL);
}

/* Return a task: the last one if it can be used again, else a new one. */
static PyObject *make_task(Answerer *self) {
    PyObject *task = self->task;
    self->task = NULL; /* a call within this one has another */
    if (task != NULL && !is_referred_to(task)) return task;
    Py_XDECREF(task);
    return PyObject_CallNoArgs(PyTuple_GET_ITEM(self->stepping, MAKE));
}

/* Make a task the current task, or no longer; -1 with an exception. */
static int tell_loop(Answerer *self, int what, PyObject *task) {
    PyObject *given[] = {PyTuple_GET_ITEM(self->stepping, LOOP), task};
    PyObject *done = PyObject_Vectorcall(PyTuple_GET_ITEM(self->stepping, what), given, 2, NULL);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* Set an exception that `raised` has given, with its traceback. */
static void raise_again(PyObject *error) {
    if (error == NULL) return;
    PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    Py_DECREF(error);
}

/* Send None to a coroutine while its task is the current one; as `PyIter_Send`. */
static PySendResult step(Answerer *self, PyObject *coroutine, PyObject *task, PyObject **given) {
    PySendResult result = PYGEN_ERROR;
    *given = NULL;
    PyObject *variables = PyContext_Copy(PyTuple_GET_ITEM(self->stepping, VARIABLES));
    if (variables == NULL) return result;
    if (PyObject_SetAttr(task, coroutine_name, coroutine) == 0 && PyObject_SetAttr(task, variables_name, variables) == 0 &&
        tell_loop(self, ENTER, task) == 0) {
        if (PyContext_Enter(variables) == 0) {
            result = PyIter_Send(coroutine, Py_None, given);
            PyObject *error = PyErr_Occurred() ? raised() : NULL;
            if (PyContext_Exit(variables) < 0) PyErr_Clear();
            raise_again(error);
        }
        PyObject *error = PyErr_Occurred() ? raised() : NULL;
        if (tell_loop(self, LEAVE, task) < 0) {
            if (error == NULL) result = PYGEN_ERROR;
            else PyErr_Clear();
        }
        raise_again(error);
        if (result == PYGEN_ERROR) Py_CLEAR(*given);
    }
    Py_DECREF(variables);
    return result;
}

/* End a task that its handler has touched: with the result, which may become another, or with what was raised. */
static PyObject *end_touched(PyObject *task, PyObject *result) {
    if (result != NULL) {
        PyObject *outcome = PyObject_CallMethodOneArg(task, returned_name, result);
        Py_DECREF(result);
        return outcome;
    }
    PyObject *error = raised(), *done = PyObject_CallMethodOneArg(task, raised_name, error);
    Py_XDECREF(done);
    if (done == NULL) PyErr_Clear();
    raise_again(error);
    return NULL;
}

PyObject *first_step(Answerer *self, PyObject *coroutine, PyObject **waiting) {
    PyObject *given, *task = make_task(self);
    if (task == NULL) return NULL;
    PySendResult result = step(self, coroutine, task, &given);
    if (result == PYGEN_NEXT) {
        *waiting = PyTuple_Pack(2, task, given);
        Py_DECREF(task);
        Py_DECREF(given);
        return NULL;
    }
    PyObject *error = result == PYGEN_ERROR ? raised() : NULL;
    int touched = is_touched(task);
    if (PyObject_SetAttr(task, coroutine_name, Py_None) < 0) touched = -1;
    if (touched < 0) { /* a task that cannot be asked */
        Py_CLEAR(given);
        if (error != NULL) PyErr_Clear();
    }
    raise_again(error);
    if (touched > 0) given = end_touched(task, given);
    if (touched == 0 && !is_referred_to(task)) {
        Py_XSETREF(self->task, task);
    } else {
        Py_DECREF(task);
    }
    return given;
}
