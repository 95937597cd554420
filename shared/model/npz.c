/* NumPy's .npz: a zip file whose members, stored and not compressed, are .npy files. Formats: PKWARE's
 * APPNOTE.TXT 4.3 and numpy.lib.format version 1.0. The file depends on nothing but the model: its times are
 * zip's zero, 1980-01-01. */
#include "shared/base/buf.h"
#include "shared/base/bytes.h"
#include "shared/model/outfile.h"
#include "shared/model/safetensors.h"

#include <string.h>

enum {
    ZIP_LOCAL = 0x04034b50,
    ZIP_CENTRAL = 0x02014b50,
    ZIP_END = 0x06054b50,
    ZIP_VERSION = 20,
    ZIP_DATE = 0x0021, /* 1980-01-01 */
    NPY_PREFIX = 10,   /* magic, version, length of the header */
    NPY_ALIGN = 64
};

/* The CRC-32 of zip (reflected, 0xEDB88320): another polynomial than the journal's CRC32C. */
struct crc {
    uint32_t table[256];
};

static void crc_init(struct crc *crc) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++) c = (c & 1) != 0 ? 0xEDB88320u ^ (c >> 1) : c >> 1;
        crc->table[i] = c;
    }
}

static uint32_t crc_add(const struct crc *crc, uint32_t sum, const void *data, size_t bytes) {
    const uint8_t *at = data;
    sum = ~sum;
    for (size_t i = 0; i < bytes; i++) sum = crc->table[(sum ^ at[i]) & 255] ^ (sum >> 8);
    return ~sum;
}

/* One member of the archive, as both its headers name it. */
struct member {
    uint32_t crc, bytes, offset;
    char name[TRIB_SCHEMA_MAX_NAME + sizeof ".npy"];
};

static void put_u16(struct trib_buf *out, uint16_t value) {
    trib_buf_append(out, &value, sizeof value);
}

static void put_u32(struct trib_buf *out, uint32_t value) {
    trib_buf_append(out, &value, sizeof value);
}

/* What local and central headers have in common, from "version needed" to "extra length". */
static void put_common(struct trib_buf *out, const struct member *member) {
    put_u16(out, ZIP_VERSION);
    put_u16(out, 0); /* flags */
    put_u16(out, 0); /* stored */
    put_u16(out, 0); /* time */
    put_u16(out, ZIP_DATE);
    put_u32(out, member->crc);
    put_u32(out, member->bytes); /* compressed: the same */
    put_u32(out, member->bytes);
    put_u16(out, (uint16_t)strlen(member->name));
    put_u16(out, 0); /* extra */
}

static void put_local(struct trib_buf *out, const struct member *member) {
    put_u32(out, ZIP_LOCAL);
    put_common(out, member);
    trib_buf_append(out, member->name, strlen(member->name));
}

static void put_central(struct trib_buf *out, const struct member *member) {
    put_u32(out, ZIP_CENTRAL);
    put_u16(out, ZIP_VERSION);
    put_common(out, member);
    put_u16(out, 0); /* comment */
    put_u16(out, 0); /* disk */
    put_u16(out, 0); /* internal attributes */
    put_u32(out, 0); /* external attributes */
    put_u32(out, member->offset);
    trib_buf_append(out, member->name, strlen(member->name));
}

static void put_end(struct trib_buf *out, size_t members, uint32_t at) {
    uint32_t bytes = (uint32_t)out->size;
    put_u32(out, ZIP_END);
    put_u32(out, 0); /* disks */
    put_u16(out, (uint16_t)members);
    put_u16(out, (uint16_t)members);
    put_u32(out, bytes);
    put_u32(out, at);
    put_u16(out, 0); /* comment */
}

/* Magic, version 1.0, and a Python dictionary padded with blanks so that the data begins at a multiple of 64.
 */
static void put_npy_header(struct trib_buf *out, const struct trib_tensor *tensor) {
    trib_buf_append(out, "\x93NUMPY\x01\x00\x00\x00", NPY_PREFIX);
    trib_buf_printf(out, "{'descr': '<f4', 'fortran_order': False, 'shape': (");
    for (size_t d = 0; d < tensor->rank; d++)
        trib_buf_printf(out, d == 0 ? "%zu," : d + 1 < tensor->rank ? " %zu," : " %zu", tensor->dims[d]);
    trib_buf_printf(out, "), }");
    while (!out->failed && (out->size + 1) % NPY_ALIGN != 0) trib_buf_append(out, " ", 1);
    trib_buf_append(out, "\n", 1);
    if (!out->failed) trib_put_u16(out->data + 8, (uint16_t)(out->size - NPY_PREFIX));
}

static void name_member(struct member *member, const struct trib_tensor *tensor) {
    size_t length = strlen(tensor->name);
    memcpy(member->name, tensor->name, length);
    memcpy(member->name + length, ".npy", sizeof ".npy");
}

static enum trib_status save_tensor(struct trib_outfile *file, const struct crc *crc,
                                    const struct trib_tensor *tensor, const float *values,
                                    struct trib_buf *central, struct trib_error *err) {
    struct trib_buf npy, local;
    struct member member = {.offset = (uint32_t)file->bytes};
    size_t bytes = tensor->count * sizeof *values;
    trib_buf_init(&npy, 0);
    trib_buf_init(&local, 0);
    name_member(&member, tensor);
    put_npy_header(&npy, tensor);
    member.crc = crc_add(crc, crc_add(crc, 0, npy.data, npy.size), values, bytes);
    member.bytes = (uint32_t)(npy.size + bytes);
    put_local(&local, &member);
    put_central(central, &member);
    enum trib_status status = TRIB_OK;
    if (npy.failed || local.failed || central->failed)
        status = trib_fail(err, TRIB_NOMEM, "no memory for the headers of %s", file->path);
    if (status == TRIB_OK) status = trib_outfile_write(file, local.data, local.size, err);
    if (status == TRIB_OK) status = trib_outfile_write(file, npy.data, npy.size, err);
    if (status == TRIB_OK) status = trib_outfile_write(file, values, bytes, err);
    trib_buf_release(&npy);
    trib_buf_release(&local);
    return status;
}

static enum trib_status save_all(struct trib_outfile *file, const struct trib_schema *schema,
                                 const float *parameters, struct trib_error *err) {
    struct crc crc;
    struct trib_buf central;
    enum trib_status status = TRIB_OK;
    crc_init(&crc);
    trib_buf_init(&central, 0);
    for (size_t t = 0; status == TRIB_OK && t < schema->tensor_count; t++) {
        const struct trib_tensor *tensor = &schema->tensors[t];
        status = save_tensor(file, &crc, tensor, parameters + tensor->offset, &central, err);
    }
    put_end(&central, schema->tensor_count, (uint32_t)file->bytes);
    if (status == TRIB_OK && central.failed)
        status = trib_fail(err, TRIB_NOMEM, "no memory for the directory of %s", file->path);
    if (status == TRIB_OK) status = trib_outfile_write(file, central.data, central.size, err);
    trib_buf_release(&central);
    return status;
}

enum trib_status trib_npz_save(const char *path, const struct trib_schema *schema, const float *parameters,
                               struct trib_error *err) {
    /* Offsets are of 32 bits; a tensor's own headers take less than 512 bytes. */
    const uint64_t most = (UINT32_MAX - (uint64_t)TRIB_SCHEMA_MAX_TENSORS * 512) / sizeof *parameters;
    struct trib_outfile file;
    if (schema->parameters > most)
        return trib_fail(err, TRIB_LIMIT,
                         "a model of %zu parameters does not fit into an .npz file (%llu do)",
                         schema->parameters, (unsigned long long)most);
    enum trib_status status = trib_outfile_open(&file, path, err);
    if (status != TRIB_OK) return status;
    status = save_all(&file, schema, parameters, err);
    return trib_outfile_close(&file, status, err);
}
