/* The rows of the op index in private memory: see muse/core/file/id_table.py, and id_prints.py for fingerprints.

   Extendible hashing (Fagin et al. 1979): the upper bits of a fingerprint choose a segment, and a full segment is split, so
   that no insertion waits for a copy of all. Within a segment the next bits choose a row's home, and rows are in order of
   their fingerprints, each at its home or behind it, without a gap between the two (ordered hash tables, Amble and Knuth
   1974). So a fingerprint that is not there is known by the first larger one, and a snapshot is written without sorting.

   A segment that is not whole lacks what a snapshot has for it. Then a look-up says None, and the caller fills it. */
#include "index.h"

#include <structmember.h>

#include "entry.h"

/* -- fingerprints ---------------------------------------------------------------------------------------------- */

#define ID_WORDS 5 /* 36 octets */
#define KEY_WORDS 6
#define KEY_BYTES 96

static inline uint64_t load_big(const unsigned char *from) { return __builtin_bswap64(load_8((const char *)from)); }

static inline void store_big(unsigned char *to, uint64_t number) {
    number = __builtin_bswap64(number);
    memcpy(to, &number, 8);
}

/* Two numbers of 384 bits, the lowest word first. */
typedef struct {
    uint64_t factor[KEY_WORDS], addend[KEY_WORDS];
} Key;

/* The upper word of (factor * id + addend) mod 2**384, where the id is its 36 octets as a number. */
static uint64_t fingerprint(const Key *key, const unsigned char *id) {
    uint64_t words[ID_WORDS] = {load_big(id + 28), load_big(id + 20), load_big(id + 12), load_big(id + 4), load_big(id) >> 32};
    uint64_t sum[KEY_WORDS];
    memcpy(sum, key->addend, sizeof sum);
    for (int i = 0; i < ID_WORDS; i++) {
        uint64_t carry = 0;
        for (int k = 0; k + i < KEY_WORDS; k++) {
            __uint128_t product = (__uint128_t)key->factor[k] * words[i] + sum[i + k] + carry;
            sum[i + k] = (uint64_t)product;
            carry = (uint64_t)(product >> 64);
        }
    }
    return sum[KEY_WORDS - 1];
}

/* fingerprints(op_ids, key) -> eight octets for each id | None, where one is not 36 characters of ASCII */
PyObject *fingerprints(PyObject *module, PyObject *const *arguments, Py_ssize_t count) {
    char *octets;
    Py_ssize_t size;
    Key key;
    if (count != 2) return misused("fingerprints(list of ids, key)");
    if (!PyList_Check(arguments[0])) Py_RETURN_NONE;
    if (PyBytes_AsStringAndSize(arguments[1], &octets, &size) < 0) return NULL;
    if (size != KEY_BYTES) return misused("fingerprints(list of ids, key of 96 bytes)");
    for (int i = 0; i < KEY_WORDS; i++) {
        key.factor[KEY_WORDS - 1 - i] = load_big((unsigned char *)octets + 8 * i);
        key.addend[KEY_WORDS - 1 - i] = load_big((unsigned char *)octets + KEY_BYTES / 2 + 8 * i);
    }
    Py_ssize_t ids = PyList_Size(arguments[0]);
    PyObject *prints = PyBytes_FromStringAndSize(NULL, 8 * ids);
    unsigned char *to = prints ? (unsigned char *)PyBytes_AsString(prints) : NULL;
    for (Py_ssize_t i = 0; to && i < ids; i++, to += 8) {
        PyObject *text = PyList_GetItem(arguments[0], i);
        const char *id = PyUnicode_Check(text) ? PyUnicode_AsUTF8AndSize(text, &size) : NULL;
        uint64_t not_ascii = 0;
        for (int at = 0; id && size == OP_ID_CHARACTERS && at < OP_ID_CHARACTERS; at++) not_ascii |= (unsigned char)id[at] & 0x80;
        if (!id || size != OP_ID_CHARACTERS || not_ascii) {
            PyErr_Clear();
            Py_DECREF(prints);
            Py_RETURN_NONE;
        }
        store_big(to, fingerprint(&key, (const unsigned char *)id));
    }
    return prints;
}

/* -- segments -------------------------------------------------------------------------------------------------- */

/* `after`: the start of the line, plus 1; 0 where there is no row. */
typedef struct {
    uint64_t print, after;
} Row;

#define ROW_BYTES 16
#define HOME_BITS 8
#define SPARE 24 /* places behind the last home */
#define FULL 240 /* 19 to 38 bytes a row */

/* `room`: places, of which the last stays free, so that each search ends. */
typedef struct {
    uint32_t depth, count, room, is_whole;
    Row rows[];
} Segment;

/* `segments[i]` has the fingerprints whose upper `depth` bits are i; NULL if there are none in memory. Segments that are
   there share their upper `own depth` bits, so several places may have one. `count`: rows, those of the snapshot too. */
typedef struct {
    PyObject_HEAD
    int depth, first_depth; /* of the directory, and of a segment that is not there yet */
    int has_snapshot;
    unsigned long long count;
    Segment **segments;
} IdTable;

#define DEEPEST 40

static inline uint64_t upper_bits(uint64_t print, uint32_t bits) { return bits ? print >> (64 - bits) : 0; }

static Segment *segment_new(uint32_t depth, uint32_t room, uint32_t is_whole) {
    Segment *segment = PyMem_Calloc(1, sizeof(Segment) + room * sizeof(Row));
    if (segment) segment->depth = depth, segment->room = room, segment->is_whole = is_whole;
    else PyErr_NoMemory();
    return segment;
}

/* Return the first row that is not below `print`, or the free place where such a row would be. */
static inline Row *first_from(Segment *segment, uint64_t print) {
    Row *row = segment->rows + (print << segment->depth >> (64 - HOME_BITS));
    while (row->after && row->print < print) row++;
    return row;
}

/* Put a row in its place, which among equal fingerprints is that of its start; 0 if there is no room for it. */
static int put(Segment *segment, Row row) {
    Row *place = first_from(segment, row.print);
    while (place->after && place->print == row.print && place->after < row.after) place++;
    Row *gap = place;
    while (gap->after) gap++;
    if (gap == segment->rows + segment->room - 1) return 0;
    memmove(place + 1, place, (size_t)(gap - place) * sizeof(Row));
    *place = row;
    segment->count++;
    return 1;
}

/* Give the segment of `print` its places in the directory. */
static void enter(IdTable *self, Segment *segment, uint64_t print) {
    size_t width = (size_t)1 << (self->depth - (int)segment->depth);
    size_t first = upper_bits(print, segment->depth) * width;
    for (size_t i = 0; i < width; i++) self->segments[first + i] = segment;
}

/* Return the segment of a fingerprint, made if it is not there; NULL with an exception set on failure. */
static Segment *segment_of(IdTable *self, uint64_t print) {
    Segment *segment = self->segments[upper_bits(print, (uint32_t)self->depth)];
    if (segment) return segment;
    segment = segment_new((uint32_t)self->first_depth, (1 << HOME_BITS) + SPARE, !self->has_snapshot);
    if (segment) enter(self, segment, print);
    return segment;
}

/* Twice the places, where splitting would not help: many rows of one fingerprint, or of a few that are near each other. */
static Segment *widen(IdTable *self, Segment *segment, uint64_t print) {
    uint32_t room = segment->room;
    Segment *wide = PyMem_Realloc(segment, sizeof(Segment) + 2 * (size_t)room * sizeof(Row));
    if (!wide) {
        PyErr_NoMemory();
        return NULL;
    }
    memset(wide->rows + room, 0, room * sizeof(Row));
    wide->room = 2 * room;
    enter(self, wide, print);
    return wide;
}

static int double_directory(IdTable *self) {
    size_t size = (size_t)1 << self->depth;
    Segment **segments = PyMem_Malloc(2 * size * sizeof *segments);
    if (!segments) {
        PyErr_NoMemory();
        return 0;
    }
    for (size_t i = 0; i < size; i++) segments[2 * i] = segments[2 * i + 1] = self->segments[i];
    PyMem_Free(self->segments);
    self->segments = segments;
    self->depth++;
    return 1;
}

/* Make two segments of the one that has `print`. Each has room for all of its rows, wherever their homes are. */
static int split(IdTable *self, Segment *segment, uint64_t print) {
    uint32_t depth = segment->depth + 1, room = (1 << HOME_BITS) + SPARE;
    uint64_t middle = (upper_bits(print, segment->depth) << 1 | 1) << (64 - depth);
    if (segment->depth == (uint32_t)self->depth && !double_directory(self)) return 0;
    Segment *halves[2] = {segment_new(depth, room, segment->is_whole), segment_new(depth, room, segment->is_whole)};
    int is_done = halves[0] && halves[1];
    if (is_done) {
        enter(self, halves[0], middle - 1);
        enter(self, halves[1], middle);
    }
    for (Row *row = segment->rows; is_done && row < segment->rows + segment->room; row++) {
        Segment **half = &halves[row->print >= middle];
        while (is_done && row->after && !put(*half, *row)) is_done = (*half = widen(self, *half, row->print)) != NULL;
    }
    /* Without memory in the middle, the rows are in neither: the table is not used any more after an exception. */
    if (halves[0] && halves[1]) PyMem_Free(segment);
    else PyMem_Free(halves[0]), PyMem_Free(halves[1]);
    return is_done;
}

/* Add a row; 0 with an exception set if there is no memory. Nobody can make the directory grow far beyond the rows: it is
   no more than 16 times what evenly spread fingerprints need. */
static int insert(IdTable *self, Row row) {
    for (;;) {
        Segment *segment = segment_of(self, row.print);
        if (!segment) return 0;
        int may_split = segment->depth < DEEPEST && ((unsigned long long)FULL / 16) << segment->depth <= self->count;
        if ((segment->count < FULL || !may_split) && put(segment, row)) return 1;
        if (may_split ? !split(self, segment, row.print) : !widen(self, segment, row.print)) return 0;
    }
}

/* -- the type `IdTable` ---------------------------------------------------------------------------------------- */

/* IdTable(bits, rows): over a snapshot of so many rows; segments of so many bits are expected to hold them. */
static PyObject *id_table_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords) {
    int bits;
    unsigned long long rows;
    if (!PyArg_ParseTuple(arguments, "iK", &bits, &rows)) return NULL;
    if (bits < 0 || bits > DEEPEST) return misused("IdTable(bits, rows)");
    IdTable *self = (IdTable *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
    if (!self) return NULL;
    self->depth = self->first_depth = bits;
    self->has_snapshot = rows > 0;
    self->count = rows;
    self->segments = PyMem_Calloc((size_t)1 << bits, sizeof *self->segments);
    if (self->segments) return (PyObject *)self;
    Py_DECREF(self);
    return PyErr_NoMemory();
}

static void id_table_free(PyObject *object) {
    IdTable *self = (IdTable *)object;
    PyTypeObject *type = Py_TYPE(object);
    size_t size = self->segments ? (size_t)1 << self->depth : 0;
    for (size_t i = 0; i < size; i++) /* a segment is freed at the last of its places */
        if (self->segments[i] && (i + 1 == size || self->segments[i + 1] != self->segments[i])) PyMem_Free(self->segments[i]);
    PyMem_Free(self->segments);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(object);
    Py_DECREF(type);
}

/* Fingerprints, eight octets each. */
typedef struct {
    const unsigned char *at;
    Py_ssize_t count;
} Prints;

static int prints_of(PyObject *object, Prints *prints) {
    char *at;
    Py_ssize_t size;
    if (PyBytes_AsStringAndSize(object, &at, &size) < 0) return 0;
    if (size % 8) return misused("a fingerprint has eight octets") != NULL;
    *prints = (Prints){(unsigned char *)at, size / 8};
    return 1;
}

static int append_hit(PyObject *hits, Py_ssize_t which, uint64_t start) {
    return append_new(hits, Py_BuildValue("nK", which, (unsigned long long)start));
}

#define AHEAD 12

/* Bring what a look-up will need into the processor's cache. */
static inline void prefetch(IdTable *self, const Prints *prints, Py_ssize_t which) {
    if (which >= prints->count) return;
    uint64_t print = load_big(prints->at + 8 * which);
    Segment *segment = self->segments[upper_bits(print, (uint32_t)self->depth)];
    if (segment) __builtin_prefetch(segment->rows + (print << segment->depth >> (64 - HOME_BITS)), 1);
}

/* find(prints) -> [(which, start)] | None, where some of that is not in memory */
static PyObject *find(PyObject *object, PyObject *wanted) {
    IdTable *self = (IdTable *)object;
    Prints prints;
    if (!prints_of(wanted, &prints)) return NULL;
    PyObject *hits = PyList_New(0);
    for (Py_ssize_t which = 0; hits && which < prints.count; which++) {
        prefetch(self, &prints, which + AHEAD);
        uint64_t print = load_big(prints.at + 8 * which);
        Segment *segment = self->segments[upper_bits(print, (uint32_t)self->depth)];
        if (self->has_snapshot && (!segment || !segment->is_whole)) {
            Py_DECREF(hits);
            Py_RETURN_NONE;
        }
        Row *row = segment ? first_from(segment, print) : NULL;
        for (; hits && row && row->after && row->print == print; row++)
            if (!append_hit(hits, which, row->after - 1)) Py_CLEAR(hits);
    }
    return hits;
}

/* Append the range of the segment of `print` if it is not whole; set `last` to the end of the range. */
static int append_lacking(IdTable *self, PyObject *ranges, uint64_t print, uint64_t *last) {
    Segment *segment = self->segments[upper_bits(print, (uint32_t)self->depth)];
    uint32_t bits = segment ? segment->depth : (uint32_t)self->first_depth;
    uint64_t rest = bits ? ~(uint64_t)0 >> bits : ~(uint64_t)0;
    *last = print | rest;
    if (!self->has_snapshot || (segment && segment->is_whole)) return 1;
    return append_new(ranges, Py_BuildValue("KK", (unsigned long long)(print & ~rest), (unsigned long long)*last));
}

/* lacking(prints) -> [(first, last)]: the fingerprints of segments that are to be filled; some may be there twice */
static PyObject *lacking(PyObject *object, PyObject *wanted) {
    Prints prints;
    uint64_t last;
    if (!prints_of(wanted, &prints)) return NULL;
    PyObject *ranges = PyList_New(0);
    for (Py_ssize_t which = 0; ranges && which < prints.count; which++)
        if (!append_lacking((IdTable *)object, ranges, load_big(prints.at + 8 * which), &last)) Py_CLEAR(ranges);
    return ranges;
}

/* lacking_between(first, last) -> as `lacking`, for all fingerprints in between */
static PyObject *lacking_between(PyObject *object, PyObject *arguments) {
    unsigned long long first, last;
    if (!PyArg_ParseTuple(arguments, "KK", &first, &last)) return NULL;
    PyObject *ranges = PyList_New(0);
    for (uint64_t print = first, end = 0; ranges && print <= last; print = end + 1) {
        if (!append_lacking((IdTable *)object, ranges, print, &end)) Py_CLEAR(ranges);
        if (end >= last) break;
    }
    return ranges;
}

/* fill(first, last, rows): take in what the snapshot has from `first` to `last`; `rows` may have more around it */
static PyObject *fill(PyObject *object, PyObject *arguments) {
    IdTable *self = (IdTable *)object;
    unsigned long long first, last;
    const char *at;
    Py_ssize_t size;
    if (!PyArg_ParseTuple(arguments, "KKy#", &first, &last, &at, &size)) return NULL;
    Segment *segment = segment_of(self, first);
    if (!segment) return NULL;
    if (segment->is_whole) Py_RETURN_NONE; /* another thread was here */
    for (const char *end = at + size - size % ROW_BYTES; at < end; at += ROW_BYTES) {
        Row row = {load_big((unsigned char *)at), load_big((unsigned char *)at + 8) + 1};
        if (row.print >= first && row.print <= last && row.after && !insert(self, row)) return NULL;
    }
    for (uint64_t print = first;; print = (print | (~(uint64_t)0 >> segment->depth)) + 1) {
        if (!(segment = segment_of(self, print))) return NULL;
        segment->is_whole = 1;
        if (!segment->depth || (print | (~(uint64_t)0 >> segment->depth)) >= last) break;
    }
    Py_RETURN_NONE;
}

/* add(prints, starts) -> which were not added, as there is a row of their fingerprint */
static PyObject *add(PyObject *object, PyObject *const *arguments, Py_ssize_t count) {
    IdTable *self = (IdTable *)object;
    Prints prints;
    if (count != 2 || !PyList_Check(arguments[1])) return misused("add(prints, list of starts)");
    if (!prints_of(arguments[0], &prints)) return NULL;
    if (PyList_Size(arguments[1]) != prints.count) return misused("add(prints, a start for each)");
    PyObject *known = PyList_New(0);
    for (Py_ssize_t which = 0; known && which < prints.count; which++) {
        prefetch(self, &prints, which + AHEAD);
        uint64_t print = load_big(prints.at + 8 * which);
        unsigned long long start = PyLong_AsUnsignedLongLong(PyList_GetItem(arguments[1], which));
        Segment *segment = start == ~0ULL && PyErr_Occurred() ? NULL : segment_of(self, print);
        Row *row = segment ? first_from(segment, print) : NULL;
        int is_added = 0;
        if (row && row->after && row->print == print) is_added = append_new(known, PyLong_FromSsize_t(which));
        else if (row && insert(self, (Row){print, start + 1})) is_added = 1, self->count++;
        if (!is_added) Py_CLEAR(known);
    }
    return known;
}

/* add_one(print, start): add a row beside others of its fingerprint */
static PyObject *add_one(PyObject *object, PyObject *arguments) {
    IdTable *self = (IdTable *)object;
    PyObject *print;
    Prints prints;
    unsigned long long start;
    if (!PyArg_ParseTuple(arguments, "SK", &print, &start) || !prints_of(print, &prints)) return NULL;
    if (prints.count != 1) return misused("add_one(print, start)");
    if (!insert(self, (Row){load_big(prints.at), start + 1})) return NULL;
    self->count++;
    Py_RETURN_NONE;
}

/* Append the rows of a segment from `first` to `last` that start before `covered`. */
static int append_rows(Buffer *rows, Segment *segment, uint64_t first, uint64_t last, uint64_t covered) {
    for (Row *row = segment->rows; row < segment->rows + segment->room; row++) {
        if (!row->after || row->print < first || row->print > last || row->after > covered) continue;
        if (!buffer_ensure(rows, ROW_BYTES)) return 0;
        store_big((unsigned char *)rows->at + rows->size, row->print);
        store_big((unsigned char *)rows->at + rows->size + 8, row->after - 1);
        rows->size += ROW_BYTES;
    }
    return 1;
}

/* rows(bits, number, covered) -> sorted rows of the fingerprints whose upper bits are `number` | None, where some lack */
static PyObject *rows_of(PyObject *object, PyObject *arguments) {
    IdTable *self = (IdTable *)object;
    int bits;
    unsigned long long number, covered;
    if (!PyArg_ParseTuple(arguments, "iKK", &bits, &number, &covered)) return NULL;
    if (bits < 0 || bits > DEEPEST || number >> bits) return misused("rows(bits, number, covered)");
    uint64_t first = bits ? (uint64_t)number << (64 - bits) : 0, last = first | (bits ? ~(uint64_t)0 >> bits : ~(uint64_t)0);
    Buffer rows = {NULL, 0, 0};
    int is_whole = 1, is_done = 1;
    for (uint64_t print = first, end = 0; is_done && is_whole; print = end + 1) {
        Segment *segment = self->segments[upper_bits(print, (uint32_t)self->depth)];
        uint32_t depth = segment ? segment->depth : (uint32_t)self->first_depth;
        end = print | (depth ? ~(uint64_t)0 >> depth : ~(uint64_t)0);
        is_whole = segment ? (int)segment->is_whole : !self->has_snapshot;
        if (segment && is_whole) is_done = append_rows(&rows, segment, first, last, covered);
        if (end >= last) break;
    }
    PyObject *found = !is_done ? NULL : !is_whole ? Py_NewRef(Py_None) : PyBytes_FromStringAndSize(rows.at, (Py_ssize_t)rows.size);
    buffer_free(&rows);
    return found;
}

static PyMethodDef id_table_methods[] = {
    {"find", find, METH_O, NULL},
    {"lacking", lacking, METH_O, NULL},
    {"lacking_between", lacking_between, METH_VARARGS, NULL},
    {"fill", fill, METH_VARARGS, NULL},
    {"add", (PyCFunction)(void (*)(void))add, METH_FASTCALL, NULL},
    {"add_one", add_one, METH_VARARGS, NULL},
    {"rows", rows_of, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
static PyType_Slot id_table_slots[] = {
    {Py_tp_new, id_table_new},
    {Py_tp_dealloc, id_table_free},
    {Py_tp_methods, id_table_methods},
    {0, NULL},
};
PyType_Spec id_table_spec = {"muse._native.IdTable", sizeof(IdTable), 0, Py_TPFLAGS_DEFAULT, id_table_slots};
