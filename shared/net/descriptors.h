/* Open files: each connection is one, each socket of a client two. The limit of a process is often 1,024 at
 * first and far more if it asks. */
#ifndef TRIB_NET_DESCRIPTORS_H
#define TRIB_NET_DESCRIPTORS_H

#include <stddef.h>

/* Raises this process's limit as far as the system allows without privileges; returns what it is now. */
size_t trib_net_raise_descriptors(void);
/* The limit as it is. */
size_t trib_net_descriptor_limit(void);
size_t trib_net_open_descriptors(void);
/* Of that limit: how many connections may wait to be accepted, and how many descriptors a server leaves free
 * (gate.h), which includes those. */
size_t trib_net_backlog(size_t limit);
size_t trib_net_descriptor_reserve(size_t limit);

#endif
