/* The two clocks. Only drivers read them; roles are told the time. */
#ifndef TRIB_BASE_CLOCK_H
#define TRIB_BASE_CLOCK_H

#include <stdint.h>

uint64_t trib_clock_ms(void);      /* monotonic */
uint64_t trib_clock_us(void);      /* monotonic */
uint64_t trib_clock_wall_ms(void); /* since 1970, for people and the ledger; never compared between nodes */

#endif
