/* Starts ranks over MPI and stops them. Between that, only the thread of comm_mpi_thread.c makes MPI calls,
 * but for MPI_Abort, which any thread may need. */
#include "base/comm_mpi.h"
#include "base/memory.h"
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { NAME = 64 };
static char (*hosts)[NAME]; /* (size) */

const char *comm_mpi_host(int r) { return hosts[r]; }

static const char *host_of(const comm *c, int r)
{
    (void)c;
    return comm_mpi_host(r);
}

/* ---- the end of a job that fails ---------------------------------------------------------------------- */

enum { PATIENCE = 10 }; /* seconds */

static volatile sig_atomic_t last_code;
static int launcher_handle = -1;

static void leave_alone(int number)
{
    (void)number;
    _exit(last_code);
}

static void on_alarm(void (*handler)(int), unsigned seconds)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
    sigset_t alarms;
    sigaction(SIGALRM, &action, NULL);
    sigemptyset(&alarms);
    sigaddset(&alarms, SIGALRM);
    pthread_sigmask(SIG_UNBLOCK, &alarms, NULL);
    alarm(seconds);
}

/* mpirun and its daemons wait, until TCP gives up after a quarter of an hour, for a host that is cut off. A
 * process that outlives this rank ends the one that is here. It holds no file, or mpirun would take it for
 * the rank. */
static void end_launcher_later(void)
{
    if (launcher_handle < 0 || _Fork() != 0) return;
    setsid();
    const int launcher = fcntl(launcher_handle, F_DUPFD, 3);
    for (int fd = 0; fd < 3; fd++) close(fd);
    close_range(3, (unsigned)launcher - 1, 0);
    close_range((unsigned)launcher + 1, ~0U, 0);
    struct pollfd end = {.fd = launcher, .events = POLLIN};
    if (poll(&end, 1, 1000 * PATIENCE) == 0) pidfd_send_signal(launcher, SIGTERM, NULL, 0);
    if (poll(&end, 1, 1000 * PATIENCE) == 0) pidfd_send_signal(launcher, SIGKILL, NULL, 0);
    _exit(0);
}

/* MPI_Abort talks to the launcher, which may be out of reach. */
static void abort_job(int code)
{
    last_code = code;
    on_alarm(leave_alone, PATIENCE);
    end_launcher_later();
    MPI_Abort(MPI_COMM_WORLD, code);
}

static void stop(void)
{
    if (hosts) {
        comm_mpi_thread_stop();
        comm_mpi_heartbeat_stop();
        comm_mpi_exchange_stop();
        free(hosts);
        hosts = NULL;
    }
    MPI_OK(MPI_Finalize());
}

/* Reads from the environment how many processes the launcher started (0: unknown): Open MPI's mpirun, the PMI
 * of Slurm or of another MPI, Slurm without PMI. Returns the variable that tells, NULL without a launcher. */
static const char *launched(long *processes)
{
    static const char *const counts[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"};
    for (int i = 0; i < 3; i++) {
        const char *text = getenv(counts[i]);
        *processes = text ? strtol(text, NULL, 10) : 0;
        if (*processes > 1 || (text && i < 2))
            return counts[i]; /* a shell inside Slurm is a step of one task */
    }
    return getenv("PMI_RANK") ? "PMI_RANK" : getenv("PMIX_RANK") ? "PMIX_RANK" : NULL;
}

static pid_t launcher;

/* The kernel also sends the signal when only the thread that forked this process ends; then the parent is the
 * same as before, and nothing is to be done. */
static void launcher_ended(int number)
{
    (void)number;
    if (getppid() != launcher) _exit(128 + SIGKILL);
}

/* The parent may also be a script of the user, where the variables of a launcher are left over from
 * somewhere. */
static bool is_open_mpi(pid_t process)
{
    static const char *const names[] = {"mpirun", "mpiexec", "orterun", "orted", "prterun", "prted"};
    char path[40], name[20] = "";
    snprintf(path, sizeof path, "/proc/%d/comm", (int)process);
    FILE *const file = fopen(path, "re");
    if (!file) return false;
    const bool known = fgets(name, sizeof name, file);
    fclose(file);
    for (size_t i = 0; known && i < sizeof names / sizeof *names; i++)
        if (!strncmp(name, names[i], strlen(names[i]))) return true; /* also mpirun.openmpi */
    return false;
}

static void end_with_launcher(void)
{
    launcher = getppid();
    if (is_open_mpi(launcher)) launcher_handle = pidfd_open(launcher, 0);
    struct sigaction action = {.sa_handler = launcher_ended, .sa_flags = SA_RESTART | SA_ONSTACK};
    sigemptyset(&action.sa_mask);
    sigaction(SIGRTMIN, &action, NULL);
    prctl(PR_SET_PDEATHSIG, SIGRTMIN);
    launcher_ended(0); /* the launcher may have ended before prctl was called */
}

static void name_host(char *host)
{
    char name[MPI_MAX_PROCESSOR_NAME];
    int length;
    MPI_OK(MPI_Get_processor_name(name, &length));
    snprintf(host, NAME, "%.*s", length < NAME ? length : NAME - 1, name);
}

/* Only words that may be written in a handler. */
static void not_started(int number)
{
    static const char words[] =
        "remla: MPI has not started in time (REMLA_START_TIMEOUT): a rank is missing, or "
        "hosts cannot reach each other\n";
    (void)number;
    const ssize_t lost = write(STDERR_FILENO, words, sizeof words - 1);
    (void)lost;
    _exit(ERR_DEVICE);
}

/* MPI itself waits for the last rank forever. */
static void start_in_time(void)
{
    const char *const text = getenv("REMLA_START_TIMEOUT");
    const long seconds = text ? strtol(text, NULL, 10) : 600;
    on_alarm(not_started, seconds > 0 && seconds < 1000000 ? (unsigned)seconds : 0);
}

static char library[MPI_MAX_LIBRARY_VERSION_STRING];

/* Open MPI's text goes on with how it was built. */
static void name_library(void)
{
    int length;
    MPI_OK(MPI_Get_library_version(library, &length));
    library[strcspn(library, ",\n")] = 0;
}

const char *comm_library(void) { return library; }

const comm *comm_mpi_start(void)
{
    static const struct comm_calls calls = {.broadcast = comm_mpi_broadcast,
                                            .max_i64 = comm_mpi_max_i64,
                                            .sum_f64 = comm_mpi_sum_f64,
                                            .all_gather = comm_mpi_all_gather,
                                            .reduce_scatter = comm_mpi_reduce_scatter,
                                            .ticket = comm_mpi_ticket,
                                            .wait = comm_mpi_done,
                                            .limit = comm_mpi_limit,
                                            .bytes_sent = comm_mpi_bytes_sent,
                                            .seconds_waited = comm_mpi_seconds_waited,
                                            .host = host_of,
                                            .stop = stop},
                                   alone = {.stop = stop};
    static comm world;
    long processes = 0;
    const char *variable = launched(&processes);
    if (!variable) return NULL;
    world.mpirun = !strcmp(variable, "OMPI_COMM_WORLD_SIZE");
    if (world.mpirun) end_with_launcher();
    int provided;
    MPI_Comm together;
    char host[NAME] = "";
    start_in_time();
    MPI_OK(MPI_Init_thread(NULL, NULL, MPI_THREAD_MULTIPLE, &provided));
    name_library();
    MPI_OK(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
    MPI_OK(MPI_Comm_rank(MPI_COMM_WORLD, &world.rank));
    MPI_OK(MPI_Comm_size(MPI_COMM_WORLD, &world.size));
    name_host(host);
    die_hook(world.rank, host, abort_job);
    /* Calls come from one thread at a time, but for MPI_Abort. */
    if (provided < MPI_THREAD_SERIALIZED)
        die(ERR_DEVICE, "this MPI library cannot be used by a program with threads");
    /* Otherwise each process would believe to be alone and do the whole job. */
    if (processes && processes != world.size)
        die(ERR_DEVICE,
            "%s says %ld processes, but MPI found %d: use the mpirun of this program's MPI library, or srun "
            "with its --mpi=pmix",
            variable, processes, world.size);
    MPI_OK(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, world.rank, MPI_INFO_NULL, &together));
    MPI_OK(MPI_Comm_rank(together, &world.local_rank));
    MPI_OK(MPI_Comm_size(together, &world.local_size));
    MPI_OK(MPI_Comm_free(&together));
    world.calls = world.size > 1 ? &calls : &alone;
    if (world.size > 1) {
        hosts = memory_new(world.size, sizeof *hosts, "the hosts of %d ranks", world.size);
        MPI_OK(MPI_Allgather(host, NAME, MPI_CHAR, hosts, NAME, MPI_CHAR, MPI_COMM_WORLD));
        comm_mpi_exchange_start(&world);
        comm_mpi_heartbeat_start(&world);
        comm_mpi_thread_start(&world);
    }
    alarm(0);
    return &world;
}
