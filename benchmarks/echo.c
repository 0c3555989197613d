/* echo: a blind echo in C on epoll: it returns all bytes unread. It prints its port as one line of JSON.
 *
 *   cc -O2 -o echo echo.c
 *
 * It shows what the machine and its kernel can do on one core in any language: one read and one write, and
 * nothing else.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static void die(const char *what) { perror(what); exit(1); }

/* Write all bytes; return 0, or -1 if the peer is gone. */
static int give_back(int fd, const char *from, ssize_t size) {
    while (size > 0) {
        ssize_t n = send(fd, from, size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN) return -1;
        if (n < 0) poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, -1);
        else from += n, size -= n;
    }
    return 0;
}

int main(void) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    int on = 1, listener = socket(AF_INET, SOCK_STREAM, 0), epoll = epoll_create1(0);
    if (bind(listener, (void *)&at, size) || listen(listener, 4096) || getsockname(listener, (void *)&at, &size))
        die("listen");
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[512];
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    printf("{\"port\": %d}\n", ntohs(at.sin_port));
    fflush(stdout);
    static char buffer[1 << 18];
    for (;;) {
        int ready = epoll_wait(epoll, events, 512, -1);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                if ((event.data.fd = accept(listener, 0, 0)) < 0) continue;
                setsockopt(event.data.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                epoll_ctl(epoll, EPOLL_CTL_ADD, event.data.fd, &event);
                continue;
            }
            ssize_t n = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
            if (n < 0 && errno == EAGAIN) continue;
            if (n <= 0 || give_back(fd, buffer, n)) close(fd);
        }
    }
}
