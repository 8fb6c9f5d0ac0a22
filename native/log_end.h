/* The type `LogEnd`: the end of a log as one handle knows it, and the everyday way of `OpLog.record`. */
#ifndef MUSE_NATIVE_LOG_END_H
#define MUSE_NATIVE_LOG_END_H

#include "buffer.h"

extern PyType_Spec log_end_spec;

/* Make what the type needs; 0 with an exception set if that fails. */
int log_end_prepare(void);

#endif
