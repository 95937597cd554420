/* Open files: each connection is one, each socket of a client two. The limit of a process is often 1,024 at
 * first and far more if it asks. */
#ifndef TRIB_NET_DESCRIPTORS_H
#define TRIB_NET_DESCRIPTORS_H

#include <stddef.h>

/* Raises this process's limit as far as the system allows without privileges; returns what it is now. */
size_t trib_net_raise_descriptors(void);

#endif
