#include "shared/net/keys.h"

#include "shared/base/alloc.h"
#include "shared/net/text_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

enum { KEY_FILE_MAX = 64 * 1024, KEY_BYTES = 32, PATH_BYTES = 4096 };

static bool is_alnum(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

enum trib_status trib_key_name_check(const char *name, struct trib_error *err) {
    size_t length = strlen(name);
    if (length == 0 || length > TRIB_KEY_NAME_MAX)
        return trib_fail(err, TRIB_INVALID, "a name has 1 to %d characters, and this one %zu",
                         TRIB_KEY_NAME_MAX, length);
    for (size_t i = 0; i < length; i++) {
        if (is_alnum(name[i]) || (i > 0 && strchr(".-_", name[i]) != NULL)) continue;
        return trib_fail(
            err, TRIB_INVALID,
            "character %zu of the name is not allowed: a name is letters, digits, '.', '-' and '_', "
            "and starts with a letter or digit",
            i + 1);
    }
    if (length == TRIB_KEY_CHARS)
        return trib_fail(err, TRIB_INVALID, "a name of exactly %d characters could be taken for a key",
                         TRIB_KEY_CHARS);
    return TRIB_OK;
}

bool trib_key_text_ok(const char *text) {
    uint8_t key[KEY_BYTES];
    if (strlen(text) != TRIB_KEY_CHARS) return false;
    for (const char *c = text; *c != 0; c++) {
        /* zmq_z85_decode takes any byte for some number */
        if (!is_alnum(*c) && strchr(".-:+=^!/*?&<>()[]{}@%$#", *c) == NULL) return false;
    }
    bool ok = zmq_z85_decode(key, text) != NULL;
    explicit_bzero(key, sizeof key);
    return ok;
}

void trib_keys_wipe(struct trib_keys *keys) {
    explicit_bzero(keys->secret_key, sizeof keys->secret_key);
}

enum trib_status trib_keys_generate(struct trib_keys *out, struct trib_error *err) {
    *out = (struct trib_keys){.name = ""};
    do { /* one in 85 starts with #, which would look like a comment to people */
        if (zmq_curve_keypair(out->public_key, out->secret_key) != 0)
            return trib_fail(err, TRIB_UNSUPPORTED, "this libzmq was built without CURVE: %s",
                             zmq_strerror(errno));
    } while (out->public_key[0] == '#');
    return TRIB_OK;
}

/* ---- Writing */

static enum trib_status create_file(const char *path, mode_t mode, const char *text, struct trib_error *err) {
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0 && errno == EEXIST)
        return trib_fail(err, TRIB_DENIED,
                         "%s is there already and is not overwritten; remove it or choose "
                         "another path",
                         path);
    if (fd < 0) return trib_fail_errno(err, "cannot make %s", path);
    size_t bytes = strlen(text);
    bool ok = write(fd, text, bytes) == (ssize_t)bytes && fsync(fd) == 0;
    enum trib_status status = ok ? TRIB_OK : trib_fail_errno(err, "cannot write %s", path);
    (void)close(fd);
    if (!ok) (void)unlink(path);
    return status;
}

static void key_text(char *out, size_t bytes, const struct trib_keys *keys, bool secret) {
    bool named = keys->name[0] != 0;
    (void)snprintf(out, bytes, "# Tributary CURVE %s\n%s%s%spublic %s\n%s%s%s",
                   secret ? "key pair. Keep it secret: whoever has this file is this node."
                          : "public key. Give it to the node's parent (`tributary keys allow`) or children.",
                   named ? "name " : "", keys->name, named ? "\n" : "", keys->public_key,
                   secret ? "secret " : "", secret ? keys->secret_key : "", secret ? "\n" : "");
}

enum trib_status trib_keys_save(const struct trib_keys *keys, const char *path, struct trib_error *err) {
    char key_path[PATH_BYTES];
    char pub_path[PATH_BYTES];
    char text[512];
    if (strlen(path) + sizeof ".key" > PATH_BYTES)
        return trib_fail(err, TRIB_INVALID, "the path has more than %d bytes", PATH_BYTES - 5);
    (void)snprintf(key_path, sizeof key_path, "%s.key", path);
    (void)snprintf(pub_path, sizeof pub_path, "%s.pub", path);
    key_text(text, sizeof text, keys, false);
    enum trib_status status = create_file(pub_path, 0644, text, err);
    if (status != TRIB_OK) return status;
    key_text(text, sizeof text, keys, true);
    status = create_file(key_path, 0600, text, err);
    explicit_bzero(text, sizeof text);
    if (status != TRIB_OK) (void)unlink(pub_path);
    return status;
}

/* ---- Reading */

struct key_reader {
    const char *path;
    struct trib_keys *keys;
};

static enum trib_status take_field(const struct key_reader *reader, size_t line, const char *value,
                                   char *field, bool is_name, struct trib_error *err) {
    struct trib_error why = {.status = TRIB_OK};
    if (field[0] != 0)
        return trib_fail(err, TRIB_INVALID, "%s:%zu: this was given before; a key file has one of each",
                         reader->path, line);
    if (is_name && trib_key_name_check(value, &why) != TRIB_OK)
        return trib_fail(err, TRIB_INVALID, "%s:%zu: %s", reader->path, line, why.text);
    if (!is_name && !trib_key_text_ok(value))
        return trib_fail(err, TRIB_INVALID,
                         "%s:%zu: found %zu characters that are not a key; a key is %d characters of Z85",
                         reader->path, line, strlen(value), TRIB_KEY_CHARS);
    memcpy(field, value, strlen(value) + 1);
    return TRIB_OK;
}

static enum trib_status read_key_line(void *ctx, size_t line, char *words[TEXT_WORDS], size_t count,
                                      struct trib_error *err) {
    const struct key_reader *reader = ctx;
    if (words[0][0] == '#') return TRIB_OK;
    if (count != 2)
        return trib_fail(err, TRIB_INVALID, "%s:%zu: expected a word and a value, as in `public KEY`",
                         reader->path, line);
    if (strcmp(words[0], "name") == 0)
        return take_field(reader, line, words[1], reader->keys->name, true, err);
    if (strcmp(words[0], "public") == 0)
        return take_field(reader, line, words[1], reader->keys->public_key, false, err);
    if (strcmp(words[0], "secret") == 0)
        return take_field(reader, line, words[1], reader->keys->secret_key, false, err);
    return trib_fail(err, TRIB_INVALID, "%s:%zu: unknown word; a key file has name, public and secret",
                     reader->path, line);
}

static enum trib_status check_keys(const char *path, bool need_secret, const struct trib_keys *keys,
                                   struct trib_error *err) {
    char derived[TRIB_KEY_CHARS + 1];
    if (keys->public_key[0] == 0)
        return trib_fail(err, TRIB_INVALID, "%s has no line `public KEY`: it is not a key file, or was cut",
                         path);
    if (keys->secret_key[0] == 0) {
        if (!need_secret) return TRIB_OK;
        return trib_fail(err, TRIB_INVALID,
                         "%s has no line `secret KEY`: this is a public key; name the .key file beside it",
                         path);
    }
    if (zmq_curve_public(derived, keys->secret_key) != 0)
        return trib_fail(err, TRIB_UNSUPPORTED, "this libzmq was built without CURVE");
    if (strcmp(derived, keys->public_key) != 0)
        return trib_fail(
            err, TRIB_CORRUPT,
            "%s: the public key does not belong to the secret key; the file was changed, make a new "
            "pair with `tributary keys new`",
            path);
    return TRIB_OK;
}

static void check_mode(const char *path, const struct trib_keys *keys, struct trib_error *warning) {
    struct stat st;
    if (warning == NULL) return;
    *warning = (struct trib_error){.status = TRIB_OK};
    if (keys->secret_key[0] == 0 || stat(path, &st) != 0 || (st.st_mode & 077) == 0) return;
    (void)trib_fail(warning, TRIB_DENIED,
                    "%s holds a secret and has mode %04o, so others can use it: chmod 600 %s", path,
                    (unsigned)st.st_mode & 07777u, path);
}

enum trib_status trib_keys_load(const char *path, bool need_secret, struct trib_keys *out,
                                struct trib_error *warning, struct trib_error *err) {
    struct trib_keys keys = {.name = ""};
    struct key_reader reader = {.path = path, .keys = &keys};
    enum trib_status status = text_file_read(path, KEY_FILE_MAX, read_key_line, &reader, err);
    if (status == TRIB_OK) status = check_keys(path, need_secret, &keys, err);
    if (status == TRIB_OK) {
        check_mode(path, &keys, warning);
        *out = keys;
    }
    trib_keys_wipe(&keys);
    return status;
}
