/* What devices tell of themselves, for who trains next: class, battery, line. Each is drawn from numbers of
 * its own, so that telling it changes nothing else of a history. */
#include "shared/sim/internal.h"

#include "shared/base/alloc.h"

#include <string.h>

#define CLASS   UINT64_C(0x636c617373)
#define BATTERY UINT64_C(0x62617474657279)
#define LINE    UINT64_C(0x6c696e65)

static struct trib_rng numbers(const struct trib_sim *sim, uint64_t what, size_t device) {
    return trib_rng_seed(sim->options.seed ^ what, device);
}

/* A list's lines become texts one behind the other; returns how many. */
static size_t part(char *lines) {
    size_t count = lines[0] != 0;
    for (; (lines = strchr(lines, '\n')) != NULL; count++) *lines++ = 0;
    return count;
}

static enum trib_status draw_classes(struct trib_sim *sim, size_t devices, struct trib_error *err) {
    sim->classes = trib_strdup(sim->scenario->fleet.classes);
    if (sim->classes == NULL) return trib_fail(err, TRIB_NOMEM, "out of memory for the devices' classes");
    size_t count = part(sim->classes);
    for (size_t i = 0; count > 0 && i < devices; i++) {
        struct trib_rng rng = numbers(sim, CLASS, i);
        const char *name = sim->classes;
        for (uint64_t skip = trib_rng_below(&rng, count); skip > 0; skip--) name += strlen(name) + 1;
        sim->conditions[i].device_class = name;
    }
    return TRIB_OK;
}

static enum trib_status draw_batteries(struct trib_sim *sim, size_t devices, struct trib_error *err) {
    struct trib_delay battery = {0};
    enum trib_status status = trib_delay_parse(sim->scenario->fleet.battery, &battery, err);
    for (size_t i = 0; status == TRIB_OK && i < devices; i++) {
        struct trib_rng rng = numbers(sim, BATTERY, i);
        double percent = trib_delay_draw(&battery, &rng);
        sim->conditions[i].battery = percent < 100 ? (uint64_t)percent : 100;
    }
    trib_delay_release(&battery);
    return status;
}

static enum trib_status draw_lines(struct trib_sim *sim, size_t devices, struct trib_error *err) {
    struct trib_delay line = {0};
    enum trib_status status = trib_delay_parse(sim->scenario->fleet.link, &line, err);
    for (size_t i = 0; status == TRIB_OK && i < devices; i++) {
        struct trib_rng rng = numbers(sim, LINE, i);
        double rate = trib_delay_draw(&line, &rng);
        sim->conditions[i].link = rate >= 1 ? (uint64_t)rate : 1;
    }
    trib_delay_release(&line);
    return status;
}

enum trib_status trib_sim_conditions_open(struct trib_sim *sim, struct trib_error *err) {
    const struct trib_scenario *s = sim->scenario;
    size_t devices = (size_t)s->fleet.devices;
    if (s->fleet.classes[0] == 0 && s->fleet.battery[0] == 0 && s->fleet.link[0] == 0) return TRIB_OK;
    sim->conditions = trib_alloc_array(devices, sizeof *sim->conditions);
    if (sim->conditions == NULL)
        return trib_fail(err, TRIB_NOMEM, "out of memory for what %zu devices tell", devices);
    for (size_t i = 0; i < devices; i++) sim->conditions[i].battery = UINT64_MAX; /* not told */
    struct trib_error inner;
    enum trib_status status = draw_classes(sim, devices, err);
    if (status != TRIB_OK) return status;
    if (s->fleet.battery[0] != 0 && (status = draw_batteries(sim, devices, &inner)) != TRIB_OK)
        return trib_fail(err, status, "fleet.battery: %s", inner.text);
    if (s->fleet.link[0] != 0 && (status = draw_lines(sim, devices, &inner)) != TRIB_OK)
        return trib_fail(err, status, "fleet.link: %s", inner.text);
    return TRIB_OK;
}

void trib_sim_conditions_close(struct trib_sim *sim) {
    trib_free(sim->conditions);
    trib_free(sim->classes);
}

void trib_sim_report(void *ctx, struct trib_conditions *out) {
    *out = *(const struct trib_conditions *)ctx;
}
