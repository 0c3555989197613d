/* The steps of a handler that waits: `NativeSteps`, the twin in C of `PythonHandlerTask.go_on` and `step` in task.py, for a
 * class that inherits from both; the same tests run over both.
 *
 * A step that returns, or waits again for a future or a turn of the loop, is taken here. Whatever is out of the ordinary is
 * left to methods of the Python class: an exception, a cancellation, a closed fence. */
#include "_handler.h"

static struct {
    PyObject *coroutine, *variables, *then, *go_on, *waiter, *must_cancel, *loop, *blocking, *result, *add_done_callback;
    PyObject *call_soon, *held_back, *step_with, *raised_later, *cancelled_later, *cancel_waiter, *wait_wrongly;
    PyObject *context; /* a tuple: the name of the only keyword argument of `add_done_callback` and `call_soon` */
} names;

static PyObject *NativeSteps_step(PyObject *task, PyObject *waited_for);

static PyMethodDef step_method = {"step", NativeSteps_step, METH_O, "Take one step."};

static PyObject *enter_task, *leave_task, *set_result, *fence_state, *check_fence;

static PyObject *imported(const char *module, const char *name) {
    PyObject *found = PyImport_ImportModule(module);
    if (found == NULL) return NULL;
    PyObject *attribute = PyObject_GetAttrString(found, name);
    Py_DECREF(found);
    return attribute;
}

int init_steps(void) {
    struct {
        PyObject **place;
        const char *text;
    } all[] = {
        {&names.coroutine, "coroutine"}, {&names.variables, "variables"}, {&names.then, "then"}, {&names.go_on, "go_on"},
        {&names.waiter, "_fut_waiter"}, {&names.must_cancel, "_must_cancel"}, {&names.loop, "_loop"},
        {&names.blocking, "_asyncio_future_blocking"}, {&names.result, "result"},
        {&names.add_done_callback, "add_done_callback"}, {&names.call_soon, "call_soon"},
        {&names.held_back, "held_back"}, {&names.step_with, "step_with"}, {&names.raised_later, "raised_later"},
        {&names.cancelled_later, "cancelled_later"}, {&names.cancel_waiter, "cancel_waiter"},
        {&names.wait_wrongly, "wait_wrongly"},
    };
    for (size_t at = 0; at < sizeof all / sizeof *all; at++) {
        *all[at].place = PyUnicode_InternFromString(all[at].text);
        if (*all[at].place == NULL) return -1;
    }
    names.context = Py_BuildValue("(s)", "context");
    enter_task = imported("asyncio.tasks", "_enter_task");
    leave_task = imported("asyncio.tasks", "_leave_task");
    PyObject *future = imported("asyncio", "Future"), *fence = imported("antiphon.server.home.fence", "fence");
    if (future != NULL) set_result = PyObject_GetAttrString(future, "set_result");
    if (fence != NULL) {
        fence_state = PyObject_GetAttrString(fence, "state");
        check_fence = PyObject_GetAttrString(fence, "check");
    }
    Py_XDECREF(future);
    Py_XDECREF(fence);
    return names.context && enter_task && leave_task && set_result && fence_state && check_fence ? 0 : -1;
}

/* Whether a step may be taken; -1 with an exception. */
static int is_fence_open(void) {
    if (is_known_open((double *)PyByteArray_AS_STRING(fence_state))) return 1;
    PyObject *answer = PyObject_CallNoArgs(check_fence);
    int open = answer == NULL ? -1 : PyObject_IsTrue(answer);
    Py_XDECREF(answer);
    return open;
}

/* Whether an attribute of a task is set and true; -1 with an exception. */
static int is_true(PyObject *attributes, PyObject *name) {
    PyObject *value = PyDict_GetItemWithError(attributes, name);
    if (value == NULL) return PyErr_Occurred() ? -1 : 0;
    return PyObject_IsTrue(value);
}

static PyObject *call_with_context(PyObject *method, PyObject *const *arguments, Py_ssize_t count, PyObject *attributes) {
    PyObject *all[4] = {arguments[0], arguments[1], count == 3 ? arguments[2] : NULL, NULL};
    PyObject *variables = PyDict_GetItemWithError(attributes, names.variables);
    if (variables == NULL) {
        if (!PyErr_Occurred()) PyErr_SetString(PyExc_AttributeError, "variables");
        return NULL;
    }
    all[count] = variables;
    return PyObject_VectorcallMethod(method, all, count, names.context);
}

/* As `go_on`, with the attributes of the task. */
static int wait_for(PyObject *task, PyObject *attributes, PyObject *waits_for) {
    int failed = -1, blocking = 0;
    if (waits_for != Py_None) {
        PyObject *value = PyObject_GetAttr(waits_for, names.blocking);
        if (value == NULL) {
            if (!PyErr_ExceptionMatches(PyExc_AttributeError)) return -1;
            PyErr_Clear();
        } else {
            blocking = waits_for == task ? 0 : PyObject_IsTrue(value);
            Py_DECREF(value);
            if (blocking < 0) return -1;
        }
        if (!blocking) return drop_result(PyObject_CallMethodOneArg(task, names.wait_wrongly, waits_for));
    }
    PyObject *step = PyCFunction_New(&step_method, task); /* as the attribute, without looking for it */
    if (step == NULL) return -1;
    if (blocking) {
        PyObject *arguments[] = {waits_for, step};
        if (PyObject_SetAttr(waits_for, names.blocking, Py_False) == 0 &&
            drop_result(call_with_context(names.add_done_callback, arguments, 2, attributes)) == 0 &&
            PyDict_SetItem(attributes, names.waiter, waits_for) == 0) {
            int cancel = is_true(attributes, names.must_cancel);
            failed = cancel > 0 ? drop_result(PyObject_CallMethodNoArgs(task, names.cancel_waiter)) : cancel;
        }
    } else {
        PyObject *loop = PyObject_GetAttr(task, names.loop);
        if (loop != NULL) {
            PyObject *arguments[] = {loop, step, Py_None};
            failed = drop_result(call_with_context(names.call_soon, arguments, 3, attributes));
            Py_DECREF(loop);
        }
    }
    Py_DECREF(step);
    return failed;
}

int go_on(PyObject *task, PyObject *waits_for) {
    if (!PyObject_TypeCheck(task, &NativeStepsType)) return drop_result(PyObject_CallMethodOneArg(task, names.go_on, waits_for));
    PyObject *attributes = PyObject_GenericGetDict(task, NULL);
    int failed = attributes == NULL ? -1 : wait_for(task, attributes, waits_for);
    Py_XDECREF(attributes);
    return failed;
}

int set_then(PyObject *task, PyObject *then) {
    if (!PyObject_TypeCheck(task, &NativeStepsType)) return PyObject_SetAttr(task, names.then, then);
    PyObject *attributes = PyObject_GenericGetDict(task, NULL);
    int failed = attributes == NULL ? -1 : PyDict_SetItem(attributes, names.then, then);
    Py_XDECREF(attributes);
    return failed;
}

/* Make a task the current task of its loop, or no longer; -1 with an exception. */
static int switch_task(PyObject *how, PyObject *loop, PyObject *task) {
    PyObject *arguments[] = {loop, task};
    return drop_result(PyObject_Vectorcall(how, arguments, 2, NULL));
}

/* End a task with what its coroutine has returned. Return 1; 0 if it has cancelled itself; -1 with an exception. */
static int end_task(PyObject *task, PyObject *attributes, PyObject *value) {
    int cancelled = is_true(attributes, names.must_cancel);
    if (cancelled < 0) return -1;
    if (cancelled) return drop_result(PyObject_CallMethodNoArgs(task, names.cancelled_later));
    PyObject *arguments[] = {task, value};
    return drop_result(PyObject_Vectorcall(set_result, arguments, 2, NULL)) < 0 ? -1 : 1;
}

/* Tell whoever is to be told that a task has ended, with what it has returned, or NULL. An exception that is set stays; -1
   with an exception. */
static int tell(PyObject *task, PyObject *attributes, PyObject *returned) {
    PyObject *error = PyErr_Occurred() ? take_exception() : NULL;
    PyObject *then = PyDict_GetItemWithError(attributes, names.then);
    int failed = PyErr_Occurred() ? -1 : 0;
    if (then != NULL && then != Py_None) {
        Py_INCREF(then);
        failed = Py_IS_TYPE(then, &WaitingType) ? answer_ended(then, task, returned)
                                                : drop_result(PyObject_CallOneArg(then, task));
        Py_DECREF(then);
    }
    if (error == NULL) return failed;
    if (failed) {
        Py_DECREF(error); /* as in Python: what is raised in `finally` takes its place */
    } else {
        set_exception(error);
    }
    return -1;
}

/* Send None to a coroutine while its task is the current one, and do with its outcome what is due. */
static int send_none(PyObject *task, PyObject *attributes, PyObject *coroutine, PyObject *loop) {
    PyObject *result = NULL;
    if (PyDict_SetItem(attributes, names.waiter, Py_None) < 0 || switch_task(enter_task, loop, task) < 0) return -1;
    PySendResult how = PyIter_Send(coroutine, Py_None, &result);
    int failed;
    if (how == PYGEN_NEXT) {
        failed = wait_for(task, attributes, result);
    } else if (how == PYGEN_RETURN) {
        int ended = end_task(task, attributes, result);
        failed = ended < 0 ? -1 : 0;
        if (ended != 1) Py_CLEAR(result);
    } else {
        PyObject *error = take_exception();
        failed = drop_result(PyObject_CallMethodOneArg(task, names.raised_later, error));
        Py_DECREF(error);
    }
    PyObject *error = failed ? take_exception() : NULL;
    if (switch_task(leave_task, loop, task) < 0) {
        Py_XDECREF(result);
        Py_XDECREF(error);
        return -1;
    }
    if (error != NULL) set_exception(error);
    if (how != PYGEN_NEXT) failed = tell(task, attributes, result);
    Py_XDECREF(result);
    return failed;
}

static PyObject *NativeSteps_go_on(PyObject *task, PyObject *waits_for) {
    if (go_on(task, waits_for)) return NULL;
    Py_RETURN_NONE;
}

static PyObject *NativeSteps_step(PyObject *task, PyObject *waited_for) {
    int open = is_fence_open();
    if (open < 0) return NULL;
    if (!open) return PyObject_CallMethodOneArg(task, names.held_back, waited_for);
    PyObject *error = NULL, *result = waited_for == Py_None ? Py_NewRef(Py_None) : PyObject_CallMethodNoArgs(waited_for, names.result);
    if (result == NULL) error = take_exception();
    Py_XDECREF(result);
    PyObject *attributes = PyObject_GenericGetDict(task, NULL), *done = NULL;
    int cancelled = attributes == NULL ? -1 : is_true(attributes, names.must_cancel);
    PyObject *coroutine = cancelled < 0 ? NULL : PyDict_GetItemWithError(attributes, names.coroutine);
    if (cancelled > 0 || error != NULL) {
        done = cancelled < 0 ? NULL : PyObject_CallMethodOneArg(task, names.step_with, error == NULL ? Py_None : error);
    } else if (coroutine != NULL) {
        PyObject *loop = PyObject_GetAttr(task, names.loop);
        Py_INCREF(coroutine);
        if (loop != NULL && send_none(task, attributes, coroutine, loop) == 0) done = Py_NewRef(Py_None);
        Py_DECREF(coroutine);
        Py_XDECREF(loop);
    } else if (!PyErr_Occurred()) {
        PyErr_SetString(PyExc_AttributeError, "coroutine");
    }
    Py_XDECREF(error);
    Py_XDECREF(attributes);
    return done;
}

static PyMethodDef methods[] = {
    {"go_on", NativeSteps_go_on, METH_O, "Take the next step when what the coroutine has yielded is done."},
    {"step", NativeSteps_step, METH_O, "Take one step."},
    {NULL},
};

PyTypeObject NativeStepsType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "antiphon.server.handler._handler.NativeSteps",
    .tp_basicsize = sizeof(PyObject),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .tp_methods = methods,
};
