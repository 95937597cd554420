/* The first byte is the kind, the rest the map: a journal row with a checksum that happens to match. */
#include "shared/state/record.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    if (bytes == 0) return 0;
    struct trib_record record, again;
    struct trib_error err;
    if (trib_record_decode(data[0], data + 1, bytes - 1, &record, &err) != TRIB_OK) {
        TRIB_ASSERT(err.text[0] != 0);
        return 0;
    }
    struct trib_buf first, second;
    trib_buf_init(&first, 0);
    trib_buf_init(&second, 0);
    trib_record_encode(&record, &first);
    enum trib_status status = trib_record_decode(data[0], first.data, first.size, &again, &err);
    TRIB_ASSERT(status == TRIB_OK && again.present == record.present);
    trib_record_encode(&again, &second);
    TRIB_ASSERT(first.size == second.size && memcmp(first.data, second.data, first.size) == 0);
    trib_buf_release(&first);
    trib_buf_release(&second);
    return 0;
}
