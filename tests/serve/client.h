/* A client for tests of the server: sends bytes, reads an answer to its end. */
#ifndef REMLA_TESTS_SERVE_CLIENT_H
#define REMLA_TESTS_SERVE_CLIENT_H
#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* An answer; body has the chunks of a chunked one put together. */
typedef struct reply {
    int code; /* 0: the server closed the connection without one */
    char *head, *body;
} reply;

static int client_connect(int port)
{
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to)) {
        perror("connect");
        exit(1);
    }
    return fd;
}

static void client_send(int fd, const char *text)
{
    for (size_t sent = 0, bytes = strlen(text); sent < bytes;) {
        const ssize_t n = send(fd, text + sent, bytes - sent, MSG_NOSIGNAL);
        if (n <= 0) return; /* what the server thinks of it is in its answer */
        sent += (size_t)n;
    }
}

static void client_join_chunks(char *body)
{
    char *to = body;
    for (char *from = body; *from;) {
        char *end;
        const size_t bytes = strtoul(from, &end, 16);
        if (!bytes) break;
        memmove(to, end + 2, bytes);
        to += bytes;
        from = end + 2 + bytes + 2;
    }
    *to = 0;
}

/* Until the server closes the connection. */
static reply client_read(int fd)
{
    size_t bytes = 0, room = 1 << 20;
    char *text = malloc(room + 1);
    for (ssize_t n; (n = recv(fd, text + bytes, room - bytes, 0)) > 0;) {
        bytes += (size_t)n;
        if (bytes == room) text = realloc(text, (room *= 2) + 1);
    }
    close(fd);
    text[bytes] = 0;
    reply r = {.head = text, .body = strstr(text, "\r\n\r\n")};
    if (!r.body || sscanf(text, "HTTP/1.1 %d", &r.code) != 1) return (reply){0, text, text + bytes};
    r.body += 4;
    r.body[-2] = 0;
    if (strcasestr(r.head, "transfer-encoding: chunked")) client_join_chunks(r.body);
    return r;
}

static void reply_free(reply *r) { free(r->head); }

/* method and path, further headers (each with its line's end), body. */
static char *client_request(const char *what, const char *headers, const char *body)
{
    char *text = NULL;
    if (asprintf(&text,
                 "%s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%sContent-Length: %zu\r\n\r\n%s",
                 what, headers, strlen(body), body) < 0)
        exit(1);
    return text;
}

static reply client_ask(int port, const char *what, const char *headers, const char *body)
{
    const int fd = client_connect(port);
    char *text = client_request(what, headers, body);
    client_send(fd, text);
    free(text);
    return client_read(fd);
}

static reply client_post(int port, const char *path, const char *body)
{
    char what[100];
    snprintf(what, sizeof what, "POST %s", path);
    return client_ask(port, what, "Content-Type: application/json\r\n", body);
}

#endif
