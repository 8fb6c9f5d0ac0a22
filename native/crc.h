/* CRC-32 as zlib computes it: the sum at the end of each line. */
#ifndef MUSE_NATIVE_CRC_H
#define MUSE_NATIVE_CRC_H

#include <stddef.h>
#include <stdint.h>

/* Fill the tables, and look what the processor can do. Call it once, before `crc_of`. */
void crc_prepare(void);

/* Return the CRC-32 of `size` bytes. */
uint32_t crc_of(const void *data, size_t size);

#endif
