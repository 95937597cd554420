/* What the kernel says of a mapping of this process. */
#ifndef TRIBUTARY_TESTS_PAGES_H
#define TRIBUTARY_TESTS_PAGES_H

#include <stdbool.h>
#include <stddef.h>

struct pages {
    size_t resident_kib;
    bool huge_asked; /* MADV_HUGEPAGE holds for it */
};

/* Of the mapping that has `address`; false: it is not known here (under an emulator it is the emulator's). */
bool pages_of(const void *address, struct pages *out);

#endif
