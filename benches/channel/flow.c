/* Messages in one direction: from publishers, flat out or at a pace, to subscribers that count. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "load.h"

struct until {
    int kind;
    const char *name;
    uint64_t number;
};

/* Sends messages of this kind and number until all subscribers have made this mark. */
static void send_until(struct side *side, const struct options *options, struct until until) {
    uint64_t end = now_ns() + options->life * 1000000000u;
    while (!is_marked(options, until.name)) {
        if (now_ns() > end) fail("not all subscribers are %s", until.name);
        send_now(side, until.kind, until.number);
        rest_ms(WARM_PAUSE_MS);
    }
}

static uint64_t send_flat_out(struct side *side, uint64_t count) {
    for (uint64_t sent = 0; sent < count; sent++) {
        /* The clock is asked for each batch, and for the first message of a client that has none. */
        uint64_t time_ns = side->frames == 0 && (side->wire != NULL || sent == 0) ? now_ns() : 0;
        offer(side, MESSAGE, sent, time_ns);
    }
    flush(side);
    return count;
}

/* When the message of this number is due: seconds apart, so that no day of messages is too many. */
static uint64_t due_ns(uint64_t begin, uint64_t number, uint64_t pace) {
    return begin + number / pace * 1000000000u + number % pace * 1000000000u / pace;
}

/* Each message has its time, whatever happened to those before it; all that are due go out together. Gives how many
 * there were when the time was over. */
static uint64_t send_at_pace(struct side *side, const struct options *options) {
    uint64_t begin = now_ns() + 1000000, sent = 0, count = options->count, pace = options->pace, now = begin;
    uint64_t end = options->seconds == 0 ? UINT64_MAX : begin + options->seconds * 1000000000u;
    while (sent < count && now < end) {
        uint64_t due = due_ns(begin, sent, pace);
        now = now_ns();
        if (due > now) {
            struct timespec until = {(time_t)(due / 1000000000u), (long)(due % 1000000000u)};
            clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &until, NULL);
            now = now_ns();
        }
        for (; sent < count && due <= now; due = due_ns(begin, sent, pace)) offer(side, MESSAGE, sent++, due);
        flush(side);
    }
    printf("sending_seconds %.6f\n", (double)(now_ns() - begin) / 1e9);
    return sent;
}

void publish(const struct options *options) {
    struct side side = open_side(options, 1);
    send_until(&side, options, (struct until){.kind = WARM, .name = "ready"});
    struct cost cost = cost_now(options);
    uint64_t sent = options->pace > 0 ? send_at_pace(&side, options) : send_flat_out(&side, options->count);
    /* What it takes of memory is read while there is something to do. */
    print_memory(options);
    printf("sent %lu\n", (unsigned long)sent);
    send_until(&side, options, (struct until){.kind = END, .name = "done", .number = sent});
    print_cost(options, cost);
    close_side(&side);
}

/* What a subscriber has seen of its publishers. */
struct seen {
    uint64_t expected[PUBLISHERS_MAX], received, disordered, sent, first_ns, last_ns;
    char warm[PUBLISHERS_MAX], ended[PUBLISHERS_MAX];
    uint64_t warm_count, ended_count;
    struct times times;
};

static void look(struct seen *seen, const struct head *head, const struct options *options) {
    if (head->number < seen->expected[head->publisher]) seen->disordered++;
    seen->expected[head->publisher] = head->number + 1;
    seen->received++;
    if (head->time_ns != 0 && (seen->first_ns == 0 || head->time_ns < seen->first_ns)) seen->first_ns = head->time_ns;
    if (head->number + 1 == options->count) seen->last_ns = now_ns();
    /* The first tenth warms caches. */
    if (options->pace > 0 && head->number >= options->count / 10) keep_time(&seen->times, now_ns() - head->time_ns);
}

static void count_once(char *flags, uint64_t publisher, uint64_t *count) {
    *count += !flags[publisher];
    flags[publisher] = 1;
}

static void subscribe_alone(const struct options *options, uint64_t index) {
    struct side side = open_side(options, 0);
    static struct seen seen;
    seen.times = times_for(options->pace > 0 ? options->count * options->publishers : 0);
    struct cost cost = {0};
    struct head head;
    int ready = 0;
    while (seen.ended_count < options->publishers && next(&side, &head)) {
        if (head.publisher >= options->publishers) fail("a publisher that there is not");
        if (head.kind == MESSAGE) look(&seen, &head, options);
        if (head.kind == END && !seen.ended[head.publisher]) seen.sent += head.number;
        if (head.kind == END) count_once(seen.ended, head.publisher, &seen.ended_count);
        if (head.kind == WARM) count_once(seen.warm, head.publisher, &seen.warm_count);
        if (!ready && seen.warm_count == options->publishers) {
            ready = 1;
            cost = cost_now(options);
            mark(options, "ready", index);
        }
    }
    if (seen.ended_count < options->publishers) fail("a publisher has not said how many it sent");
    if (seen.last_ns == 0) seen.last_ns = now_ns();
    print_cost(options, cost);
    print_memory(options);
    mark(options, "done", index);
    printf("received %lu\nlost %ld\n", (unsigned long)seen.received, (long)(seen.sent - seen.received));
    printf("disordered %lu\n", (unsigned long)seen.disordered);
    printf("seconds %.6f\n", seen.received == 0 ? 0.0 : (double)(seen.last_ns - seen.first_ns) / 1e9);
    if (options->pace > 0) print_times(&seen.times);
    close_side(&side);
}

/* Copies of a subscriber are subscriptions of their own, all at one sidecar. Only the first one tells of its cost: the
 * others would tell of the same sidecar again. */
void subscribe(const struct options *options) {
    for (uint64_t copy = 1; copy < options->copies; copy++) {
        pid_t child = fork();
        if (child < 0) fail("cannot fork");
        if (child == 0) {
            char path[512];
            snprintf(path, sizeof path, "%s/copy-%lu", options->folder, (unsigned long)(options->index + copy));
            if (freopen(path, "w", stdout) == NULL) fail("cannot write %s", path);
            alarm((unsigned)options->life);
            subscribe_alone(options, options->index + copy);
            exit(0);
        }
    }
    subscribe_alone(options, options->index);
    for (uint64_t copy = 1; copy < options->copies; copy++) {
        int status;
        if (wait(&status) < 0 || status != 0) fail("a copy of the subscriber failed");
    }
}

/* Connected where there are places, and nothing to do: the first seconds are for what the start has left to do. */
void idle(const struct options *options) {
    struct side out = {.descriptor = -1}, in = {.descriptor = -1};
    if (options->out[0] != 0) out = open_side(options, 1);
    if (options->in[0] != 0) in = open_side(options, 0);
    rest_ms(3000);
    struct cost cost = cost_now(options);
    rest_ms((long)options->seconds * 1000);
    print_cost(options, cost);
    print_memory(options);
    if (options->out[0] != 0) close_side(&out);
    if (options->in[0] != 0) close_side(&in);
}
