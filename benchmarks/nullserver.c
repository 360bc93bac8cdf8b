/* A server that answers like Ollama and does nothing: what is left is the cost of the client.
 *
 * It listens on an ephemeral port of 127.0.0.1, prints the port, and ends when its stdin is closed. Each
 * connection has a thread and is kept alive. Every answer is made once, at the start, and only sent
 * afterwards, so that the client is what limits a measurement.
 *
 *   POST /api/chat     "stream": true   a stream of as many tokens as options.num_predict says, and a last line
 *                      "stream": false  one whole reply
 *   POST /api/embed    512 vectors of 1024 numbers, about 6.3 MB of JSON, whatever was asked
 *   POST /api/blobs/*  the bytes are dropped as they come, and all of them, whatever they are
 *   HEAD /api/blobs/*  404: there is no blob yet
 *   GET  /api/version  {"version":"0.0.0"}
 *   GET  /api/tags     the models burst and model-00 to model-99
 *
 * The name of the model says how a stream is sent. Always one line per HTTP chunk, as Ollama does it:
 *
 *   "paced:150"  each chunk by a send() of its own, 150 microseconds after the one before
 *   "burst"      back to back in sends as large as the cached lines allow
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

enum { VECTORS = 512, DIMENSIONS = 1024, LINES = 1024, MODELS = 100, REQUEST_LIMIT = 1 << 20 };

typedef struct {
    char *bytes;
    size_t length, capacity;
} Buffer;

static Buffer lines, last_line, stream_head, chat_reply, embed_reply, version_reply, tags_reply;
static size_t line_start[LINES + 1]; /* where each HTTP chunk of `lines` starts */

static void fail(const char *what) {
    fprintf(stderr, "null server: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* ---- the answers, made once ---- */

static void append(Buffer *buffer, const char *bytes, size_t length) {
    while (buffer->length + length > buffer->capacity) {
        buffer->capacity = buffer->capacity ? 2 * buffer->capacity : 4096;
        buffer->bytes = realloc(buffer->bytes, buffer->capacity);
        if (buffer->bytes == NULL) fail("memory");
    }
    memcpy(buffer->bytes + buffer->length, bytes, length);
    buffer->length += length;
}

static void print(Buffer *buffer, const char *format, ...) {
    char text[2048];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (length < 0 || (size_t)length >= sizeof text) fail("a text is too long");
    append(buffer, text, (size_t)length);
}

static void append_chunk(Buffer *buffer, const Buffer *content) {
    print(buffer, "%zx\r\n", content->length);
    append(buffer, content->bytes, content->length);
    append(buffer, "\r\n", 2);
}

static void make_stream(void) {
    static const char *const words[] = {" the",    " light", " of",   " a",     " molecule", " is",   ",",     " scattered",
                                        " in",     " all",   " blue", " waves", ".",         " When", " sun",  " reaches"};
    print(&stream_head,
          "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n"
          "Date: Tue, 24 Nov 2026 12:00:00 GMT\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int index = 0; index < LINES; index++) {
        Buffer line = {0};
        print(&line,
              "{\"model\":\"llama3.2:1b\",\"created_at\":\"2026-11-24T12:00:00.%09dZ\","
              "\"message\":{\"role\":\"assistant\",\"content\":\"%s\"},\"done\":false}\n",
              100000000 + index * 7919, words[index % 16]);
        line_start[index] = lines.length;
        append_chunk(&lines, &line);
        free(line.bytes);
    }
    line_start[LINES] = lines.length;

    Buffer line = {0};
    print(&line,
          "{\"model\":\"llama3.2:1b\",\"created_at\":\"2026-11-24T12:00:01.123456789Z\","
          "\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":true,\"done_reason\":\"stop\","
          "\"total_duration\":1403437119,\"load_duration\":549876240,\"prompt_eval_count\":29,"
          "\"prompt_eval_duration\":135356000,\"eval_count\":75,\"eval_duration\":714335000}\n");
    append_chunk(&last_line, &line);
    free(line.bytes);
}

static void make_sized_reply(Buffer *reply, const char *body) {
    print(reply,
          "HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\n"
          "Date: Tue, 24 Nov 2026 12:00:00 GMT\r\nContent-Length: %zu\r\n\r\n",
          strlen(body));
    append(reply, body, strlen(body));
}

static void make_embed_reply(void) {
    Buffer body = {0};
    uint32_t state = 2463534242u; /* xorshift: the same numbers at every start */
    print(&body, "{\"model\":\"nomic-embed-text\",\"embeddings\":[");
    for (int vector = 0; vector < VECTORS; vector++) {
        print(&body, vector ? ",[" : "[");
        for (int index = 0; index < DIMENSIONS; index++) {
            state ^= state << 13, state ^= state >> 17, state ^= state << 5;
            print(&body, index ? ",%.9f" : "%.9f", ((double)state / UINT32_MAX - 0.5) * 0.2);
        }
        print(&body, "]");
    }
    print(&body, "],\"total_duration\":28779703,\"load_duration\":839634,\"prompt_eval_count\":4096}");
    print(&embed_reply,
          "HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\n"
          "Date: Tue, 24 Nov 2026 12:00:00 GMT\r\nTransfer-Encoding: chunked\r\n\r\n");
    append_chunk(&embed_reply, &body); /* Go knows no length for a body of this size: it sends one large chunk */
    append(&embed_reply, "0\r\n\r\n", 5);
    free(body.bytes);
}

static void make_tags_reply(void) {
    Buffer body = {0};
    for (int model = -1; model < MODELS; model++) {
        char name[32] = "burst:latest";
        if (model >= 0) snprintf(name, sizeof name, "model-%02d:latest", model);
        print(&body,
              "%s{\"name\":\"%s\",\"model\":\"%s\",\"modified_at\":\"2026-11-24T12:00:00Z\",\"size\":1000000,"
              "\"digest\":\"%064d\",\"details\":{\"parent_model\":\"\",\"format\":\"gguf\",\"family\":\"llama\","
              "\"families\":[\"llama\"],\"parameter_size\":\"1M\",\"quantization_level\":\"F16\"}}",
              model < 0 ? "{\"models\":[" : ",", name, name, model + 1);
    }
    print(&body, "]}");
    append(&body, "", 1); /* a text from here on */
    make_sized_reply(&tags_reply, body.bytes);
    free(body.bytes);
}

/* ---- connections ---- */

static int send_all(int connection, const char *bytes, size_t length) {
    while (length > 0) {
        ssize_t sent = send(connection, bytes, length, 0);
        if (sent < 0 && errno == EINTR) continue;
        if (sent <= 0) return -1;
        bytes += sent;
        length -= (size_t)sent;
    }
    return 0;
}

static int send_buffer(int connection, const Buffer *buffer) {
    return send_all(connection, buffer->bytes, buffer->length);
}

static void pause_for(long microseconds) {
    struct timespec left = {microseconds / 1000000, microseconds % 1000000 * 1000};
    while (nanosleep(&left, &left) < 0 && errno == EINTR) continue;
}

/* Sends `tokens` lines, one by one where `pace` (microseconds) is positive. */
static int send_stream(int connection, long tokens, long pace) {
    if (send_buffer(connection, &stream_head) < 0) return -1;
    for (long sent = 0; sent < tokens;) {
        long first = sent % LINES, count = pace > 0 ? 1 : LINES - first;
        if (count > tokens - sent) count = tokens - sent;
        if (pace > 0) pause_for(pace);
        if (send_all(connection, lines.bytes + line_start[first], line_start[first + count] - line_start[first]) < 0)
            return -1;
        sent += count;
    }
    if (pace > 0) pause_for(pace);
    if (send_buffer(connection, &last_line) < 0) return -1;
    return send_all(connection, "0\r\n\r\n", 5); /* by itself, as Go does when the handler has returned */
}

/* Returns what follows `"name":` in a JSON text, or NULL. Enough for the requests of the benchmarked clients. */
static const char *value_of(const char *json, const char *name) {
    char key[64];
    snprintf(key, sizeof key, "\"%s\"", name);
    const char *place = strstr(json, key);
    if (place == NULL) return NULL;
    place += strlen(key);
    place += strspn(place, " :");
    return place;
}

static int starts_with(const char *text, const char *start) {
    return text != NULL && strncmp(text, start, strlen(start)) == 0;
}

static int refuse(int connection, const char *status, const char *message) {
    char text[512];
    snprintf(text, sizeof text,
             "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n{\"error\":\"%s\"}", status,
             strlen(message) + 12, message);
    return send_all(connection, text, strlen(text));
}

static int answer_chat(int connection, const char *body) {
    if (starts_with(value_of(body, "stream"), "false")) return send_buffer(connection, &chat_reply);
    const char *model = value_of(body, "model"), *tokens = value_of(body, "num_predict");
    if (tokens == NULL) return refuse(connection, "400 Bad Request", "options.num_predict says how many tokens");
    if (starts_with(model, "\"paced:")) return send_stream(connection, atol(tokens), atol(model + 7));
    if (starts_with(model, "\"burst\"")) return send_stream(connection, atol(tokens), 0);
    return refuse(connection, "404 Not Found", "the models are burst and paced:MICROSECONDS");
}

static int answer(int connection, const char *head, const char *body) {
    if (starts_with(head, "HEAD /api/blobs/"))
        return send_all(connection, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", 45);
    if (starts_with(head, "POST /api/chat ")) return answer_chat(connection, body);
    if (starts_with(head, "POST /api/embed ")) return send_buffer(connection, &embed_reply);
    if (starts_with(head, "GET /api/version ")) return send_buffer(connection, &version_reply);
    if (starts_with(head, "GET /api/tags ")) return send_buffer(connection, &tags_reply);
    return refuse(connection, "404 Not Found", "no such route in the null server");
}

/* Returns the length of the body that a request's head announces, or -1 if the head does not say. */
static long body_length(const char *head) {
    for (const char *line = strstr(head, "\r\n"); line != NULL; line = strstr(line, "\r\n")) {
        line += 2;
        if (strncasecmp(line, "transfer-encoding:", 18) == 0) return -1;
        if (strncasecmp(line, "content-length:", 15) == 0) return atol(line + 15);
    }
    return 0;
}

/* Reads until the text in `buffer` is at least `wanted` bytes long; the text stays terminated by a 0. */
static int receive_until(int connection, char *buffer, size_t *length, size_t wanted) {
    while (*length < wanted) {
        ssize_t received = recv(connection, buffer + *length, REQUEST_LIMIT - *length, 0);
        if (received < 0 && errno == EINTR) continue;
        if (received <= 0) return -1;
        *length += (size_t)received;
        buffer[*length] = 0;
    }
    return 0;
}

/* Drops what is left of an upload, and says that it is stored. */
static int take_blob(int connection, char *buffer, size_t left) {
    while (left > 0) {
        ssize_t received = recv(connection, buffer, left < REQUEST_LIMIT ? left : REQUEST_LIMIT, 0);
        if (received < 0 && errno == EINTR) continue;
        if (received <= 0) return -1;
        left -= (size_t)received;
    }
    return send_all(connection, "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n", 43);
}

static void serve(int connection, char *buffer) {
    size_t length = 0;
    buffer[0] = 0;
    for (;;) {
        char *end;
        while ((end = strstr(buffer, "\r\n\r\n")) == NULL) {
            if (length == REQUEST_LIMIT || receive_until(connection, buffer, &length, length + 1) < 0) return;
        }
        *end = 0;
        size_t head = (size_t)(end - buffer) + 4;
        long body = body_length(buffer);
        if (starts_with(buffer, "POST /api/blobs/") && body >= (long)(length - head)) {
            if (take_blob(connection, buffer, (size_t)body - (length - head)) < 0) return;
            length = 0;
            buffer[0] = 0;
            continue;
        }
        if (body < 0 || body > (long)(REQUEST_LIMIT - head)) {
            refuse(connection, "411 Length Required", "send a Content-Length of at most 1 MiB");
            return;
        }
        size_t total = head + (size_t)body;
        if (receive_until(connection, buffer, &length, total) < 0) return;
        char next = buffer[total];
        buffer[total] = 0; /* the body as a text of its own */
        if (answer(connection, buffer, buffer + head) < 0) return;
        buffer[total] = next;
        length -= total;
        memmove(buffer, buffer + total, length + 1);
    }
}

static void *serve_and_close(void *argument) {
    int connection = (int)(intptr_t)argument, yes = 1;
    char *buffer = malloc(REQUEST_LIMIT + 1);
    if (buffer == NULL) fail("memory");
#ifdef __linux__
    prctl(PR_SET_TIMERSLACK, 1000UL); /* 50 us otherwise: too coarse for a pace of 150 us */
#endif
    setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    serve(connection, buffer);
    close(connection);
    free(buffer);
    return NULL;
}

static void *accept_connections(void *argument) {
    int listener = (int)(intptr_t)argument;
    for (;;) {
        int connection = accept(listener, NULL, NULL);
        if (connection < 0) {
            if (errno == EINTR || errno == ECONNABORTED) continue;
            fail("accept");
        }
        pthread_t thread;
        if (pthread_create(&thread, NULL, serve_and_close, (void *)(intptr_t)connection) != 0) fail("thread");
        pthread_detach(thread);
    }
    return NULL;
}

int main(void) {
    signal(SIGPIPE, SIG_IGN); /* a client that left shows in the result of send() */
    make_stream();
    make_embed_reply();
    make_tags_reply();
    make_sized_reply(&version_reply, "{\"version\":\"0.0.0\"}");
    make_sized_reply(&chat_reply,
                     "{\"model\":\"llama3.2:1b\",\"created_at\":\"2026-11-24T12:00:01.123456789Z\","
                     "\"message\":{\"role\":\"assistant\",\"content\":\"Air scatters short waves the most, so that blue "
                     "light comes from every side.\"},\"done\":true,\"done_reason\":\"stop\","
                     "\"total_duration\":700715822,\"load_duration\":1307835,\"prompt_eval_count\":29,"
                     "\"prompt_eval_duration\":12959000,\"eval_count\":17,\"eval_duration\":680805000}");

    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, size) < 0 || listen(listener, 128) < 0 ||
        getsockname(listener, (struct sockaddr *)&address, &size) < 0)
        fail("listen");
    pthread_t thread;
    if (pthread_create(&thread, NULL, accept_connections, (void *)(intptr_t)listener) != 0) fail("thread");
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    char ignored[256];
    while (read(STDIN_FILENO, ignored, sizeof ignored) > 0) continue;
    return 0;
}
