/* What the parts of the load generator share; `main.c` says what it is for. */
#ifndef LOAD_H
#define LOAD_H

#include <stddef.h>
#include <stdint.h>

enum {
    HEAD_BYTES = 16,                      /* kind, publisher, number; time */
    TEXT_HEAD_BYTES = 2 * HEAD_BYTES,     /* the same as hexadecimal digits, where messages are text */
    SUBJECT_BYTES_MAX = 65535,            /* a PUB message that is longer has an empty first frame */
    BATCH_BYTES = 64 * 1024,              /* of clients that batch: what one write holds at most */
    PATIENCE_MS = 20 * 1000,              /* without any message */
    ANSWER_MS = 5 * 1000,
    WARM_PAUSE_MS = 10,
    PUBLISHERS_MAX = 256,
};

/* What a message is for. */
enum { WARM = 'w', MESSAGE = 'm', END = 'e' };

struct options {
    const char *role, *client, *out, *in, *folder, *beside, *pattern;
    uint64_t count, bytes, publishers, subscribers, index, copies, pace, seconds, life;
};

/* The beginning of every message. */
struct head {
    int kind;
    uint64_t publisher, number, time_ns;
};

struct side;

/* How messages travel in a stream of bytes. */
struct wire {
    const char *name;
    int is_text;
    /* Says hello on a new connection, and asks for messages where this side receives. */
    void (*greet)(struct side *side);
    /* Write what stands before and behind each message; give how long it is. */
    size_t (*before)(const struct side *side, unsigned char *into);
    size_t (*behind)(const struct side *side, unsigned char *into);
    /* Looks at what came: how much it takes of it, and the message if there was one; 0 = more must come. */
    size_t (*take)(struct side *side, const unsigned char *bytes, size_t have, const unsigned char **message);
    /* Where the other end answers each message; NULL = plain writes. */
    void (*write)(struct side *side, const unsigned char *bytes, size_t length);
};

extern const struct wire zmtp_wire, nats_wire, http_wire, floor_wire;

/* One direction of one app: a libzmq socket, or a stream with its wire. */
struct side {
    const struct wire *wire;
    int sends, descriptor;
    const char *pattern;
    char name[256];                       /* of the Channel or the subject */
    size_t bytes;                         /* of a message */
    uint64_t publisher;
    void *context, *socket;               /* libzmq */
    unsigned char *message;               /* libzmq: the one that is sent or was received */
    unsigned char *batch;                 /* of a wire: frames that are filled but for their heads */
    size_t frame_bytes, before_bytes, frames, frames_max;
    unsigned char *buffer;                /* of a wire: what came */
    size_t buffer_bytes, begin, end;
    uint64_t answers_due;
};

/* main.c */
_Noreturn void fail(const char *text, ...) __attribute__((format(printf, 1, 2)));
uint64_t now_ns(void);
void rest_ms(long pause_ms);
void mark(const struct options *options, const char *name, uint64_t index);
int is_marked(const struct options *options, const char *name);

/* side.c */
struct side open_side(const struct options *options, int sends);
void close_side(struct side *side);
void read_timeout(struct side *side, int milliseconds);
/* Sends a message, or keeps it until the batch is full or flushed. */
void offer(struct side *side, int kind, uint64_t number, uint64_t time_ns);
void flush(struct side *side);
void send_now(struct side *side, int kind, uint64_t number);
/* The next message; 0 when the time is over. */
int next(struct side *side, struct head *head);
void put_head(const struct side *side, unsigned char *message, struct head head);
struct head head_of(const struct side *side, const unsigned char *message);

/* libzmq.c */
void libzmq_open(struct side *side, const char *endpoint, int binds);
void libzmq_close(struct side *side);
void libzmq_timeout(struct side *side, int milliseconds);
void libzmq_send(struct side *side, const struct head *head);
int libzmq_next(struct side *side, struct head *head);
void print_libzmq_version(void);

/* stream.c */
void stream_listen(struct side *side, const char *endpoint);
void stream_connect(struct side *side, const char *endpoint);
void stream_write(struct side *side, const void *bytes, size_t length);
/* Reads at least a byte; 0 when the time is over. */
int stream_read(struct side *side);

/* cost.c */
struct cost {
    double own, beside;
    uint64_t wakeups;
};
struct cost cost_now(const struct options *options);
void print_cost(const struct options *options, struct cost since);
void print_memory(const struct options *options);

/* times.c */
struct times {
    uint64_t *values;
    size_t count, room;
};
struct times times_for(uint64_t count);
void keep_time(struct times *times, uint64_t nanoseconds);
void print_times(struct times *times);

/* flow.c and trip.c */
void publish(const struct options *options);
void subscribe(const struct options *options);
void ping(const struct options *options);
void pong(const struct options *options);
void idle(const struct options *options);

#endif
