/* The compiled part of the op log: what `muse/core/compiled.py` hands on.

   One rule holds for every function here: it answers "as usual", or None. A value that JSON would change, a field
   out of its range, a subclass, a damaged line: whatever needs thought is None, and
   goes to the Python that is there without this part. So there is one judge and one source of messages, and the
   bytes are the same with and without. What is here has no state but caches, and no thread of its own. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "crc.h"
#include "decode.h"
#include "encode.h"
#include "index.h"
#include "log_end.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "eight bytes at a time are looked at in little-endian order"
#endif

/* The agreement with `muse/core/compiled.py`, which takes no other. */
#define VERSION 2

/* crc32(data) -> int */
static PyObject *crc32_of(PyObject *module, PyObject *data) {
    char *at;
    Py_ssize_t size;
    if (PyBytes_AsStringAndSize(data, &at, &size) < 0) return NULL;
    return PyLong_FromUnsignedLong(crc_of(at, (size_t)size));
}

#define FAST(name, function) {name, (PyCFunction)(void (*)(void))function, METH_FASTCALL, NULL}
static PyMethodDef functions[] = {
    {"crc32", crc32_of, METH_O, NULL},
    FAST("encode_line", encode_line),
    FAST("encode_entries", encode_entries),
    FAST("new_entries", new_entries),
    {"format_op_ids", format_op_ids, METH_O, NULL},
    FAST("decode_block", decode_block),
    FAST("scan_block", scan_block),
    FAST("collect_entries", collect_entries),
    {"frames_hold", frames_hold, METH_O, NULL},
    FAST("fingerprints", fingerprints),
    {"find_in_snapshot", find_in_snapshot, METH_VARARGS, NULL},
    {"merge_rows", merge_rows, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "muse._native", NULL, -1, functions, NULL, NULL, NULL, NULL};

static int add_type(PyObject *module, PyType_Spec *spec, const char *name) {
    PyObject *type = PyType_FromSpec(spec);
    int is_added = type && PyModule_AddObjectRef(module, name, type) == 0;
    Py_XDECREF(type);
    return is_added;
}

PyMODINIT_FUNC PyInit__native(void) {
    crc_prepare();
    if (!entry_prepare() || !log_end_prepare()) return NULL;
    PyObject *module = PyModule_Create(&definition);
    if (module && (PyModule_AddIntConstant(module, "VERSION", VERSION) < 0 ||
                   !add_type(module, &entries_spec, "Entries") || !add_type(module, &log_end_spec, "LogEnd") ||
                   !add_type(module, &id_table_spec, "IdTable")))
        Py_CLEAR(module);
    return module;
}
