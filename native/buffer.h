/* Bytes that grow at their end, and the three outcomes that every function here can have. */
#ifndef MUSE_NATIVE_BUFFER_H
#define MUSE_NATIVE_BUFFER_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

/* FAILED: a Python exception is set. UNUSUAL: none is, and the Python form is to look at it. A function that
   returns an object says the same by NULL with an exception set, and NULL without. */
typedef enum { FAILED = -1, UNUSUAL = 0, USUAL = 1 } Outcome;

/* `size` bytes at `at`, of `room`. Empty when it is all zeros. */
typedef struct {
    char *at;
    size_t size, room;
} Buffer;

/* A buffer that grew beyond this is let go after its use. */
#define KEPT_BYTES ((size_t)1 << 22)

static inline int buffer_grow(Buffer *buffer, size_t more) {
    size_t room = (buffer->size + more) * 2 + 1024; /* `more` is bounded by the size of what is in memory already */
    char *at = PyMem_Realloc(buffer->at, room);
    if (!at) {
        PyErr_NoMemory();
        return 0;
    }
    buffer->at = at;
    buffer->room = room;
    return 1;
}

/* Make room for `more` bytes; 0 with an exception set if there is none. What is put without asking must fit. */
static inline int buffer_ensure(Buffer *buffer, size_t more) {
    return buffer->room - buffer->size >= more || buffer_grow(buffer, more);
}

static inline void buffer_put(Buffer *buffer, const void *from, size_t size) {
    memcpy(buffer->at + buffer->size, from, size);
    buffer->size += size;
}

#define buffer_put_literal(buffer, text) buffer_put(buffer, text, sizeof(text) - 1)

static inline void buffer_put_byte(Buffer *buffer, char byte) { buffer->at[buffer->size++] = byte; }

static inline void buffer_free(Buffer *buffer) {
    PyMem_Free(buffer->at);
    *buffer = (Buffer){NULL, 0, 0};
}

static inline void buffer_trim(Buffer *buffer) {
    if (buffer->room > KEPT_BYTES) buffer_free(buffer);
}

/* Append a new object to a list and let go of it; 0 if there is none, or with an exception set. */
static inline int append_new(PyObject *list, PyObject *item) {
    int is_done = item && PyList_Append(list, item) == 0;
    Py_XDECREF(item);
    return is_done;
}

static inline PyObject *misused(const char *usage) {
    PyErr_SetString(PyExc_TypeError, usage);
    return NULL;
}

/* Eight bytes at any address. */
static inline uint64_t load_8(const char *from) {
    uint64_t eight;
    memcpy(&eight, from, 8);
    return eight;
}

#define IN_EACH_BYTE 0x0101010101010101ULL
#define HIGH_BITS 0x8080808080808080ULL

/* The high bits of those bytes that a JSON string must escape: below 0x20, '"' and '\'. The lowest is exact; above
   it a bit may be set for a byte that is plain (a subtraction borrows). See "Bit Twiddling Hacks", haszero. */
static inline uint64_t bytes_to_escape(uint64_t eight) {
    uint64_t quotes = eight ^ (IN_EACH_BYTE * '"'), backslashes = eight ^ (IN_EACH_BYTE * '\\');
    return ((eight - IN_EACH_BYTE * 0x20) & ~eight & HIGH_BITS) | ((quotes - IN_EACH_BYTE) & ~quotes & HIGH_BITS) |
           ((backslashes - IN_EACH_BYTE) & ~backslashes & HIGH_BITS);
}

/* The place, from 0, of the lowest byte whose high bit is set in `bits`, which is not 0. */
static inline int lowest_byte(uint64_t bits) { return __builtin_ctzll(bits) >> 3; }

#endif
