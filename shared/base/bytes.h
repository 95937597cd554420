/* Little-endian numbers in byte arrays. */
#ifndef TRIB_BASE_BYTES_H
#define TRIB_BASE_BYTES_H

#include <stdint.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "Tributary's payloads are little-endian and so must be the processor"
#endif

static inline uint16_t trib_get_u16(const void *p) {
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline uint32_t trib_get_u32(const void *p) {
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline uint64_t trib_get_u64(const void *p) {
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline float trib_get_f32(const void *p) {
    float v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline void trib_put_u16(void *p, uint16_t v) {
    memcpy(p, &v, sizeof v);
}
static inline void trib_put_u32(void *p, uint32_t v) {
    memcpy(p, &v, sizeof v);
}
static inline void trib_put_u64(void *p, uint64_t v) {
    memcpy(p, &v, sizeof v);
}
static inline void trib_put_f32(void *p, float v) {
    memcpy(p, &v, sizeof v);
}
/* The bits of a float, as they are recorded. */
static inline uint32_t trib_f32_bits(float v) {
    return trib_get_u32(&v);
}

#endif
