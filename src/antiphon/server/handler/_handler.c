/* The module `antiphon.server.handler._handler`: what a handler that waits costs most often. */
#include "_handler.h"

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "_handler", .m_size = -1};

PyMODINIT_FUNC PyInit__handler(void) {
    if (init_steps() < 0 || init_waiting() < 0 || PyType_Ready(&NativeStepsType) < 0 || PyType_Ready(&WaitingType) < 0)
        return NULL;
    PyObject *module = PyModule_Create(&definition);
    if (module != NULL && (PyModule_AddObjectRef(module, "NativeSteps", (PyObject *)&NativeStepsType) < 0 ||
                           PyModule_AddObjectRef(module, "Waiting", (PyObject *)&WaitingType) < 0))
        Py_CLEAR(module);
    return module;
}
