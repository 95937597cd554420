/* The ledger's tables and views, as steps of the file's schema. */
#ifndef TRIB_LEDGER_SCHEMA_H
#define TRIB_LEDGER_SCHEMA_H

#include "shared/store/sql.h"

extern const struct trib_sql_step_row ledger_steps[];
extern const size_t ledger_step_count;

#endif
