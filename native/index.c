/* The rows of the op index in private memory: see muse/core/file/id_table.py, and id_prints.py for fingerprints.

   Extendible hashing (Fagin et al. 1979): the upper bits of a fingerprint choose a segment, and a full segment is split, so
   that no insertion waits for a copy of all. Within a segment the next bits choose a row's home, and rows are in order of
   their fingerprints, each at its home or behind it, without a gap between the two (ordered hash tables, Amble and Knuth
   1974). So a fingerprint that is not there is known by the first larger one, and a snapshot is written without sorting.

   Rows that a snapshot has are looked up in its segments, which are kept as they are read; see docs/index_format.md. */
#include "index.h"

#include <unistd.h>

#include "crc.h"
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
#define ROOM ((1 << HOME_BITS) + 24) /* there are places behind the last home */
#define FULL 240 /* 19 to 38 bytes a row */

/* `room`: places, of which the last stays free, so that each search ends. */
typedef struct {
    uint32_t depth, count, room;
    Row rows[];
} Segment;

/* `segments[i]` has the fingerprints whose upper `depth` bits are i. A segment's own depth may be less: then it has several
   places. `count`: rows. */
typedef struct {
    PyObject_HEAD
    uint32_t depth;
    unsigned long long count;
    Segment **segments;
} IdTable;

#define DEEPEST 40

static inline uint64_t upper_bits(uint64_t print, uint32_t bits) { return bits ? print >> (64 - bits) : 0; }

static Segment *segment_new(uint32_t depth) {
    Segment *segment = PyMem_Calloc(1, sizeof(Segment) + ROOM * sizeof(Row));
    if (segment) segment->depth = depth, segment->room = ROOM;
    else PyErr_NoMemory();
    return segment;
}

static inline Segment *segment_of(IdTable *self, uint64_t print) { return self->segments[upper_bits(print, self->depth)]; }

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
    size_t width = (size_t)1 << (self->depth - segment->depth);
    size_t first = upper_bits(print, segment->depth) * width;
    for (size_t i = 0; i < width; i++) self->segments[first + i] = segment;
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
    uint32_t depth = segment->depth + 1;
    uint64_t middle = (upper_bits(print, segment->depth) << 1 | 1) << (64 - depth);
    if (segment->depth == self->depth && !double_directory(self)) return 0;
    Segment *halves[2] = {segment_new(depth), segment_new(depth)};
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
        int may_split = segment->depth < DEEPEST && ((unsigned long long)FULL / 16) << segment->depth <= self->count;
        if ((segment->count < FULL || !may_split) && put(segment, row)) {
            self->count++;
            return 1;
        }
        if (may_split ? !split(self, segment, row.print) : !widen(self, segment, row.print)) return 0;
    }
}

/* -- the type `IdTable` ---------------------------------------------------------------------------------------- */

/* IdTable(): without rows */
static PyObject *id_table_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords) {
    IdTable *self = (IdTable *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
    if (!self) return NULL;
    self->segments = PyMem_Calloc(1, sizeof *self->segments);
    if (!self->segments) PyErr_NoMemory();
    else if ((self->segments[0] = segment_new(0))) return (PyObject *)self;
    Py_DECREF(self);
    return NULL;
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
    Segment *segment = segment_of(self, print);
    __builtin_prefetch(segment->rows + (print << segment->depth >> (64 - HOME_BITS)), 1);
}

/* find(prints) -> [(which, start)] */
static PyObject *find(PyObject *object, PyObject *wanted) {
    Prints prints;
    if (!prints_of(wanted, &prints)) return NULL;
    PyObject *hits = PyList_New(0);
    for (Py_ssize_t which = 0; hits && which < prints.count; which++) {
        prefetch((IdTable *)object, &prints, which + AHEAD);
        uint64_t print = load_big(prints.at + 8 * which);
        Row *row = first_from(segment_of((IdTable *)object, print), print);
        for (; hits && row->after && row->print == print; row++)
            if (!append_hit(hits, which, row->after - 1)) Py_CLEAR(hits);
    }
    return hits;
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
        Row *row = first_from(segment_of(self, print), print);
        int is_known = row->after && row->print == print, is_done = start != ~0ULL || !PyErr_Occurred();
        if (is_done) is_done = is_known ? append_new(known, PyLong_FromSsize_t(which)) : insert(self, (Row){print, start + 1});
        if (!is_done) Py_CLEAR(known);
    }
    return known;
}

/* add_one(print, start): add a row beside others of its fingerprint */
static PyObject *add_one(PyObject *object, PyObject *arguments) {
    PyObject *print;
    Prints prints;
    unsigned long long start;
    if (!PyArg_ParseTuple(arguments, "SK", &print, &start) || !prints_of(print, &prints)) return NULL;
    if (prints.count != 1) return misused("add_one(print, start)");
    if (!insert((IdTable *)object, (Row){load_big(prints.at), start + 1})) return NULL;
    Py_RETURN_NONE;
}

/* rows(first, last) -> the rows of the fingerprints from `first` to `last`, sorted */
static PyObject *rows_between(PyObject *object, PyObject *arguments) {
    IdTable *self = (IdTable *)object;
    unsigned long long first, last;
    if (!PyArg_ParseTuple(arguments, "KK", &first, &last)) return NULL;
    Buffer rows = {NULL, 0, 0};
    int is_done = 1;
    for (uint64_t print = first, end = 0; is_done && print <= last; print = end + 1) {
        Segment *segment = segment_of(self, print);
        end = print | (segment->depth ? ~(uint64_t)0 >> segment->depth : ~(uint64_t)0);
        for (Row *row = first_from(segment, print); is_done && row < segment->rows + segment->room; row++) {
            if (row->after && row->print > last) break;
            if (!row->after || row->print < first) continue;
            if (!(is_done = buffer_ensure(&rows, ROW_BYTES))) break;
            store_big((unsigned char *)rows.at + rows.size, row->print);
            store_big((unsigned char *)rows.at + rows.size + 8, row->after - 1);
            rows.size += ROW_BYTES;
        }
        if (end >= last) break;
    }
    PyObject *found = is_done ? PyBytes_FromStringAndSize(rows.at, (Py_ssize_t)rows.size) : NULL;
    buffer_free(&rows);
    return found;
}

static PyMethodDef id_table_methods[] = {
    {"find", find, METH_O, NULL},
    {"add", (PyCFunction)(void (*)(void))add, METH_FASTCALL, NULL},
    {"add_one", add_one, METH_VARARGS, NULL},
    {"rows", rows_between, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
static PyType_Slot id_table_slots[] = {
    {Py_tp_new, id_table_new},
    {Py_tp_dealloc, id_table_free},
    {Py_tp_methods, id_table_methods},
    {0, NULL},
};
PyType_Spec id_table_spec = {"muse._native.IdTable", sizeof(IdTable), 0, Py_TPFLAGS_DEFAULT, id_table_slots};

/* -- snapshots ------------------------------------------------------------------------------------------------- */

#define PLACE_BYTES 12
#define MOST_ROWS (1 << 20) /* of a segment that is read here; far more are for Python */

/* Return the rows of segment `number` from the file, if their crc holds. `places`: where the one before ends, and this. */
static PyObject *read_segment(int descriptor, const unsigned char *places, unsigned long long offset) {
    uint64_t start = load_big(places), end = load_big(places + PLACE_BYTES);
    uint32_t crc = __builtin_bswap32((uint32_t)(load_8((const char *)places + PLACE_BYTES + 4) >> 32));
    if (end < start || end - start > MOST_ROWS) return NULL;
    size_t size = (size_t)(end - start) * ROW_BYTES;
    PyObject *rows = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
    char *to = rows ? PyBytes_AsString(rows) : NULL;
    ssize_t got;
    if (!to) return NULL;
    Py_BEGIN_ALLOW_THREADS
    got = pread(descriptor, to, size, (off_t)(offset + start * ROW_BYTES));
    Py_END_ALLOW_THREADS
    if (got != (ssize_t)size || crc_of(to, size) != crc) Py_CLEAR(rows);
    return rows;
}

/* Append the rows of a fingerprint, of some that are sorted. */
static int append_hits_in(PyObject *hits, PyObject *rows, Py_ssize_t which, uint64_t print) {
    const unsigned char *first = (unsigned char *)PyBytes_AsString(rows), *end = first + PyBytes_Size(rows);
    for (size_t count = (size_t)(end - first) / ROW_BYTES; count;) { /* the first that is not below */
        size_t half = count / 2;
        int is_below = load_big(first + half * ROW_BYTES) < print;
        if (is_below) first += (half + 1) * ROW_BYTES;
        count = is_below ? count - half - 1 : half;
    }
    for (; first + ROW_BYTES <= end && load_big(first) == print; first += ROW_BYTES)
        if (!append_hit(hits, which, load_big(first + 8))) return 0;
    return 1;
}

/* find_in_snapshot(prints, bits, places, kept, descriptor, offset) -> [(which, start)] | None, where one cannot be read

   `kept` has the segments that were read before, None for others; `places` the directory behind a place of zeros. */
PyObject *find_in_snapshot(PyObject *module, PyObject *arguments) {
    PyObject *wanted, *kept, *hits = PyList_New(0);
    Prints prints;
    const char *places;
    Py_ssize_t size;
    int bits, descriptor, is_usual = hits != NULL;
    unsigned long long offset;
    if (!is_usual || !PyArg_ParseTuple(arguments, "Siy#O!iK", &wanted, &bits, &places, &size, &PyList_Type, &kept, &descriptor, &offset) ||
        !prints_of(wanted, &prints) || bits < 0 || bits > DEEPEST || PyList_Size(kept) != (Py_ssize_t)1 << bits ||
        size != PLACE_BYTES * (((Py_ssize_t)1 << bits) + 1)) {
        Py_XDECREF(hits);
        return PyErr_Occurred() ? NULL : misused("find_in_snapshot(prints, bits, places, kept, descriptor, offset)");
    }
    for (Py_ssize_t which = 0; is_usual && which < prints.count; which++) {
        uint64_t print = load_big(prints.at + 8 * which), number = upper_bits(print, (uint32_t)bits);
        PyObject *rows = PyList_GetItem(kept, (Py_ssize_t)number);
        if (!PyBytes_Check(rows)) {
            rows = read_segment(descriptor, (const unsigned char *)places + PLACE_BYTES * number, offset);
            if (!rows || PyList_SetItem(kept, (Py_ssize_t)number, rows) < 0) is_usual = 0;
        }
        if (is_usual) is_usual = append_hits_in(hits, rows, which, print);
    }
    if (is_usual) return hits;
    Py_DECREF(hits);
    if (PyErr_Occurred()) return NULL;
    Py_RETURN_NONE;
}

/* merge_rows(some, others, first, last) -> the rows of both, sorted, of the fingerprints from `first` to `last` */
PyObject *merge_rows(PyObject *module, PyObject *arguments) {
    const char *at[2];
    Py_ssize_t size[2];
    unsigned long long first, last;
    if (!PyArg_ParseTuple(arguments, "y#y#KK", &at[0], &size[0], &at[1], &size[1], &first, &last)) return NULL;
    const char *end[2] = {at[0] + size[0] - size[0] % ROW_BYTES, at[1] + size[1] - size[1] % ROW_BYTES};
    Buffer rows = {NULL, 0, 0};
    if (!buffer_ensure(&rows, (size_t)size[0] + (size_t)size[1])) return NULL;
    while (at[0] < end[0] || at[1] < end[1]) {
        int which = at[0] == end[0] || (at[1] < end[1] && memcmp(at[1], at[0], ROW_BYTES) < 0);
        uint64_t print = load_big((const unsigned char *)at[which]);
        if (print >= first && print <= last) buffer_put(&rows, at[which], ROW_BYTES);
        at[which] += ROW_BYTES;
    }
    PyObject *merged = PyBytes_FromStringAndSize(rows.at, (Py_ssize_t)rows.size);
    buffer_free(&rows);
    return merged;
}
