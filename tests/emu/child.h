// Tests of what ends a program, or of what the environment decides: each runs in a process of its own.
#ifndef REMLA_TESTS_EMU_CHILD_H
#define REMLA_TESTS_EMU_CHILD_H
#include <csetjmp>
#include <csignal>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
extern "C" {
#include <cmocka.h>
}

// Fails the test, in a child as in its parent.
#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: %s is not so\n", __FILE__, __LINE__, #condition);                        \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)
#define CUDA(call) CHECK((call) == cudaSuccess)

struct variable {
    const char *name, *value;
};

// How signals were handled before cmocka wanted them.
enum { SIGNALS = 5 };
static const int caught[SIGNALS] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};
static struct sigaction handled[SIGNALS];
static const bool known = [] {
    for (int i = 0; i < SIGNALS; i++) sigaction(caught[i], nullptr, &handled[i]);
    return true;
}();

// What `run` says on standard error; *status as of waitpid.
template <class Run> std::string child(int *status, std::initializer_list<variable> environment, Run run)
{
    int ends[2];
    if (pipe(ends) != 0) fail_msg("no pipe");
    fflush(nullptr);
    const pid_t process = fork();
    if (process == 0) {
        for (int i = 0; known && i < SIGNALS; i++) sigaction(caught[i], &handled[i], nullptr);
        for (const variable &v : environment) setenv(v.name, v.value, 1);
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        run();
        exit(0);
    }
    close(ends[1]);
    std::string text;
    char piece[1024];
    for (ssize_t n; (n = read(ends[0], piece, sizeof piece)) > 0;) text.append(piece, (size_t)n);
    close(ends[0]);
    waitpid(process, status, 0);
    return text;
}

template <class Run> void passes(std::initializer_list<variable> environment, Run run)
{
    int status;
    const std::string text = child(&status, environment, run);
    if (status != 0) fail_msg("status 0x%x: %s", status, text.c_str());
}
template <class Run> void passes(Run run) { passes({}, run); }

// It ends with an error, and all of `expected` is in what it says.
template <class Run>
void stops(std::initializer_list<const char *> expected, std::initializer_list<variable> environment, Run run)
{
    int status;
    const std::string text = child(&status, environment, run);
    if (status == 0) fail_msg("not stopped: %s", text.c_str());
    for (const char *part : expected)
        if (text.find(part) == std::string::npos) fail_msg("'%s' is not in: %s", part, text.c_str());
}
template <class Run> void stops(std::initializer_list<const char *> expected, Run run)
{
    stops(expected, {}, run);
}

#endif
