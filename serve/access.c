/* Compares headers as texts; nothing is looked up. */
#include "serve/access.h"
#include <nettle/memops.h>
#include <string.h>
#include <strings.h>

/* The length of a Host without its port. [::1] has colons of its own. */
static size_t name_length(const char *host)
{
    const char *bracket = host[0] == '[' ? strchr(host, ']') : NULL;
    return bracket ? (size_t)(bracket + 1 - host) : strcspn(host, ":");
}

static bool is_name(const char *host, size_t length, const char *name)
{
    return strlen(name) == length && !strncasecmp(host, name, length);
}

static bool is_loopback(const char *host, size_t length)
{
    return is_name(host, length, "localhost") || is_name(host, length, "[::1]") ||
           is_name(host, length, "::1") ||
           (!strncmp(host, "127.", 4) && strspn(host, "0123456789.") == length);
}

bool access_is_loopback(const char *host) { return is_loopback(host, strlen(host)); }

static bool host_is_expected(const access_rules *rules, const char *host)
{
    if (!access_is_loopback(rules->host)) return true; /* it may be called anything */
    const size_t length = name_length(host);
    return is_loopback(host, length) || is_name(host, length, rules->host);
}

bool access_is_foreign(const access_headers *h)
{
    if (!h->origin) return false;
    const char *behind = strstr(h->origin, "://");
    return !h->host || !behind || strcasecmp(behind + 3, h->host);
}

static bool origin_is_expected(const access_rules *rules, const access_headers *h)
{
    if (!access_is_foreign(h)) return true;
    for (int i = 0; i < rules->num_origins; i++)
        if (!strcmp(rules->origins[i], "*") || !strcasecmp(rules->origins[i], h->origin)) return true;
    return false;
}

/* In the same time wherever the first difference is. */
static bool key_is_right(const char *key, const char *authorization)
{
    static const char scheme[] = "Bearer ";
    if (!authorization || strncasecmp(authorization, scheme, sizeof scheme - 1)) return false;
    const char *given = authorization + sizeof scheme - 1;
    return strlen(given) == strlen(key) && memeql_sec(given, key, strlen(key));
}

int access_check(const access_rules *rules, const access_headers *h, bool needs_key, message *why)
{
    if (h->host && !host_is_expected(rules, h->host)) {
        fail(why, ERR_INPUT, "Host is %.100s; this server answers to localhost only", h->host);
        return 403;
    }
    if (!origin_is_expected(rules, h)) {
        fail(why, ERR_INPUT, "pages of %.100s may not ask this server (serve.origins names those that may)",
             h->origin);
        return 403;
    }
    if (!needs_key || !rules->key || !rules->key[0] || key_is_right(rules->key, h->authorization)) return 0;
    fail(why, ERR_INPUT,
         h->authorization ? "the key is not this server's"
                          : "this server wants a key: Authorization: Bearer KEY");
    return 401;
}
