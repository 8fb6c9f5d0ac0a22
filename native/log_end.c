/* `record`, from the arguments to the write, as long as nothing is unusual: the file ends where this handle left it, and
   nothing is to be told or repaired. The Python of `OpLog.record` does the same in the same order, and all else.

   A handle's lock is held all the way. From the moment the stamp is taken until the write no Python code runs, so no signal
   handler and no finalizer can come between. */
#include "log_end.h"

#include <errno.h>
#include <structmember.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "encode.h"

typedef struct {
    PyObject_HEAD
    long long seen_end, expected_end, own_count, op_count, highest; /* see `muse.core.appends.Appends` */
    PyObject *file, *clock, *acquire, *release, *take_op_id, *now_text; /* NULL until `prepare_to_record` */
    PyObject *created_at;     /* what `now_text` said */
    long long millisecond;    /* in this one */
    Limits limits;
    Buffer line;
} LogEnd;

static PyObject *name_descriptor, *name_value, *name_watch;

int log_end_prepare(void) {
    name_descriptor = PyUnicode_InternFromString("descriptor");
    name_value = PyUnicode_InternFromString("value");
    name_watch = PyUnicode_InternFromString("watch");
    return name_descriptor && name_value && name_watch;
}

/* prepare_to_record(file, clock, acquire, release, take_op_id, now_text, *limits) */
static PyObject *prepare_to_record(PyObject *object, PyObject *const *arguments, Py_ssize_t count) {
    LogEnd *self = (LogEnd *)object;
    PyObject **members[] = {&self->file, &self->clock, &self->acquire, &self->release, &self->take_op_id, &self->now_text};
    if (count != 10) return misused("prepare_to_record(file, clock, acquire, release, take_op_id, now_text, *limits)");
    if (!limits_from(arguments + 6, &self->limits)) return NULL;
    for (int i = 0; i < 6; i++) {
        PyObject *before = *members[i];
        *members[i] = Py_NewRef(arguments[i]);
        Py_XDECREF(before);
    }
    Py_RETURN_NONE;
}

/* Return the file descriptor that `owner` has, -1 if it has none to use. With an exception set it is -1 too. */
static int descriptor_of(PyObject *owner) {
    PyObject *number = PyObject_GetAttr(owner, name_descriptor);
    long descriptor = number ? PyLong_AsLong(number) : -1;
    Py_XDECREF(number);
    return (int)descriptor;
}

/* Return the present time as text, a borrowed reference. `now_text` is asked once a millisecond. */
static PyObject *present(LogEnd *self) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    long long millisecond = (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
    if (!self->created_at || millisecond != self->millisecond) {
        PyObject *text = PyObject_CallNoArgs(self->now_text), *before = self->created_at;
        if (!text) return NULL;
        self->created_at = text;
        self->millisecond = millisecond;
        Py_XDECREF(before);
    }
    return self->created_at;
}

/* Tell whether a new name surely has no line break or control character. Those beyond ASCII begin with the octets C2 and
   E2, as do many others: Python tells them apart. */
static int is_one_line(PyObject *name) {
    Py_ssize_t size;
    const char *at = Py_IS_TYPE(name, &PyUnicode_Type) ? PyUnicode_AsUTF8AndSize(name, &size) : NULL;
    if (!at) {
        PyErr_Clear();
        return 0;
    }
    for (Py_ssize_t i = 0; i < size; i++) {
        unsigned char octet = (unsigned char)at[i];
        if (octet < 0x20 || octet == 0x7f || octet == 0xc2 || octet == 0xe2) return 0;
    }
    return 1;
}

/* Return a new entry without a stamp. `arguments` are those of `record`. */
static PyObject *entry_to_record(LogEnd *self, PyObject *const *arguments) {
    PyObject *parents = arguments[3], *entry = NULL;
    if (!Py_IS_TYPE(parents, &PyTuple_Type) && !Py_IS_TYPE(parents, &PyList_Type)) return NULL;
    if (!is_one_line(arguments[0]) || !is_one_line(arguments[4])) return NULL;
    PyObject *op_id = PyObject_CallNoArgs(self->take_op_id);
    if (!op_id && PyErr_ExceptionMatches(PyExc_IndexError)) PyErr_Clear(); /* Python makes more */
    if (!op_id) return NULL;
    PyObject *created_at = Py_XNewRef(present(self));
    parents = created_at ? PySequence_List(parents) : NULL;
    if (parents)
        entry = entry_of(op_id, arguments[0], parents, arguments[1], arguments[2], created_at, arguments[4], arguments[5]);
    Py_DECREF(op_id);
    Py_XDECREF(created_at);
    Py_XDECREF(parents);
    return entry;
}

/* Give the entry its stamp, make the line, and look whether the file ends where it did. `stamp`: a new reference. */
static Outcome stamp_and_encode(LogEnd *self, PyObject *entry, int descriptor, PyObject **stamp) {
    PyObject *value = PyObject_GetAttr(self->clock, name_value);
    long long number = value ? PyLong_AsLongLong(value) : -1;
    Py_XDECREF(value);
    if (number < 0 || number >= MAX_LAMPORT) return PyErr_Occurred() ? FAILED : UNUSUAL;
    *stamp = PyLong_FromLongLong(number + 1);
    if (!*stamp || PyDict_SetItem(entry, field_names[LAMPORT_TS], *stamp) < 0) return FAILED;
    self->line.size = 0;
    Outcome outcome = encode_entry(&self->line, entry, &self->limits);
    if (outcome != USUAL) return outcome;
    off_t end = lseek(descriptor, 0, SEEK_END);
    return end >= 0 && end == self->expected_end ? USUAL : UNUSUAL;
}

/* Write the line, with one call, and ask whether the file may have moved. */
static Outcome write_line(LogEnd *self, int descriptor) {
    ssize_t written;
    int number, events = 0;
    Py_BEGIN_ALLOW_THREADS
    written = write(descriptor, self->line.at, self->line.size);
    number = errno;
    Py_END_ALLOW_THREADS
    if (written < 0 && number == EINTR) return UNUSUAL; /* nothing was written: handlers run, and Python writes it */
    if (written < 0) { /* not tried again in silence */
        PyObject *none = PyObject_CallMethod((PyObject *)self, "raise_unwritten", "i", number);
        Py_XDECREF(none);
        return none ? UNUSUAL : FAILED;
    }
    PyObject *watch = PyObject_GetAttr(self->file, name_watch);
    int notifier = watch ? descriptor_of(watch) : -1;
    Py_XDECREF(watch);
    if (PyErr_Occurred()) return FAILED;
    if ((size_t)written == self->line.size && notifier >= 0 && ioctl(notifier, FIONREAD, &events) == 0 && !events)
        return USUAL;
    PyObject *done = PyObject_CallMethod(self->file, "settle", "y#n", self->line.at, (Py_ssize_t)self->line.size,
                                         (Py_ssize_t)written);
    Py_XDECREF(done);
    return done ? USUAL : FAILED;
}

static Outcome record_entry(LogEnd *self, PyObject *entry, int descriptor) {
    PyObject *stamp = NULL;
    Outcome outcome = stamp_and_encode(self, entry, descriptor, &stamp);
    long long end = self->expected_end;
    if (outcome == USUAL && PyObject_SetAttr(self->clock, name_value, stamp) < 0) outcome = FAILED;
    if (outcome == USUAL) {
        self->own_count = 0;
        self->seen_end = end;
        outcome = write_line(self, descriptor);
    }
    if (outcome == USUAL) {
        self->highest = PyLong_AsLongLong(stamp);
        self->own_count = 1;
        self->op_count += 1;
        self->expected_end = end + (long long)self->line.size;
    }
    Py_XDECREF(stamp);
    buffer_trim(&self->line);
    return outcome;
}

static void release_lock(LogEnd *self) {
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyObject *done = PyObject_CallNoArgs(self->release);
    Py_XDECREF(done);
    if (done) {
        PyErr_Restore(type, value, traceback);
        return;
    }
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(traceback);
}

/* record(actor, domain, op, parents, intent, reservation) -> the entry, which is in the file | None, and nothing is */
static PyObject *record(PyObject *object, PyObject *const *arguments, Py_ssize_t count) {
    LogEnd *self = (LogEnd *)object;
    if (count != 6) return misused("record(actor, domain, op, parents, intent, reservation)");
    if (!self->file) Py_RETURN_NONE;
    PyObject *taken = PyObject_CallNoArgs(self->acquire);
    if (!taken) return NULL;
    Py_DECREF(taken);
    int descriptor = descriptor_of(self->file);
    PyObject *entry = descriptor >= 0 ? entry_to_record(self, arguments) : NULL;
    Outcome outcome = entry ? record_entry(self, entry, descriptor) : PyErr_Occurred() ? FAILED : UNUSUAL;
    release_lock(self);
    if (outcome == USUAL && !PyErr_Occurred()) return entry;
    Py_XDECREF(entry);
    if (PyErr_Occurred()) return NULL;
    Py_RETURN_NONE;
}

static void log_end_free(PyObject *object) {
    LogEnd *self = (LogEnd *)object;
    PyTypeObject *type = Py_TYPE(object);
    Py_XDECREF(self->file);
    Py_XDECREF(self->clock);
    Py_XDECREF(self->acquire);
    Py_XDECREF(self->release);
    Py_XDECREF(self->take_op_id);
    Py_XDECREF(self->now_text);
    Py_XDECREF(self->created_at);
    buffer_free(&self->line);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(object);
    Py_DECREF(type);
}

#define NUMBER(name) {#name, T_LONGLONG, offsetof(LogEnd, name), 0, NULL}
static PyMemberDef log_end_members[] = {
    NUMBER(seen_end), NUMBER(expected_end), NUMBER(own_count), NUMBER(op_count), NUMBER(highest), {NULL, 0, 0, 0, NULL},
};
static PyMethodDef log_end_methods[] = {
    {"prepare_to_record", (PyCFunction)(void (*)(void))prepare_to_record, METH_FASTCALL, NULL},
    {"record", (PyCFunction)(void (*)(void))record, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};
static PyType_Slot log_end_slots[] = {
    {Py_tp_dealloc, log_end_free},
    {Py_tp_members, log_end_members},
    {Py_tp_methods, log_end_methods},
    {0, NULL},
};
PyType_Spec log_end_spec = {"muse._native.LogEnd", sizeof(LogEnd), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, log_end_slots};
