/* Any bytes as frame 1: refused or decoded, and what is decoded encodes to bytes that decode to the same. */
#include "shared/wire/message.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    struct trib_msg msg, again;
    struct trib_error err;
    uint64_t code = 0;
    enum trib_status status = trib_msg_decode(data, bytes, &msg, &code, &err);
    TRIB_ASSERT((status == TRIB_OK) == (code == 0));
    if (status != TRIB_OK) {
        TRIB_ASSERT(err.status == status && err.text[0] != 0);
        return 0;
    }
    struct trib_buf first, second;
    trib_buf_init(&first, 0);
    trib_buf_init(&second, 0);
    trib_msg_encode(&msg, &first);
    status = trib_msg_decode(first.data, first.size, &again, &code, &err);
    TRIB_ASSERT(status == TRIB_OK && again.present == msg.present);
    trib_msg_encode(&again, &second);
    TRIB_ASSERT(first.size == second.size && memcmp(first.data, second.data, first.size) == 0);
    trib_buf_release(&first);
    trib_buf_release(&second);
    return 0;
}
