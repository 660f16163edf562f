/* One message at a time, there and back: over two places, or as a request and its reply over one. */
#include <stdio.h>
#include <string.h>

#include "load.h"

static int is_request(const struct options *options) {
    return strcmp(options->pattern, "request") == 0;
}

/* Waits for the message of this number that comes back. */
static int answered(struct side *in, int kind, uint64_t number) {
    struct head head;
    while (next(in, &head)) {
        if (head.kind == kind && head.number == number) return 1;
    }
    return 0;
}

void ping(const struct options *options) {
    struct side out = open_side(options, 1), other = {.descriptor = -1}, *in = &out;
    if (!is_request(options)) {
        other = open_side(options, 0);
        in = &other;
    }
    uint64_t end = now_ns() + (uint64_t)PATIENCE_MS * 1000000u, number = 0, warm = options->count / 10, lost = 0;
    /* A request waits for its answer; who publishes tries again. */
    read_timeout(in, is_request(options) ? PATIENCE_MS : 100);
    do {
        if (now_ns() > end) fail("no answer from the other app");
        send_now(&out, WARM, ++number);
    } while (!answered(in, WARM, number));
    read_timeout(in, ANSWER_MS);
    struct times times = times_for(options->count);
    struct cost cost = cost_now(options);
    for (number = 0; number < warm + options->count && lost == 0; number++) {
        uint64_t begin = now_ns();
        send_now(&out, MESSAGE, number);
        if (!answered(in, MESSAGE, number)) {
            lost++;
        } else if (number >= warm) {
            keep_time(&times, now_ns() - begin);
        }
    }
    print_cost(options, cost);
    printf("lost %lu\n", (unsigned long)lost);
    print_times(&times);
    mark(options, "done", 0);
    send_now(&out, END, 0);
    /* The last one is on its way when this process ends. */
    answered(in, END, 0);
    close_side(&out);
    if (in == &other) close_side(&other);
}

void pong(const struct options *options) {
    /* The other one opens them in the other order: each waits for its like. */
    struct side in = open_side(options, 0), other = {.descriptor = -1}, *out = &in;
    if (!is_request(options)) {
        other = open_side(options, 1);
        out = &other;
    }
    struct head head = {.kind = WARM};
    while (head.kind != END && next(&in, &head)) {
        offer(out, head.kind, head.number, head.time_ns);
        flush(out);
    }
    if (head.kind != END) fail("nothing came for %d ms", PATIENCE_MS);
    /* Until the other one has it. */
    rest_ms(200);
    if (out == &other) close_side(&other);
    close_side(&in);
}
