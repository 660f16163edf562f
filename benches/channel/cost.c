/* What this app costs, and what stands beside it: the sidecar that `pinnace run` has started as it has started us, or
 * the processes that we were told. */
#define _GNU_SOURCE
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "load.h"

struct usage {
    double seconds, resident_kibibytes, anonymous_kibibytes, peak_kibibytes;
    uint64_t wakeups;
};

static size_t read_file(const char *path, char *text, size_t room) {
    text[0] = 0;
    FILE *file = fopen(path, "r");
    if (file == NULL) return 0;
    size_t length = fread(text, 1, room - 1, file);
    fclose(file);
    text[length] = 0;
    return length;
}

static double status_value(const char *status, const char *name) {
    const char *line = strstr(status, name);
    return line == NULL ? 0.0 : strtod(line + strlen(name), NULL);
}

static int is_sidecar_of_ours(long process, const char *rest) {
    long parent = 0;
    if (sscanf(rest, "%*c %ld", &parent) != 1 || parent != getppid()) return 0;
    char path[300], line[4096];
    snprintf(path, sizeof path, "/proc/%ld/cmdline", process);
    size_t length = read_file(path, line, sizeof line), second = strlen(line) + 1;
    const char *name = strrchr(line, '/');
    if (strcmp(name == NULL ? line : name + 1, "pinnace-sidecar") == 0) return 1;
    return length > second && strcmp(line + second, "sidecar") == 0;
}

/* Switches that the process asked for itself: each is a sleep that ended. */
static uint64_t wakeups_of(long process) {
    char path[300], status[4096];
    uint64_t wakeups = 0;
    snprintf(path, sizeof path, "/proc/%ld/task", process);
    DIR *tasks = opendir(path);
    struct dirent *entry;
    while (tasks != NULL && (entry = readdir(tasks)) != NULL) {
        if (entry->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "/proc/%ld/task/%.20s/status", process, entry->d_name);
        if (read_file(path, status, sizeof status) > 0) {
            wakeups += (uint64_t)status_value(status, "\nvoluntary_ctxt_switches:");
        }
    }
    if (tasks != NULL) closedir(tasks);
    return wakeups;
}

static int is_named(const char *list, long process) {
    for (char *rest = (char *)list; *rest != 0; rest += *rest == ',') {
        if (strtol(rest, &rest, 10) == process) return 1;
        if (*rest != ',') break;
    }
    return 0;
}

static struct usage usage_beside(const struct options *options) {
    struct usage usage = {0};
    DIR *processes = opendir("/proc");
    struct dirent *entry;
    while (processes != NULL && (entry = readdir(processes)) != NULL) {
        long process = strtol(entry->d_name, NULL, 10);
        char path[300], text[4096];
        if (process <= 0 || process == getpid()) continue;
        snprintf(path, sizeof path, "/proc/%ld/stat", process);
        if (read_file(path, text, sizeof text) == 0) continue;
        const char *rest = strrchr(text, ')');
        unsigned long user, system;
        if (rest == NULL || (!is_named(options->beside, process) && !is_sidecar_of_ours(process, rest + 2))) continue;
        if (sscanf(rest + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2) continue;
        usage.seconds += (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
        usage.wakeups += wakeups_of(process);
        snprintf(path, sizeof path, "/proc/%ld/status", process);
        if (read_file(path, text, sizeof text) == 0) continue;
        usage.resident_kibibytes += status_value(text, "\nVmRSS:");
        usage.anonymous_kibibytes += status_value(text, "\nRssAnon:");
        usage.peak_kibibytes += status_value(text, "\nVmHWM:");
    }
    if (processes != NULL) closedir(processes);
    return usage;
}

static double own_seconds(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

struct cost cost_now(const struct options *options) {
    struct usage beside = usage_beside(options);
    return (struct cost){.own = own_seconds(), .beside = beside.seconds, .wakeups = beside.wakeups};
}

void print_cost(const struct options *options, struct cost since) {
    struct cost now = cost_now(options);
    printf("app_cpu_seconds %.4f\n", now.own - since.own);
    printf("beside_cpu_seconds %.3f\n", now.beside - since.beside);
    printf("beside_wakeups %lu\n", (unsigned long)(now.wakeups - since.wakeups));
}

void print_memory(const struct options *options) {
    struct usage beside = usage_beside(options);
    printf("beside_resident_megabytes %.2f\n", beside.resident_kibibytes * 1024 / 1e6);
    /* Without the pages of the program's file, which its like share. */
    printf("beside_anonymous_megabytes %.2f\n", beside.anonymous_kibibytes * 1024 / 1e6);
    printf("beside_peak_megabytes %.2f\n", beside.peak_kibibytes * 1024 / 1e6);
}
