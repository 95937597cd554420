/* A data set out of the columns of CSV files. Private to shared/learn. */
#ifndef TRIB_LEARN_TABLE_H
#define TRIB_LEARN_TABLE_H

#include "shared/learn/dataset_internal.h"

struct trib_table {
    char *files;    /* names, spaces between them; in the folder of the data set, plain or .gz */
    char *target;   /* column */
    char *features; /* columns, spaces between them: NAME a number, NAME%24 on a cycle of 24, NAME# a category
                     */
    char *user;     /* column, "" for none */
    uint64_t classes; /* the target is one of 0..classes-1; 0: the target is a number (regression) */
    double test;      /* share of the rows that test */
    bool shuffle;     /* test rows at random; else the last ones of each user */
    uint64_t every;   /* take each so many-th row */
};

/* Reads the files into the data set. Rows without target are left out. A number becomes (value - mean) /
 * deviation over the training rows of all users, 0 (the mean) where it is missing; NAME%P becomes sine and
 * cosine, NAME# one feature for each text found, 1 for it and 0 for the others; all 0 where missing. A target
 * that is a number is standardised like a feature. Test rows stand in random order, the same each time. */
enum trib_status trib_table_open(struct trib_dataset *dataset, const char *name,
                                 const struct trib_table *table, const char *path,
                                 struct trib_error *err) TRIB_MUST_USE;

#endif
