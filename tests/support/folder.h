/* A folder under /tmp of the test's own, and files that it writes there. One at a time. */
#ifndef TESTS_SUPPORT_FOLDER_H
#define TESTS_SUPPORT_FOLDER_H

#include <stddef.h>

/* For cmocka; the second deletes the folder with what is in it. */
int folder_setup(void **state);
int folder_teardown(void **state);
const char *folder_path(void);
/* The path of `name` in it, until the next call. */
const char *folder_file(const char *name);
void folder_put(const char *name, const void *data, size_t bytes);
void folder_put_text(const char *name, const char *text);

#endif
