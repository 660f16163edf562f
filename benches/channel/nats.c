/* The text protocol of NATS core, in batches: its own clients coalesce as well. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

static void greet(struct side *side) {
    char text[512];
    int length = snprintf(text, sizeof text, "CONNECT {\"verbose\":false,\"pedantic\":false}\r\n");
    if (!side->sends) length += snprintf(text + length, sizeof text - (size_t)length, "SUB %s 1\r\n", side->name);
    length += snprintf(text + length, sizeof text - (size_t)length, "PING\r\n");
    stream_write(side, text, (size_t)length);
    /* Once this is answered, the subscription stands. */
    while (memmem(side->buffer, side->end, "PONG\r\n", 6) == NULL) {
        if (memmem(side->buffer, side->end, "-ERR", 4) != NULL) fail("nats-server refuses: %.200s", side->buffer);
        if (!stream_read(side)) fail("nats-server does not answer");
    }
    side->begin = side->end;
}

static size_t before(const struct side *side, unsigned char *into) {
    return (size_t)sprintf((char *)into, "PUB %s %zu\r\n", side->name, side->bytes);
}

static size_t behind(const struct side *side, unsigned char *into) {
    (void)side;
    memcpy(into, "\r\n", 2);
    return 2;
}

static size_t take(struct side *side, const unsigned char *bytes, size_t have, const unsigned char **message) {
    const unsigned char *end = memchr(bytes, '\n', have);
    if (end == NULL) return 0;
    size_t line = (size_t)(end - bytes) + 1;
    if (bytes[0] == 'M') {
        /* MSG SUBJECT ID LENGTH */
        const unsigned char *digit = end - 1;
        while (digit[-1] >= '0' && digit[-1] <= '9') digit--;
        if (strtoull((const char *)digit, NULL, 10) != side->bytes) fail("a message of another size: %.80s", bytes);
        if (have < line + side->bytes + 2) return 0;
        *message = bytes + line;
        return line + side->bytes + 2;
    }
    if (memcmp(bytes, "PING", 4) == 0) {
        stream_write(side, "PONG\r\n", 6);
    } else if (bytes[0] == '-') {
        fail("nats-server refuses: %.*s", (int)line, bytes);
    }
    return line;
}

const struct wire nats_wire = {.name = "nats", .greet = greet, .before = before, .behind = behind, .take = take};
