#include "shared/base/alloc.h"
#include "shared/base/option_value.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <yaml.h>

enum { FILE_MAX_BYTES = 1024 * 1024, DEPTH_MAX = 16 };

struct reader {
    const struct trib_option *table;
    size_t count;
    void *config;
    yaml_document_t *document;
    const char *origin;
    size_t *lines; /* of the key that gave option i; 0: not given */
};

static struct trib_place place_of(const struct reader *reader, const yaml_node_t *node) {
    return (struct trib_place){.origin = reader->origin, .line = node->start_mark.line + 1};
}

static const char *scalar_text(const yaml_node_t *node) {
    return (const char *)node->data.scalar.value;
}

/* YAML's nothing: an empty plain scalar, ~ or null. */
static bool is_null(const yaml_node_t *node) {
    if (node->type != YAML_SCALAR_NODE || node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE) return false;
    const char *text = scalar_text(node);
    size_t bytes = node->data.scalar.length;
    return bytes == 0 || (bytes == 1 && text[0] == '~') || (bytes == 4 && memcmp(text, "null", 4) == 0);
}

static const char *kind_name(const yaml_node_t *node) {
    return node->type == YAML_MAPPING_NODE ? "a map" : node->type == YAML_SEQUENCE_NODE ? "a list" : "a text";
}

/* ---- values ---- */

static enum trib_status refuse_kind(const struct reader *reader, const struct trib_option *option,
                                    const yaml_node_t *node, const char *found, struct trib_error *err) {
    char where[TRIB_PLACE_TEXT];
    uint8_t room[300];
    struct trib_buf expected = {.data = room, .capacity = sizeof room, .limit = sizeof room - 1};
    struct trib_place place = place_of(reader, node);
    trib_option_expected(option, &expected);
    return trib_fail(err, TRIB_INVALID, "%s%s: found %s, expected %s", trib_place_text(where, &place),
                     option->name, found, trib_buf_text(&expected));
}

static enum trib_status read_sequence(const struct reader *reader, const struct trib_option *option,
                                      const yaml_node_t *node, struct trib_error *err) {
    struct trib_place place = place_of(reader, node);
    if (option->type != TRIB_OPT_LIST) return refuse_kind(reader, option, node, "a list", err);
    const yaml_node_item_t *item = node->data.sequence.items.start;
    if (item == node->data.sequence.items.top) {
        return trib_option_read(option, reader->config, "", 0, &place, err);
    }
    for (bool first = true; item < node->data.sequence.items.top; item++, first = false) {
        const yaml_node_t *value = yaml_document_get_node(reader->document, *item);
        if (value->type != YAML_SCALAR_NODE) {
            return refuse_kind(reader, option, value, kind_name(value), err);
        }
        place = place_of(reader, value);
        enum trib_status status = trib_option_read_item(option, reader->config, first, scalar_text(value),
                                                        value->data.scalar.length, &place, err);
        if (status != TRIB_OK) return status;
    }
    return TRIB_OK;
}

static enum trib_status read_value(const struct reader *reader, const struct trib_option *option,
                                   const yaml_node_t *node, struct trib_error *err) {
    struct trib_place place = place_of(reader, node);
    if (node->type == YAML_SEQUENCE_NODE) return read_sequence(reader, option, node, err);
    if (node->type != YAML_SCALAR_NODE) return refuse_kind(reader, option, node, kind_name(node), err);
    if (!is_null(node)) {
        return trib_option_read(option, reader->config, scalar_text(node), node->data.scalar.length, &place,
                                err);
    }
    if (option->type != TRIB_OPT_STRING && option->type != TRIB_OPT_LIST) {
        return refuse_kind(reader, option, node, "no value", err);
    }
    return trib_option_read(option, reader->config, "", 0, &place, err);
}

/* ---- keys ---- */

/* "PREFIX.KEY" into out; its length, or 0 if the key is no text or too long. */
static size_t join_key(char out[TRIB_OPTION_KEY_MAX + 1], const char *prefix, const yaml_node_t *key) {
    if (key->type != YAML_SCALAR_NODE || key->data.scalar.length == 0) return 0;
    size_t before = strlen(prefix), bytes = key->data.scalar.length;
    if (before + 1 + bytes > TRIB_OPTION_KEY_MAX || memchr(scalar_text(key), 0, bytes) != NULL) return 0;
    int used =
        snprintf(out, TRIB_OPTION_KEY_MAX + 1, "%s%s%s", prefix, before > 0 ? "." : "", scalar_text(key));
    return (size_t)used;
}

static enum trib_status refuse_key(const struct reader *reader, const yaml_node_t *key,
                                   struct trib_error *err) {
    char where[TRIB_PLACE_TEXT], found[TRIB_FOUND_TEXT];
    struct trib_place place = place_of(reader, key);
    trib_place_text(where, &place);
    if (key->type != YAML_SCALAR_NODE) {
        return trib_fail(err, TRIB_INVALID, "%sfound %s as a key, expected a name", where, kind_name(key));
    }
    trib_found_text(found, scalar_text(key), key->data.scalar.length);
    return trib_fail(err, TRIB_INVALID, "%sfound %s as a key, expected a name of 1 to %d characters", where,
                     found, TRIB_OPTION_KEY_MAX);
}

static enum trib_status refuse_twice(const struct reader *reader, const yaml_node_t *key, const char *name,
                                     size_t first_line, struct trib_error *err) {
    char where[TRIB_PLACE_TEXT];
    struct trib_place place = place_of(reader, key);
    return trib_fail(err, TRIB_INVALID, "%s%s is given twice, first at line %zu; keep one of them",
                     trib_place_text(where, &place), name, first_line);
}

/* The same key earlier in the same map, or NULL. */
static const yaml_node_t *earlier_key(const struct reader *reader, const yaml_node_t *map,
                                      const yaml_node_pair_t *until) {
    const yaml_node_t *key = yaml_document_get_node(reader->document, until->key);
    for (const yaml_node_pair_t *pair = map->data.mapping.pairs.start; pair < until; pair++) {
        const yaml_node_t *other = yaml_document_get_node(reader->document, pair->key);
        if (other->data.scalar.length == key->data.scalar.length &&
            memcmp(scalar_text(other), scalar_text(key), key->data.scalar.length) == 0) {
            return other;
        }
    }
    return NULL;
}

static enum trib_status read_map(const struct reader *reader, const yaml_node_t *map, const char *prefix,
                                 struct trib_error *err);

static enum trib_status read_group(const struct reader *reader, const yaml_node_t *value, const char *name,
                                   struct trib_error *err) {
    if (is_null(value)) return TRIB_OK; /* a group with everything in it commented out */
    if (value->type == YAML_MAPPING_NODE) return read_map(reader, value, name, err);
    char where[TRIB_PLACE_TEXT];
    struct trib_place place = place_of(reader, value);
    return trib_fail(err, TRIB_INVALID, "%s%s: found %s, expected a map of its keys",
                     trib_place_text(where, &place), name, kind_name(value));
}

static enum trib_status read_pair(const struct reader *reader, const yaml_node_t *map,
                                  const yaml_node_pair_t *pair, const char *prefix, struct trib_error *err) {
    char name[TRIB_OPTION_KEY_MAX + 1];
    const yaml_node_t *key = yaml_document_get_node(reader->document, pair->key);
    const yaml_node_t *value = yaml_document_get_node(reader->document, pair->value);
    size_t bytes = join_key(name, prefix, key);
    if (bytes == 0) return refuse_key(reader, key, err);
    const yaml_node_t *earlier = earlier_key(reader, map, pair);
    if (earlier != NULL) return refuse_twice(reader, key, name, earlier->start_mark.line + 1, err);

    const struct trib_option *option = trib_option_find(reader->table, reader->count, name, bytes);
    if (option == NULL && trib_option_group(reader->table, reader->count, name, bytes)) {
        return read_group(reader, value, name, err);
    }
    if (option == NULL) {
        struct trib_place place = place_of(reader, key);
        return trib_option_unknown(reader->table, reader->count, name, bytes, &place, err);
    }
    size_t *line = &reader->lines[option - reader->table];
    if (*line != 0) return refuse_twice(reader, key, name, *line, err);
    *line = key->start_mark.line + 1;
    return read_value(reader, option, value, err);
}

/* Recursion ends: a map is entered only under the name of a group, and groups are as deep as the table's
 * names. */
static enum trib_status read_map(const struct reader *reader, const yaml_node_t *map, const char *prefix,
                                 struct trib_error *err) {
    const yaml_node_pair_t *pair = map->data.mapping.pairs.start;
    for (; pair < map->data.mapping.pairs.top; pair++) {
        enum trib_status status = read_pair(reader, map, pair, prefix, err);
        if (status != TRIB_OK) return status;
    }
    return TRIB_OK;
}

/* ---- documents ---- */

static size_t line_of(const char *text, size_t offset) {
    size_t line = 1;
    for (size_t i = 0; i < offset; i++) line += text[i] == '\n';
    return line;
}

static enum trib_status fail_syntax(const yaml_parser_t *parser, const char *text, size_t bytes,
                                    const char *origin, struct trib_error *err) {
    if (parser->error == YAML_MEMORY_ERROR) return trib_fail(err, TRIB_NOMEM, "%s: no memory", origin);
    if (parser->error == YAML_READER_ERROR) { /* it has an offset instead of a mark */
        size_t offset = parser->problem_offset < bytes ? parser->problem_offset : bytes;
        return trib_fail(err, TRIB_INVALID, "%s:%zu: not text in UTF-8: %s", origin, line_of(text, offset),
                         parser->problem);
    }
    return trib_fail(err, TRIB_INVALID, "%s:%zu: not valid YAML: %s%s%s", origin,
                     parser->problem_mark.line + 1, parser->problem, parser->context != NULL ? ", " : "",
                     parser->context != NULL ? parser->context : "");
}

/* Walks the events once, before a document is built: nesting beyond DEPTH_MAX, which libyaml handles in
 * quadratic time, and a second document are refused as soon as they come. */
static enum trib_status check_shape(const char *text, size_t bytes, const char *origin,
                                    struct trib_error *err) {
    yaml_parser_t parser;
    yaml_event_t event;
    if (!yaml_parser_initialize(&parser)) return trib_fail(err, TRIB_NOMEM, "%s: no memory", origin);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, bytes);
    enum trib_status status = TRIB_OK;
    size_t depth = 0, documents = 0;
    for (bool end = false; status == TRIB_OK && !end;) {
        if (!yaml_parser_parse(&parser, &event)) {
            status = fail_syntax(&parser, text, bytes, origin, err);
            break;
        }
        size_t line = event.start_mark.line + 1;
        yaml_event_type_t type = event.type;
        yaml_event_delete(&event);
        if (type == YAML_MAPPING_START_EVENT || type == YAML_SEQUENCE_START_EVENT) depth++;
        if (type == YAML_MAPPING_END_EVENT || type == YAML_SEQUENCE_END_EVENT) depth--;
        if (type == YAML_DOCUMENT_START_EVENT) documents++;
        end = type == YAML_STREAM_END_EVENT;
        if (depth > DEPTH_MAX) {
            status = trib_fail(err, TRIB_LIMIT, "%s:%zu: nested deeper than %d", origin, line, DEPTH_MAX);
        } else if (documents > 1) {
            status = trib_fail(err, TRIB_INVALID, "%s:%zu: a second document begins here; one is allowed",
                               origin, line);
        }
    }
    yaml_parser_delete(&parser);
    return status;
}

/* Calls `use` with the document's root (NULL if there is nothing but comments). */
static enum trib_status with_document(const char *text, size_t bytes, const char *origin,
                                      enum trib_status (*use)(void *ctx, yaml_document_t *document,
                                                              const yaml_node_t *root,
                                                              struct trib_error *err),
                                      void *ctx, struct trib_error *err) {
    enum trib_status status = check_shape(text, bytes, origin, err);
    if (status != TRIB_OK) return status;
    yaml_parser_t parser;
    yaml_document_t document;
    if (!yaml_parser_initialize(&parser)) return trib_fail(err, TRIB_NOMEM, "%s: no memory", origin);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, bytes);
    if (!yaml_parser_load(&parser, &document)) {
        status = fail_syntax(&parser, text, bytes, origin, err);
    } else {
        const yaml_node_t *root = yaml_document_get_root_node(&document);
        if (root != NULL && root->type != YAML_MAPPING_NODE) {
            status = trib_fail(err, TRIB_INVALID, "%s:%zu: found %s, expected a map of keys (name: value)",
                               origin, root->start_mark.line + 1, kind_name(root));
        } else {
            status = use(ctx, &document, root, err);
        }
        yaml_document_delete(&document);
    }
    yaml_parser_delete(&parser);
    return status;
}

static enum trib_status use_options(void *ctx, yaml_document_t *document, const yaml_node_t *root,
                                    struct trib_error *err) {
    struct reader *reader = ctx;
    reader->document = document;
    enum trib_status status = root != NULL ? read_map(reader, root, "", err) : TRIB_OK;
    reader->document = NULL;
    return status;
}

enum trib_status trib_options_parse(const struct trib_option *table, size_t count, void *config,
                                    const char *text, size_t bytes, const char *origin,
                                    struct trib_error *err) {
    struct reader reader = {.table = table, .count = count, .config = config, .origin = origin};
    reader.lines = trib_alloc_array(count, sizeof *reader.lines);
    if (reader.lines == NULL) return trib_fail(err, TRIB_NOMEM, "%s: no memory", origin);
    enum trib_status status = with_document(text, bytes, origin, use_options, &reader, err);
    trib_free(reader.lines);
    return status;
}

/* ---- files ---- */

static enum trib_status read_file(const char *path, struct trib_buf *out, struct trib_error *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return trib_fail_errno(err, "cannot open the config %s", path);
    enum trib_status status = TRIB_OK;
    for (;;) {
        char block[4096];
        ssize_t got = read(fd, block, sizeof block);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) status = trib_fail_errno(err, "cannot read the config %s", path);
        if (got <= 0) break;
        if (out->size + (size_t)got > FILE_MAX_BYTES) {
            status = trib_fail(err, TRIB_LIMIT, "%s: a config has at most %d bytes, this one has more", path,
                               FILE_MAX_BYTES);
            break;
        }
        trib_buf_append(out, block, (size_t)got);
        if (out->failed) {
            status = trib_fail(err, TRIB_NOMEM, "%s: no memory to read it", path);
            break;
        }
    }
    (void)close(fd);
    return status;
}

enum trib_status trib_options_load(const struct trib_option *table, size_t count, void *config,
                                   const char *path, struct trib_error *err) {
    struct trib_buf text;
    trib_buf_init(&text, 0);
    enum trib_status status = read_file(path, &text, err);
    if (status == TRIB_OK) {
        status = trib_options_parse(table, count, config, trib_buf_text(&text), text.size, path, err);
    }
    trib_buf_release(&text);
    return status;
}

struct peek {
    const char *key, *origin;
    char **value;
};

static enum trib_status use_peek(void *ctx, yaml_document_t *document, const yaml_node_t *root,
                                 struct trib_error *err) {
    const struct peek *peek = ctx;
    const char *found = "";
    const yaml_node_pair_t *pair = root != NULL ? root->data.mapping.pairs.start : NULL;
    for (; root != NULL && pair < root->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key = yaml_document_get_node(document, pair->key);
        const yaml_node_t *value = yaml_document_get_node(document, pair->value);
        if (key->type != YAML_SCALAR_NODE || strcmp(scalar_text(key), peek->key) != 0) continue;
        if (value->type == YAML_SCALAR_NODE) found = scalar_text(value);
        break;
    }
    *peek->value = trib_strdup(found);
    return *peek->value != NULL ? TRIB_OK : trib_fail(err, TRIB_NOMEM, "%s: no memory", peek->origin);
}

enum trib_status trib_options_peek(const char *path, const char *key, char **value, struct trib_error *err) {
    struct trib_buf text;
    struct peek peek = {.key = key, .origin = path, .value = value};
    trib_buf_init(&text, 0);
    enum trib_status status = read_file(path, &text, err);
    if (status == TRIB_OK) {
        status = with_document(trib_buf_text(&text), text.size, path, use_peek, &peek, err);
    }
    trib_buf_release(&text);
    return status;
}
