/* Reading: the JSON that our writers make, and no other. Anything unlike that is unusual: white space, keys in another
   order, an escape that is not needed, deep nesting, a crc that fails. Python then decodes, repairs or refuses.

   No byte is read outside of the block. Eight bytes are looked at together only before the frame of a line, whose
   18 bytes follow. */
#include "decode.h"

#include "crc.h"

/* Bytes that are read: `at` to `end`, which is where the frame of the line begins. */
typedef struct {
    const char *at, *end;
} Input;

/* Return NULL: an exception stays if it is one of memory, but what cannot be decoded is unusual. */
static PyObject *unusual(void) {
    if (PyErr_Occurred() && (PyErr_ExceptionMatches(PyExc_ValueError) || PyErr_ExceptionMatches(PyExc_OverflowError)))
        PyErr_Clear();
    return NULL;
}

/* -- strings --------------------------------------------------------------------------------------------------- */

/* Keys and short values come again and again: a string that was made is kept, until another takes its place. */
#define KEPT_STRINGS 2048
#define LONGEST_KEPT_KEY 32
#define LONGEST_KEPT_VALUE 12

typedef struct {
    PyObject *string;
    const char *text; /* of the string */
    uint32_t size;
} KeptString;

static KeptString kept_strings[KEPT_STRINGS];

/* Any mixing will do: a collision costs no more than making the string. Of 32 bytes at most, the ends are looked at. */
static size_t place_of(const char *at, size_t size) {
    uint64_t first = 0, last = 0;
    if (size >= 8) first = load_8(at), last = load_8(at + size - 8);
    else
        for (size_t i = 0; i < size; i++) first = first << 8 | (unsigned char)at[i];
    uint64_t mixed = (first ^ size * 0x9E3779B97F4A7C15ULL) * 0xff51afd7ed558ccdULL ^ (last + size) * 0xc4ceb9fe1a85ec53ULL;
    return (size_t)((mixed ^ mixed >> 29) >> 20) % KEPT_STRINGS;
}

/* Return the string of some ASCII; a new reference. */
static PyObject *kept_string(const char *at, size_t size, int is_key) {
    KeptString *kept = &kept_strings[place_of(at, size)];
    if (kept->string && kept->size == size && memcmp(kept->text, at, size) == 0) return Py_NewRef(kept->string);
    PyObject *string = PyUnicode_DecodeUTF8(at, (Py_ssize_t)size, NULL);
    if (!string) return unusual();
    if (is_key) PyUnicode_InternInPlace(&string);
    const char *text = PyUnicode_AsUTF8AndSize(string, NULL);
    if (!text) {
        Py_DECREF(string);
        return NULL;
    }
    PyObject *before = kept->string;
    *kept = (KeptString){Py_NewRef(string), text, (uint32_t)size};
    Py_XDECREF(before);
    return string;
}

/* Return what an escape stands for, and move past it, perhaps into the frame; -1 if our writers make no such. They escape
   control characters, and the o of a first key op_id. */
static int unescaped(Input *in) {
    static const char letters[] = "\"\\btnfr", octets[] = "\"\\\b\t\n\f\r";
    const char *known = in->at[1] ? strchr(letters, in->at[1]) : NULL;
    if (known) {
        in->at += 2;
        return octets[known - letters];
    }
    if (memcmp(in->at + 1, "u00", 3) != 0) return -1;
    int high = hex_values[(unsigned char)in->at[4]], low = hex_values[(unsigned char)in->at[5]];
    if (high < 0 || high > 7 || low < 0) return -1;
    in->at += 6;
    return high << 4 | low;
}

/* Return a string that holds an escape. `in` is behind its opening quote. */
static PyObject *read_escaped(Input *in) {
    Buffer text = {NULL, 0, 0};
    PyObject *string = NULL;
    while (in->at < in->end && *in->at != '"') {
        if (!buffer_ensure(&text, 1)) break;
        int octet = (unsigned char)*in->at;
        if (octet < 0x20) break;
        if (octet == '\\') octet = unescaped(in);
        else in->at++;
        if (octet < 0) break;
        buffer_put_byte(&text, (char)octet);
    }
    if (!PyErr_Occurred() && in->at < in->end && *in->at == '"') {
        string = PyUnicode_DecodeUTF8(text.at ? text.at : "", (Py_ssize_t)text.size, NULL);
        in->at++;
    }
    buffer_free(&text);
    return string ? string : unusual();
}

/* The bytes of a string that holds no escape. */
typedef struct {
    const char *at;
    size_t size;
    int is_ascii;
} Plain;

/* Find the end of a string, and move past its quote. `in` is behind the opening one, and stays there where the outcome is
   UNUSUAL: then the string may hold an escape. */
static Outcome find_plain(Input *in, Plain *plain) {
    const char *at = in->at;
    uint64_t not_ascii = 0, found = 0;
    while (at < in->end && !found) {
        uint64_t eight = load_8(at);
        found = bytes_to_escape(eight);
        int passed = found ? lowest_byte(found) : 8;
        if (passed) not_ascii |= eight & (HIGH_BITS >> (64 - 8 * passed));
        at += passed;
    }
    if (at >= in->end || *at != '"') return UNUSUAL;
    *plain = (Plain){in->at, (size_t)(at - in->at), !not_ascii};
    in->at = at + 1;
    return USUAL;
}

/* Return a string. `in` is behind its opening quote. */
static PyObject *read_string(Input *in, int is_key) {
    Plain plain;
    if (find_plain(in, &plain) != USUAL) return read_escaped(in);
    if (plain.is_ascii && plain.size <= (is_key ? LONGEST_KEPT_KEY : LONGEST_KEPT_VALUE))
        return kept_string(plain.at, plain.size, is_key);
    PyObject *string = PyUnicode_DecodeUTF8(plain.at, (Py_ssize_t)plain.size, NULL);
    return string ? string : unusual();
}

/* -- numbers --------------------------------------------------------------------------------------------------- */

static const char *past_digits(const char *at, const char *end) {
    while (at < end && *at >= '0' && *at <= '9') at++;
    return at;
}

static PyObject *read_float(Input *in, const char *end_of_number) {
    char text[64], *stop;
    size_t size = (size_t)(end_of_number - in->at);
    if (size >= sizeof text) return NULL;
    memcpy(text, in->at, size);
    text[size] = 0;
    double value = PyOS_string_to_double(text, &stop, NULL);
    if (value == -1.0 && PyErr_Occurred()) return unusual();
    if (stop != text + size || value - value != 0) return NULL;
    in->at = end_of_number;
    return PyFloat_FromDouble(value);
}

/* A number by the grammar of JSON. Integers of more than 19 digits are unusual. */
static PyObject *read_number(Input *in) {
    int is_negative = *in->at == '-';
    const char *digits = in->at + is_negative, *end = past_digits(digits, in->end), *rest = end;
    if (end == digits || (*digits == '0' && end - digits > 1)) return NULL;
    if (rest < in->end && *rest == '.') {
        const char *fraction = rest + 1;
        rest = past_digits(fraction, in->end);
        if (rest == fraction) return NULL;
    }
    if (rest < in->end && (*rest == 'e' || *rest == 'E')) {
        const char *exponent = rest + 1;
        if (exponent < in->end && (*exponent == '+' || *exponent == '-')) exponent++;
        rest = past_digits(exponent, in->end);
        if (rest == exponent) return NULL;
    }
    if (rest != end) return read_float(in, rest);
    if (end - digits > 19) return NULL;
    uint64_t value = 0;
    for (const char *at = digits; at < end; at++) value = value * 10 + (uint64_t)(*at - '0');
    if (is_negative && (!value || value > (uint64_t)1 << 63)) return NULL; /* -0 is for Python to judge */
    in->at = end;
    return is_negative ? PyLong_FromLongLong((long long)(0 - value)) : PyLong_FromUnsignedLongLong(value);
}

/* -- values ---------------------------------------------------------------------------------------------------- */

static PyObject *read_value(Input *in, int levels);

/* Tell whether the next byte is `byte`, and move past it if so. */
static int passes(Input *in, char byte) {
    if (in->at >= in->end || *in->at != byte) return 0;
    in->at++;
    return 1;
}

static int passes_text(Input *in, const char *text, size_t size) {
    if ((size_t)(in->end - in->at) < size || memcmp(in->at, text, size) != 0) return 0;
    in->at += size;
    return 1;
}

static PyObject *read_word(Input *in, const char *word, PyObject *value) {
    return passes_text(in, word, strlen(word)) ? Py_NewRef(value) : NULL;
}

/* Read one key and its value into `dict`. Of a key that is there twice, the last value counts. */
static int read_member(Input *in, PyObject *dict, int levels) {
    PyObject *key = passes(in, '"') ? read_string(in, 1) : NULL;
    PyObject *value = key && passes(in, ':') ? read_value(in, levels) : NULL;
    int is_read = value && PyDict_SetItem(dict, key, value) == 0;
    Py_XDECREF(key);
    Py_XDECREF(value);
    return is_read;
}

/* `in` is behind the brace. `levels`: how many objects and lists there may be inside one another, this one too. */
static PyObject *read_object(Input *in, int levels) {
    PyObject *dict = levels > 0 ? PyDict_New() : NULL;
    if (!dict || passes(in, '}')) return dict;
    while (read_member(in, dict, levels - 1)) {
        if (passes(in, '}')) return dict;
        if (!passes(in, ',')) break;
    }
    Py_DECREF(dict);
    return NULL;
}

/* `in` is behind the bracket. */
static PyObject *read_list(Input *in, int levels) {
    PyObject *list = levels > 0 ? PyList_New(0) : NULL;
    if (!list || passes(in, ']')) return list;
    for (;;) {
        if (!append_new(list, read_value(in, levels - 1))) break;
        if (passes(in, ']')) return list;
        if (!passes(in, ',')) break;
    }
    Py_DECREF(list);
    return NULL;
}

static PyObject *read_value(Input *in, int levels) {
    if (in->at >= in->end) return NULL;
    switch (*in->at) {
    case '"': in->at++; return read_string(in, 0);
    case '{': in->at++; return read_object(in, levels);
    case '[': in->at++; return read_list(in, levels);
    case 'n': return read_word(in, "null", Py_None);
    case 't': return read_word(in, "true", Py_True);
    case 'f': return read_word(in, "false", Py_False);
    default: return read_number(in);
    }
}

/* -- values that nobody wants ---------------------------------------------------------------------------------- */

/* Each takes what its twin above takes, and no more. */
static int skip_value(Input *in, int levels);

static int skip(PyObject *value) {
    Py_XDECREF(value);
    return value != NULL;
}

static int skip_string(Input *in) {
    Input from = *in;
    Plain plain;
    if (find_plain(in, &plain) == USUAL && plain.is_ascii) return 1;
    *in = from;
    return skip(read_string(in, 0));
}

static int skip_key(Input *in) { return passes(in, '"') && skip_string(in) && passes(in, ':'); }

/* Members or items up to the bracket `closing`; `in` is behind the opening one. */
static int skip_container(Input *in, int levels, char closing) {
    if (levels <= 0) return 0;
    if (passes(in, closing)) return 1;
    do {
        if ((closing == '}' && !skip_key(in)) || !skip_value(in, levels - 1)) return 0;
        if (passes(in, closing)) return 1;
    } while (passes(in, ','));
    return 0;
}

static int skip_value(Input *in, int levels) {
    if (passes(in, '"')) return skip_string(in);
    if (passes(in, '{')) return skip_container(in, levels, '}');
    if (passes(in, '[')) return skip_container(in, levels, ']');
    return skip(read_value(in, levels));
}

/* -- lines ----------------------------------------------------------------------------------------------------- */

/* Tell whether a line of `size` bytes, without its newline, ends with a crc, and one that its other bytes have. */
static int frame_holds(const char *line, size_t size, int check_crc) {
    if (size < FRAME_BYTES) return 0;
    const char *frame = line + size - FRAME_BYTES;
    if (memcmp(frame, ",\"crc\":\"", 8) != 0 || memcmp(frame + 16, "\"}", 2) != 0) return 0;
    uint32_t crc = 0;
    int sign = 0;
    for (int i = 8; i < 16; i++) {
        int digit = hex_values[(unsigned char)frame[i]];
        sign |= digit;
        crc = crc << 4 | (uint32_t)(digit & 15);
    }
    return sign >= 0 && (!check_crc || crc == crc_of(line, size - FRAME_BYTES));
}

/* The texts of the line before: mostly, those of the next are the same. `text` points into the block. */
typedef struct {
    const char *text;
    size_t size;
    PyObject *string;
} Recent;

/* A block that is read, line by line. */
typedef struct {
    const char *at, *end;
    Recent recent[FIELDS];
} Lines;

static void lines_done(Lines *lines) {
    for (int field = 0; field < FIELDS; field++) Py_CLEAR(lines->recent[field].string);
}

static PyObject *read_text(Input *in, Recent *recent) {
    if (!passes(in, '"')) return NULL;
    const char *start = in->at;
    size_t left = (size_t)(in->end - start);
    if (recent->string && left > recent->size && start[recent->size] == '"' &&
        memcmp(start, recent->text, recent->size) == 0) {
        in->at += recent->size + 1;
        return Py_NewRef(recent->string);
    }
    PyObject *string = read_string(in, 0);
    if (!string) return NULL;
    PyObject *before = recent->string;
    *recent = (Recent){start, (size_t)(in->at - 1 - start), Py_NewRef(string)};
    Py_XDECREF(before);
    return string;
}

/* 36 characters of ASCII without an escape; which ones, readers do not look at. */
static PyObject *read_op_id(Input *in) {
    if (!passes(in, '"') || in->end - in->at <= OP_ID_CHARACTERS || in->at[OP_ID_CHARACTERS] != '"') return NULL;
    uint64_t last = load_8(in->at + OP_ID_CHARACTERS - 8), bad = bytes_to_escape(last) | (last & HIGH_BITS);
    for (int i = 0; i < 32; i += 8) {
        uint64_t eight = load_8(in->at + i);
        bad |= bytes_to_escape(eight) | (eight & HIGH_BITS);
    }
    if (bad) return NULL;
    PyObject *op_id = PyUnicode_DecodeUTF8(in->at, OP_ID_CHARACTERS, NULL);
    in->at += OP_ID_CHARACTERS + 1;
    return op_id;
}

/* Digits of an integer from 1 to MAX_LAMPORT; 0 if they are none. */
static long long read_stamp(Input *in) {
    const char *digits = in->at, *end = past_digits(digits, in->end);
    if (end == digits || *digits == '0' || end - digits > 16) return 0;
    long long stamp = 0;
    for (; in->at < end; in->at++) stamp = stamp * 10 + (*in->at - '0');
    return stamp <= MAX_LAMPORT ? stamp : 0;
}

static PyObject *read_parents(Input *in) {
    PyObject *parents = passes(in, '[') ? read_list(in, 1) : NULL;
    for (Py_ssize_t i = 0; parents && i < PyList_Size(parents); i++)
        if (!Py_IS_TYPE(PyList_GetItem(parents, i), &PyUnicode_Type)) Py_CLEAR(parents);
    return parents;
}

static PyObject *read_field(Input *in, int field, Recent *recent, long long *stamp) {
    switch (field) {
    case OP_ID: return read_op_id(in);
    case LAMPORT_TS: *stamp = read_stamp(in); return *stamp ? PyLong_FromLongLong(*stamp) : NULL;
    case PARENT_OP_IDS: return read_parents(in);
    case DOMAIN_OP: return passes(in, '{') ? read_object(in, MOST_LEVELS) : NULL;
    case ACTOR_ID: return in->end - in->at < 2 || in->at[1] == '"' ? NULL : read_text(in, recent);
    default: return read_text(in, recent);
    }
}

/* Return where the newline of the next line is, if the line is framed and its crc holds. */
static const char *next_newline(const Lines *lines, int check_crc) {
    const char *newline = lines->at < lines->end ? memchr(lines->at, '\n', (size_t)(lines->end - lines->at)) : NULL;
    if (!newline) return NULL;
    return frame_holds(lines->at, (size_t)(newline - lines->at), check_crc) ? newline : NULL;
}

/* Return the next entry, and move behind its line; stay there otherwise. */
static PyObject *next_entry(Lines *lines, long long *stamp) {
    const char *newline = next_newline(lines, 1);
    if (!newline) return NULL;
    Input in = {lines->at, newline - FRAME_BYTES};
    PyObject *entry = entry_new();
    for (int field = 0; entry && field < FIELDS; field++) {
        const Head *head = &heads[field];
        PyObject *value = passes_text(&in, head->text, head->size) ? read_field(&in, field, &lines->recent[field], stamp) : NULL;
        if (!value || PyDict_SetItem(entry, field_names[field], value) < 0) Py_CLEAR(entry);
        Py_XDECREF(value);
    }
    if (entry && in.at != in.end) Py_CLEAR(entry);
    if (entry) lines->at = newline + 1;
    return entry;
}

static int lines_of(PyObject *data, Lines *lines) {
    char *at;
    Py_ssize_t size;
    if (PyBytes_AsStringAndSize(data, &at, &size) < 0) return 0;
    *lines = (Lines){at, at + size, {{NULL, 0, NULL}}};
    return 1;
}

/* -- functions of the module ----------------------------------------------------------------------------------- */

/* decode_block(data, offset) -> (entries, where their lines start) | None */
PyObject *decode_block(PyObject *module, PyObject *const *arguments, Py_ssize_t count) {
    Lines lines;
    if (count != 2) return misused("decode_block(data, offset)");
    if (!lines_of(arguments[0], &lines)) return NULL;
    long long start = PyLong_AsLongLong(arguments[1]), stamp;
    const char *first = lines.at;
    PyObject *entries = PyList_New(0), *starts = PyList_New(0), *found = NULL;
    int is_usual = entries && starts && !PyErr_Occurred();
    while (is_usual && lines.at < lines.end) {
        is_usual = append_new(starts, PyLong_FromLongLong(start + (lines.at - first))) &&
                   append_new(entries, next_entry(&lines, &stamp));
    }
    if (is_usual) found = PyTuple_Pack(2, entries, starts);
    else if (!PyErr_Occurred()) found = Py_NewRef(Py_None);
    lines_done(&lines);
    Py_XDECREF(entries);
    Py_XDECREF(starts);
    return found;
}

static int skip_parents(Input *in) {
    if (!passes(in, '[')) return 0;
    if (passes(in, ']')) return 1;
    do {
        if (!passes(in, '"') || !skip_string(in)) return 0;
    } while (passes(in, ','));
    return passes(in, ']');
}

static int skip_field(Input *in, int field) {
    switch (field) {
    case PARENT_OP_IDS: return skip_parents(in);
    case DOMAIN_OP: return passes(in, '{') && skip_container(in, MOST_LEVELS, '}');
    case ACTOR_ID: return in->end - in->at >= 2 && in->at[1] != '"' && passes(in, '"') && skip_string(in);
    default: return passes(in, '"') && skip_string(in);
    }
}

/* Read the op id and the stamp of the next line, and move behind it; 0 if it is unusual or an exception is set. */
static int scan_line(Lines *lines, int check_crc, PyObject *op_ids, PyObject *stamps) {
    const char *newline = next_newline(lines, check_crc);
    long long stamp = 0;
    if (!newline) return 0;
    Input in = {lines->at, newline - FRAME_BYTES};
    for (int field = 0; field < FIELDS; field++) {
        if (!passes_text(&in, heads[field].text, heads[field].size)) return 0;
        int is_read = field == OP_ID        ? append_new(op_ids, read_op_id(&in))
                      : field == LAMPORT_TS ? (stamp = read_stamp(&in)) > 0
                                            : skip_field(&in, field);
        if (!is_read) return 0;
    }
    lines->at = newline + 1;
    return in.at == in.end && append_new(stamps, PyLong_FromLongLong(stamp));
}

/* scan_block(data, offset, check_crc) -> (op ids, stamps, where the lines start) | None

   Takes the lines that `decode_block` takes, whose other fields nobody wants; without `check_crc` other crcs too. */
PyObject *scan_block(PyObject *module, PyObject *const *arguments, Py_ssize_t count) {
    Lines lines;
    if (count != 3) return misused("scan_block(data, offset, check_crc)");
    if (!lines_of(arguments[0], &lines)) return NULL;
    long long start = PyLong_AsLongLong(arguments[1]);
    const char *first = lines.at;
    PyObject *op_ids = PyList_New(0), *stamps = PyList_New(0), *starts = PyList_New(0), *found = NULL;
    int is_usual = op_ids && stamps && starts && !PyErr_Occurred();
    while (is_usual && lines.at < lines.end) {
        is_usual = append_new(starts, PyLong_FromLongLong(start + (lines.at - first))) &&
                   scan_line(&lines, arguments[2] == Py_True, op_ids, stamps);
    }
    if (is_usual) found = PyTuple_Pack(3, op_ids, stamps, starts);
    else if (!PyErr_Occurred()) found = Py_NewRef(Py_None);
    Py_XDECREF(op_ids);
    Py_XDECREF(stamps);
    Py_XDECREF(starts);
    return found;
}

/* Put an entry into `found` by its op id; UNUSUAL if the op is there with another body, or with an equal one. */
static Outcome collect(PyObject *found, PyObject *entry) {
    PyObject *op_id = PyDict_GetItemWithError(entry, field_names[OP_ID]);
    if (!op_id) return FAILED;
    int is_known = PyDict_Contains(found, op_id);
    if (is_known) return is_known < 0 ? FAILED : UNUSUAL;
    return PyDict_SetItem(found, op_id, entry) == 0 ? USUAL : FAILED;
}

/* collect_entries(data, found, highest) -> (how many bytes were taken in, the highest stamp)

   Takes entries into `found`, by op id, up to the first line that is unusual or of a known op. The stamp is that of the last
   entry if all rose from `highest` on, else -1: then they are to be sorted. */
PyObject *collect_entries(PyObject *module, PyObject *const *arguments, Py_ssize_t count) {
    Lines lines;
    if (count != 3 || !PyDict_Check(arguments[1])) return misused("collect_entries(data, found, highest)");
    if (!lines_of(arguments[0], &lines)) return NULL;
    long long highest = PyLong_AsLongLong(arguments[2]), stamp = 0;
    const char *first = lines.at, *taken = first;
    Outcome outcome = PyErr_Occurred() ? FAILED : USUAL;
    while (outcome == USUAL && lines.at < lines.end) {
        PyObject *entry = next_entry(&lines, &stamp);
        outcome = entry ? collect(arguments[1], entry) : PyErr_Occurred() ? FAILED : UNUSUAL;
        Py_XDECREF(entry);
        if (outcome != USUAL) break;
        highest = highest >= 0 && stamp > highest ? stamp : -1;
        taken = lines.at;
    }
    lines_done(&lines);
    return outcome == FAILED ? NULL : Py_BuildValue("nL", (Py_ssize_t)(taken - first), highest);
}

/* frames_hold(lines) -> whether each ends with a crc that its other bytes have */
PyObject *frames_hold(PyObject *module, PyObject *lines) {
    if (!PyList_Check(lines)) return misused("frames_hold(list of bytes)");
    for (Py_ssize_t i = 0; i < PyList_Size(lines); i++) {
        char *line;
        Py_ssize_t size;
        if (PyBytes_AsStringAndSize(PyList_GetItem(lines, i), &line, &size) < 0) return NULL;
        if (!frame_holds(line, (size_t)size, 1)) Py_RETURN_FALSE;
    }
    Py_RETURN_TRUE;
}

/* -- one at a time --------------------------------------------------------------------------------------------- */

/* Entries(data, offset, highest, frontier): the entries of a block, each made when it is asked for, with where its line starts.

   It goes on as long as lines are usual and each stamp is above all before, so that none can repeat an op; `frontier` is
   brought up to date. Then `taken` says how many bytes were read, and `highest` is the last stamp. */
typedef struct {
    PyObject_HEAD
    PyObject *data, *frontier;
    const char *first;
    long long offset, highest;
    Lines lines;
} Entries;

static PyObject *entries_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords) {
    PyObject *data, *frontier;
    long long offset, highest;
    Lines lines;
    if (!PyArg_ParseTuple(arguments, "SLLO!", &data, &offset, &highest, &PyDict_Type, &frontier)) return NULL;
    if (!lines_of(data, &lines)) return NULL;
    Entries *self = (Entries *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
    if (!self) return NULL;
    self->data = Py_NewRef(data);
    self->frontier = Py_NewRef(frontier);
    self->first = lines.at;
    self->offset = offset;
    self->highest = highest;
    self->lines = lines;
    return (PyObject *)self;
}

static PyObject *entries_next(PyObject *object) {
    Entries *self = (Entries *)object;
    const char *before = self->lines.at;
    long long start = self->offset + (before - self->first), stamp = 0;
    PyObject *entry = next_entry(&self->lines, &stamp), *place = NULL, *located = NULL;
    if (!entry) return NULL;
    PyObject *actor = PyDict_GetItemWithError(entry, field_names[ACTOR_ID]);
    PyObject *number = PyDict_GetItemWithError(entry, field_names[LAMPORT_TS]);
    int is_new = actor && number && stamp > self->highest;
    if (is_new && PyDict_SetItem(self->frontier, actor, number) == 0 && (place = PyLong_FromLongLong(start)))
        located = PyTuple_Pack(2, place, entry);
    if (located) self->highest = stamp;
    else self->lines.at = before;
    Py_XDECREF(place);
    Py_DECREF(entry);
    return located;
}

static void entries_free(PyObject *object) {
    Entries *self = (Entries *)object;
    PyTypeObject *type = Py_TYPE(object);
    lines_done(&self->lines);
    Py_XDECREF(self->data);
    Py_XDECREF(self->frontier);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(object);
    Py_DECREF(type);
}

static PyObject *entries_taken(PyObject *object, void *unused) {
    Entries *self = (Entries *)object;
    return PyLong_FromSsize_t(self->lines.at - self->first);
}

static PyObject *entries_highest(PyObject *object, void *unused) {
    return PyLong_FromLongLong(((Entries *)object)->highest);
}

static PyGetSetDef entries_attributes[] = {
    {"taken", entries_taken, NULL, NULL, NULL},
    {"highest", entries_highest, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyType_Slot entries_slots[] = {
    {Py_tp_new, entries_new},
    {Py_tp_dealloc, entries_free},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, entries_next},
    {Py_tp_getset, entries_attributes},
    {0, NULL},
};
PyType_Spec entries_spec = {"muse._native.Entries", sizeof(Entries), 0, Py_TPFLAGS_DEFAULT, entries_slots};
