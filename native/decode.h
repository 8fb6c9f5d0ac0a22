/* Lines to entries: whole lines as our writers make them, each with a crc that holds. */
#ifndef MUSE_NATIVE_DECODE_H
#define MUSE_NATIVE_DECODE_H

#include "entry.h"

/* Functions of the module. */
PyObject *decode_block(PyObject *module, PyObject *const *arguments, Py_ssize_t count);
PyObject *scan_block(PyObject *module, PyObject *const *arguments, Py_ssize_t count);
PyObject *collect_entries(PyObject *module, PyObject *const *arguments, Py_ssize_t count);
PyObject *frames_hold(PyObject *module, PyObject *lines);

/* The type `Entries`. */
extern PyType_Spec entries_spec;

#endif
