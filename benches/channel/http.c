/* HTTP/1.1 to a sidecar: a POST for each message, the next one written before the last is answered; and a
 * subscription as newline-delimited JSON. Messages are text, as what travels in JSON mostly is. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "load.h"

static size_t before(const struct side *side, unsigned char *into) {
    return (size_t)sprintf((char *)into, "POST /v1/channels/%s HTTP/1.1\r\nhost: sidecar\r\ncontent-length: %zu\r\n\r\n",
                           side->name, side->bytes);
}

static size_t behind(const struct side *side, unsigned char *into) {
    (void)side, (void)into;
    return 0;
}

static void greet(struct side *side) {
    char text[512];
    if (side->sends) return;
    int length = snprintf(text, sizeof text,
                          "GET /v1/channels/%s/messages HTTP/1.1\r\nhost: sidecar\r\naccept: application/x-ndjson\r\n\r\n",
                          side->name);
    stream_write(side, text, (size_t)length);
    while (memmem(side->buffer, side->end, "\r\n\r\n", 4) == NULL) {
        if (!stream_read(side)) fail("the sidecar does not answer");
    }
    if (side->end < 12 || memcmp(side->buffer, "HTTP/1.1 200", 12) != 0) fail("refused: %.*s", (int)side->end, side->buffer);
}

/* Takes the answers that have come; all of them must be good. */
static void take_answers(struct side *side) {
    static const char LENGTH[] = "content-length: ";
    while (side->end > side->begin) {
        const char *bytes = (const char *)side->buffer + side->begin;
        size_t have = side->end - side->begin;
        const char *body = memmem(bytes, have, "\r\n\r\n", 4);
        if (body == NULL) return;
        body += 4;
        const char *length = memmem(bytes, (size_t)(body - bytes), LENGTH, sizeof LENGTH - 1);
        if (have < 12 || memcmp(bytes, "HTTP/1.1 202", 12) != 0 || length == NULL) fail("refused: %.*s", (int)have, bytes);
        size_t whole = (size_t)(body - bytes) + strtoull(length + sizeof LENGTH - 1, NULL, 10);
        if (have < whole) return;
        side->begin += whole;
        side->answers_due--;
    }
}

/* Answers are read while we write: they would fill the connection, and nobody would go on. */
static void write_and_read(struct side *side, const unsigned char *bytes, size_t length) {
    side->answers_due += length / side->frame_bytes;
    while (length > 0 || side->answers_due > side->frames_max) {
        struct pollfd wait = {.fd = side->descriptor, .events = (short)(POLLIN | (length > 0 ? POLLOUT : 0))};
        if (poll(&wait, 1, PATIENCE_MS) <= 0) fail("the sidecar takes no more");
        if (wait.revents & POLLIN) {
            if (!stream_read(side)) fail("the sidecar does not answer");
            take_answers(side);
        }
        if (length == 0 || !(wait.revents & POLLOUT)) continue;
        ssize_t written = send(side->descriptor, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (written < 0 && errno != EAGAIN && errno != EINTR) fail("the sidecar takes no more");
        if (written <= 0) continue;
        bytes += written;
        length -= (size_t)written;
    }
}

static size_t take(struct side *side, const unsigned char *bytes, size_t have, const unsigned char **message) {
    static const char PARTS[] = "\"parts\":[\"";
    const unsigned char *end = memchr(bytes, '\n', have);
    if (end == NULL) return 0;
    size_t line = (size_t)(end - bytes) + 1;
    /* Between the objects are the lengths of HTTP's chunks. */
    if (line > 14 && memcmp(bytes, "{\"type\":\"end\"", 13) == 0) fail("the sidecar ends: %.*s", (int)line, bytes);
    const unsigned char *parts = bytes[0] == '{' ? memmem(bytes, line, PARTS, sizeof PARTS - 1) : NULL;
    if (parts != NULL) {
        *message = parts + sizeof PARTS - 1;
        if ((size_t)(end - *message) < side->bytes) fail("a message of another size: %.*s", (int)line, bytes);
    }
    return line;
}

const struct wire http_wire = {.name = "http", .is_text = 1, .greet = greet, .before = before, .behind = behind,
                               .take = take, .write = write_and_read};
