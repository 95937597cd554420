#include "shared/net/text_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <string.h>
#include <sys/stat.h>

static size_t split(char *text, char *words[TEXT_WORDS]) {
    size_t count = 0;
    char *rest = text;
    while (count < TEXT_WORDS) {
        rest += strspn(rest, " \t\r");
        if (*rest == 0) break;
        words[count++] = rest;
        rest += strcspn(rest, " \t\r");
        if (*rest != 0) *rest++ = 0;
    }
    return count;
}

/* One line without its end. Returns its length, or -1 at the end of the file; over a limit or with a NUL byte
 * it sets *bad. */
static int next_line(FILE *file, char line[TEXT_LINE_MAX + 1], int *bad) {
    int length = 0;
    int c;
    while ((c = getc(file)) != EOF && c != '\n') {
        if (length == TEXT_LINE_MAX || c == 0) {
            *bad = 1;
            return length;
        }
        line[length++] = (char)c;
    }
    line[length] = 0;
    return c == EOF && length == 0 ? -1 : length;
}

static enum trib_status read_lines(FILE *file, const char *path, text_line_fn *each, void *ctx,
                                   struct trib_error *err) {
    char line[TEXT_LINE_MAX + 1];
    char *words[TEXT_WORDS];
    enum trib_status status = TRIB_OK;
    int bad = 0;
    for (size_t number = 1; status == TRIB_OK && next_line(file, line, &bad) >= 0; number++) {
        if (bad) {
            status =
                trib_fail(err, TRIB_INVALID, "%s:%zu: the line has a NUL byte or more than %d characters",
                          path, number, TEXT_LINE_MAX);
            break;
        }
        size_t count = split(line, words);
        if (count > 0) status = each(ctx, number, words, count, err);
    }
    explicit_bzero(line, sizeof line);
    if (status == TRIB_OK && ferror(file)) status = trib_fail_errno(err, "cannot read %s", path);
    return status;
}

enum trib_status text_file_read(const char *path, size_t max_bytes, text_line_fn *each, void *ctx,
                                struct trib_error *err) {
    char buffer[4096];
    struct stat st;
    FILE *file = fopen(path, "re");
    if (file == NULL) return trib_fail_errno(err, "cannot open %s", path);
    (void)setvbuf(file, buffer, _IOFBF, sizeof buffer);
    enum trib_status status = TRIB_OK;
    if (fstat(fileno(file), &st) != 0) {
        status = trib_fail_errno(err, "cannot look at %s", path);
    } else if (!S_ISREG(st.st_mode)) {
        status = trib_fail(err, TRIB_INVALID, "%s is not a regular file", path);
    } else if (st.st_size > (off_t)max_bytes) {
        status = trib_fail(err, TRIB_LIMIT, "%s has %lld bytes, and at most %zu are read", path,
                           (long long)st.st_size, max_bytes);
    } else {
        status = read_lines(file, path, each, ctx, err);
    }
    (void)fclose(file);
    explicit_bzero(buffer, sizeof buffer);
    return status;
}
