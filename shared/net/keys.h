/* CURVE keys and their files. A key is 32 bytes, written as 40 characters of Z85 (ZeroMQ RFC 32); a node has
 * a public and a secret one. Key files are text: # a comment name edge-1 public 5AAdl%... secret 1]Z6n...
 * (only in NAME.key) An allow-list is what a parent knows of its children: a line for each, `PUBLIC-KEY
 * [name]`. A line whose first word starts with # is a comment, unless it is 40 characters long: # is a letter
 * of Z85. */
#ifndef TRIB_NET_KEYS_H
#define TRIB_NET_KEYS_H

#include "shared/base/error.h"

#include <stdbool.h>
#include <stddef.h>

enum { TRIB_KEY_CHARS = 40, TRIB_KEY_NAME_MAX = 64 };

struct trib_keys {
    char name[TRIB_KEY_NAME_MAX + 1]; /* "" if none was given */
    char public_key[TRIB_KEY_CHARS + 1];
    char secret_key[TRIB_KEY_CHARS + 1]; /* "" in what came from a public file */
};

/* Letters, digits, `.`, `-` and `_`, 1 to 64 of them, starting with a letter or digit, and not 40 characters
 * long (that could be taken for a key). */
enum trib_status trib_key_name_check(const char *name, struct trib_error *err) TRIB_MUST_USE;
bool trib_key_text_ok(const char *text); /* 40 characters that decode to 32 bytes */

/* A new pair. TRIB_UNSUPPORTED: this libzmq has no CURVE. */
enum trib_status trib_keys_generate(struct trib_keys *out, struct trib_error *err) TRIB_MUST_USE;
/* Writes `path`.key (mode 0600) and `path`.pub. Never overwrites: TRIB_DENIED, and nothing was written. */
enum trib_status trib_keys_save(const struct trib_keys *keys, const char *path,
                                struct trib_error *err) TRIB_MUST_USE;
/* Reads a key file and checks it: known words, each once, the form of the keys, and that the public one
 * belongs to the secret one. `need_secret`: it must have a secret key. `warning` (may be NULL) gets a text
 * with status TRIB_DENIED when a file with a secret can be read or written by others, else status TRIB_OK. */
enum trib_status trib_keys_load(const char *path, bool need_secret, struct trib_keys *out,
                                struct trib_error *warning, struct trib_error *err) TRIB_MUST_USE;
/* Overwrites the secret, also where the compiler thinks that nobody looks. */
void trib_keys_wipe(struct trib_keys *keys);

/* ---- Allow-lists */

struct trib_allow;

/* Refuses the file with the line number of the first malformed line, of a key or name that was there before,
 * and a file over 16 MiB. An empty list is allowed, and allows nobody. */
enum trib_status trib_allow_load(const char *path, struct trib_allow **out,
                                 struct trib_error *err) TRIB_MUST_USE;
void trib_allow_free(struct trib_allow **allow); /* NULL is fine */
size_t trib_allow_count(const struct trib_allow *allow);
/* The identity of a public key in Z85: its name, or the key itself if it has none; NULL when it is not
 * listed. Borrowed. */
const char *trib_allow_find(const struct trib_allow *allow, const char *public_key);
bool trib_allow_has_identity(const struct trib_allow *allow, const char *identity);
/* Appends a line for keys->public_key. The file is made if it is not there (mode 0644). TRIB_DENIED: the key
 * or the name is listed already. */
enum trib_status trib_allow_append(const char *path, const struct trib_keys *keys,
                                   struct trib_error *err) TRIB_MUST_USE;

#endif
