/* Writes JSON into a buffer. Commas are put where they belong; strings are escaped; NaN and infinity become
 * null. */
#ifndef TRIB_BASE_JSON_H
#define TRIB_BASE_JSON_H

#include "shared/base/buf.h"

#include <stdbool.h>
#include <stdint.h>

struct trib_json {
    struct trib_buf *out;
    bool comma; /* the next value needs one before it */
};

void trib_json_begin(struct trib_json *json, char bracket); /* '{' or '[' */
void trib_json_end(struct trib_json *json, char bracket);   /* '}' or ']' */
void trib_json_key(struct trib_json *json, const char *key);
void trib_json_string(struct trib_json *json, const char *text);
void trib_json_u64(struct trib_json *json, uint64_t value);
void trib_json_i64(struct trib_json *json, int64_t value);
void trib_json_f64(struct trib_json *json, double value);
void trib_json_bool(struct trib_json *json, bool value);
void trib_json_null(struct trib_json *json);

#endif
