/* answer: a minimal server for antiphon ping: it greets, lets everybody in, and answers every message.
 *
 *   cc -O2 -o answer answer.c
 *   answer GREETING WELCOME
 *
 * It sends the file GREETING on each new connection and answers the first frame with the file WELCOME. It returns
 * every later MESSAGE with the flag LAST (0x02) and without the token, which makes it an answer. BYE ends the
 * connection; other frames are ignored. The token is not compared, and the text is not checked. The program prints
 * its port as one line of JSON.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define ROOM (1 << 20)
#define KIND 4
#define FLAGS 5
#define HEADER 12
#define TOKEN 16
#define MESSAGE 0x10
#define BYE 0x22
#define LAST 0x02

typedef struct { int fd, welcomed; long filled; char bytes[ROOM]; } connection;
typedef struct { char bytes[65536]; long size; } blob;

static void die(const char *what) { perror(what); exit(1); }

static void read_file(const char *path, blob *to) {
    FILE *f = fopen(path, "rb");
    if (!f) die(path);
    to->size = fread(to->bytes, 1, sizeof to->bytes, f);
    fclose(f);
}

/* Write all bytes; blocking is safe because the peer is on this machine and reads. */
static int put(int fd, const char *from, long size) {
    while (size) {
        long n = send(fd, from, size, MSG_NOSIGNAL);
        if (n < 0) return -1;
        from += n, size -= n;
    }
    return 0;
}

static int answer(connection *c, const blob *welcome) {
    static char out[ROOM];
    long n = recv(c->fd, c->bytes + c->filled, ROOM - c->filled, 0), at = 0, filled = 0;
    if (n <= 0) return -1;
    c->filled += n;
    while (c->filled - at >= 4) {
        uint32_t length;
        memcpy(&length, c->bytes + at, 4);
        long size = 4 + (long)ntohl(length);
        if (size < 12 || size > ROOM) return -1;
        if (c->filled - at < size) break;
        if (!c->welcomed) {
            c->welcomed = 1;
            if (put(c->fd, welcome->bytes, welcome->size)) return -1;
        } else if (c->bytes[at + KIND] == MESSAGE && size >= HEADER + TOKEN) {
            uint32_t left = htonl(size - 4 - TOKEN);
            memcpy(out + filled, c->bytes + at, HEADER);
            memcpy(out + filled, &left, 4);
            out[filled + FLAGS] |= LAST;
            memcpy(out + filled + HEADER, c->bytes + at + HEADER + TOKEN, size - HEADER - TOKEN);
            filled += size - TOKEN;
        }
        if (c->welcomed && c->bytes[at + KIND] == BYE) return -1;
        at += size;
    }
    if (put(c->fd, out, filled)) return -1;
    memmove(c->bytes, c->bytes + at, c->filled - at);
    c->filled -= at;
    return 0;
}

int main(int argc, char **argv) {
    static blob greeting, welcome;
    if (argc != 3) { fprintf(stderr, "echo GREETING WELCOME\n"); return 2; }
    read_file(argv[1], &greeting);
    read_file(argv[2], &welcome);
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof here;
    int on = 1, listener = socket(AF_INET, SOCK_STREAM, 0), epoll = epoll_create1(0);
    if (bind(listener, (void *)&here, size) || listen(listener, 1024)) die("listen");
    getsockname(listener, (void *)&here, &size);
    struct epoll_event e = {.events = EPOLLIN}, ready[256];
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &e);
    printf("{\"port\": %d}\n", ntohs(here.sin_port));
    fflush(stdout);
    for (;;) {
        int n = epoll_wait(epoll, ready, 256, -1);
        for (int i = 0; i < n; i++) {
            connection *c = ready[i].data.ptr;
            if (!c) {
                c = calloc(1, sizeof *c);
                c->fd = accept(listener, 0, 0);
                setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                e.data.ptr = c;
                epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &e);
                put(c->fd, greeting.bytes, greeting.size);
            } else if (answer(c, &welcome)) {
                close(c->fd);
                free(c);
            }
        }
    }
}
