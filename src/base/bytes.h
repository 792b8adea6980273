/* bytes.h - little-endian numbers at any address, as file formats have them.
 *
 * Threads:  pure.
 */
#ifndef SELLA_BASE_BYTES_H
#define SELLA_BASE_BYTES_H

#include <stdint.h>

static inline uint32_t sella_u32_at(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t sella_u64_at(const uint8_t *p)
{
    return (uint64_t)sella_u32_at(p) | (uint64_t)sella_u32_at(p + 4) << 32;
}

static inline void sella_u64_put(uint8_t *p, uint64_t value)
{
    for (int i = 0; i < 8; i++) {
        p[i] = (uint8_t)(value >> (8 * i));
    }
}

#endif
