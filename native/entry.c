#include "entry.h"

#define HEAD(text) {text, sizeof(text) - 1}

const Head heads[FIELDS] = {
    HEAD("{\"op_id\":"),        HEAD(",\"actor_id\":"),   HEAD(",\"lamport_ts\":"),
    HEAD(",\"parent_op_ids\":"), HEAD(",\"domain\":"),    HEAD(",\"domain_op\":"),
    HEAD(",\"created_at\":"),   HEAD(",\"intent_id\":"),  HEAD(",\"reservation_id\":"),
};
PyObject *field_names[FIELDS];
const char hex_digits[16] = "0123456789abcdef";
signed char hex_values[256];

static PyObject *pattern; /* a dict with the nine keys: a copy of its table costs a third of nine insertions */

int entry_prepare(void) {
    memset(hex_values, -1, sizeof hex_values);
    for (int digit = 0; digit < 16; digit++) hex_values[(unsigned char)hex_digits[digit]] = (signed char)digit;
    pattern = PyDict_New();
    for (int field = 0; pattern && field < FIELDS; field++) {
        const Head *head = &heads[field]; /* the name is between its quotes */
        PyObject *name = PyUnicode_FromStringAndSize(head->text + 2, (Py_ssize_t)head->size - 4);
        if (!name) return 0;
        PyUnicode_InternInPlace(&name);
        field_names[field] = name; /* kept as long as the process */
        if (PyDict_SetItem(pattern, name, Py_None) < 0) return 0;
    }
    return pattern != NULL;
}

PyObject *entry_new(void) { return PyDict_Copy(pattern); }

int is_op_id(const char *at, Py_ssize_t size) {
    static const unsigned char digits[] = {0,  1,  2,  3,  4,  5,  6,  7,  9,  10, 11, 12, 14, 15, 16, 17,
                                           19, 20, 21, 22, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35};
    if (size != OP_ID_CHARACTERS || at[8] != '-' || at[13] != '-' || at[18] != '-' || at[23] != '-') return 0;
    if (at[14] != '4' || (at[19] != '8' && at[19] != '9' && at[19] != 'a' && at[19] != 'b')) return 0;
    int sign = 0;
    for (size_t i = 0; i < sizeof digits; i++) sign |= hex_values[(unsigned char)at[digits[i]]];
    return sign >= 0; /* negative once any is */
}
