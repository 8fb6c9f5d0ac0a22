/* CRC-32: reflected polynomial 0xEDB88320, initial value and final exclusive-or 0xFFFFFFFF.

   Three ways to the same sum. A processor with carry-less multiplication folds 64 bytes at a time (Gopal et al.,
   "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction", Intel 2009; the constants are
   the paper's). Others take eight bytes a step from eight tables (Kounavis and Berry 2005, "slicing by
   8"), and the last few bytes of either go one by one. */
#include "crc.h"

#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define HAS_FOLDING 1
static int can_fold;
#endif

static uint32_t table[8][256];

void crc_prepare(void) {
    for (uint32_t octet = 0; octet < 256; octet++) {
        uint32_t crc = octet;
        for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (0xEDB88320u & (0u - (crc & 1)));
        table[0][octet] = crc;
    }
    for (uint32_t octet = 0; octet < 256; octet++)
        for (int step = 1; step < 8; step++)
            table[step][octet] = (table[step - 1][octet] >> 8) ^ table[0][table[step - 1][octet] & 255];
#ifdef HAS_FOLDING
    __builtin_cpu_init();
    can_fold = __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1");
#endif
}

/* `crc` is the inverted sum so far, here and below. */
static uint32_t by_tables(uint32_t crc, const unsigned char *at, size_t size) {
    for (; size >= 8; at += 8, size -= 8) {
        uint32_t low, high;
        memcpy(&low, at, 4);
        memcpy(&high, at + 4, 4);
        low ^= crc;
        crc = table[7][low & 255] ^ table[6][(low >> 8) & 255] ^ table[5][(low >> 16) & 255] ^ table[4][low >> 24] ^
              table[3][high & 255] ^ table[2][(high >> 8) & 255] ^ table[1][(high >> 16) & 255] ^ table[0][high >> 24];
    }
    while (size--) crc = (crc >> 8) ^ table[0][(crc ^ *at++) & 255];
    return crc;
}

#ifdef HAS_FOLDING
__attribute__((target("pclmul,sse4.1"))) static inline __m128i fold(__m128i sum, __m128i by, __m128i next) {
    __m128i low = _mm_clmulepi64_si128(sum, by, 0x00), high = _mm_clmulepi64_si128(sum, by, 0x11);
    return _mm_xor_si128(_mm_xor_si128(low, high), next);
}

/* `size`: at least 64, and a multiple of 16. */
__attribute__((target("pclmul,sse4.1"))) static uint32_t by_folding(uint32_t crc, const unsigned char *at,
                                                                    size_t size) {
    const __m128i by_64 = _mm_set_epi64x(0x01c6e41596, 0x0154442bd4), by_16 = _mm_set_epi64x(0x00ccaa009e, 0x01751997d0);
    const __m128i by_8 = _mm_set_epi64x(0, 0x0163cd6124), polynomial = _mm_set_epi64x(0x01f7011641, 0x01db710641);
    const __m128i low_halves = _mm_setr_epi32(~0, 0, ~0, 0);
    const __m128i *from = (const __m128i *)at, *end = (const __m128i *)(at + size);
    __m128i lane[4], sum, rest;
    for (int i = 0; i < 4; i++) lane[i] = _mm_loadu_si128(from++);
    lane[0] = _mm_xor_si128(lane[0], _mm_cvtsi32_si128((int)crc));
    for (; end - from >= 4; from += 4)
        for (int i = 0; i < 4; i++) lane[i] = fold(lane[i], by_64, _mm_loadu_si128(from + i));
    sum = fold(fold(fold(lane[0], by_16, lane[1]), by_16, lane[2]), by_16, lane[3]);
    while (from < end) sum = fold(sum, by_16, _mm_loadu_si128(from++));
    /* 128 bits to 64, to 32, and the remainder (Barrett). */
    sum = _mm_xor_si128(_mm_srli_si128(sum, 8), _mm_clmulepi64_si128(sum, by_16, 0x10));
    rest = _mm_srli_si128(sum, 4);
    sum = _mm_xor_si128(_mm_clmulepi64_si128(_mm_and_si128(sum, low_halves), by_8, 0x00), rest);
    rest = _mm_clmulepi64_si128(_mm_and_si128(sum, low_halves), polynomial, 0x10);
    rest = _mm_clmulepi64_si128(_mm_and_si128(rest, low_halves), polynomial, 0x00);
    return (uint32_t)_mm_extract_epi32(_mm_xor_si128(sum, rest), 1);
}
#endif

uint32_t crc_of(const void *data, size_t size) {
    const unsigned char *at = data;
    uint32_t crc = 0xFFFFFFFFu;
#ifdef HAS_FOLDING
    if (can_fold && size >= 64) {
        size_t whole = size & ~(size_t)15;
        crc = by_folding(crc, at, whole);
        at += whole;
        size -= whole;
    }
#endif
    return ~by_tables(crc, at, size);
}
