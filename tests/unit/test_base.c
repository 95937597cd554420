/* shared/base: random numbers, blobs, buffers, memory, errors. The random numbers were computed in Python
 * from the formulas in rng.h; splitmix64's own three are the ones its authors' program gives for seed
 * 1234567. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "shared/base/alloc.h"
#include "shared/base/blob.h"
#include "shared/base/buf.h"
#include "shared/base/bytes.h"
#include "shared/base/clock.h"
#include "shared/base/error.h"
#include "shared/base/rng.h"
#include "tests/support/pages.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

/* ---- random numbers ---- */

static void test_splitmix64(void **state) {
    (void)state;
    struct trib_rng rng = {.state = 1234567};
    assert_true(trib_rng_u64(&rng) == UINT64_C(6457827717110365317));
    assert_true(trib_rng_u64(&rng) == UINT64_C(3203168211198807973));
    assert_true(trib_rng_u64(&rng) == UINT64_C(9817491932198370423));
}

static void test_streams(void **state) {
    (void)state;
    static const struct {
        uint64_t seed, stream, first[3];
    } known[] = {
        {0, 0, {0x85c61a300ec70fa1, 0x4952c2a6e1ef0b78, 0xf30f1e318359884b}},
        {0, 1, {0xb65fb670a97a935e, 0xca1b1b49d917bf3c, 0x80f71887523a395c}},
        {42, 7, {0x2faeac8a2d428183, 0x0dd6497a21318d69, 0xb5e20d03eaff930f}},
        {UINT64_MAX, UINT64_MAX, {0xf38808d00246e0f1, 0x3c724ca641b5354d, 0x04376d244df2c76a}},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        struct trib_rng rng = trib_rng_seed(known[i].seed, known[i].stream);
        for (size_t k = 0; k < 3; k++) assert_true(trib_rng_u64(&rng) == known[i].first[k]);
    }
}

static void test_below(void **state) {
    (void)state;
    static const uint64_t ten[] = {7, 5, 9, 7, 0, 9, 5, 3, 6, 3, 6, 0};
    struct trib_rng rng = trib_rng_seed(42, 7);
    for (size_t i = 0; i < 12; i++) assert_int_equal(trib_rng_below(&rng, 10), ten[i]);
    /* Nearly half of all numbers are rejected for this bound: without that, these would be others. */
    static const uint64_t wide[] = {UINT64_C(9200094219030938045), UINT64_C(5737731999234648819),
                                    UINT64_C(848364108581941865)};
    for (size_t i = 0; i < 3; i++) assert_true(trib_rng_below(&rng, (UINT64_C(1) << 63) | 1) == wide[i]);
    assert_int_equal(trib_rng_below(&rng, 1), 0);
}

static void test_unit(void **state) {
    (void)state;
    struct trib_rng rng = trib_rng_seed(42, 7);
    assert_true(trib_rng_unit(&rng) == 0x1.7d7564516a140p-3);
    assert_true(trib_rng_unit(&rng) == 0x1.bac92f4426310p-5);
    assert_true(trib_rng_unit(&rng) == 0x1.6bc41a07d5ff2p-1);
}

static void test_shuffle(void **state) {
    (void)state;
    static const uint32_t expected[] = {3, 0, 9, 5, 7, 4, 2, 1, 8, 6};
    uint32_t items[10];
    for (uint32_t i = 0; i < 10; i++) items[i] = i;
    struct trib_rng rng = trib_rng_seed(5, 0);
    trib_rng_shuffle(&rng, items, 10);
    assert_memory_equal(items, expected, sizeof items);
    trib_rng_shuffle(&rng, items, 1);
    trib_rng_shuffle(&rng, items, 0);
    assert_memory_equal(items, expected, sizeof items);
}

enum { DRAWS = 40000 };

/* Mean and variance of a distribution, each within 5 standard errors of what it should be. */
static void assert_moments(double (*draw)(struct trib_rng *rng, double shape), double shape, double mean,
                           double variance, double fourth) {
    struct trib_rng rng = trib_rng_seed(11, 3);
    double sum = 0, squares = 0;
    for (size_t i = 0; i < DRAWS; i++) {
        double x = draw(&rng, shape) - mean;
        assert_true(isfinite(x));
        sum += x;
        squares += x * x;
    }
    assert_true(fabs(sum / DRAWS) < 5 * sqrt(variance / DRAWS));
    assert_true(fabs(squares / DRAWS - variance) < 5 * sqrt((fourth - variance * variance) / DRAWS));
}

static double normal(struct trib_rng *rng, double shape) {
    (void)shape;
    return trib_rng_normal(rng);
}

static double exponential(struct trib_rng *rng, double shape) {
    (void)shape;
    return trib_rng_exponential(rng);
}

/* Fourth central moments: 3 of the normal, 9 of the exponential, 3 k^2 + 6 k of a gamma of shape k. */
static void test_distributions(void **state) {
    (void)state;
    assert_moments(normal, 0, 0, 1, 3);
    assert_moments(exponential, 0, 1, 1, 9);
    assert_moments(trib_rng_gamma, 0.5, 0.5, 0.5, 3 * 0.25 + 3);
    assert_moments(trib_rng_gamma, 4, 4, 4, 3 * 16 + 24);
}

static void test_kernel_numbers_differ(void **state) {
    (void)state;
    uint64_t a = trib_random_u64(), b = trib_random_u64();
    assert_true(a != 0 && b != 0 && a != b);
}

/* ---- blobs ---- */

static void count_release(void *owner) {
    ++*(int *)owner;
}

static void test_blob_is_released_once(void **state) {
    (void)state;
    int released = 0;
    static const char text[] = "payload";
    struct trib_blob *a = trib_blob_wrap(text, 7, count_release, &released);
    struct trib_blob *b = trib_blob_ref(a), *c = trib_blob_ref(b);
    assert_ptr_equal(trib_blob_data(c), text);
    assert_int_equal(trib_blob_size(c), 7);
    trib_blob_unref(&a);
    trib_blob_unref(&a); /* it is NULL by now */
    trib_blob_unref(&c);
    assert_null(a);
    assert_int_equal(released, 0);
    trib_blob_unref(&b);
    assert_int_equal(released, 1);
}

static void test_blob_slice_keeps_the_whole(void **state) {
    (void)state;
    int released = 0;
    static const char text[] = "0123456789";
    struct trib_blob *whole = trib_blob_wrap(text, 10, count_release, &released);
    assert_null(trib_blob_slice(whole, 4, 7));
    assert_null(trib_blob_slice(whole, 11, 0));
    assert_null(trib_blob_slice(whole, SIZE_MAX, 2));
    struct trib_blob *part = trib_blob_slice(whole, 4, 6), *empty = trib_blob_slice(whole, 10, 0);
    trib_blob_unref(&whole);
    assert_int_equal(released, 0);
    assert_int_equal(trib_blob_size(part), 6);
    assert_memory_equal(trib_blob_data(part), "456789", 6);
    assert_int_equal(trib_blob_size(empty), 0);
    struct trib_blob *inner = trib_blob_slice(part, 1, 2);
    trib_blob_unref(&part);
    trib_blob_unref(&empty);
    assert_memory_equal(trib_blob_data(inner), "56", 2);
    assert_int_equal(released, 0);
    trib_blob_unref(&inner);
    assert_int_equal(released, 1);
}

static void test_blob_memory(void **state) {
    (void)state;
    struct trib_blob *made = trib_blob_new(5), *copy = trib_blob_copy("abc", 3),
                     *none = trib_blob_copy(NULL, 0);
    assert_memory_equal(trib_blob_data(made), "\0\0\0\0\0", 5);
    trib_blob_mutable(made)[4] = 9;
    assert_int_equal(trib_blob_data(made)[4], 9);
    assert_memory_equal(trib_blob_data(copy), "abc", 3);
    assert_int_equal(trib_blob_size(none), 0);
    assert_int_equal((uintptr_t)trib_blob_data(made) % 16, 0);
    trib_blob_unref(&made);
    trib_blob_unref(&copy);
    trib_blob_unref(&none);
    assert_null(trib_blob_ref(NULL));
    assert_null(trib_blob_data(NULL));
    assert_int_equal(trib_blob_size(NULL), 0);
    assert_null(trib_blob_new(SIZE_MAX));
}

static void test_blob_without_memory(void **state) {
    (void)state;
    int released = 0;
    struct trib_blob *whole = trib_blob_wrap("abc", 3, count_release, &released);
    trib_alloc_fail_after(0);
    assert_null(trib_blob_new(3));
    assert_null(trib_blob_copy("abc", 3));
    assert_null(trib_blob_wrap("abc", 3, count_release, &released));
    assert_null(trib_blob_slice(whole, 0, 1));
    trib_alloc_fail_after(-1);
    assert_int_equal(released, 0); /* nothing was taken */
    trib_blob_unref(&whole);
    assert_int_equal(released, 1); /* and the slice that failed holds nothing */
}

/* ---- buffers ---- */

static void test_buf_text(void **state) {
    (void)state;
    struct trib_buf buf;
    trib_buf_init(&buf, 0);
    assert_string_equal(trib_buf_text(&buf), "");
    trib_buf_append(&buf, "ab", 2);
    trib_buf_printf(&buf, "%d-%s", 17, "c");
    memcpy(trib_buf_extend(&buf, 2), "de", 2);
    trib_buf_append(&buf, NULL, 0);
    assert_string_equal(trib_buf_text(&buf), "ab17-cde");
    assert_int_equal(buf.size, 8);
    for (int i = 0; i < 1000; i++) trib_buf_printf(&buf, "%04d", i);
    assert_int_equal(buf.size, 4008);
    assert_string_equal(trib_buf_text(&buf) + 4004, "0999");
    trib_buf_clear(&buf);
    assert_string_equal(trib_buf_text(&buf), "");
    assert_false(buf.failed);
    trib_buf_release(&buf);
    assert_null(buf.data);
}

static void test_buf_limit(void **state) {
    (void)state;
    struct trib_buf buf;
    trib_buf_init(&buf, 5);
    trib_buf_append(&buf, "abc", 3);
    trib_buf_printf(&buf, "%s", "de"); /* to the limit */
    assert_false(buf.failed);
    trib_buf_append(&buf, "f", 1);
    assert_true(buf.failed);
    assert_string_equal(trib_buf_text(&buf), "abcde"); /* what came before */
    trib_buf_clear(&buf);
    trib_buf_printf(&buf, "%s", "abcdef");
    assert_true(buf.failed);
    assert_int_equal(buf.size, 0);
    assert_null(trib_buf_extend(&buf, 1)); /* and nothing more after a failure */
    trib_buf_clear(&buf);
    trib_buf_append(&buf, "x", 1);
    assert_string_equal(trib_buf_text(&buf), "x");
    assert_null(trib_buf_extend(&buf, SIZE_MAX));
    assert_true(buf.failed);
    trib_buf_release(&buf);
    assert_int_equal(buf.limit, 5);
}

static void test_buf_without_memory(void **state) {
    (void)state;
    struct trib_buf buf;
    trib_buf_init(&buf, 0);
    trib_buf_append(&buf, "abc", 3);
    trib_alloc_fail_after(0);
    uint8_t *room = trib_buf_extend(&buf, 1000);
    trib_alloc_fail_after(-1);
    assert_null(room);
    assert_true(buf.failed);
    trib_buf_append(&buf, "d", 1); /* would fit, but the buffer would have a hole */
    assert_string_equal(trib_buf_text(&buf), "abc");
    trib_buf_release(&buf);
}

/* ---- memory ---- */

static void test_memory(void **state) {
    (void)state;
    uint8_t *bytes = trib_alloc(100);
    for (size_t i = 0; i < 100; i++) assert_int_equal(bytes[i], 0);
    bytes = trib_realloc(bytes, 200);
    assert_int_equal(bytes[99], 0);
    trib_free(bytes);
    void *nothing = trib_alloc(0);
    assert_non_null(nothing);
    trib_free(nothing);
    assert_null(trib_alloc_array(SIZE_MAX / 2, 3));
    assert_null(trib_alloc_floats(SIZE_MAX / 2));
    assert_null(trib_alloc_floats(SIZE_MAX / sizeof(float))); /* and with its rounding up to 64 */
    char *copy = trib_strdup("text");
    assert_string_equal(copy, "text");
    trib_free(copy);
    trib_free(NULL);
}

static void test_floats_are_aligned(void **state) {
    (void)state;
    static const size_t counts[] = {0, 1, 15, 16, 17, 1000003};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        float *floats = trib_alloc_floats(counts[i]);
        assert_non_null(floats);
        assert_int_equal((uintptr_t)floats % 64, 0);
        for (size_t k = 0; k < counts[i]; k++)
            if (trib_f32_bits(floats[k]) != 0) fail_msg("float %zu is not zero", k);
        trib_free(floats);
    }
}

/* Whether the system has huge pages or not. An allocator other than glibc's does not grow that heap. */
static void test_memory_in_huge_pages(void **state) {
    (void)state;
    enum { BLOCKS = 100000, BYTES = 1000 }; /* more than the heap grows by at a time */
    uint8_t **blocks = trib_alloc_array(BLOCKS, sizeof *blocks);
    const char *end = NULL, *first = NULL;
    assert_non_null(blocks);
    for (size_t i = 0; i < BLOCKS; i++) {
        const char *before = end;
        trib_alloc_huge_pages(&end);
        if (i == 0) first = end;
        assert_true(end >= before);
        blocks[i] = trib_alloc(BYTES);
        assert_non_null(blocks[i]);
        assert_int_equal(blocks[i][BYTES - 1], 0);
        memset(blocks[i], (int)(i & 255), BYTES);
    }
    struct pages pages;
    bool has_huge = access("/sys/kernel/mm/transparent_hugepage", F_OK) == 0;
    if (end > first && has_huge && pages_of(end - 1, &pages)) assert_true(pages.huge_asked);
    for (size_t i = 0; i < BLOCKS; i++) {
        assert_int_equal(blocks[i][0], i & 255);
        trib_free(blocks[i]);
    }
    trib_free(blocks);
}

static void test_allocations_fail_when_told(void **state) {
    (void)state;
    trib_alloc_fail_after(2);
    void *a = trib_alloc(1), *b = trib_alloc_floats(1), *c = trib_alloc(1), *d = trib_strdup("x");
    trib_alloc_fail_after(-1);
    assert_non_null(a);
    assert_non_null(b);
    assert_null(c);
    assert_null(d); /* and every later one */
    c = trib_alloc(1);
    assert_non_null(c);
    trib_alloc_fail_after(0);
    assert_null(trib_realloc(c, 2)); /* c stays valid */
    trib_alloc_fail_after(-1);
    trib_free(a);
    trib_free(b);
    trib_free(c);
}

/* ---- errors, bytes, clocks ---- */

static void test_error_texts(void **state) {
    (void)state;
    struct trib_error err = {0};
    assert_int_equal(trib_fail(&err, TRIB_LIMIT, "found %d, at most %d", 7, 5), TRIB_LIMIT);
    assert_int_equal(err.status, TRIB_LIMIT);
    assert_string_equal(err.text, "found 7, at most 5");
    assert_int_equal(trib_fail(NULL, TRIB_AGAIN, "nobody reads %s", "this"), TRIB_AGAIN);
    char longer[2 * sizeof err.text];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    assert_int_equal(trib_fail(&err, TRIB_INVALID, "%s", longer), TRIB_INVALID);
    assert_int_equal(strlen(err.text), sizeof err.text - 1); /* cut, and ended */
}

static void test_error_of_errno(void **state) {
    (void)state;
    static const struct {
        int number;
        enum trib_status status;
    } known[] = {{ENOENT, TRIB_NOT_FOUND}, {EACCES, TRIB_DENIED}, {EROFS, TRIB_DENIED}, {ENOSPC, TRIB_IO}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        struct trib_error err = {0};
        errno = known[i].number;
        assert_int_equal(trib_fail_errno(&err, "cannot open %s", "x"), known[i].status);
        assert_int_equal(err.status, known[i].status);
        assert_true(strncmp(err.text, "cannot open x: ", 15) == 0 && strlen(err.text) > 15);
    }
    errno = ENOENT;
    assert_int_equal(trib_fail_errno(NULL, "x"), TRIB_NOT_FOUND);
}

static void test_status_names(void **state) {
    (void)state;
    for (unsigned a = 0; a < TRIB_STATUS_COUNT; a++) {
        assert_string_not_equal(trib_status_name((enum trib_status)a), "unknown");
        for (unsigned b = 0; b < a; b++)
            assert_string_not_equal(trib_status_name((enum trib_status)a),
                                    trib_status_name((enum trib_status)b));
    }
    assert_string_equal(trib_status_name(TRIB_OK), "ok");
    assert_string_equal(trib_status_name(TRIB_UNSUPPORTED), "unsupported");
    assert_string_equal(trib_status_name(TRIB_STATUS_COUNT), "unknown");
}

static void test_bytes_are_little_endian(void **state) {
    (void)state;
    uint8_t bytes[11] = {0};
    trib_put_u64(bytes + 1, UINT64_C(0x0807060504030201)); /* unaligned */
    for (uint8_t i = 0; i < 8; i++) assert_int_equal(bytes[1 + i], i + 1);
    assert_int_equal(trib_get_u16(bytes + 1), 0x0201);
    assert_int_equal(trib_get_u32(bytes + 3), 0x06050403);
    assert_true(trib_get_u64(bytes + 1) == UINT64_C(0x0807060504030201));
    trib_put_f32(bytes + 3, -2.5f);
    assert_memory_equal(bytes + 3, "\x00\x00\x20\xc0", 4);
    assert_true(trib_get_f32(bytes + 3) == -2.5f);
    assert_int_equal(trib_f32_bits(-0.0f), 0x80000000u);
}

static void test_clocks_do_not_go_back(void **state) {
    (void)state;
    uint64_t us = trib_clock_us(), ms = trib_clock_ms();
    assert_true(ms >= us / 1000);
    assert_true(trib_clock_us() >= us);
    assert_true(trib_clock_wall_ms() > UINT64_C(1600000000000)); /* since 1970, in ms: after 2020 */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_splitmix64),
        cmocka_unit_test(test_streams),
        cmocka_unit_test(test_below),
        cmocka_unit_test(test_unit),
        cmocka_unit_test(test_shuffle),
        cmocka_unit_test(test_distributions),
        cmocka_unit_test(test_kernel_numbers_differ),
        cmocka_unit_test(test_blob_is_released_once),
        cmocka_unit_test(test_blob_slice_keeps_the_whole),
        cmocka_unit_test(test_blob_memory),
        cmocka_unit_test(test_blob_without_memory),
        cmocka_unit_test(test_buf_text),
        cmocka_unit_test(test_buf_limit),
        cmocka_unit_test(test_buf_without_memory),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_floats_are_aligned),
        cmocka_unit_test(test_memory_in_huge_pages),
        cmocka_unit_test(test_allocations_fail_when_told),
        cmocka_unit_test(test_error_texts),
        cmocka_unit_test(test_error_of_errno),
        cmocka_unit_test(test_status_names),
        cmocka_unit_test(test_bytes_are_little_endian),
        cmocka_unit_test(test_clocks_do_not_go_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
