/* shakespeare: the next character of the plays, one file input.txt (the "tiny Shakespeare" of A. Karpathy's
 * char-rnn: 40,000 lines). A speech is a line "NAME:" and the lines until an empty one; its speaker is the
 * user. A role's speeches are joined in their order, LEAF's way (Caldas et al. 2018): a sample is `length`
 * characters of that and the one behind them as label. The last fifth of each role's samples tests, beginning
 * behind the last training label. */
#include "shared/base/alloc.h"
#include "shared/base/rng.h"
#include "shared/learn/dataset_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

enum { SYMBOLS = 96, MAX_ROLES = 2000, MAX_NAME = 64, MAX_TEXT = 16 << 20, SEED = 0x706c6179 };

struct config {
    uint64_t length, stride;
};

static const struct trib_option params[] = {
    {.name = "length",
     .type = TRIB_OPT_U64,
     .offset = offsetof(struct config, length),
     .fallback = "80",
     .min = 1,
     .max = 1000,
     .help = "characters that the next one is predicted from"},
    {.name = "stride",
     .type = TRIB_OPT_U64,
     .offset = offsetof(struct config, stride),
     .fallback = "10",
     .min = 1,
     .max = 1000,
     .help = "from one sample's first character to the next one's"},
};

struct role {
    char name[MAX_NAME];
    size_t bytes, at; /* of its text, and where that begins */
};

struct plays {
    char *text;     /* the file; one byte 0 behind it */
    uint8_t *codes; /* the roles' texts, one behind the other */
    size_t bytes, roles;
    struct role role[MAX_ROLES];
};

/* 0 a line's end, 1 to 95 the printable characters of ASCII; anything else is taken for a blank. */
static uint8_t code_of(char c) {
    return c == '\n' ? 0 : c >= ' ' && c <= '~' ? (uint8_t)(c - ' ' + 1) : 1;
}

static enum trib_status read_text(struct plays *plays, const char *path, struct trib_error *err) {
    errno = 0;
    gzFile file = gzopen(path, "rbe");
    if (file == NULL && errno == 0) return trib_fail(err, TRIB_NOMEM, "%s: no memory to open it", path);
    if (file == NULL) return trib_fail_errno(err, "%s: cannot be opened", path);
    plays->text = trib_alloc(MAX_TEXT + 1);
    int got = plays->text != NULL ? gzread(file, plays->text, MAX_TEXT) : 0, code;
    const char *text = gzerror(file, &code);
    enum trib_status status = TRIB_OK;
    if (plays->text == NULL)
        status = trib_fail(err, TRIB_NOMEM, "%s: no memory to read it", path);
    else if (got <= 0 || code != Z_OK)
        status =
            trib_fail(err, TRIB_CORRUPT, "%s: cannot be read (%.80s)", path, got == 0 ? "it is empty" : text);
    else if (got == MAX_TEXT)
        status = trib_fail(err, TRIB_LIMIT, "%s: 16 MiB or more of text", path);
    plays->bytes = got > 0 ? (size_t)got : 0;
    (void)gzclose(file);
    return status;
}

/* The role that speaks behind a line "NAME:", or NULL for another line or too many roles. */
static struct role *speaker(struct plays *plays, const char *line, size_t bytes) {
    if (bytes < 2 || bytes > MAX_NAME || line[bytes - 1] != ':') return NULL;
    size_t i = 0;
    for (; i < plays->roles; i++)
        if (strlen(plays->role[i].name) == bytes - 1 && memcmp(plays->role[i].name, line, bytes - 1) == 0)
            break;
    if (i == MAX_ROLES) return NULL;
    if (i == plays->roles) {
        memcpy(plays->role[i].name, line, bytes - 1);
        plays->roles++;
    }
    return &plays->role[i];
}

/* Goes through the speeches: counts the roles' characters, or (copy) puts them in their places. */
static void go_through(struct plays *plays, bool copy) {
    struct role *role = NULL;
    bool fresh = true; /* behind an empty line */
    for (const char *line = plays->text; *line != '\0';) {
        size_t bytes = strcspn(line, "\n"), whole = bytes + (line[bytes] == '\n');
        if (fresh) role = speaker(plays, line, bytes);
        bool name = fresh && role != NULL;
        fresh = bytes == 0;
        if (role != NULL && !name && !fresh) {
            for (size_t i = 0; i < whole && copy; i++)
                plays->codes[role->at + role->bytes + i] = code_of(line[i]);
            role->bytes += whole;
        }
        line += whole;
    }
}

static enum trib_status cut_roles(struct plays *plays, struct trib_error *err) {
    go_through(plays, false);
    size_t at = 0;
    for (size_t i = 0; i < plays->roles; i++) {
        plays->role[i].at = at;
        at += plays->role[i].bytes;
        plays->role[i].bytes = 0;
    }
    if (at == 0) return trib_fail(err, TRIB_INVALID, "no speech found: a line NAME: and text behind it");
    plays->codes = trib_alloc(at);
    if (plays->codes == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for %zu characters", at);
    go_through(plays, true);
    return TRIB_OK;
}

/* The samples of a role that train, and that test, of `n` characters: i * stride + length < n for each. */
static void count_samples(const struct config *c, size_t n, size_t *train, size_t *test, size_t *test_from) {
    size_t all = n > c->length ? (n - (size_t)c->length - 1) / (size_t)c->stride + 1 : 0;
    *test = all / 5;
    *train = all - *test;
    /* the first test sample begins behind the last training label */
    size_t skip = *test > 0 ? (size_t)(c->length / c->stride) + 1 : 0;
    *test_from = *train + skip;
    *test = *test > skip ? *test - skip : 0;
}

static enum trib_status fill(const struct plays *plays, const struct config *c, bool tests,
                             struct trib_split *split, struct trib_error *err) {
    size_t length = (size_t)c->length, total = 0, of[2], from;
    for (size_t i = 0; i < plays->roles; i++) {
        count_samples(c, plays->role[i].bytes, &of[0], &of[1], &from);
        total += of[tests];
    }
    if (total == 0) return trib_fail(err, TRIB_INVALID, "no role speaks %zu characters", length);
    uint8_t *images = trib_alloc_array(total, length), *labels = trib_alloc(total);
    uint32_t *users = trib_alloc_array(total, sizeof *users), *order = trib_alloc_array(total, sizeof *order);
    split->images = images;
    split->labels = labels;
    split->users = users;
    split->count = total;
    bool room = images != NULL && labels != NULL && users != NULL && order != NULL;
    struct trib_rng rng = trib_rng_seed(SEED, tests);
    for (size_t i = 0; i < total && room; i++) order[i] = (uint32_t)i;
    if (room && tests) trib_rng_shuffle(&rng, order, total); /* so that the first ones are a fair part */
    for (size_t u = 0, k = 0; u < plays->roles && room; u++) {
        count_samples(c, plays->role[u].bytes, &of[0], &of[1], &from);
        for (size_t i = 0; i < of[tests]; i++, k++) {
            const uint8_t *at =
                plays->codes + plays->role[u].at + (i + (tests ? from : 0)) * (size_t)c->stride;
            memcpy(images + order[k] * length, at, length);
            labels[order[k]] = at[length];
            users[order[k]] = (uint32_t)u;
        }
    }
    trib_free(order);
    return room ? TRIB_OK
                : trib_fail(err, TRIB_NOMEM, "no memory for %zu samples; take a larger stride", total);
}

static enum trib_status open_plays(struct trib_dataset *dataset, const char *name, const void *config,
                                   const char *path, struct trib_error *err) {
    char folder[TRIB_DATASET_MAX_SOURCE], file[TRIB_DATASET_MAX_SOURCE];
    const char *what = NULL;
    enum trib_status status = trib_source_find(name, "input.txt", path, folder, &what, err);
    if (status != TRIB_OK) return status;
    struct plays *plays = trib_alloc(sizeof *plays);
    if (plays == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for the plays");
    if (!trib_source_file(folder, "input.txt", file))
        status = trib_fail(err, TRIB_NOT_FOUND, "%s has no input.txt any more", folder);
    if (status == TRIB_OK) status = read_text(plays, file, err);
    if (status == TRIB_OK) status = cut_roles(plays, err);
    dataset->shape = (struct trib_shape){
        .channels = 1, .height = 1, .width = (size_t)((const struct config *)config)->length};
    dataset->classes = SYMBOLS;
    dataset->users = plays->roles;
    dataset->symbols = true;
    if (status == TRIB_OK) status = fill(plays, config, false, &dataset->train, err);
    if (status == TRIB_OK) status = fill(plays, config, true, &dataset->test, err);
    (void)snprintf(dataset->source, sizeof dataset->source, "%s (%s): %zu roles", folder, what, plays->roles);
    trib_free(plays->text);
    trib_free(plays->codes);
    trib_free(plays);
    return status;
}

const struct trib_dataset_kind trib_dataset_shakespeare = {
    .row = {.name = "shakespeare",
            .summary = "the next character of Shakespeare's plays, 96 symbols, each role a user",
            .params = params,
            .param_count = sizeof params / sizeof params[0]},
    .config_bytes = sizeof(struct config),
    .open = open_plays,
};
