/* Entries to lines, checked on the way as `check_entry` and `encode_line` check them. */
#ifndef MUSE_NATIVE_ENCODE_H
#define MUSE_NATIVE_ENCODE_H

#include "entry.h"

/* What a log accepts: `muse.core.entry.Limits`. */
typedef struct {
    long long entry_bytes, nesting_depth, parents, text_length;
} Limits;

/* Read the limits from four Python integers; 0 with an exception set if they are none. */
int limits_from(PyObject *const *arguments, Limits *limits);

/* Append the line of `entry`, newline included. It runs no Python code, and lets no other thread run. */
Outcome encode_entry(Buffer *lines, PyObject *entry, const Limits *limits);

/* Functions of the module. */
PyObject *encode_line(PyObject *module, PyObject *const *arguments, Py_ssize_t count);
PyObject *encode_entries(PyObject *module, PyObject *const *arguments, Py_ssize_t count);
PyObject *new_entries(PyObject *module, PyObject *const *arguments, Py_ssize_t count);
PyObject *format_op_ids(PyObject *module, PyObject *octets);

/* Return a new entry of these values but for its stamp, which is None; NULL with an exception set on failure. */
PyObject *entry_of(PyObject *op_id, PyObject *actor_id, PyObject *parents, PyObject *domain, PyObject *domain_op,
                   PyObject *created_at, PyObject *intent_id, PyObject *reservation_id);

#endif
