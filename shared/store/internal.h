/* Inside the store: the parts and how they hang together. */
#ifndef TRIB_STORE_INTERNAL_H
#define TRIB_STORE_INTERNAL_H

#include "shared/store/sql.h"
#include "shared/store/store.h"

#include <stdbool.h>

enum {
    SEGMENT_HEADER_BYTES = 16, /* magic, number */
    FRAME_HEADER_BYTES = 24,   /* length, crc, position, group */
    FRAMES_A_CALL = 32,        /* payloads handed over in one pwritev */
    PATH_BYTES = 4096
};
#define LOST_MARK      "store.lost"
#define FRESH_SUFFIX   ".new"                       /* of a database that a repair makes */
#define SEGMENT_MAGIC  UINT64_C(0x3147455342495254) /* "TRIBSEG1" */
#define UNSYNCED_GROUP ((uint64_t)1 << 63) /* set in a frame's group where it was written without a sync */

/* Where a payload is. segment 0: there is none. */
struct place {
    uint64_t segment, offset; /* offset of the frame's header */
    uint32_t length, crc;
};

/* A row of `journal`, as read. */
struct row {
    uint64_t position;
    uint8_t kind;
    const void *body;
    size_t body_bytes;
    struct place place;
};

/* The segment that is appended to. */
struct segments {
    const struct trib_file_ops *files;
    char folder[PATH_BYTES];
    uint64_t limit_bytes;
    bool synced;     /* durability is not none */
    int fd;          /* -1: none is open */
    uint64_t number; /* of the open one, or of the last there was */
    uint64_t end;    /* where the next frame goes */
    bool dirty;      /* written and not synced */
    bool whole;      /* the open one is a large payload's own, and nothing more goes into it */
    uint64_t spare;  /* number of a file that nothing needs any more, to become the next one; 0: none */
};

struct checkpoint {
    int fd; /* -1: none begun */
    uint64_t position, file, bytes;
    uint32_t crc;
    uint8_t *buffer;
    size_t used;
};

struct trib_store {
    const struct trib_file_ops *files;
    struct trib_projection projection;
    enum trib_durability durability;
    char path[PATH_BYTES], folder[PATH_BYTES], checkpoints[PATH_BYTES];
    uint64_t keep_checkpoints;
    bool read_only;
    int lock_fd;
    sqlite3 *db;
    sqlite3_stmt *insert, *begin, *commit;
    struct segments segments;
    struct checkpoint checkpoint;
    struct trib_buf body;
    uint64_t position;
    uint64_t first_segment;                        /* those before it are not needed */
    uint64_t checkpoint_position, checkpoint_file; /* in force; file 0: none */
    bool failed;
    bool lost; /* see trib_store_has_lost */
};

/* files.c */
const char *path_join(char out[PATH_BYTES], const char *folder,
                      const char *name); /* cut paths fail to open */
enum trib_status file_open(const struct trib_file_ops *files, const char *path, int flags, int *fd,
                           struct trib_error *err) TRIB_MUST_USE;
enum trib_status file_write(const struct trib_file_ops *files, int fd, struct iovec *parts, int count,
                            uint64_t offset, const char *path, struct trib_error *err) TRIB_MUST_USE;
/* Reads up to `bytes`; *got is less at the end of the file. */
enum trib_status file_read(const struct trib_file_ops *files, int fd, void *data, size_t bytes,
                           uint64_t offset, size_t *got, struct trib_error *err) TRIB_MUST_USE;
enum trib_status file_size(const struct trib_file_ops *files, int fd, const char *path, uint64_t *bytes,
                           struct trib_error *err) TRIB_MUST_USE;
/* Makes it and what is missing above it; what it made is durable. */
enum trib_status folder_make(const struct trib_file_ops *files, const char *path,
                             struct trib_error *err) TRIB_MUST_USE;
enum trib_status folder_sync(const struct trib_file_ops *files, const char *path,
                             struct trib_error *err) TRIB_MUST_USE;
/* Takes the folder for this process: a locked file in it, until *fd is closed. TRIB_AGAIN: whose it is. */
enum trib_status folder_lock(const struct trib_file_ops *files, const char *folder, const char *name, int *fd,
                             struct trib_error *err) TRIB_MUST_USE;
/* Calls `each` for every file %016x<suffix> in the folder, in ascending order of number. */
enum trib_status folder_numbers(const struct trib_file_ops *files, const char *folder, const char *suffix,
                                enum trib_status (*each)(void *ctx, uint64_t number, const char *path,
                                                         struct trib_error *err),
                                void *ctx, struct trib_error *err) TRIB_MUST_USE;
const char *numbered_path(char out[PATH_BYTES], const char *folder, uint64_t number, const char *suffix);
void file_close(const struct trib_file_ops *files, int *fd);

/* segment.c */
/* Appends the payloads of the records that have one; places[i].segment is 0 for the others. */
enum trib_status segment_append(struct segments *segments, const struct trib_record *records, size_t count,
                                struct place *places, struct trib_error *err) TRIB_MUST_USE;
enum trib_status segment_sync(struct segments *segments, struct trib_error *err) TRIB_MUST_USE;
/* A segment that no row needs: kept as the spare if there is none, or deleted. */
void segment_retire(struct segments *segments, uint64_t number, const char *path);
/* Reads and checks a payload; `position` is for the message. */
enum trib_status segment_read(const struct segments *segments, const struct place *place, uint64_t position,
                              int *fd, uint64_t *fd_number, struct trib_blob **out,
                              struct trib_error *err) TRIB_MUST_USE;
/* The frame at `offset`: false if there is none whole and sound. */
bool segment_frame(const struct segments *segments, int fd, uint64_t offset, uint64_t *group, uint64_t *next);

/* large.c */
/* Is it in a file of its own that is no segment yet? */
bool large_is(const struct trib_blob *blob);
/* Writes the headers in front of the payload and gives the file its name as a segment. */
enum trib_status large_adopt(const struct trib_blob *blob, struct iovec *headers, int count, const char *path,
                             struct trib_error *err) TRIB_MUST_USE;

/* store.c */
/* Memory and paths, nothing opened. */
enum trib_status store_new(const struct trib_store_options *options, struct trib_store **out,
                           struct trib_error *err) TRIB_MUST_USE;
/* The lock, then the database with its journal's tables. */
enum trib_status store_lock_and_open(struct trib_store *store, const char *vfs,
                                     struct trib_error *err) TRIB_MUST_USE;
/* Where a repair has moved the old database away and was cut off: the new one gets its name. */
enum trib_status finish_rebuild(const struct trib_store *store, struct trib_error *err) TRIB_MUST_USE;

/* tail.c: at open */
enum trib_status store_settle(struct trib_store *store, struct trib_error *err) TRIB_MUST_USE;
/* The last row with a payload at or before `position`; place.segment is 0 if there is none. */
enum trib_status last_place(const struct trib_store *store, uint64_t position, struct row *out,
                            struct trib_error *err) TRIB_MUST_USE;
enum trib_status checkpoint_file_stays(const struct trib_store *store, uint64_t file, bool *out,
                                       struct trib_error *err) TRIB_MUST_USE;
/* Deletes segments without rows, but the open one, and checkpoints not in force. What cannot be deleted
 * stays until the next time. */
void store_sweep(struct trib_store *store);

/* rows.c */
extern const char row_columns[];
uint32_t row_crc(const struct row *row);
/* Reads the current row of a SELECT of row_columns and checks its CRC. */
enum trib_status row_read(sqlite3_stmt *stmt, struct row *row, struct trib_error *err) TRIB_MUST_USE;
enum trib_status row_write(sqlite3_stmt *insert, const struct row *row, struct trib_error *err) TRIB_MUST_USE;
/* A statement of row_columns: positions after `from`, up to `until`. */
enum trib_status rows_between(const struct trib_store *store, uint64_t from, uint64_t until,
                              sqlite3_stmt **out, struct trib_error *err) TRIB_MUST_USE;
/* The newest one at or before `position`; out->file is 0 if there is none. */
enum trib_status checkpoint_row_read(struct trib_store *store, uint64_t position, struct checkpoint *out,
                                     struct trib_error *err) TRIB_MUST_USE;
enum trib_status checkpoint_row_write(sqlite3 *db, const struct checkpoint *row,
                                      struct trib_error *err) TRIB_MUST_USE;
extern const struct trib_sql_step_row journal_steps[];
extern const size_t journal_step_count;

#endif
