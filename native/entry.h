/* What an entry and its line consist of: see docs/log_format.md and muse/core/entry.py. */
#ifndef MUSE_NATIVE_ENTRY_H
#define MUSE_NATIVE_ENTRY_H

#include "buffer.h"

enum { OP_ID, ACTOR_ID, LAMPORT_TS, PARENT_OP_IDS, DOMAIN, DOMAIN_OP, CREATED_AT, INTENT_ID, RESERVATION_ID, FIELDS };

#define MAX_LAMPORT ((1LL << 53) - 1)
#define OP_ID_CHARACTERS 36
#define FRAME_BYTES 18 /* ,"crc":"00000000"} */

/* Objects and lists inside one another that are looked at here, whatever a caller allows: the C stack is finite. */
#define MOST_LEVELS 64

/* The bytes before a field's value in a line: `{"op_id":`, `,"actor_id":` and so on. */
typedef struct {
    const char *text;
    size_t size;
} Head;

extern const Head heads[FIELDS];
extern PyObject *field_names[FIELDS]; /* interned */
extern const char hex_digits[16];
extern signed char hex_values[256]; /* of lower-case digits; -1 for all else */

/* Make what the above needs; 0 with an exception set if that fails. */
int entry_prepare(void);

/* Return a new dict with the nine keys in order; their values are None. */
PyObject *entry_new(void);

/* Tell whether `size` bytes are a UUID4 in its canonical form. */
int is_op_id(const char *at, Py_ssize_t size);

#endif
