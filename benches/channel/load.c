/* Load generator of `cargo xtask bench channel`: one app of a pair, as a process of its own.
 *
 *   load publish   CLIENT OUT    COUNT FOLDER     sends COUNT messages of 100 bytes as fast as it goes
 *   load subscribe CLIENT IN     COUNT FOLDER     counts them, and looks at their order
 *   load ping      CLIENT OUT IN COUNT FOLDER     one message on its way at a time, there and back
 *   load pong      CLIENT OUT IN COUNT FOLDER     sends back what comes
 *
 * CLIENT is `libzmq` (PUB and SUB sockets) or `raw` (ZMTP 3.1 in this file, a batch a write: what a client
 * that batches can do). OUT and IN are `bind=ENDPOINT`, `connect=ENDPOINT`, or `sidecar=CHANNEL`: the
 * socket of that Channel under $PINNACE_ZMQ_DIR. FOLDER is where the two tell each other how far they are.
 *
 * Messages have one frame: kind, number, time, filling. PUB sockets wait for room (ZMQ_XPUB_NODROP; all
 * else is libzmq's default), so what is missing at the subscriber was lost on the way. Prints lines of a name and a number. Every wait has an end.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* What we use of zmq.h: the wheel that brings the library has no headers. */
enum { ZMQ_PUB = 1, ZMQ_SUB = 2 };
enum { ZMQ_SUBSCRIBE = 6, ZMQ_LINGER = 17, ZMQ_RCVTIMEO = 27, ZMQ_SNDTIMEO = 28, ZMQ_XPUB_NODROP = 69 };
void *zmq_ctx_new(void);
int zmq_ctx_term(void *context);
void *zmq_socket(void *context, int type);
int zmq_close(void *socket);
int zmq_setsockopt(void *socket, int option, const void *value, size_t length);
int zmq_bind(void *socket, const char *endpoint);
int zmq_connect(void *socket, const char *endpoint);
int zmq_send(void *socket, const void *buffer, size_t length, int flags);
int zmq_recv(void *socket, void *buffer, size_t length, int flags);
void zmq_version(int *major, int *minor, int *patch);

enum {
    MESSAGE_BYTES = 100,
    FRAME_BYTES = MESSAGE_BYTES + 2,
    BATCH_MESSAGES = 640,                 /* of the raw client: one write of 64 KiB */
    READ_BYTES = 256 * 1024,
    PATIENCE_MS = 20 * 1000,              /* without any message */
    ANSWER_MS = 5 * 1000,
    WARM_PAUSE_MS = 10,
    LIFE_SECONDS = 300,
};
static const unsigned char FLAG_MORE = 1, FLAG_LONG = 2, FLAG_COMMAND = 4;

static void fail(const char *text, ...) {
    va_list values;
    va_start(values, text);
    vfprintf(stderr, text, values);
    va_end(values);
    fprintf(stderr, " (%s)\n", strerror(errno));
    exit(1);
}

static uint64_t now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void rest_ms(long pause_ms) {
    struct timespec pause = {pause_ms / 1000, pause_ms % 1000 * 1000000};
    nanosleep(&pause, NULL);
}

/* One direction of one app. */
struct side {
    void *context, *socket;               /* libzmq */
    int raw, descriptor;                  /* raw */
    unsigned char *buffer;
    size_t begin, end;
    unsigned char message[MESSAGE_BYTES];
};

static void put(unsigned char *message, char kind, uint64_t number, uint64_t time) {
    memset(message, 'x', MESSAGE_BYTES);
    message[0] = (unsigned char)kind;
    memcpy(message + 1, &number, 8);
    memcpy(message + 9, &time, 8);
}

static uint64_t number_of(const unsigned char *message) {
    uint64_t number;
    memcpy(&number, message + 1, 8);
    return number;
}

static uint64_t time_of(const unsigned char *message) {
    uint64_t time;
    memcpy(&time, message + 9, 8);
    return time;
}

static void write_all(struct side *side, const void *bytes, size_t length) {
    const char *rest = bytes;
    while (length > 0) {
        ssize_t written = send(side->descriptor, rest, length, MSG_NOSIGNAL);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) fail("the sidecar takes no more");
        rest += written;
        length -= (size_t)written;
    }
}

/* The next message frame of the raw client, or NULL when the time is over. The few commands of the
 * beginning are passed over; there is no heartbeat unless we ask for one. */
static const unsigned char *raw_next(struct side *side) {
    for (;;) {
        const unsigned char *bytes = side->buffer + side->begin;
        size_t have = side->end - side->begin;
        if (have >= 2) {
            if (bytes[0] & (FLAG_LONG | FLAG_MORE)) fail("a frame that nobody sent: flags %d", bytes[0]);
            size_t frame = (size_t)bytes[1] + 2;
            if (have >= frame) {
                side->begin += frame;
                if (bytes[0] & FLAG_COMMAND) {
                    if (frame > 7 && memcmp(bytes + 2, "\5ERROR", 6) == 0) fail("the sidecar refuses this app");
                    continue;
                }
                if (frame != FRAME_BYTES) fail("a message of another size: %zu", frame);
                return bytes + 2;
            }
        }
        memmove(side->buffer, bytes, have);
        side->begin = 0;
        side->end = have;
        ssize_t count = recv(side->descriptor, side->buffer + have, READ_BYTES - have, 0);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return NULL;
        if (count <= 0) fail("the sidecar closed the connection");
        side->end += (size_t)count;
    }
}

static void read_timeout(struct side *side, int milliseconds) {
    if (side->raw) {
        struct timeval time = {milliseconds / 1000, milliseconds % 1000 * 1000};
        setsockopt(side->descriptor, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
    } else {
        zmq_setsockopt(side->socket, ZMQ_RCVTIMEO, &milliseconds, sizeof milliseconds);
    }
}

static const unsigned char *next(struct side *side) {
    if (side->raw) return raw_next(side);
    int length = zmq_recv(side->socket, side->message, MESSAGE_BYTES, 0);
    if (length < 0 && (errno == EAGAIN || errno == EINTR)) return NULL;
    if (length != MESSAGE_BYTES) fail("a message of another size: %d", length);
    return side->message;
}

static void send_one(struct side *side, const unsigned char *message) {
    if (side->raw) {
        unsigned char frame[FRAME_BYTES] = {0, MESSAGE_BYTES};
        memcpy(frame + 2, message, MESSAGE_BYTES);
        write_all(side, frame, sizeof frame);
    } else if (zmq_send(side->socket, message, MESSAGE_BYTES, 0) != MESSAGE_BYTES) {
        fail("zmq_send failed");
    }
}

static void send_kind(struct side *side, char kind, uint64_t number) {
    unsigned char message[MESSAGE_BYTES];
    put(message, kind, number, now_ns());
    send_one(side, message);
}

static void raw_open(struct side *side, const char *path, int publishes) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) fail("the path is too long: %s", path);
    strcpy(address.sun_path, path);
    side->descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(side->descriptor, (struct sockaddr *)&address, sizeof address) != 0) fail("cannot connect to %s", path);
    side->buffer = malloc(READ_BYTES);
    struct timeval time = {PATIENCE_MS / 1000, 0};
    setsockopt(side->descriptor, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time);
    read_timeout(side, PATIENCE_MS);
    unsigned char greeting[64] = {0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 3, 1, 'N', 'U', 'L', 'L'};
    write_all(side, greeting, sizeof greeting);
    unsigned char ready[] = "\x04\x19\5READY\x0bSocket-Type\0\0\0\3SUB";
    if (publishes) memcpy(ready + sizeof ready - 4, "PUB", 3);
    write_all(side, ready, sizeof ready - 1);
    if (!publishes) write_all(side, "\x04\x0a\x09SUBSCRIBE", 12);
    while (side->end < sizeof greeting) {
        ssize_t count = recv(side->descriptor, side->buffer + side->end, sizeof greeting - side->end, 0);
        if (count <= 0) fail("no greeting from %s", path);
        side->end += (size_t)count;
    }
    if (side->buffer[0] != 0xff || side->buffer[10] != 3) fail("%s speaks something else", path);
    side->begin = sizeof greeting;
}

static void libzmq_open(struct side *side, const char *endpoint, int binds, int publishes) {
    int patience = PATIENCE_MS, none = 0, yes = 1;
    side->context = zmq_ctx_new();
    side->socket = zmq_socket(side->context, publishes ? ZMQ_PUB : ZMQ_SUB);
    zmq_setsockopt(side->socket, ZMQ_SNDTIMEO, &patience, sizeof patience);
    zmq_setsockopt(side->socket, ZMQ_RCVTIMEO, &patience, sizeof patience);
    zmq_setsockopt(side->socket, ZMQ_LINGER, &none, sizeof none);
    int option = publishes ? ZMQ_XPUB_NODROP : ZMQ_SUBSCRIBE;
    if (zmq_setsockopt(side->socket, option, publishes ? (void *)&yes : "", publishes ? sizeof yes : 0) != 0) {
        fail("libzmq refuses option %d", option);
    }
    int (*open)(void *, const char *) = binds ? zmq_bind : zmq_connect;
    if (open(side->socket, endpoint) != 0) fail("libzmq cannot open %s", endpoint);
}

static struct side open_side(const char *client, const char *place, int publishes) {
    struct side side = {.descriptor = -1, .raw = strcmp(client, "raw") == 0};
    char path[512];
    const char *name = strchr(place, '=');
    if (name == NULL) fail("%s is no place", place);
    name++;
    if (strncmp(place, "sidecar=", 8) == 0) {
        const char *folder = getenv("PINNACE_ZMQ_DIR");
        const char *scheme = side.raw ? "" : "ipc://";
        snprintf(path, sizeof path, "%s%s/%s.%s", scheme, folder ? folder : "", name, publishes ? "pub" : "sub");
        name = path;
    } else if (side.raw) {
        fail("the raw client is for sidecars");
    }
    if (side.raw) {
        raw_open(&side, name, publishes);
    } else {
        libzmq_open(&side, name, strncmp(place, "bind=", 5) == 0, publishes);
    }
    return side;
}

static void close_side(struct side *side) {
    if (side->raw) {
        close(side->descriptor);
        free(side->buffer);
    } else {
        zmq_close(side->socket);
        zmq_ctx_term(side->context);
    }
}

/* Marks in FOLDER. */
static void mark(const char *folder, const char *name) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    if (file == NULL || fclose(file) != 0) fail("cannot write %s", path);
}

/* Sends messages of this kind until the other one has made its mark. */
static void send_until(struct side *side, char kind, const char *folder, const char *name) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    uint64_t end = now_ns() + (uint64_t)PATIENCE_MS * 1000000u;
    while (access(path, F_OK) != 0) {
        if (now_ns() > end) fail("the other app has made no %s", path);
        send_kind(side, kind, 0);
        rest_ms(WARM_PAUSE_MS);
    }
}

static double own_cpu_seconds(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* CPU time of what our parent has started beside us: `pinnace run` starts the sidecar. */
static double sidecar_cpu_seconds(void) {
    double ticks = 0;
    DIR *processes = opendir("/proc");
    struct dirent *entry;
    while (processes != NULL && (entry = readdir(processes)) != NULL) {
        long process = strtol(entry->d_name, NULL, 10);
        char path[300], line[1024];
        if (process <= 0 || process == getpid()) continue;
        snprintf(path, sizeof path, "/proc/%ld/stat", process);
        FILE *file = fopen(path, "r");
        if (file == NULL) continue;
        size_t length = fread(line, 1, sizeof line - 1, file);
        fclose(file);
        line[length] = 0;
        long parent;
        unsigned long user, system;
        const char *rest = strrchr(line, ')');
        if (rest != NULL &&
            sscanf(rest + 2, "%*c %ld %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &parent, &user, &system) == 3 &&
            parent == getppid()) {
            ticks += (double)(user + system);
        }
    }
    if (processes != NULL) closedir(processes);
    return ticks / (double)sysconf(_SC_CLK_TCK);
}

struct cost {
    double own, sidecar;
    int beside;
};

static struct cost cost_begin(const char *place) {
    struct cost cost = {own_cpu_seconds(), 0, strncmp(place, "sidecar=", 8) == 0};
    if (cost.beside) cost.sidecar = sidecar_cpu_seconds();
    return cost;
}

static void cost_end(struct cost begin) {
    printf("app_cpu_seconds %.3f\n", own_cpu_seconds() - begin.own);
    printf("sidecar_cpu_seconds %.3f\n", begin.beside ? sidecar_cpu_seconds() - begin.sidecar : 0.0);
}

static void publish(const char *client, const char *out, uint64_t count, const char *folder) {
    struct side side = open_side(client, out, 1);
    send_until(&side, 'w', folder, "ready");
    struct cost cost = cost_begin(out);
    if (side.raw) {
        unsigned char *batch = calloc(BATCH_MESSAGES, FRAME_BYTES);
        for (uint64_t sent = 0; sent < count;) {
            uint64_t messages = count - sent < BATCH_MESSAGES ? count - sent : BATCH_MESSAGES;
            uint64_t time = now_ns();
            for (uint64_t index = 0; index < messages; index++) {
                unsigned char *frame = batch + index * FRAME_BYTES;
                frame[1] = MESSAGE_BYTES;
                put(frame + 2, 'm', sent + index, time);
            }
            write_all(&side, batch, messages * FRAME_BYTES);
            sent += messages;
        }
        free(batch);
    } else {
        unsigned char message[MESSAGE_BYTES];
        for (uint64_t sent = 0; sent < count; sent++) {
            put(message, 'm', sent, sent == 0 ? now_ns() : 0);
            send_one(&side, message);
        }
    }
    send_until(&side, 'e', folder, "done");
    cost_end(cost);
    close_side(&side);
}

static void subscribe(const char *client, const char *in, uint64_t count, const char *folder) {
    struct side side = open_side(client, in, 0);
    uint64_t received = 0, disordered = 0, expected = 0, first = 0, last = 0;
    int ready = 0;
    struct cost cost = cost_begin(in);
    const unsigned char *message;
    while ((message = next(&side)) != NULL && message[0] != 'e') {
        if (message[0] == 'm') {
            uint64_t number = number_of(message);
            if (number < expected) disordered++;
            expected = number + 1;
            if (received++ == 0) first = time_of(message);
            if (number + 1 == count) last = now_ns();
        } else if (!ready) {
            ready = 1;
            cost = cost_begin(in);
            mark(folder, "ready");
        }
    }
    if (last == 0) last = now_ns();
    cost_end(cost);
    mark(folder, "done");
    printf("received %lu\nlost %lu\n", (unsigned long)received, (unsigned long)(count - received));
    printf("disordered %lu\n", (unsigned long)disordered);
    printf("seconds %.6f\n", received == 0 ? 0.0 : (double)(last - first) / 1e9);
    close_side(&side);
}

static int compare(const void *left, const void *right) {
    uint64_t one = *(const uint64_t *)left, other = *(const uint64_t *)right;
    return (one > other) - (one < other);
}

/* The message of this number that comes back, or NULL. */
static const unsigned char *answer(struct side *in, char kind, uint64_t number) {
    const unsigned char *message;
    while ((message = next(in)) != NULL) {
        if (message[0] == kind && number_of(message) == number) break;
    }
    return message;
}

static double microseconds(const uint64_t *sorted, uint64_t length, uint64_t percent) {
    uint64_t rank = (length * percent + 99) / 100;
    return length == 0 ? 0.0 : (double)sorted[rank > 0 ? rank - 1 : 0] / 1e3;
}

static void ping(const char *client, const char *const *places, uint64_t count, const char *folder) {
    struct side out = open_side(client, places[0], 1), in = open_side(client, places[1], 0);
    uint64_t end = now_ns() + (uint64_t)PATIENCE_MS * 1000000u, number = 0;
    read_timeout(&in, 100);
    do {
        if (now_ns() > end) fail("no answer from the other app");
        send_kind(&out, 'w', ++number);
    } while (answer(&in, 'w', number) == NULL);
    read_timeout(&in, ANSWER_MS);
    uint64_t *times = calloc(count, sizeof *times), received = 0, lost = 0, warm = count / 10;
    for (number = 0; number < warm + count && lost < 4; number++) {
        uint64_t begin = now_ns();
        send_kind(&out, 'm', number);
        if (answer(&in, 'm', number) == NULL) {
            lost++;
        } else if (number >= warm) {
            times[received++] = now_ns() - begin;
        }
    }
    qsort(times, received, sizeof *times, compare);
    printf("received %lu\nlost %lu\n", (unsigned long)received, (unsigned long)lost);
    printf("p50_microseconds %.1f\n", microseconds(times, received, 50));
    printf("p99_microseconds %.1f\n", microseconds(times, received, 99));
    send_until(&out, 'e', folder, "done");
    free(times);
    close_side(&out);
    close_side(&in);
}

static void pong(const char *client, const char *const *places, const char *folder) {
    struct side out = open_side(client, places[0], 1), in = open_side(client, places[1], 0);
    const unsigned char *message;
    while ((message = next(&in)) != NULL && message[0] != 'e') send_one(&out, message);
    mark(folder, "done");
    close_side(&out);
    close_side(&in);
    if (message == NULL) fail("nothing came for %d ms", PATIENCE_MS);
}

int main(int count, char **values) {
    alarm(LIFE_SECONDS);
    const char *role = count > 1 ? values[1] : "";
    const char *const *places = (const char *const *)values + 3;
    if (strcmp(role, "version") == 0) {
        int major, minor, patch;
        zmq_version(&major, &minor, &patch);
        printf("%d.%d.%d\n", major, minor, patch);
    } else if (count == 6 && strcmp(role, "publish") == 0) {
        publish(values[2], values[3], strtoull(values[4], NULL, 10), values[5]);
    } else if (count == 6 && strcmp(role, "subscribe") == 0) {
        subscribe(values[2], values[3], strtoull(values[4], NULL, 10), values[5]);
    } else if (count == 7 && strcmp(role, "ping") == 0) {
        ping(values[2], places, strtoull(values[5], NULL, 10), values[6]);
    } else if (count == 7 && strcmp(role, "pong") == 0) {
        pong(values[2], places, values[6]);
    } else {
        errno = EINVAL;
        fail("see the head of load.c");
    }
    return 0;
}
