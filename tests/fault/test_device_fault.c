/* Memory that runs out under a device at the moment that an update gets its number: either the update is made
 * whole and waits for the spool, or the device ends in good order, and nobody has heard of it. What is not in
 * the spool is not said. */
#include "device/agent.c"

#include "tests/support/cmocka.h"
#include "tests/support/hop.h"
#include "tests/support/roles.h"

#include <fcntl.h>
#include <unistd.h>

/* ---- what the other files of device/ would do ---- */

static size_t wanted, saves;

uint64_t fleet_now_ms(const struct fleet *fleet) {
    (void)fleet;
    return 1000000;
}

void spooler_save(struct spooler *spooler, size_t device) {
    (void)spooler;
    (void)device;
    saves++;
}

enum trib_status spooler_load(struct spooler *spooler, const char *name, struct trib_state *state,
                              struct trib_error *err) {
    (void)spooler;
    (void)state;
    return trib_fail(err, TRIB_NOT_FOUND, "%s has no spool", name);
}

void work_want(struct agent *agent) {
    (void)agent;
    wanted++;
}

void work_dispatch(struct fleet *fleet) {
    (void)fleet;
}

void work_submit(void *agent) {
    (void)agent;
}

void job_free(void *job) {
    (void)job;
}

/* ---- a device ---- */

struct yard {
    struct hop *hop;
    struct trib_log log;
    struct fleet fleet;
    struct agent agent;
    size_t last_words;
};

static void nothing(void *ctx) {
    (void)ctx;
}

static void say(struct yard *yard, const struct trib_msg *msg) {
    struct trib_buf frame;
    trib_buf_init(&frame, 0);
    trib_msg_encode(msg, &frame);
    trib_participant_message(yard->agent.participant, fleet_now_ms(NULL), frame.data, frame.size, NULL);
    trib_buf_release(&frame);
    agent_carry_out(&yard->agent);
}

/* The spool has all that it should: what waited for it leaves. */
static void spool_is_written(struct agent *agent) {
    agent_saved(agent, agent->keep, NULL);
}

/* It has version 0 and was asked to train. */
static void begin(struct yard *yard) {
    struct trib_state_limits limits = {0};
    struct trib_participant_options options = {.name = "d-0", .seed = 7};
    struct agent *agent = &yard->agent;
    *yard = (struct yard){.hop = hop_new()};
    yard->log = (struct trib_log){.level = TRIB_LOG_ERROR, .fd = open("/dev/null", O_WRONLY), .node = "d"};
    hop_serve(yard->hop, (struct trib_server_options){.endpoints = NULL});
    hop_connect(yard->hop, 0, (struct trib_client_options){.endpoint = NULL});
    yard->fleet = (struct fleet){.log = &yard->log, .agents = agent, .count = 1, .spooler = (void *)yard};
    struct trib_reactor *reactor = yard->hop->reactor;
    assert_int_equal(trib_timer_new(reactor, nothing, NULL, &yard->fleet.finish, NULL), TRIB_OK);
    agent->fleet = &yard->fleet;
    agent->held_end = &agent->held;
    agent->client = yard->hop->clients[0].client;
    assert_int_equal(trib_timer_new(reactor, nothing, NULL, &agent->wake, NULL), TRIB_OK);
    assert_int_equal(trib_state_new(TRIB_ROLE_DEVICE, &limits, &agent->state, NULL), TRIB_OK);
    trib_outbox_init(&agent->outbox);
    assert_int_equal(trib_participant_new(&options, agent->state, &agent->outbox, &agent->participant, NULL),
                     TRIB_OK);
    wanted = saves = 0;
    agent_settle(agent);
    struct trib_msg welcome = role_welcome(5, 70, 0), model = role_seed_model(5);
    say(yard, &welcome);
    spool_is_written(agent);
    say(yard, &model);
    assert_int_equal(wanted, 1);
}

static void end(struct yard *yard) {
    struct agent *agent = &yard->agent;
    release_held(agent, true);
    trib_participant_free(&agent->participant);
    trib_outbox_release(&agent->outbox);
    trib_state_free(&agent->state);
    trib_timer_free(&agent->wake);
    trib_timer_free(&yard->fleet.finish);
    (void)close(yard->log.fd);
    hop_free(yard->hop);
}

static bool has_last_words(struct hop *hop, size_t count) {
    for (size_t i = 0; i < hop->at_server.count; i++)
        count -= count > 0 && strcmp(hop->at_server.records[i].head, "last word") == 0;
    return count == 0;
}

/* Everything that it sent before has arrived. */
static void listen_to_all(struct yard *yard) {
    assert_int_equal(hop_send(yard->hop, 0, "last word", NULL), TRIB_OK);
    hop_until(yard->hop, has_last_words, ++yard->last_words);
}

/* How often it has said that. */
static size_t said(const struct yard *yard, char type) {
    size_t count = 0;
    for (size_t i = 0; i < yard->hop->at_server.count; i++)
        count += yard->hop->at_server.records[i].head[5] == type;
    return count;
}

static void submit(struct yard *yard, long allocations) {
    const float difference[ROLE_N] = {1, 1, 1, 1};
    struct trib_state *state = yard->agent.state;
    struct trib_submission work = {.difference = difference,
                                   .base_version = state->parent_version,
                                   .parent_incarnation = state->parent_incarnation,
                                   .samples = 20,
                                   .weight = 10,
                                   .steps = 2.0f,
                                   .loss = 0.5f};
    trib_alloc_fail_after(allocations);
    trib_participant_submit(yard->agent.participant, fleet_now_ms(NULL), &work);
    trib_alloc_fail_after(-1);
    agent_settle(&yard->agent);
}

static void an_update_is_told_when_it_is_in_the_spool(void **unused) {
    (void)unused;
    size_t failed = 0, put_off = 0, whole = 0;
    for (long n = 0; whole == 0; n++) {
        struct yard yard;
        begin(&yard);
        uint64_t before = yard.agent.state->position;
        submit(&yard, n);
        listen_to_all(&yard);
        assert_int_equal(said(&yard, TRIB_PUSH), 0);
        if (yard.fleet.failed) { /* in memory it has a number by now, of which no record tells */
            assert_int_equal(yard.agent.held_count, 0);
            assert_int_equal(saves, 0);
            failed += yard.agent.state->position > before;
        } else if (yard.agent.state->held_count == 0) {
            put_off++; /* it stays in its own part */
        } else {
            assert_int_equal(yard.agent.held_count, 1);
            assert_int_equal(saves, 1);
            spool_is_written(&yard.agent);
            listen_to_all(&yard);
            assert_int_equal(said(&yard, TRIB_PUSH), 1);
            whole++;
        }
        end(&yard);
    }
    assert_true(failed > 0 && put_off > 0);
}

/* A new incarnation that could not be written down is not said HELLO with. */
static void a_new_incarnation_that_is_not_written_is_not_told(void **unused) {
    (void)unused;
    size_t failed = 0;
    for (long n = 0; n < 12; n++) {
        struct yard yard;
        begin(&yard);
        listen_to_all(&yard);
        size_t hellos = said(&yard, TRIB_HELLO);
        struct trib_msg error = role_message(TRIB_ERROR, 5);
        trib_msg_set(&error, CODE, code, TRIB_CODE_RETIRED);
        struct trib_buf frame;
        trib_buf_init(&frame, 0);
        trib_msg_encode(&error, &frame);
        uint64_t before = yard.agent.state->incarnation;
        trib_alloc_fail_after(n);
        trib_participant_message(yard.agent.participant, fleet_now_ms(NULL), frame.data, frame.size, NULL);
        trib_alloc_fail_after(-1);
        trib_buf_release(&frame);
        trib_outbox_simple(&yard.agent.outbox, TRIB_ACTION_RECONNECT); /* as poll asks for it */
        agent_carry_out(&yard.agent);
        listen_to_all(&yard);
        bool lost = yard.agent.outbox.failed != TRIB_OK && yard.agent.state->incarnation != before;
        failed += lost;
        if (lost) assert_int_equal(said(&yard, TRIB_HELLO), hellos);
        if (lost) assert_true(yard.fleet.failed);
        end(&yard);
    }
    assert_true(failed > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_update_is_told_when_it_is_in_the_spool),
        cmocka_unit_test(a_new_incarnation_that_is_not_written_is_not_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
