/* csv and beijing-air: tables of numbers. */
#include "shared/learn/table.h"

static const struct trib_option csv_params[] = {
    {.name = "files",
     .type = TRIB_OPT_STRING,
     .offset = offsetof(struct trib_table, files),
     .fallback = "",
     .help = "names of CSV files with a line of column names, plain or .gz, spaces between them"},
    {.name = "target",
     .type = TRIB_OPT_STRING,
     .offset = offsetof(struct trib_table, target),
     .fallback = "",
     .help = "column to be predicted"},
    {.name = "features",
     .type = TRIB_OPT_STRING,
     .offset = offsetof(struct trib_table, features),
     .fallback = "",
     .help =
         "columns to predict it from, spaces between them: NAME, NAME%24 for a cycle of 24, NAME# for texts"},
    {.name = "user",
     .type = TRIB_OPT_STRING,
     .offset = offsetof(struct trib_table, user),
     .fallback = "",
     .help = "column that says whose row it is, for the natural partition"},
    {.name = "classes",
     .type = TRIB_OPT_U64,
     .offset = offsetof(struct trib_table, classes),
     .fallback = "0",
     .min = 0,
     .max = TRIB_NET_MAX_CLASSES,
     .help = "the target is one of 0 to classes - 1; 0: it is a number (regression)"},
    {.name = "test",
     .type = TRIB_OPT_F64,
     .offset = offsetof(struct trib_table, test),
     .fallback = "0.1",
     .min = 0.001,
     .max = 0.9,
     .help = "share of the rows that test"},
    {.name = "shuffle",
     .type = TRIB_OPT_BOOL,
     .offset = offsetof(struct trib_table, shuffle),
     .fallback = "true",
     .help = "test rows at random; false: the last ones of each user"},
    {.name = "every",
     .type = TRIB_OPT_U64,
     .offset = offsetof(struct trib_table, every),
     .fallback = "1",
     .min = 1,
     .max = 1000000,
     .help = "take each so many-th row"},
};

static enum trib_status open_csv(struct trib_dataset *dataset, const char *name, const void *config,
                                 const char *path, struct trib_error *err) {
    return trib_table_open(dataset, name, config, path, err);
}

const struct trib_dataset_kind trib_dataset_csv = {
    .row = {.name = "csv",
            .summary = "columns of your own CSV files, for regression or classes",
            .params = csv_params,
            .param_count = sizeof csv_params / sizeof csv_params[0]},
    .config_bytes = sizeof(struct trib_table),
    .open = open_csv,
};

/* ---- beijing-air ---- */

static const struct trib_option beijing_params[] = {
    {.name = "every",
     .type = TRIB_OPT_U64,
     .offset = offsetof(struct trib_table, every),
     .fallback = "1",
     .min = 1,
     .max = 1000,
     .help = "take each so many-th hour"},
};

#define STATION(NAME) "PRSA_Data_" NAME "_20130301-20170228.csv "

static enum trib_status open_beijing(struct trib_dataset *dataset, const char *name, const void *config,
                                     const char *path, struct trib_error *err) {
    char files[] = STATION("Aotizhongxin") STATION("Changping") STATION("Dingling") STATION("Dongsi")
        STATION("Guanyuan") STATION("Gucheng") STATION("Huairou") STATION("Nongzhanguan") STATION("Shunyi")
            STATION("Tiantan") STATION("Wanliu") STATION("Wanshouxigong");
    char target[] = "PM2.5", user[] = "station";
    char features[] = "month%12 hour%24 PM10 SO2 NO2 CO O3 TEMP PRES DEWP RAIN WSPM wd#";
    struct trib_table table = {.files = files,
                               .target = target,
                               .features = features,
                               .user = user,
                               .test = 0.2,
                               .every = ((const struct trib_table *)config)->every};
    return trib_table_open(dataset, name, &table, path, err);
}

const struct trib_dataset_kind trib_dataset_beijing = {
    .row = {.name = "beijing-air",
            .summary = "PM2.5 at 12 stations of Beijing from the other measurements of the hour, regression",
            .params = beijing_params,
            .param_count = sizeof beijing_params / sizeof beijing_params[0]},
    .config_bytes = sizeof(struct trib_table),
    .open = open_beijing,
};
