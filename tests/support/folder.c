#include "tests/support/folder.h"

#include "tests/support/cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char folder[64];

int folder_setup(void **state) {
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/tributary-test-XXXXXX");
    return mkdtemp(folder) == NULL ? -1 : 0;
}

int folder_teardown(void **state) {
    (void)state;
    char command[128];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

const char *folder_path(void) {
    return folder;
}

const char *folder_file(const char *name) {
    static char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

void folder_put(const char *name, const void *data, size_t bytes) {
    FILE *file = fopen(folder_file(name), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
}

void folder_put_text(const char *name, const char *text) {
    folder_put(name, text, strlen(text));
}
