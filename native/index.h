/* The table of the index: where the line of an op may start, by the fingerprint of its id. */
#ifndef MUSE_NATIVE_INDEX_H
#define MUSE_NATIVE_INDEX_H

#include "buffer.h"

extern PyType_Spec id_table_spec;

/* Functions of the module. */
PyObject *fingerprints(PyObject *module, PyObject *const *arguments, Py_ssize_t count);
PyObject *find_in_snapshot(PyObject *module, PyObject *arguments);
PyObject *merge_rows(PyObject *module, PyObject *arguments);

#endif
