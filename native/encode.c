/* Writing: JSON as orjson makes it of what JSON gives back unchanged, and the checks of `muse.core.entry`.

   A line is made while its entry is checked, so each value is looked at once. Where a value is not as usual, what was
   written so far is thrown away. */
#include "encode.h"

#include "crc.h"

/* More parents are compared in Python, which uses a set. */
#define MOST_PARENTS 16

/* Return the UTF-8 of a str, which lives as long as the str; NULL for one with a lone surrogate. */
static const char *utf8_of(PyObject *text, Py_ssize_t *size) {
    const char *at = PyUnicode_AsUTF8AndSize(text, size);
    if (!at) PyErr_Clear(); /* no memory for it: Python will say so again */
    return at;
}

static char *put_escape(char *to, unsigned char octet) {
    static const char octets[] = "\"\\\b\t\n\f\r", letters[] = "\"\\btnfr";
    const char *known = octet ? strchr(octets, octet) : NULL;
    *to++ = '\\';
    if (known) {
        *to++ = letters[known - octets];
        return to;
    }
    memcpy(to, "u00", 3);
    to[3] = hex_digits[octet >> 4];
    to[4] = hex_digits[octet & 15];
    return to + 5;
}

/* Put a JSON string. Up to seven bytes too many are written, for which there is room, and written over. */
static Outcome put_string(Buffer *lines, const char *from, size_t size, const Limits *limits) {
    if ((long long)size > limits->entry_bytes) return UNUSUAL;
    if (!buffer_ensure(lines, 6 * size + 16)) return FAILED;
    char *to = lines->at + lines->size;
    const char *end = from + size;
    *to++ = '"';
    while (end - from >= 8) {
        uint64_t eight = load_8(from), found = bytes_to_escape(eight);
        memcpy(to, &eight, 8);
        int plain = found ? lowest_byte(found) : 8;
        from += plain;
        to += plain;
        if (found) to = put_escape(to, (unsigned char)*from++);
    }
    size_t left = (size_t)(end - from);
    int passed = (int)(8 - left) * 8; /* bits, of the last eight bytes, that were put already */
    if (left && size >= 8 && !(bytes_to_escape(load_8(end - 8)) >> passed)) {
        uint64_t eight = load_8(end - 8) >> passed;
        memcpy(to, &eight, 8);
        to += left;
        from = end;
    }
    for (; from < end; from++) {
        unsigned char octet = (unsigned char)*from;
        if (octet < 0x20 || octet == '"' || octet == '\\') to = put_escape(to, octet);
        else *to++ = (char)octet;
    }
    *to++ = '"';
    lines->size = (size_t)(to - lines->at);
    return USUAL;
}

static Outcome put_str(Buffer *lines, PyObject *text, const Limits *limits) {
    Py_ssize_t size;
    const char *at = utf8_of(text, &size);
    return at ? put_string(lines, at, (size_t)size, limits) : UNUSUAL;
}

/* There must be room for 20 digits. */
static void put_unsigned(Buffer *lines, uint64_t value) {
    char digits[20], *first = digits + sizeof digits;
    do *--first = (char)('0' + value % 10);
    while (value /= 10);
    buffer_put(lines, first, (size_t)(digits + sizeof digits - first));
}

/* Integers from -2^63 to 2^64 - 1. */
static Outcome put_int(Buffer *lines, PyObject *number) {
    int overflow;
    long long value = PyLong_AsLongLongAndOverflow(number, &overflow);
    if (overflow < 0) return UNUSUAL;
    if (!buffer_ensure(lines, 24)) return FAILED;
    if (overflow > 0) {
        unsigned long long large = PyLong_AsUnsignedLongLong(number);
        if (large == (unsigned long long)-1 && PyErr_Occurred()) {
            PyErr_Clear();
            return UNUSUAL;
        }
        put_unsigned(lines, large);
        return USUAL;
    }
    if (value < 0) buffer_put_byte(lines, '-');
    put_unsigned(lines, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
    return USUAL;
}

/* The shortest digits that give the float back. With an exponent, versions of orjson differ (1e16, 1e+16). */
static Outcome put_float(Buffer *lines, double value) {
    if (value - value != 0) return UNUSUAL; /* infinite, or not a number */
    char *digits = PyOS_double_to_string(value, 'r', 0, Py_DTSF_ADD_DOT_0, NULL);
    if (!digits) return FAILED;
    size_t size = strlen(digits);
    Outcome outcome = strchr(digits, 'e') ? UNUSUAL : buffer_ensure(lines, size) ? USUAL : FAILED;
    if (outcome == USUAL) buffer_put(lines, digits, size);
    PyMem_Free(digits);
    return outcome;
}

static Outcome put_value(Buffer *lines, PyObject *value, const Limits *limits, int levels);

static Outcome put_dict(Buffer *lines, PyObject *dict, const Limits *limits, int levels) {
    PyObject *key, *value;
    Py_ssize_t place = 0, size;
    int is_first = 1;
    if (levels <= 0) return UNUSUAL;
    while (PyDict_Next(dict, &place, &key, &value)) {
        if (!Py_IS_TYPE(key, &PyUnicode_Type)) return UNUSUAL;
        const char *name = utf8_of(key, &size);
        if (!name) return UNUSUAL;
        if (!buffer_ensure(lines, 16)) return FAILED;
        buffer_put_byte(lines, is_first ? '{' : ',');
        /* No object inside an op may start as a line does: its key is written with an escape. */
        if (is_first && size == 5 && memcmp(name, "op_id", 5) == 0 && Py_IS_TYPE(value, &PyUnicode_Type)) {
            buffer_put_literal(lines, "\"\\u006fp_id\"");
        } else {
            Outcome outcome = put_string(lines, name, (size_t)size, limits);
            if (outcome != USUAL) return outcome;
        }
        is_first = 0;
        if (!buffer_ensure(lines, 1)) return FAILED;
        buffer_put_byte(lines, ':');
        Outcome outcome = put_value(lines, value, limits, levels - 1);
        if (outcome != USUAL) return outcome;
    }
    if (!buffer_ensure(lines, 2)) return FAILED;
    if (is_first) buffer_put_byte(lines, '{');
    buffer_put_byte(lines, '}');
    return USUAL;
}

static Outcome put_list(Buffer *lines, PyObject *list, const Limits *limits, int levels) {
    Py_ssize_t length = PyList_Size(list);
    if (levels <= 0) return UNUSUAL;
    for (Py_ssize_t i = 0; i < length; i++) {
        if (!buffer_ensure(lines, 1)) return FAILED;
        buffer_put_byte(lines, i ? ',' : '[');
        Outcome outcome = put_value(lines, PyList_GetItem(list, i), limits, levels - 1);
        if (outcome != USUAL) return outcome;
    }
    if (!buffer_ensure(lines, 2)) return FAILED;
    if (!length) buffer_put_byte(lines, '[');
    buffer_put_byte(lines, ']');
    return USUAL;
}

/* Bytes, tuples, dates, and subclasses of all types are unusual. */
static Outcome put_value(Buffer *lines, PyObject *value, const Limits *limits, int levels) {
    if (Py_IS_TYPE(value, &PyUnicode_Type)) return put_str(lines, value, limits);
    if (Py_IS_TYPE(value, &PyLong_Type)) return put_int(lines, value);
    if (Py_IS_TYPE(value, &PyFloat_Type)) return put_float(lines, PyFloat_AsDouble(value));
    if (Py_IS_TYPE(value, &PyDict_Type)) return put_dict(lines, value, limits, levels);
    if (Py_IS_TYPE(value, &PyList_Type)) return put_list(lines, value, limits, levels);
    if (!buffer_ensure(lines, 5)) return FAILED;
    if (value == Py_None) buffer_put_literal(lines, "null");
    else if (value == Py_True) buffer_put_literal(lines, "true");
    else if (value == Py_False) buffer_put_literal(lines, "false");
    else return UNUSUAL;
    return USUAL;
}

/* A text field. Its bytes are at least as many as its characters, which the limit counts. */
static Outcome put_text(Buffer *lines, PyObject *text, const Limits *limits, int may_be_empty) {
    Py_ssize_t size;
    if (!Py_IS_TYPE(text, &PyUnicode_Type)) return UNUSUAL;
    const char *at = utf8_of(text, &size);
    if (!at || size > limits->text_length || (!size && !may_be_empty)) return UNUSUAL;
    return put_string(lines, at, (size_t)size, limits);
}

static Outcome put_stamp(Buffer *lines, PyObject *number) {
    int overflow;
    if (!Py_IS_TYPE(number, &PyLong_Type)) return UNUSUAL;
    long long stamp = PyLong_AsLongLongAndOverflow(number, &overflow);
    if (overflow || stamp < 1 || stamp > MAX_LAMPORT) return UNUSUAL;
    if (!buffer_ensure(lines, 24)) return FAILED;
    put_unsigned(lines, (uint64_t)stamp);
    return USUAL;
}

/* Op ids, none twice, not the entry's own. */
static Outcome put_parents(Buffer *lines, PyObject *parents, const char *own, const Limits *limits) {
    const char *seen[MOST_PARENTS];
    if (!Py_IS_TYPE(parents, &PyList_Type)) return UNUSUAL;
    Py_ssize_t length = PyList_Size(parents);
    if (length > limits->parents || length > MOST_PARENTS) return UNUSUAL;
    if (!buffer_ensure(lines, (OP_ID_CHARACTERS + 3) * (size_t)length + 2)) return FAILED;
    buffer_put_byte(lines, '[');
    for (Py_ssize_t i = 0; i < length; i++) {
        PyObject *parent = PyList_GetItem(parents, i);
        Py_ssize_t size;
        const char *at = Py_IS_TYPE(parent, &PyUnicode_Type) ? utf8_of(parent, &size) : NULL;
        if (!at || !is_op_id(at, size) || memcmp(at, own, OP_ID_CHARACTERS) == 0) return UNUSUAL;
        for (Py_ssize_t k = 0; k < i; k++)
            if (memcmp(seen[k], at, OP_ID_CHARACTERS) == 0) return UNUSUAL;
        seen[i] = at;
        if (i) buffer_put_byte(lines, ',');
        buffer_put_byte(lines, '"');
        buffer_put(lines, at, OP_ID_CHARACTERS);
        buffer_put_byte(lines, '"');
    }
    buffer_put_byte(lines, ']');
    return USUAL;
}

/* Point at the nine values of an entry whose keys are the nine, in order. */
static int values_of(PyObject *entry, PyObject *values[FIELDS]) {
    PyObject *key, *value;
    Py_ssize_t place = 0;
    int field = 0;
    while (PyDict_Next(entry, &place, &key, &value)) {
        if (field == FIELDS) return 0;
        if (key != field_names[field] &&
            (!Py_IS_TYPE(key, &PyUnicode_Type) || PyUnicode_Compare(key, field_names[field]) != 0))
            return 0;
        values[field++] = value;
    }
    return field == FIELDS;
}

static Outcome put_field(Buffer *lines, int field, PyObject *values[FIELDS], const char *op_id, const Limits *limits) {
    PyObject *value = values[field];
    int levels = limits->nesting_depth < MOST_LEVELS ? (int)limits->nesting_depth : MOST_LEVELS;
    switch (field) {
    case OP_ID: return put_string(lines, op_id, OP_ID_CHARACTERS, limits);
    case LAMPORT_TS: return put_stamp(lines, value);
    case PARENT_OP_IDS: return put_parents(lines, value, op_id, limits);
    case DOMAIN_OP: return Py_IS_TYPE(value, &PyDict_Type) ? put_dict(lines, value, limits, levels) : UNUSUAL;
    case ACTOR_ID:
    case DOMAIN: return put_text(lines, value, limits, 0);
    default: return put_text(lines, value, limits, 1);
    }
}

/* The crc of the bytes from `start`, the brace and the newline. */
static Outcome put_frame(Buffer *lines, size_t start) {
    if (!buffer_ensure(lines, FRAME_BYTES + 1)) return FAILED;
    uint32_t crc = crc_of(lines->at + start, lines->size - start);
    buffer_put_literal(lines, ",\"crc\":\"");
    for (int shift = 28; shift >= 0; shift -= 4) buffer_put_byte(lines, hex_digits[(crc >> shift) & 15]);
    buffer_put_literal(lines, "\"}\n");
    return USUAL;
}

Outcome encode_entry(Buffer *lines, PyObject *entry, const Limits *limits) {
    PyObject *values[FIELDS];
    size_t start = lines->size;
    Py_ssize_t size;
    if (!Py_IS_TYPE(entry, &PyDict_Type) || !values_of(entry, values)) return UNUSUAL;
    const char *op_id = Py_IS_TYPE(values[OP_ID], &PyUnicode_Type) ? utf8_of(values[OP_ID], &size) : NULL;
    if (!op_id || !is_op_id(op_id, size)) return UNUSUAL;
    for (int field = 0; field < FIELDS; field++) {
        if (!buffer_ensure(lines, heads[field].size)) return FAILED;
        buffer_put(lines, heads[field].text, heads[field].size);
        Outcome outcome = put_field(lines, field, values, op_id, limits);
        if (outcome != USUAL) return outcome;
    }
    Outcome outcome = put_frame(lines, start);
    if (outcome != USUAL) return outcome;
    return (long long)(lines->size - start) <= limits->entry_bytes ? USUAL : UNUSUAL;
}

/* -- functions of the module ----------------------------------------------------------------------------------- */

int limits_from(PyObject *const *arguments, Limits *limits) {
    limits->entry_bytes = PyLong_AsLongLong(arguments[0]);
    limits->nesting_depth = PyLong_AsLongLong(arguments[1]);
    limits->parents = PyLong_AsLongLong(arguments[2]);
    limits->text_length = PyLong_AsLongLong(arguments[3]);
    return !PyErr_Occurred();
}

static PyObject *none_if(Outcome outcome) {
    if (outcome == FAILED) return NULL;
    Py_RETURN_NONE;
}

/* Lines under way. Nothing that runs Python code or another thread comes between two uses of it. */
static Buffer lines_under_way;

/* encode_line(entry, *limits) -> its line | None */
PyObject *encode_line(PyObject *module, PyObject *const *arguments, Py_ssize_t count) {
    Limits limits;
    if (count != 5) return misused("encode_line(entry, entry_bytes, nesting_depth, parents, text_length)");
    if (!limits_from(arguments + 1, &limits)) return NULL;
    Buffer *lines = &lines_under_way;
    lines->size = 0;
    Outcome outcome = encode_entry(lines, arguments[0], &limits);
    PyObject *line = outcome == USUAL ? PyBytes_FromStringAndSize(lines->at, (Py_ssize_t)lines->size) : none_if(outcome);
    buffer_trim(lines);
    return line;
}

/* Note the op id, the stamp and the line's length of an entry that was encoded. */
static Outcome note_entry(PyObject *entry, size_t length, PyObject *op_ids, PyObject *stamps, PyObject *lengths) {
    PyObject *op_id = PyDict_GetItemWithError(entry, field_names[OP_ID]);
    PyObject *stamp = PyDict_GetItemWithError(entry, field_names[LAMPORT_TS]);
    if (!op_id || !stamp) return PyErr_Occurred() ? FAILED : UNUSUAL;
    int is_done = PyList_Append(op_ids, op_id) == 0 && PyList_Append(stamps, stamp) == 0 &&
                  append_new(lengths, PyLong_FromSize_t(length));
    return is_done ? USUAL : FAILED;
}

/* encode_entries(entries, *limits) -> (lines, op ids, stamps, lengths of the lines, whether any names a parent) | None

   All lines are made first, and Python objects after that, as making those may run other code. */
PyObject *encode_entries(PyObject *module, PyObject *const *arguments, Py_ssize_t count) {
    Limits limits;
    if (count != 5 || !PyList_Check(arguments[0]))
        return misused("encode_entries(list, entry_bytes, nesting_depth, parents, text_length)");
    if (!limits_from(arguments + 1, &limits)) return NULL;
    PyObject *data = NULL, *found = NULL;
    PyObject *op_ids = PyList_New(0), *stamps = PyList_New(0), *lengths = PyList_New(0);
    PyObject *entries = PyList_GetSlice(arguments[0], 0, PY_SSIZE_T_MAX); /* nobody else changes it */
    Outcome outcome = op_ids && stamps && lengths && entries ? USUAL : FAILED;
    Py_ssize_t length = entries ? PyList_Size(entries) : 0;
    int has_parents = 0;
    Buffer *lines = &lines_under_way;
    lines->size = 0;
    for (Py_ssize_t i = 0; outcome == USUAL && i < length; i++)
        outcome = encode_entry(lines, PyList_GetItem(entries, i), &limits);
    if (outcome == USUAL) data = PyBytes_FromStringAndSize(lines->at, (Py_ssize_t)lines->size);
    buffer_trim(lines);
    const char *at = data ? PyBytes_AsString(data) : NULL, *end = data ? at + PyBytes_Size(data) : NULL;
    for (Py_ssize_t i = 0; data && outcome == USUAL && i < length; i++) {
        PyObject *entry = PyList_GetItem(entries, i);
        PyObject *parents = PyDict_GetItemWithError(entry, field_names[PARENT_OP_IDS]);
        const char *next = (const char *)memchr(at, '\n', (size_t)(end - at)) + 1;
        has_parents |= parents && PyList_Check(parents) && PyList_Size(parents) > 0;
        outcome = note_entry(entry, (size_t)(next - at), op_ids, stamps, lengths);
        at = next;
    }
    if (data && outcome == USUAL)
        found = PyTuple_Pack(5, data, op_ids, stamps, lengths, has_parents ? Py_True : Py_False);
    else if (!PyErr_Occurred()) found = Py_NewRef(Py_None);
    Py_XDECREF(data);
    Py_XDECREF(op_ids);
    Py_XDECREF(stamps);
    Py_XDECREF(lengths);
    Py_XDECREF(entries);
    return found;
}

PyObject *entry_of(PyObject *op_id, PyObject *actor_id, PyObject *parents, PyObject *domain, PyObject *domain_op,
                   PyObject *created_at, PyObject *intent_id, PyObject *reservation_id) {
    PyObject *values[FIELDS] = {op_id, actor_id, NULL, parents, domain, domain_op, created_at, intent_id, reservation_id};
    PyObject *entry = entry_new();
    for (int field = 0; entry && field < FIELDS; field++)
        if (values[field] && PyDict_SetItem(entry, field_names[field], values[field]) < 0) Py_CLEAR(entry);
    return entry;
}

/* new_entries(names, ops, op_ids, first stamp, created_at) -> the entries of several ops, without parents

   `names`: actor, domain, intent and reservation of all. Nothing is checked here, as in `make_op_entries`. */
PyObject *new_entries(PyObject *module, PyObject *const *arguments, Py_ssize_t count) {
    if (count != 5 || !PyTuple_Check(arguments[0]) || PyTuple_Size(arguments[0]) != 4 || !PyList_Check(arguments[1]) ||
        !PyList_Check(arguments[2]) || PyList_Size(arguments[1]) != PyList_Size(arguments[2]))
        return misused("new_entries((actor, domain, intent, reservation), ops, op_ids, stamp, created_at)");
    long long stamp = PyLong_AsLongLong(arguments[3]);
    if (stamp == -1 && PyErr_Occurred()) return NULL;
    PyObject *name[4], *entries = PyList_New(0);
    for (int i = 0; i < 4; i++) name[i] = PyTuple_GetItem(arguments[0], i);
    for (Py_ssize_t i = 0; entries && i < PyList_Size(arguments[1]) && i < PyList_Size(arguments[2]); i++) {
        PyObject *op = Py_NewRef(PyList_GetItem(arguments[1], i)), *op_id = Py_NewRef(PyList_GetItem(arguments[2], i));
        PyObject *parents = PyList_New(0), *number = PyLong_FromLongLong(stamp + i), *entry = NULL;
        if (parents && number) entry = entry_of(op_id, name[0], parents, name[1], op, arguments[4], name[2], name[3]);
        if (entry && PyDict_SetItem(entry, field_names[LAMPORT_TS], number) < 0) Py_CLEAR(entry);
        if (!append_new(entries, entry)) Py_CLEAR(entries);
        Py_DECREF(op);
        Py_DECREF(op_id);
        Py_XDECREF(parents);
        Py_XDECREF(number);
    }
    return entries;
}

/* format_op_ids(octets) -> a UUID4 of each 16 random octets, as text */
PyObject *format_op_ids(PyObject *module, PyObject *octets) {
    static const signed char places[16] = {0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34};
    char *from, text[OP_ID_CHARACTERS];
    Py_ssize_t size;
    if (PyBytes_AsStringAndSize(octets, &from, &size) < 0) return NULL;
    PyObject *op_ids = PyList_New(0);
    text[8] = text[13] = text[18] = text[23] = '-';
    for (; op_ids && size >= 16; from += 16, size -= 16) {
        for (int i = 0; i < 16; i++) {
            unsigned char octet = (unsigned char)from[i];
            if (i == 6) octet = (octet & 0x0f) | 0x40; /* version 4 */
            if (i == 8) octet = (octet & 0x3f) | 0x80; /* variant 10 */
            text[places[i]] = hex_digits[octet >> 4];
            text[places[i] + 1] = hex_digits[octet & 15];
        }
        if (!append_new(op_ids, PyUnicode_FromStringAndSize(text, OP_ID_CHARACTERS))) Py_CLEAR(op_ids);
    }
    return op_ids;
}
