/* One direction of one app, whatever it is made of: opened by its place, and the messages on it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "load.h"

static const struct wire *const WIRES[] = {&zmtp_wire, &nats_wire, &http_wire, &floor_wire};

static void put_hexadecimal(unsigned char *text, uint64_t value) {
    for (int digit = 15; digit >= 0; digit--, value >>= 4) text[digit] = (unsigned char)"0123456789abcdef"[value & 15];
}

static uint64_t hexadecimal(const unsigned char *text) {
    uint64_t value = 0;
    for (int digit = 0; digit < 16; digit++) {
        value = value << 4 | (uint64_t)(text[digit] <= '9' ? text[digit] - '0' : text[digit] - 'a' + 10);
    }
    return value;
}

void put_head(const struct side *side, unsigned char *message, struct head head) {
    uint64_t word = (uint64_t)head.kind << 56 | head.publisher << 48 | head.number;
    if (side->wire != NULL && side->wire->is_text) {
        put_hexadecimal(message, word);
        put_hexadecimal(message + 16, head.time_ns);
    } else {
        memcpy(message, &word, 8);
        memcpy(message + 8, &head.time_ns, 8);
    }
}

struct head head_of(const struct side *side, const unsigned char *message) {
    uint64_t word, time_ns;
    if (side->wire != NULL && side->wire->is_text) {
        word = hexadecimal(message);
        time_ns = hexadecimal(message + 16);
    } else {
        memcpy(&word, message, 8);
        memcpy(&time_ns, message + 8, 8);
    }
    return (struct head){.kind = (int)(word >> 56), .publisher = word >> 48 & 0xff,
                         .number = word & 0xffffffffffffu, .time_ns = time_ns};
}

/* Frames one behind the other, whole but for the heads of the messages. */
static void prepare_batch(struct side *side) {
    unsigned char before[512], behind[16];
    side->before_bytes = side->wire->before(side, before);
    size_t behind_bytes = side->wire->behind(side, behind);
    side->frame_bytes = side->before_bytes + side->bytes + behind_bytes;
    side->frames_max = BATCH_BYTES / side->frame_bytes > 0 ? BATCH_BYTES / side->frame_bytes : 1;
    side->batch = malloc(side->frames_max * side->frame_bytes);
    if (side->batch == NULL) fail("no memory for a batch");
    for (size_t index = 0; index < side->frames_max; index++) {
        unsigned char *frame = side->batch + index * side->frame_bytes;
        memcpy(frame, before, side->before_bytes);
        memset(frame + side->before_bytes, 'x', side->bytes);
        memcpy(frame + side->before_bytes + side->bytes, behind, behind_bytes);
    }
}

static const char *role_name(const struct side *side) {
    if (strcmp(side->pattern, "pipeline") == 0) return side->sends ? "push" : "pull";
    if (strcmp(side->pattern, "request") == 0) return side->sends ? "req" : "rep";
    return side->sends ? "pub" : "sub";
}

/* The endpoint behind a place, and the name of what is used there. */
static void find(struct side *side, const char *place, char *endpoint, size_t room) {
    const char *rest = strchr(place, ':');
    if (rest == NULL) fail("%s is no place", place);
    rest++;
    if (strncmp(place, "sidecar:", 8) == 0) {
        int is_http = side->wire == &http_wire;
        const char *where = getenv(is_http ? "PINNACE_SOCKET" : "PINNACE_ZMQ_DIR");
        if (where == NULL) fail("there is no sidecar");
        snprintf(side->name, sizeof side->name, "%s", rest);
        if (is_http) {
            snprintf(endpoint, room, "ipc://%s", where);
        } else {
            snprintf(endpoint, room, "ipc://%s/%s.%s", where, rest, role_name(side));
        }
    } else if (strncmp(place, "nats:", 5) == 0) {
        const char *name = strchr(rest, '/');
        if (name == NULL) fail("%s names no subject", place);
        snprintf(side->name, sizeof side->name, "%s", name + 1);
        snprintf(endpoint, room, "tcp://%.*s", (int)(name - rest), rest);
    } else {
        snprintf(endpoint, room, "%s", rest);
    }
}

struct side open_side(const struct options *options, int sends) {
    const char *place = sends ? options->out : options->in;
    struct side side = {.sends = sends, .descriptor = -1, .pattern = options->pattern, .bytes = options->bytes,
                        .publisher = options->index};
    int is_libzmq = strcmp(options->client, "libzmq") == 0;
    for (size_t index = 0; index < sizeof WIRES / sizeof *WIRES; index++) {
        if (strcmp(options->client, WIRES[index]->name) == 0) side.wire = WIRES[index];
    }
    if (!is_libzmq && side.wire == NULL) fail("%s is no client", options->client);
    if (side.wire != NULL && side.wire->is_text && side.bytes < TEXT_HEAD_BYTES) fail("too few bytes for a text");
    char endpoint[512];
    find(&side, place, endpoint, sizeof endpoint);
    int binds = strncmp(place, "bind:", 5) == 0;
    if (is_libzmq) {
        libzmq_open(&side, endpoint, binds);
        return side;
    }
    side.buffer_bytes = 256 * 1024 > 2 * side.bytes + 1024 ? 256 * 1024 : 2 * side.bytes + 1024;
    side.buffer = malloc(side.buffer_bytes);
    if (side.buffer == NULL) fail("no memory for what comes");
    if (binds) {
        stream_listen(&side, endpoint);
    } else {
        stream_connect(&side, endpoint);
    }
    read_timeout(&side, PATIENCE_MS);
    prepare_batch(&side);
    side.wire->greet(&side);
    return side;
}

void close_side(struct side *side) {
    if (side->wire == NULL) {
        libzmq_close(side);
    } else {
        close(side->descriptor);
        free(side->buffer);
        free(side->batch);
    }
}

void offer(struct side *side, int kind, uint64_t number, uint64_t time_ns) {
    struct head head = {.kind = kind, .publisher = side->publisher, .number = number, .time_ns = time_ns};
    if (side->wire == NULL) {
        libzmq_send(side, &head);
        return;
    }
    put_head(side, side->batch + side->frames * side->frame_bytes + side->before_bytes, head);
    if (++side->frames == side->frames_max) flush(side);
}

void flush(struct side *side) {
    if (side->wire == NULL || side->frames == 0) return;
    size_t length = side->frames * side->frame_bytes;
    if (side->wire->write != NULL) {
        side->wire->write(side, side->batch, length);
    } else {
        stream_write(side, side->batch, length);
    }
    side->frames = 0;
}

void send_now(struct side *side, int kind, uint64_t number) {
    offer(side, kind, number, now_ns());
    flush(side);
}

int next(struct side *side, struct head *head) {
    if (side->wire == NULL) return libzmq_next(side, head);
    for (;;) {
        const unsigned char *message = NULL;
        size_t have = side->end - side->begin;
        size_t taken = have == 0 ? 0 : side->wire->take(side, side->buffer + side->begin, have, &message);
        side->begin += taken;
        if (message != NULL) {
            *head = head_of(side, message);
            return 1;
        }
        if (taken == 0 && !stream_read(side)) return 0;
    }
}
