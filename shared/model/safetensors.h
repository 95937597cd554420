/* Models as files: safetensors (f32, the schema's tensors in order) in and out, and NumPy's .npz out.
 * Format: github.com/huggingface/safetensors (8-byte header length, JSON header, raw data). */
#ifndef TRIB_MODEL_SAFETENSORS_H
#define TRIB_MODEL_SAFETENSORS_H

#include "shared/model/schema.h"

/* Writes to PATH.tmp, syncs, renames, syncs the folder. `metadata`: pairs of key and value, NULL-terminated,
 * or NULL. */
enum trib_status trib_safetensors_save(const char *path, const struct trib_schema *schema,
                                       const float *parameters, const char *const *metadata,
                                       struct trib_error *err) TRIB_MUST_USE;
/* Weights of 8 or 4 bits (shared/model/quantise.h): of a tensor NAME with rows
 *     int8  NAME of its shape, I8, and NAME.scale, F32, one a row: weight = scale[row] * q
 *     int4  NAME, U8, [rows, ceil(values of a row / 2)]: two's complement, the first value in the lower half
 *           of a byte; and NAME.scale
 * and other tensors as F32; all F32 stands before the others. Metadata has "quantised": "int8" or "int4", and
 * of int4 "NAME.shape": "8x1x5x5". */
enum trib_status trib_safetensors_save_quantised(const char *path, const struct trib_schema *schema,
                                                 unsigned bits, const float *parameters,
                                                 const char *const *metadata,
                                                 struct trib_error *err) TRIB_MUST_USE;
/* Reads a file into `parameters`: every tensor of the schema must be there with its shape (F32 or F16); what
 * else the file holds is refused by name, but for control tensors. Header and offsets are checked against the
 * file's size before anything is read. */
enum trib_status trib_safetensors_load(const char *path, const struct trib_schema *schema, float *parameters,
                                       struct trib_error *err) TRIB_MUST_USE;
/* The schema of a file itself (bounds 0). */
enum trib_status trib_safetensors_schema(const char *path, struct trib_schema *schema,
                                         struct trib_error *err) TRIB_MUST_USE;
/* An uncompressed .npz with one .npy a tensor. */
enum trib_status trib_npz_save(const char *path, const struct trib_schema *schema, const float *parameters,
                               struct trib_error *err) TRIB_MUST_USE;

#endif
