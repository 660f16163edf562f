/* Load generator of `cargo xtask bench channel` and `cargo xtask soak`: one app, as a process of its own.
 *
 *   load publish   CLIENT out=PLACE …            sends `count` messages, as fast as it goes or at `pace` a second and
 *                                                then for at most `seconds`
 *   load subscribe CLIENT in=PLACE …             counts them, and looks at their order
 *   load ping      CLIENT out=PLACE in=PLACE …   one message on its way at a time, there and back
 *   load pong      CLIENT out=PLACE in=PLACE …   sends back what comes
 *   load idle      CLIENT out=PLACE in=PLACE …   is connected for `seconds` and does nothing
 *
 * CLIENT is `libzmq`, or one in this folder that batches, with a write for as many messages as there are and at most
 * 64 KiB: `zmtp` (ZMTP 3.1), `nats` (its text protocol), `http` (POST and newline-delimited JSON) or `floor` (a length
 * and the message: what the kernel takes). `grpc` is another program, `benches/src`. PLACE is `bind:ENDPOINT`, `connect:ENDPOINT`, `nats:HOST:PORT/SUBJECT`, or
 * `sidecar:CHANNEL`: the door of that Channel, in $PINNACE_ZMQ_DIR or $PINNACE_SOCKET.
 *
 * Further: `bytes` of a message, `pattern` (pubsub, pipeline, or request where ping asks and pong answers over one
 * place), `publishers` and `subscribers` that there are, `index` among one's like, `copies` of this subscriber,
 * `folder` where all tell each other how far they are, `beside` with processes whose cost is told as the sidecars' is,
 * `life` in seconds.
 *
 * Messages begin with a kind, a publisher, a number and a time: at a pace the time at which it was to be sent, so that
 * a sender that is late counts as latency. PUB sockets of libzmq wait for room (ZMQ_XPUB_NODROP; all else is the
 * default), so what is missing at a subscriber was lost on the way. Prints lines of a name and a number. Every wait
 * has an end.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "load.h"

void fail(const char *text, ...) {
    int error = errno;
    va_list values;
    va_start(values, text);
    vfprintf(stderr, text, values);
    va_end(values);
    fprintf(stderr, " (%s)\n", strerror(error));
    exit(1);
}

uint64_t now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

void rest_ms(long pause_ms) {
    struct timespec pause = {pause_ms / 1000, pause_ms % 1000 * 1000000};
    nanosleep(&pause, NULL);
}

static void mark_path(char *path, size_t room, const struct options *options, const char *name, uint64_t index) {
    snprintf(path, room, "%s/%s-%lu", options->folder, name, (unsigned long)index);
}

void mark(const struct options *options, const char *name, uint64_t index) {
    char path[512];
    mark_path(path, sizeof path, options, name, index);
    FILE *file = fopen(path, "w");
    if (file == NULL || fclose(file) != 0) fail("cannot write %s", path);
}

/* Whether all subscribers have made this mark. */
int is_marked(const struct options *options, const char *name) {
    char path[512];
    for (uint64_t index = 0; index < options->subscribers; index++) {
        mark_path(path, sizeof path, options, name, index);
        if (access(path, F_OK) != 0) return 0;
    }
    return 1;
}

static void read_option(struct options *options, const char *text) {
    const struct {
        const char *name;
        const char **text;
        uint64_t *number;
    } known[] = {
        {"out", &options->out, NULL},       {"in", &options->in, NULL},
        {"folder", &options->folder, NULL}, {"beside", &options->beside, NULL},
        {"pattern", &options->pattern, NULL}, {"count", NULL, &options->count},
        {"bytes", NULL, &options->bytes},   {"publishers", NULL, &options->publishers},
        {"subscribers", NULL, &options->subscribers}, {"index", NULL, &options->index},
        {"copies", NULL, &options->copies}, {"pace", NULL, &options->pace},
        {"seconds", NULL, &options->seconds}, {"life", NULL, &options->life},
    };
    const char *value = strchr(text, '=');
    size_t length = value == NULL ? 0 : (size_t)(value - text);
    for (size_t index = 0; value != NULL && index < sizeof known / sizeof *known; index++) {
        if (strlen(known[index].name) != length || strncmp(known[index].name, text, length) != 0) continue;
        if (known[index].text != NULL) {
            *known[index].text = value + 1;
        } else {
            *known[index].number = strtoull(value + 1, NULL, 10);
        }
        return;
    }
    errno = EINVAL;
    fail("%s is no option: see the head of main.c", text);
}

int main(int count, char **values) {
    struct options options = {
        .role = count > 1 ? values[1] : "", .client = count > 2 ? values[2] : "", .out = "", .in = "", .beside = "",
        .folder = ".", .pattern = "pubsub", .count = 1000, .bytes = 100, .publishers = 1, .subscribers = 1,
        .copies = 1, .life = 300,
    };
    for (int index = 3; index < count; index++) read_option(&options, values[index]);
    const struct {
        const char *name;
        void (*run)(const struct options *options);
    } roles[] = {{"publish", publish}, {"subscribe", subscribe}, {"ping", ping}, {"pong", pong}, {"idle", idle}};
    if (options.bytes < HEAD_BYTES || options.publishers > PUBLISHERS_MAX) {
        errno = EINVAL;
        fail("messages have at least %d bytes, and publishers are at most %d", HEAD_BYTES, PUBLISHERS_MAX);
    }
    alarm((unsigned)options.life);
    /* A pace is to be met to the microsecond. */
    prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
    if (strcmp(options.role, "version") == 0) {
        print_libzmq_version();
        return 0;
    }
    for (size_t index = 0; index < sizeof roles / sizeof *roles; index++) {
        if (strcmp(options.role, roles[index].name) == 0) {
            roles[index].run(&options);
            return 0;
        }
    }
    errno = EINVAL;
    fail("%s is no role: see the head of main.c", options.role);
}
