#include "shared/base/alloc.h"
#include "shared/net/keys.h"
#include "shared/net/text_file.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ALLOW_FILE_MAX = 16 * 1024 * 1024, NO_LINE = 0 };

struct entry {
    char key[TRIB_KEY_CHARS + 1];
    char name[TRIB_KEY_NAME_MAX + 1];
    size_t line;
};

struct trib_allow {
    const char *path; /* borrowed, while loading */
    size_t count;
    size_t capacity;
    struct entry *entries; /* sorted by key once loaded */
    struct entry **by_identity;
};

static const char *identity_of(const struct entry *entry) {
    return entry->name[0] != 0 ? entry->name : entry->key;
}

static int compare_keys(const void *a, const void *b) {
    return strcmp(((const struct entry *)a)->key, ((const struct entry *)b)->key);
}

static int compare_identities(const void *a, const void *b) {
    return strcmp(identity_of(*(struct entry *const *)a), identity_of(*(struct entry *const *)b));
}

static enum trib_status add(struct trib_allow *allow, const char *key, const char *name, size_t line,
                            struct trib_error *err) {
    if (allow->count == allow->capacity) {
        size_t capacity = allow->capacity == 0 ? 16 : 2 * allow->capacity;
        struct entry *entries = trib_realloc(allow->entries, capacity * sizeof *entries);
        if (entries == NULL)
            return trib_fail(err, TRIB_NOMEM, "no memory for an allow-list of %zu", capacity);
        allow->entries = entries;
        allow->capacity = capacity;
    }
    struct entry *entry = &allow->entries[allow->count++];
    *entry = (struct entry){.line = line};
    memcpy(entry->key, key, strlen(key) + 1);
    memcpy(entry->name, name, strlen(name) + 1);
    return TRIB_OK;
}

static enum trib_status read_allow_line(void *ctx, size_t line, char *words[TEXT_WORDS], size_t count,
                                        struct trib_error *err) {
    struct trib_allow *allow = ctx;
    struct trib_error why = {.status = TRIB_OK};
    if (words[0][0] == '#' && strlen(words[0]) != TRIB_KEY_CHARS) return TRIB_OK;
    if (!trib_key_text_ok(words[0]))
        return trib_fail(
            err, TRIB_INVALID,
            "%s:%zu: found a word of %zu characters that is not a public key; a line is `KEY [name]`, "
            "with a key of %d characters of Z85, and a comment starts with #",
            allow->path, line, strlen(words[0]), TRIB_KEY_CHARS);
    if (count > 2)
        return trib_fail(err, TRIB_INVALID, "%s:%zu: more than a key and a name", allow->path, line);
    if (count == 2 && trib_key_name_check(words[1], &why) != TRIB_OK)
        return trib_fail(err, TRIB_INVALID, "%s:%zu: %s", allow->path, line, why.text);
    return add(allow, words[0], count == 2 ? words[1] : "", line, err);
}

static enum trib_status twice(const struct trib_allow *allow, const struct entry *a, const struct entry *b,
                              const char *what, struct trib_error *err) {
    size_t first = a->line < b->line ? a->line : b->line;
    size_t second = a->line < b->line ? b->line : a->line;
    return trib_fail(err, TRIB_INVALID, "%s:%zu: the %s of line %zu again; each may be there once",
                     allow->path, second, what, first);
}

static enum trib_status index_entries(struct trib_allow *allow, struct trib_error *err) {
    if (allow->count == 0) return TRIB_OK;
    qsort(allow->entries, allow->count, sizeof *allow->entries, compare_keys);
    allow->by_identity = trib_alloc_array(allow->count, sizeof *allow->by_identity);
    if (allow->by_identity == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for the allow-list");
    for (size_t i = 0; i < allow->count; i++) allow->by_identity[i] = &allow->entries[i];
    qsort(allow->by_identity, allow->count, sizeof *allow->by_identity, compare_identities);
    for (size_t i = 1; i < allow->count; i++) {
        const struct entry *a = &allow->entries[i - 1];
        const struct entry *b = &allow->entries[i];
        if (compare_keys(a, b) == 0) return twice(allow, a, b, "key", err);
    }
    for (size_t i = 1; i < allow->count; i++) {
        if (compare_identities(&allow->by_identity[i - 1], &allow->by_identity[i]) != 0) continue;
        return twice(allow, allow->by_identity[i - 1], allow->by_identity[i], "name", err);
    }
    return TRIB_OK;
}

enum trib_status trib_allow_load(const char *path, struct trib_allow **out, struct trib_error *err) {
    struct trib_allow *allow = trib_alloc(sizeof *allow);
    if (allow == NULL) return trib_fail(err, TRIB_NOMEM, "no memory for the allow-list");
    allow->path = path;
    enum trib_status status = text_file_read(path, ALLOW_FILE_MAX, read_allow_line, allow, err);
    if (status == TRIB_OK) status = index_entries(allow, err);
    allow->path = NULL;
    if (status != TRIB_OK) {
        trib_allow_free(&allow);
        return status;
    }
    *out = allow;
    return TRIB_OK;
}

void trib_allow_free(struct trib_allow **allow) {
    struct trib_allow *a = *allow;
    *allow = NULL;
    if (a == NULL) return;
    trib_free(a->by_identity);
    trib_free(a->entries);
    trib_free(a);
}

size_t trib_allow_count(const struct trib_allow *allow) {
    return allow->count;
}

const char *trib_allow_find(const struct trib_allow *allow, const char *public_key) {
    struct entry wanted = {.line = NO_LINE};
    if (allow->count == 0 || strlen(public_key) != TRIB_KEY_CHARS) return NULL;
    memcpy(wanted.key, public_key, TRIB_KEY_CHARS);
    const struct entry *found =
        bsearch(&wanted, allow->entries, allow->count, sizeof *allow->entries, compare_keys);
    return found != NULL ? identity_of(found) : NULL;
}

bool trib_allow_has_identity(const struct trib_allow *allow, const char *identity) {
    size_t low = 0;
    size_t high = allow->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(identity_of(allow->by_identity[middle]), identity);
        if (order == 0) return true;
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return false;
}

/* ---- Appending */

static enum trib_status check_new(const char *path, const struct trib_keys *keys, struct trib_error *err) {
    struct trib_allow *allow = NULL;
    enum trib_status status = trib_allow_load(path, &allow, err);
    if (status == TRIB_NOT_FOUND) return TRIB_OK;
    if (status != TRIB_OK) return status;
    if (trib_allow_find(allow, keys->public_key) != NULL) {
        status = trib_fail(err, TRIB_DENIED, "the key %s is in %s already", keys->public_key, path);
    } else if (keys->name[0] != 0 && trib_allow_has_identity(allow, keys->name)) {
        status =
            trib_fail(err, TRIB_DENIED,
                      "%s has another key named %s; a name stands for one node: remove the old line first",
                      path, keys->name);
    }
    trib_allow_free(&allow);
    return status;
}

/* Does the file end in the middle of a line? */
static bool needs_newline(int fd) {
    char last;
    off_t end = lseek(fd, 0, SEEK_END);
    return end > 0 && pread(fd, &last, 1, end - 1) == 1 && last != '\n';
}

enum trib_status trib_allow_append(const char *path, const struct trib_keys *keys, struct trib_error *err) {
    char line[TRIB_KEY_CHARS + TRIB_KEY_NAME_MAX + 8];
    enum trib_status status = check_new(path, keys, err);
    if (status != TRIB_OK) return status;
    int fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (fd < 0) return trib_fail_errno(err, "cannot open %s", path);
    int bytes = snprintf(line, sizeof line, "%s%s%s%s\n", needs_newline(fd) ? "\n" : "", keys->public_key,
                         keys->name[0] != 0 ? " " : "", keys->name);
    if (write(fd, line, (size_t)bytes) != (ssize_t)bytes || fsync(fd) != 0)
        status = trib_fail_errno(err, "cannot write %s", path);
    (void)close(fd);
    return status;
}
