/* Scenes of the conformance suite `zeromq`: plain libzmq apps in front of two sidecars.
 *
 *     cases SCENE
 *
 * Where the doors are comes in the environment: LEFT_DIR and RIGHT_DIR (folders of Unix sockets), LEFT_TCP and
 * RIGHT_TCP (`prices.pub` of the left sidecar and `prices.sub` of the right one on TCP), BOUND_PUB and BOUND_SUB
 * (where the sidecars expect sockets that bind). A scene that wants a sidecar to be killed and started again prints
 * `restart left` or `restart right` and reads a line once that is done. Exit 0 = as it should be; else the last line
 * of standard error says what was not. Every wait has an end.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <zmq.h>

#define FRAMES_MAX 16
#define DEADLINE_MS 60000
/* The Channel's maxMessageSize, and that of the Channel for large messages. */
#define MESSAGE_BYTES_MAX (1024 * 1024)
#define LARGE_BYTES (20 * 1000 * 1000)

static void *context;

static void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    /* Without zmq_ctx_term, which would wait for sockets that are open. */
    _exit(1);
}

static void set(void *socket, int option, const void *value, size_t length) {
    if (zmq_setsockopt(socket, option, value, length) != 0) fail("option %d: %s", option, zmq_strerror(errno));
}

static void set_int(void *socket, int option, int value) { set(socket, option, &value, sizeof value); }

static void subscribe(void *socket, const char *prefix) { set(socket, ZMQ_SUBSCRIBE, prefix, strlen(prefix)); }

static void cancel(void *socket, const char *prefix) { set(socket, ZMQ_UNSUBSCRIBE, prefix, strlen(prefix)); }

static void *new_socket(int type) {
    void *socket = zmq_socket(context, type);
    if (socket == NULL) fail("no socket: %s", zmq_strerror(errno));
    set_int(socket, ZMQ_LINGER, 0);
    set_int(socket, ZMQ_RCVTIMEO, DEADLINE_MS);
    set_int(socket, ZMQ_SNDTIMEO, DEADLINE_MS);
    /* A full pipe holds the sender back instead of dropping. */
    if (type == ZMQ_PUB || type == ZMQ_XPUB) set_int(socket, ZMQ_XPUB_NODROP, 1);
    return socket;
}

static void *connected(int type, const char *endpoint) {
    void *socket = new_socket(type);
    if (zmq_connect(socket, endpoint) != 0) fail("connect %s: %s", endpoint, zmq_strerror(errno));
    return socket;
}

static const char *variable(const char *name) {
    const char *value = getenv(name);
    if (value == NULL) fail("%s is not set", name);
    return value;
}

/* The endpoint of a Unix socket; good until the fourth call after. */
static const char *door(const char *folder, const char *name) {
    static char texts[4][512];
    static unsigned next;
    char *text = texts[next++ % 4];
    snprintf(text, sizeof texts[0], "ipc://%s/%s", variable(folder), name);
    return text;
}

struct message {
    int count;
    zmq_msg_t frames[FRAMES_MAX];
};

static void forget(struct message *message) {
    for (int index = 0; index < message->count; index++) zmq_msg_close(&message->frames[index]);
    message->count = 0;
}

static void receive(void *socket, struct message *message) {
    int more = 1;
    for (message->count = 0; more;) {
        if (message->count == FRAMES_MAX) fail("a message of more than %d frames", FRAMES_MAX);
        zmq_msg_t *frame = &message->frames[message->count++];
        zmq_msg_init(frame);
        if (zmq_msg_recv(frame, socket, 0) < 0) fail("nothing came: %s", zmq_strerror(errno));
        more = zmq_msg_more(frame);
    }
}

static int frame_is(struct message *message, int index, const void *bytes, size_t length) {
    if (index >= message->count) return 0;
    zmq_msg_t *frame = &message->frames[index];
    return zmq_msg_size(frame) == length && memcmp(zmq_msg_data(frame), bytes, length) == 0;
}

/* The next message that is not one of join's. */
static void next_message(void *socket, struct message *message) {
    for (;;) {
        receive(socket, message);
        if (!(message->count == 3 && frame_is(message, 1, "sync", 4))) return;
        forget(message);
    }
}

static void send_frame(void *socket, const void *bytes, size_t length, int more) {
    if (zmq_send(socket, bytes, length, more ? ZMQ_SNDMORE : 0) < 0) fail("send: %s", zmq_strerror(errno));
}

static void send_texts(void *socket, int count, const char *const *texts) {
    for (int index = 0; index < count; index++) {
        send_frame(socket, texts[index], strlen(texts[index]), index + 1 < count);
    }
}

static void send_pair(void *socket, const char *subject, const char *part) {
    const char *texts[] = {subject, part};
    send_texts(socket, 2, texts);
}

static int readable(void *socket, int milliseconds) {
    zmq_pollitem_t item = {socket, 0, ZMQ_POLLIN, 0};
    return zmq_poll(&item, 1, milliseconds) > 0;
}

/* Publishes until the subscriber has one, and takes what else was sent for that. */
static void join_with(void *pub, void *sub, const char *subject) {
    char number[16] = "";
    int sent = 0;
    do {
        if (sent > DEADLINE_MS / 10) fail("nothing arrives at the subscriber");
        snprintf(number, sizeof number, "%d", sent++);
        const char *texts[] = {subject, "sync", number};
        send_texts(pub, 3, texts);
    } while (!readable(sub, 10));
    struct message message;
    int done;
    do {
        receive(sub, &message);
        done = frame_is(&message, 2, number, strlen(number));
        forget(&message);
    } while (!done);
}

static void expect_pair(void *sub, const char *subject, const char *part) {
    struct message message;
    next_message(sub, &message);
    if (message.count != 2 || !frame_is(&message, 0, subject, strlen(subject)) ||
        !frame_is(&message, 1, part, strlen(part))) {
        fail("[%s, %s] was expected and is not what came", subject, part);
    }
    forget(&message);
}

static void expect_number(void *sub, const char *subject, int number) {
    char text[16];
    snprintf(text, sizeof text, "%d", number);
    struct message message;
    next_message(sub, &message);
    if (!frame_is(&message, 0, subject, strlen(subject)) || !frame_is(&message, 1, text, strlen(text))) {
        fail("%s %d was expected and is not what came", subject, number);
    }
    forget(&message);
}

static void send_number(void *pub, const char *subject, int number) {
    char text[16];
    snprintf(text, sizeof text, "%d", number);
    send_pair(pub, subject, text);
}

/* Multipart with empty frames, and order. */
static void multipart_between(const char *left, const char *right) {
    void *sub = connected(ZMQ_SUB, right), *pub = connected(ZMQ_PUB, left);
    subscribe(sub, "");
    join_with(pub, sub, "x");
    static const char *const lists[][FRAMES_MAX] = {
        {"one"}, {""}, {"a", ""}, {"", "b"}, {"a", "b", "", "c"}, {"", "", ""},
        {"1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16"},
    };
    static const int counts[] = {1, 1, 2, 2, 4, 3, 16};
    const int lists_count = sizeof counts / sizeof counts[0];
    for (int list = 0; list < lists_count; list++) send_texts(pub, counts[list], lists[list]);
    for (int list = 0; list < lists_count; list++) {
        struct message message;
        next_message(sub, &message);
        if (message.count != counts[list]) fail("list %d came with %d frames", list, message.count);
        for (int index = 0; index < counts[list]; index++) {
            const char *text = lists[list][index];
            if (!frame_is(&message, index, text, strlen(text))) fail("list %d, frame %d is another", list, index);
        }
        forget(&message);
    }
    const int numbers = 20000;
    for (int number = 0, read = 0; read < numbers;) {
        /* Sent in blocks that fit into every buffer, so that one thread can do both. */
        for (int block = 0; block < 500 && number < numbers; block++) send_number(pub, "n", number++);
        for (; read < number; read++) expect_number(sub, "n", read);
    }
}

static void multipart(void) { multipart_between(door("LEFT_DIR", "prices.pub"), door("RIGHT_DIR", "prices.sub")); }

static void multipart_over_tcp(void) { multipart_between(variable("LEFT_TCP"), variable("RIGHT_TCP")); }

/* Two subscribes to the same prefix need two cancels. */
static void prefixes(void) {
    void *sub = connected(ZMQ_SUB, door("RIGHT_DIR", "prices.sub"));
    void *pub = connected(ZMQ_PUB, door("LEFT_DIR", "prices.pub"));
    subscribe(sub, "end");
    join_with(pub, sub, "end");
    subscribe(sub, "eu.");
    subscribe(sub, "eu.");
    join_with(pub, sub, "eu.");
    cancel(sub, "eu.");
    send_pair(pub, "us.x", "no");
    send_pair(pub, "eu.x", "yes");
    expect_pair(sub, "eu.x", "yes");
    cancel(sub, "eu.");
    send_pair(pub, "eu.x", "no");
    send_pair(pub, "end", "");
    expect_pair(sub, "end", "");
    /* A cancel of what was never asked for takes nothing away. */
    cancel(sub, "en");
    send_pair(pub, "end", "again");
    expect_pair(sub, "end", "again");
}

static void send_bytes(void *pub, const char *subject, size_t length) {
    char *bytes = malloc(length + 1);
    memset(bytes, (int)(length % 251), length);
    send_frame(pub, subject, strlen(subject), 1);
    send_frame(pub, bytes, length, 0);
    free(bytes);
}

static void expect_bytes(void *sub, size_t length) {
    struct message message;
    next_message(sub, &message);
    if (message.count != 2 || zmq_msg_size(&message.frames[1]) != length) fail("%zu bytes did not come whole", length);
    const unsigned char *bytes = zmq_msg_data(&message.frames[1]);
    for (size_t index = 0; index < length; index++) {
        if (bytes[index] != length % 251) fail("of %zu bytes, byte %zu is another", length, index);
    }
    forget(&message);
}

/* Waits for one of the events on a monitor of the socket. */
static void *monitor(void *socket, int events) {
    static int number;
    char name[32];
    snprintf(name, sizeof name, "inproc://monitor-%d", number++);
    if (zmq_socket_monitor(socket, name, events) != 0) fail("monitor: %s", zmq_strerror(errno));
    return connected(ZMQ_PAIR, name);
}

static int event_of(void *watched) {
    struct message message;
    receive(watched, &message);
    unsigned short event;
    memcpy(&event, zmq_msg_data(&message.frames[0]), sizeof event);
    forget(&message);
    return event;
}

/* From nothing to maxMessageSize; above it the connection ends, and the next message comes through. */
static void sizes(void) {
    void *sub = connected(ZMQ_SUB, door("RIGHT_DIR", "prices.sub"));
    void *pub = connected(ZMQ_PUB, door("LEFT_DIR", "prices.pub"));
    subscribe(sub, "");
    join_with(pub, sub, "s");
    static const size_t lengths[] = {
        0, 1, 254, 255, 256, 257, 4095, 4096, 4097, 8191, 8192, 8193, 65535, 65536, 65537, 500000,
        MESSAGE_BYTES_MAX - 1,
    };
    for (size_t index = 0; index < sizeof lengths / sizeof lengths[0]; index++) {
        send_bytes(pub, "s", lengths[index]);
        expect_bytes(sub, lengths[index]);
    }
    void *watched = monitor(pub, ZMQ_EVENT_DISCONNECTED);
    send_bytes(pub, "s", MESSAGE_BYTES_MAX);
    if (event_of(watched) != ZMQ_EVENT_DISCONNECTED) fail("a message above the limit did not end the connection");
    join_with(pub, sub, "s");
    send_bytes(pub, "s", 100);
    expect_bytes(sub, 100);
}

static void large(void) {
    void *sub = connected(ZMQ_SUB, door("RIGHT_DIR", "large.sub"));
    void *pub = connected(ZMQ_PUB, door("LEFT_DIR", "large.pub"));
    subscribe(sub, "");
    join_with(pub, sub, "s");
    for (int number = 0; number < 3; number++) {
        send_bytes(pub, "s", LARGE_BYTES);
        expect_bytes(sub, LARGE_BYTES);
    }
}

static void heartbeats(void) {
    void *sockets[2] = {new_socket(ZMQ_SUB), new_socket(ZMQ_PUB)}, *watched[2];
    for (int index = 0; index < 2; index++) {
        set_int(sockets[index], ZMQ_HEARTBEAT_IVL, 100);
        set_int(sockets[index], ZMQ_HEARTBEAT_TIMEOUT, 1000);
        set_int(sockets[index], ZMQ_HEARTBEAT_TTL, 2000);
        watched[index] = monitor(sockets[index], ZMQ_EVENT_DISCONNECTED);
    }
    if (zmq_connect(sockets[0], door("RIGHT_DIR", "prices.sub")) != 0) fail("connect");
    if (zmq_connect(sockets[1], door("LEFT_DIR", "prices.pub")) != 0) fail("connect");
    subscribe(sockets[0], "");
    join_with(sockets[1], sockets[0], "h");
    sleep(4);
    for (int index = 0; index < 2; index++) {
        if (readable(watched[index], 0)) fail("an idle connection with heartbeats was lost");
    }
    send_pair(sockets[1], "h", "alive");
    expect_pair(sockets[0], "h", "alive");
}

/* XPUB sees that the door wants everything; XSUB subscribes with messages. */
static void extended(void) {
    void *xsub = connected(ZMQ_XSUB, door("RIGHT_DIR", "prices.sub"));
    send_frame(xsub, "\1eu.", 4, 0);
    void *xpub = connected(ZMQ_XPUB, door("LEFT_DIR", "prices.pub"));
    struct message message;
    receive(xpub, &message);
    if (message.count != 1 || !frame_is(&message, 0, "\1", 1)) fail("the door did not subscribe to everything");
    forget(&message);
    join_with(xpub, xsub, "eu.");
    send_frame(xsub, "\1end", 4, 0);
    join_with(xpub, xsub, "end");
    send_frame(xsub, "\0eu.", 4, 0);
    /* A message upwards is allowed in ZeroMQ and leads nowhere in a Channel. */
    send_frame(xsub, "upwards", 7, 0);
    send_pair(xpub, "eu.x", "late");
    send_pair(xpub, "end", "");
    do {
        next_message(xsub, &message);
        const int ended = frame_is(&message, 0, "end", 3);
        forget(&message);
        if (ended) return;
    } while (1);
}

/* Many sockets of one app: each gets everything once, in order. */
static void many_sockets(void) {
    enum { SUBS = 300, MESSAGES = 50 };
    static void *subs[SUBS];
    void *pub = connected(ZMQ_PUB, door("LEFT_DIR", "prices.pub"));
    for (int index = 0; index < SUBS; index++) {
        subs[index] = connected(ZMQ_SUB, door("RIGHT_DIR", "prices.sub"));
        subscribe(subs[index], "");
    }
    for (int index = 0; index < SUBS; index++) join_with(pub, subs[index], "m");
    for (int number = 0; number < MESSAGES; number++) send_number(pub, "m", number);
    for (int index = 0; index < SUBS; index++) {
        for (int number = 0; number < MESSAGES; number++) expect_number(subs[index], "m", number);
    }
}

/* A subscriber that does not read holds its publisher back, and nothing is lost. */
static void paused(void) {
    void *sub = new_socket(ZMQ_SUB), *pub = new_socket(ZMQ_PUB);
    set_int(sub, ZMQ_RCVHWM, 10);
    set_int(pub, ZMQ_SNDHWM, 100);
    set_int(pub, ZMQ_SNDTIMEO, 3000);
    if (zmq_connect(sub, door("RIGHT_DIR", "prices.sub")) != 0) fail("connect");
    if (zmq_connect(pub, door("LEFT_DIR", "prices.pub")) != 0) fail("connect");
    subscribe(sub, "");
    join_with(pub, sub, "p");
    static char part[1000];
    int sent = 0;
    for (;; sent++) {
        if (sent == 2000000) fail("nothing held the publisher back");
        char number[16];
        snprintf(number, sizeof number, "%d", sent);
        if (zmq_send(pub, number, strlen(number), ZMQ_SNDMORE) < 0) break;
        if (zmq_send(pub, part, sizeof part, 0) < 0) fail("half a message: %s", zmq_strerror(errno));
    }
    if (errno != EAGAIN) fail("send: %s", zmq_strerror(errno));
    for (int number = 0; number < sent; number++) {
        char text[16];
        snprintf(text, sizeof text, "%d", number);
        struct message message;
        next_message(sub, &message);
        if (!frame_is(&message, 0, text, strlen(text))) fail("of %d messages, number %d is missing", sent, number);
        forget(&message);
    }
    /* And it goes on. */
    send_pair(pub, "p", "on");
    expect_pair(sub, "p", "on");
}

/* Several publishers into one subscriber: in order for each of them. */
static void many_publishers(void) {
    enum { PUBS = 8, MESSAGES = 2000 };
    void *sub = connected(ZMQ_SUB, door("RIGHT_DIR", "prices.sub")), *pubs[PUBS];
    subscribe(sub, "");
    for (int index = 0; index < PUBS; index++) {
        pubs[index] = connected(ZMQ_PUB, door("LEFT_DIR", "prices.pub"));
        join_with(pubs[index], sub, "f");
    }
    int next[PUBS] = {0};
    for (int number = 0; number < MESSAGES; number++) {
        char subject[2] = "a";
        for (int index = 0; index < PUBS; index++) {
            subject[0] = (char)('a' + index);
            send_number(pubs[index], subject, number);
        }
        if (number % 100 != 99) continue;
        for (int count = 0; count < PUBS * 100; count++) {
            struct message message;
            next_message(sub, &message);
            const int index = *(char *)zmq_msg_data(&message.frames[0]) - 'a';
            char text[16];
            if (index < 0 || index >= PUBS) fail("a publisher that there is not");
            snprintf(text, sizeof text, "%d", next[index]++);
            if (!frame_is(&message, 1, text, strlen(text))) fail("publisher %d: %s is missing", index, text);
            forget(&message);
        }
    }
}

static void restart(const char *side) {
    char line[16];
    printf("restart %s\n", side);
    fflush(stdout);
    if (fgets(line, sizeof line, stdin) == NULL) fail("the sidecar was not started again");
}

/* Sockets find a sidecar that was killed and started again, with their subscriptions. */
static void restarts(void) {
    void *sub = connected(ZMQ_SUB, door("RIGHT_DIR", "prices.sub"));
    void *pub = connected(ZMQ_PUB, door("LEFT_DIR", "prices.pub"));
    subscribe(sub, "r");
    join_with(pub, sub, "r");
    static const char *const sides[] = {"right", "left"};
    for (int index = 0; index < 2; index++) {
        restart(sides[index]);
        join_with(pub, sub, "r");
        send_pair(pub, "other", "no");
        send_pair(pub, "r", sides[index]);
        expect_pair(sub, "r", sides[index]);
    }
}

static void *bound(int type, const char *endpoint) {
    void *socket = new_socket(type);
    /* The address of a socket that was just closed may not be free at once. */
    for (int attempt = 0; zmq_bind(socket, endpoint) != 0; attempt++) {
        if (errno != EADDRINUSE || attempt == 100) fail("bind %s: %s", endpoint, zmq_strerror(errno));
        usleep(50000);
    }
    return socket;
}

/* Sockets that bind: the sidecars connect, also after the app has started again. */
static void binds(void) {
    for (int round = 0; round < 2; round++) {
        void *sub = bound(ZMQ_SUB, variable("BOUND_SUB")), *pub = bound(ZMQ_PUB, variable("BOUND_PUB"));
        subscribe(sub, "b");
        join_with(pub, sub, "b");
        for (int number = 0; number < 500; number++) send_number(pub, "b", number);
        for (int number = 0; number < 500; number++) expect_number(sub, "b", number);
        zmq_close(sub);
        zmq_close(pub);
    }
}

/* A socket that does not belong there is told so by its own library. */
static void refusals(void) {
    static const struct {
        int type;
        const char *name;
    } wrong[] = {{ZMQ_PUSH, "prices.sub"}, {ZMQ_SUB, "prices.pub"}, {ZMQ_REQ, "prices.pub"}, {ZMQ_PUB, "closed.pub"}};
    const int failures = ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL | ZMQ_EVENT_DISCONNECTED;
    for (size_t index = 0; index < sizeof wrong / sizeof wrong[0]; index++) {
        void *socket = new_socket(wrong[index].type);
        void *watched = monitor(socket, failures | ZMQ_EVENT_HANDSHAKE_SUCCEEDED);
        if (zmq_connect(socket, door("LEFT_DIR", wrong[index].name)) != 0) fail("connect");
        if (!(event_of(watched) & failures)) fail("%s took the wrong socket", wrong[index].name);
    }
}

static const struct {
    const char *name;
    void (*play)(void);
} scenes[] = {
    {"multipart", multipart}, {"multipart_over_tcp", multipart_over_tcp}, {"prefixes", prefixes}, {"sizes", sizes},
    {"large", large}, {"heartbeats", heartbeats}, {"extended", extended}, {"many_sockets", many_sockets},
    {"paused", paused}, {"many_publishers", many_publishers}, {"restarts", restarts}, {"binds", binds},
    {"refusals", refusals},
};

int main(int count, char **arguments) {
    int major, minor, patch;
    zmq_version(&major, &minor, &patch);
    if (count == 2 && strcmp(arguments[1], "version") == 0) {
        printf("%d.%d.%d\n", major, minor, patch);
        return 0;
    }
    struct rlimit files = {4096, 4096};
    setrlimit(RLIMIT_NOFILE, &files);
    context = zmq_ctx_new();
    for (size_t index = 0; count == 2 && index < sizeof scenes / sizeof scenes[0]; index++) {
        if (strcmp(arguments[1], scenes[index].name) != 0) continue;
        scenes[index].play();
        fflush(stdout);
        _exit(0);
    }
    fail("usage: cases SCENE");
}
