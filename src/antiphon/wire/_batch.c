/* The module `antiphon.wire._batch`: the classes of the fast path, and the client's batch and exchange. */
#include "_batch.h"

static PyMethodDef functions[] = {
    {"encode_message", (PyCFunction)(void (*)(void))encode_message, METH_FASTCALL, "Return the frame of a message."},
    {"read_answers", (PyCFunction)(void (*)(void))read_answers, METH_FASTCALL, "Return the answers in received bytes."},
    {NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "_batch", .m_size = -1, .m_methods = functions};

PyMODINIT_FUNC PyInit__batch(void) {
    if (init_stepping() < 0 || init_exchange() < 0 || PyType_Ready(&BatchAnswererType) < 0 || PyType_Ready(&BatchResponderType) < 0 ||
        PyType_Ready(&HeldMessagesType) < 0)
        return NULL;
    PyObject *module = PyModule_Create(&definition);
    if (module != NULL && (PyModule_AddObjectRef(module, "BatchAnswerer", (PyObject *)&BatchAnswererType) < 0 ||
                           PyModule_AddObjectRef(module, "BatchResponder", (PyObject *)&BatchResponderType) < 0 ||
                           PyModule_AddObjectRef(module, "HeldMessages", (PyObject *)&HeldMessagesType) < 0 ||
                           PyModule_AddObjectRef(module, "Exchange", (PyObject *)&ExchangeType) < 0 ||
                           PyModule_AddObjectRef(module, "Asking", (PyObject *)&AskingType) < 0))
        Py_CLEAR(module);
    return module;
}
