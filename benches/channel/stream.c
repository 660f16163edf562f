/* Connections over TCP and Unix sockets. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "load.h"

struct address {
    union {
        struct sockaddr any;
        struct sockaddr_in tcp;
        struct sockaddr_un local;
    };
    socklen_t length;
};

static struct address address_of(const char *endpoint) {
    struct address address = {.length = 0};
    char host[64];
    unsigned port;
    if (strncmp(endpoint, "ipc://", 6) == 0) {
        const char *path = endpoint + 6;
        if (strlen(path) >= sizeof address.local.sun_path) fail("the path is too long: %s", path);
        address.local.sun_family = AF_UNIX;
        strcpy(address.local.sun_path, path);
        address.length = sizeof address.local;
    } else if (sscanf(endpoint, "tcp://%63[^:]:%u", host, &port) == 2) {
        address.tcp.sin_family = AF_INET;
        address.tcp.sin_port = htons((uint16_t)port);
        if (inet_pton(AF_INET, host, &address.tcp.sin_addr) != 1) fail("%s is no address", endpoint);
        address.length = sizeof address.tcp;
    } else {
        fail("%s is no endpoint", endpoint);
    }
    return address;
}

static void settle(struct side *side, const struct address *address) {
    int yes = 1;
    struct timeval time = {PATIENCE_MS / 1000, 0};
    if (address->any.sa_family == AF_INET) {
        setsockopt(side->descriptor, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    }
    setsockopt(side->descriptor, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time);
}

/* Waits for the one that connects. */
void stream_listen(struct side *side, const char *endpoint) {
    struct address address = address_of(endpoint);
    int listener = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener, &address.any, address.length) != 0 || listen(listener, 1) != 0) fail("cannot bind %s", endpoint);
    struct timeval time = {PATIENCE_MS / 1000, 0};
    setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
    side->descriptor = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (side->descriptor < 0) fail("nobody connects to %s", endpoint);
    close(listener);
    settle(side, &address);
}

/* The other app may be about to listen. */
void stream_connect(struct side *side, const char *endpoint) {
    struct address address = address_of(endpoint);
    uint64_t end = now_ns() + (uint64_t)PATIENCE_MS * 1000000u;
    for (;;) {
        side->descriptor = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(side->descriptor, &address.any, address.length) == 0) break;
        if (now_ns() > end) fail("cannot connect to %s", endpoint);
        close(side->descriptor);
        rest_ms(WARM_PAUSE_MS);
    }
    settle(side, &address);
}

void stream_write(struct side *side, const void *bytes, size_t length) {
    const char *rest = bytes;
    while (length > 0) {
        ssize_t written = send(side->descriptor, rest, length, MSG_NOSIGNAL);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) fail("the other end takes no more");
        rest += written;
        length -= (size_t)written;
    }
}

int stream_read(struct side *side) {
    size_t have = side->end - side->begin;
    if (have == side->buffer_bytes) fail("a message that nobody sent: too long");
    if (side->begin > 0) memmove(side->buffer, side->buffer + side->begin, have);
    side->begin = 0;
    side->end = have;
    for (;;) {
        ssize_t count = recv(side->descriptor, side->buffer + have, side->buffer_bytes - have, 0);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return 0;
        if (count <= 0) fail("the other end closed the connection");
        side->end += (size_t)count;
        return 1;
    }
}

void read_timeout(struct side *side, int milliseconds) {
    if (side->wire == NULL) {
        libzmq_timeout(side, milliseconds);
        return;
    }
    struct timeval time = {milliseconds / 1000, milliseconds % 1000 * 1000};
    setsockopt(side->descriptor, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
}
