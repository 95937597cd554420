#include "tests/support/rebuilt.h"

#include "tests/support/cmocka.h"
#include "tests/support/memory_file.h"

#include <string.h>

void rebuilt_from_checkpoint(const struct trib_state *state, const char *what) {
    struct memory_file file = {0};
    struct trib_state_limits limits = {0};
    struct trib_state *copy;
    struct trib_error err = {0};
    uint8_t a[TRIB_DIGEST_BYTES], b[TRIB_DIGEST_BYTES];
    trib_buf_init(&file.buf, 0);
    struct trib_sink sink = memory_file_sink(&file);
    struct trib_feed feed = memory_file_feed(&file);
    assert_int_equal(trib_state_save(state, &sink, NULL), TRIB_OK);
    assert_int_equal(trib_state_new(state->role, &limits, &copy, NULL), TRIB_OK);
    if (trib_state_load(copy, &feed, &err) != TRIB_OK) fail_msg("%s: %s", what, err.text);
    assert_int_equal(trib_state_digest(state, a), TRIB_OK);
    assert_int_equal(trib_state_digest(copy, b), TRIB_OK);
    assert_memory_equal(a, b, sizeof a);
    /* and what is not in it, but follows from it */
    assert_int_equal(copy->increment_count, state->increment_count);
    assert_int_equal(copy->increment_bytes, state->increment_bytes);
    trib_state_free(&copy);
    size_t whole = file.buf.size;
    for (size_t cut = 0; cut < whole; cut += whole / 41 + 1) {
        file.at = 0;
        file.buf.size = cut;
        assert_int_equal(trib_state_new(state->role, &limits, &copy, NULL), TRIB_OK);
        assert_int_not_equal(trib_state_load(copy, &feed, NULL), TRIB_OK);
        trib_state_free(&copy);
    }
    trib_buf_release(&file.buf);
}

void rebuilt_from_records(struct federation *fed, size_t node, const char *what) {
    const struct trib_record *const *records;
    const struct trib_state *state = federation_state(fed, node);
    size_t count = federation_journal(fed, node, &records);
    struct trib_state_limits limits = {0};
    struct trib_state *again;
    struct trib_error err = {0};
    uint8_t was[TRIB_DIGEST_BYTES], is[TRIB_DIGEST_BYTES];
    assert_int_equal(state->position, count);
    assert_int_equal(trib_state_new(state->role, &limits, &again, NULL), TRIB_OK);
    for (size_t i = 0; i < count; i++) {
        struct trib_record copy = *records[i];
        if (trib_state_apply(again, &copy, &err) != TRIB_OK) fail_msg("%s: %s", what, err.text);
    }
    assert_int_equal(trib_state_digest(state, was), TRIB_OK);
    assert_int_equal(trib_state_digest(again, is), TRIB_OK);
    if (memcmp(was, is, sizeof was) != 0) fail_msg("%s: replay gives another state", what);
    trib_state_free(&again);
}
