/* ZMTP 3.1 over a connection, as much as an app beside a sidecar needs. The few commands of the beginning are passed
 * over; there is no heartbeat unless we ask for one. */
#include <string.h>

#include "load.h"

enum { FLAG_MORE = 1, FLAG_LONG = 2, FLAG_COMMAND = 4, GREETING_BYTES = 64, SHORT_BYTES_MAX = 255 };

static void say_ready(struct side *side, const char *type) {
    /* The length of the command, and behind the name of its one property that of the type, are set below. */
    unsigned char ready[64] = "\x04\0\5READY\x0bSocket-Type\0\0\0";
    size_t length = 23, type_length = strlen(type);
    ready[length++] = (unsigned char)type_length;
    memcpy(ready + length, type, type_length);
    length += type_length;
    ready[1] = (unsigned char)(length - 2);
    stream_write(side, ready, length);
}

static void greet(struct side *side) {
    int is_pipeline = strcmp(side->pattern, "pipeline") == 0;
    unsigned char greeting[GREETING_BYTES] = {0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 3, 1, 'N', 'U', 'L', 'L'};
    stream_write(side, greeting, sizeof greeting);
    say_ready(side, is_pipeline ? (side->sends ? "PUSH" : "PULL") : (side->sends ? "PUB" : "SUB"));
    if (!side->sends && !is_pipeline) stream_write(side, "\x04\x0a\x09SUBSCRIBE", 12);
    while (side->end < GREETING_BYTES) {
        if (!stream_read(side)) fail("no greeting came");
    }
    if (side->buffer[0] != 0xff || side->buffer[10] != 3) fail("the other end speaks something else");
    side->begin = GREETING_BYTES;
}

static size_t before(const struct side *side, unsigned char *into) {
    size_t length = 0;
    if (side->bytes > SUBJECT_BYTES_MAX && strcmp(side->pattern, "pubsub") == 0) {
        into[length++] = FLAG_MORE;
        into[length++] = 0;
    }
    if (side->bytes <= SHORT_BYTES_MAX) {
        into[length++] = 0;
        into[length++] = (unsigned char)side->bytes;
        return length;
    }
    into[length++] = FLAG_LONG;
    for (int shift = 56; shift >= 0; shift -= 8) into[length++] = (unsigned char)(side->bytes >> shift);
    return length;
}

static size_t behind(const struct side *side, unsigned char *into) {
    (void)side, (void)into;
    return 0;
}

static size_t take(struct side *side, const unsigned char *bytes, size_t have, const unsigned char **message) {
    size_t length = 0, header = bytes[0] & FLAG_LONG ? 9 : 2;
    if (have < header) return 0;
    for (size_t index = 1; index < header; index++) length = length << 8 | bytes[index];
    if (have - header < length) return 0;
    if (bytes[0] & FLAG_COMMAND) {
        if (length > 5 && memcmp(bytes + header, "\5ERROR", 6) == 0) fail("the sidecar refuses this app");
    } else if (bytes[0] & FLAG_MORE) {
        if (length != 0) fail("a frame that nobody sent");
    } else if (length != side->bytes) {
        fail("a message of another size: %zu", length);
    } else {
        *message = bytes + header;
    }
    return header + length;
}

const struct wire zmtp_wire = {.name = "zmtp", .greet = greet, .before = before, .behind = behind, .take = take};
