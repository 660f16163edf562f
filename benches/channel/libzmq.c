/* libzmq as its users have it: a message a call, defaults but for ZMQ_XPUB_NODROP. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

/* What we use of zmq.h: the wheel that brings the library has no headers. */
enum { ZMQ_PUB = 1, ZMQ_SUB = 2, ZMQ_REQ = 3, ZMQ_REP = 4, ZMQ_PULL = 7, ZMQ_PUSH = 8 };
enum { ZMQ_SUBSCRIBE = 6, ZMQ_LINGER = 17, ZMQ_RCVTIMEO = 27, ZMQ_SNDTIMEO = 28, ZMQ_XPUB_NODROP = 69 };
enum { ZMQ_SNDMORE = 2 };
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

void print_libzmq_version(void) {
    int major, minor, patch;
    zmq_version(&major, &minor, &patch);
    printf("%d.%d.%d\n", major, minor, patch);
}

static int is_pattern(const struct side *side, const char *pattern) {
    return strcmp(side->pattern, pattern) == 0;
}

static int type_of(const struct side *side) {
    if (is_pattern(side, "pipeline")) return side->sends ? ZMQ_PUSH : ZMQ_PULL;
    if (is_pattern(side, "request")) return side->sends ? ZMQ_REQ : ZMQ_REP;
    return side->sends ? ZMQ_PUB : ZMQ_SUB;
}

/* The first frame of a PUB message is its subject, which has a limit: a long message comes behind an empty one. */
static int has_subject_frame(const struct side *side) {
    return is_pattern(side, "pubsub") && side->bytes > SUBJECT_BYTES_MAX;
}

void libzmq_open(struct side *side, const char *endpoint, int binds) {
    int patience = PATIENCE_MS, none = 0, yes = 1, type = type_of(side), refused = 0;
    side->message = malloc(side->bytes);
    if (side->message == NULL) fail("no memory for a message");
    memset(side->message, 'x', side->bytes);
    side->context = zmq_ctx_new();
    side->socket = zmq_socket(side->context, type);
    zmq_setsockopt(side->socket, ZMQ_SNDTIMEO, &patience, sizeof patience);
    zmq_setsockopt(side->socket, ZMQ_LINGER, &none, sizeof none);
    libzmq_timeout(side, PATIENCE_MS);
    if (type == ZMQ_PUB) refused = zmq_setsockopt(side->socket, ZMQ_XPUB_NODROP, &yes, sizeof yes);
    if (type == ZMQ_SUB) refused = zmq_setsockopt(side->socket, ZMQ_SUBSCRIBE, "", 0);
    if (refused != 0) fail("libzmq refuses an option");
    int (*open)(void *, const char *) = binds ? zmq_bind : zmq_connect;
    if (open(side->socket, endpoint) != 0) fail("libzmq cannot open %s", endpoint);
}

void libzmq_close(struct side *side) {
    zmq_close(side->socket);
    zmq_ctx_term(side->context);
    free(side->message);
}

void libzmq_timeout(struct side *side, int milliseconds) {
    zmq_setsockopt(side->socket, ZMQ_RCVTIMEO, &milliseconds, sizeof milliseconds);
}

void libzmq_send(struct side *side, const struct head *head) {
    put_head(side, side->message, *head);
    if (has_subject_frame(side) && zmq_send(side->socket, "", 0, ZMQ_SNDMORE) != 0) fail("zmq_send failed");
    if (zmq_send(side->socket, side->message, side->bytes, 0) != (int)side->bytes) fail("zmq_send failed");
}

int libzmq_next(struct side *side, struct head *head) {
    int length = zmq_recv(side->socket, side->message, side->bytes, 0);
    if (length == 0 && has_subject_frame(side)) length = zmq_recv(side->socket, side->message, side->bytes, 0);
    if (length < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
    if (length != (int)side->bytes) fail("a message of another size: %d", length);
    *head = head_of(side, side->message);
    return 1;
}
