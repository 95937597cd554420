#include "tests/support/pages.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

bool pages_of(const void *address, struct pages *out) {
    bool inside = false, found = false;
    char line[512];
#ifdef __x86_64__
    FILE *file = fopen("/proc/self/smaps", "re");
#else
    FILE *file = NULL;
#endif
    *out = (struct pages){.resident_kib = 0};
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        uintptr_t from, end;
        if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " ", &from, &end) == 2)
            inside = (uintptr_t)address >= from && (uintptr_t)address < end;
        if (!inside) continue;
        (void)sscanf(line, "Rss: %zu kB", &out->resident_kib);
        if (strncmp(line, "VmFlags:", 8) != 0) continue;
        out->huge_asked = strstr(line, " hg") != NULL;
        found = true;
    }
    if (file != NULL) (void)fclose(file);
    return found;
}
