#define LOOPS      trib_loops_base
#define LOOPS_NAME "base"
#include "shared/learn/loops_body.h"
