/* `tributary export`: a version's model, as the cloud kept it, for other programs. */
#include "cli/cli.h"

#include "shared/base/alloc.h"
#include "shared/base/number.h"
#include "shared/ledger/ledger.h"
#include "shared/model/digest.h"
#include "shared/model/quantise.h"
#include "shared/model/safetensors.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_BYTES = 4096, HEX_BYTES = 2 * TRIB_DIGEST_BYTES + 1 };

/* What is asked for. */
struct request {
    const char *ledger;
    char run[128];
    bool newest; /* no version was named */
    uint64_t version;
    const char *out;
    bool npz;
    unsigned bits; /* of a weight; 0: floats */
};

/* What the ledger says about it. */
struct found {
    char run[33];
    bool any; /* a version was found, and its file is there */
    uint64_t version;
    char digest[HEX_BYTES];
    char path[PATH_BYTES];
};

static int usage(FILE *to) {
    (void)fputs(
        "usage: tributary export [--quantise int8|int4] LEDGER RUN[:VERSION] OUT.safetensors|OUT.npz\n"
        "Writes the model of a version (without VERSION: the newest one that is kept) to a file.\n"
        "LEDGER is the cloud's ledger.db or its folder; models lie in models/ there. RUN is the "
        "beginning of a run's\n"
        "name in `tributary history`, or last.\n"
        "--quantise writes the weights of a row as bytes, or two to a byte, and a scale for each row "
        "(docs/codecs.md); to\n"
        ".safetensors alone.\n",
        to);
    return to == stdout ? CLI_DONE : CLI_USAGE;
}

static bool ends_with(const char *text, const char *end) {
    size_t bytes = strlen(text), end_bytes = strlen(end);
    return bytes > end_bytes && strcmp(text + bytes - end_bytes, end) == 0;
}

static enum trib_status read_request(char **words, unsigned bits, struct request *out,
                                     struct trib_error *err) {
    const char *colon = strrchr(words[1], ':');
    size_t run_bytes = colon != NULL ? (size_t)(colon - words[1]) : strlen(words[1]);
    *out = (struct request){.ledger = words[0], .out = words[2], .newest = colon == NULL, .bits = bits};
    out->npz = ends_with(out->out, ".npz");
    if (!out->npz && !ends_with(out->out, ".safetensors")) {
        return trib_fail(err, TRIB_INVALID,
                         "found the file name %.200s, expected one that ends in .safetensors or .npz",
                         out->out);
    }
    if (out->npz && bits > 0)
        return trib_fail(err, TRIB_INVALID, "--quantise writes .safetensors, found the file name %.200s",
                         out->out);
    if (run_bytes == 0 || run_bytes >= sizeof out->run) {
        return trib_fail(err, TRIB_INVALID, "found \"%.200s\", expected RUN or RUN:VERSION", words[1]);
    }
    memcpy(out->run, words[1], run_bytes);
    if (colon != NULL && !trib_parse_u64(colon + 1, strlen(colon + 1), &out->version)) {
        return trib_fail(err, TRIB_INVALID, "found the version \"%.100s\", expected a whole number",
                         colon + 1);
    }
    return TRIB_OK;
}

/* ---- the ledger ---- */

struct search {
    const struct request *request;
    struct found *found;
    size_t version_column, digest_column;
    bool listed;      /* the version is in the ledger, kept or not */
    uint64_t nearest; /* kept version nearest to the one asked for */
    bool any_kept;
};

/* models/HEX.safetensors in the ledger's folder. */
static enum trib_status model_path(const char *ledger, const char *digest, char out[PATH_BYTES],
                                   struct trib_error *err) {
    struct stat info;
    bool folder = stat(ledger, &info) == 0 && S_ISDIR(info.st_mode);
    const char *slash = strrchr(ledger, '/');
    int bytes = folder ? (int)strlen(ledger) : slash != NULL ? (int)(slash - ledger) : 0;
    int used = snprintf(out, PATH_BYTES, "%.*s%smodels/%s.safetensors", bytes, ledger,
                        folder || slash != NULL ? "/" : "", digest);
    if (used > 0 && used < PATH_BYTES) return TRIB_OK;
    return trib_fail(err, TRIB_LIMIT, "%.100s...: the path is too long", ledger);
}

static uint64_t gap(uint64_t a, uint64_t b) {
    return a > b ? a - b : b - a;
}

/* For each version of the run, oldest first. */
static enum trib_status look_at_version(void *ctx, const struct trib_ledger_cell *cells, size_t count,
                                        struct trib_error *err) {
    struct search *search = ctx;
    struct found *found = search->found;
    char path[PATH_BYTES];
    TRIB_ASSERT(search->version_column < count && search->digest_column < count);
    const struct trib_ledger_cell *version = &cells[search->version_column];
    const struct trib_ledger_cell *digest = &cells[search->digest_column];
    if (version->null || version->integer < 0) return TRIB_OK;
    uint64_t number = (uint64_t)version->integer;
    bool wanted = search->request->newest || number == search->request->version;
    if (wanted) search->listed = true;
    if (digest->null || strlen(digest->text) != HEX_BYTES - 1) return TRIB_OK;
    enum trib_status status = model_path(search->request->ledger, digest->text, path, err);
    if (status != TRIB_OK || access(path, F_OK) != 0) return status;
    if (!search->any_kept ||
        gap(number, search->request->version) < gap(search->nearest, search->request->version)) {
        search->nearest = number;
    }
    search->any_kept = true;
    if (!wanted) return TRIB_OK;
    found->any = true;
    found->version = number;
    memcpy(found->digest, digest->text, HEX_BYTES);
    memcpy(found->path, path, sizeof path);
    return TRIB_OK;
}

static enum trib_status nothing_found(const struct search *search, struct trib_error *err) {
    const struct request *request = search->request;
    const char *run = search->found->run;
    if (!search->any_kept) {
        return trib_fail(err, TRIB_NOT_FOUND, "run %s has no model file in models/ beside the ledger", run);
    }
    return trib_fail(err, TRIB_NOT_FOUND,
                     "version %" PRIu64 " of run %s %s; the nearest one that has a model file is %" PRIu64
                     " (those that were evaluated have one, as many as store.keep_models says)",
                     request->version, run, search->listed ? "has no model file" : "is not in the ledger",
                     search->nearest);
}

static enum trib_status find_version(const struct request *request, struct found *found,
                                     struct trib_error *err) {
    struct trib_ledger_reader *reader = NULL;
    struct trib_ledger_run run;
    struct search search = {.request = request,
                            .found = found,
                            .version_column = trib_ledger_column(TRIB_LEDGER_VERSIONS, "version"),
                            .digest_column = trib_ledger_column(TRIB_LEDGER_VERSIONS, "digest")};
    enum trib_status status = trib_ledger_open_readonly(request->ledger, &reader, err);
    if (status != TRIB_OK) return status;
    status = trib_ledger_find(reader, request->run, &run, err);
    if (status == TRIB_OK) {
        memcpy(found->run, run.run, sizeof found->run);
        status = trib_ledger_read(reader, TRIB_LEDGER_VERSIONS, run.run_id, 0, look_at_version, &search, err);
    }
    trib_ledger_close(&reader);
    if (status == TRIB_OK && !found->any) status = nothing_found(&search, err);
    return status;
}

/* ---- the model ---- */

/* Reads the file and checks that it is what the ledger names. */
static enum trib_status load_model(const char *path, const char *digest, struct trib_schema *schema,
                                   float **parameters, struct trib_error *err) {
    uint8_t bytes[TRIB_DIGEST_BYTES];
    char hex[HEX_BYTES];
    enum trib_status status = trib_safetensors_schema(path, schema, err);
    if (status != TRIB_OK) return status;
    *parameters = trib_alloc_floats(schema->parameters);
    if (*parameters == NULL) {
        return trib_fail(err, TRIB_NOMEM, "no memory for %zu parameters", schema->parameters);
    }
    status = trib_safetensors_load(path, schema, *parameters, err);
    if (status != TRIB_OK) return status;
    if (trib_parse_hex(digest, strlen(digest), bytes, sizeof bytes) &&
        trib_digest_matches(*parameters, schema->parameters, NULL, bytes))
        return TRIB_OK;
    trib_digest_floats(*parameters, schema->parameters, NULL, bytes);
    (void)trib_digest_hex(bytes, hex);
    return trib_fail(err, TRIB_CORRUPT, "%s: its content has the digest %s; the file is damaged", path, hex);
}

static enum trib_status save_model(const struct request *request, const struct found *found,
                                   const struct trib_schema *schema, const float *parameters,
                                   struct trib_error *err) {
    char version[TRIB_NUMBER_TEXT];
    struct trib_schema own = trib_schema_own(schema);
    if (request->npz) return trib_npz_save(request->out, &own, parameters, err);
    (void)snprintf(version, sizeof version, "%" PRIu64, found->version);
    const char *metadata[] = {"run", found->run, "version", version, "digest", found->digest, NULL};
    if (request->bits > 0)
        return trib_safetensors_save_quantised(request->out, &own, request->bits, parameters, metadata, err);
    return trib_safetensors_save(request->out, &own, parameters, metadata, err);
}

static enum trib_status export_model(const struct request *request, struct found *found,
                                     size_t *parameter_count, struct trib_error *err) {
    struct trib_schema schema;
    float *parameters = NULL;
    enum trib_status status = find_version(request, found, err);
    if (status != TRIB_OK) return status;
    trib_schema_init(&schema);
    status = load_model(found->path, found->digest, &schema, &parameters, err);
    if (status == TRIB_OK) status = save_model(request, found, &schema, parameters, err);
    *parameter_count = schema.model_parameters;
    trib_free(parameters);
    trib_schema_release(&schema);
    return status;
}

/* The bits that --quantise asks for, and the words behind it; -1: not understood. */
static int read_bits(int *argc, char ***argv) {
    if (*argc < 3 || strcmp((*argv)[1], "--quantise") != 0) return 0;
    int bits = trib_quantise_bits((*argv)[2]);
    *argc -= 2;
    *argv += 2;
    return bits > 0 ? bits : -1;
}

int cli_export(int argc, char **argv) {
    struct trib_error err = {.status = TRIB_OK};
    struct request request;
    struct found found = {.any = false};
    size_t parameter_count = 0;
    if (argc == 2 && cli_asks_for_help(argv[1])) return usage(stdout);
    const int bits = read_bits(&argc, &argv);
    if (argc != 4 || bits < 0) return usage(stderr);
    int failure = CLI_USAGE;
    enum trib_status status = read_request(argv + 1, (unsigned)bits, &request, &err);
    if (status == TRIB_OK) {
        failure = CLI_FAILED;
        status = export_model(&request, &found, &parameter_count, &err);
    }
    if (status != TRIB_OK) {
        (void)fprintf(stderr, "tributary export: %s\n", err.text);
        return failure;
    }
    (void)printf("%s: version %" PRIu64 " of run %s, %zu parameters, digest %s\n", request.out, found.version,
                 found.run, parameter_count, found.digest);
    return CLI_DONE;
}
