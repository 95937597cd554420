/* cmocka with what it wants included before it. */
#ifndef TRIBUTARY_TESTS_CMOCKA_H
#define TRIBUTARY_TESTS_CMOCKA_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
