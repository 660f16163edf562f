/* Times that were measured, all of them, and their percentiles. */
#include <stdio.h>
#include <stdlib.h>

#include "load.h"

struct times times_for(uint64_t count) {
    struct times times = {.values = malloc((count + 1) * sizeof *times.values), .room = count};
    if (times.values == NULL) fail("no memory for the times");
    return times;
}

void keep_time(struct times *times, uint64_t nanoseconds) {
    if (times->count < times->room) times->values[times->count++] = nanoseconds;
}

static int compare(const void *left, const void *right) {
    uint64_t one = *(const uint64_t *)left, other = *(const uint64_t *)right;
    return (one > other) - (one < other);
}

/* The smallest value that at least so many in a thousand do not exceed. */
static double microseconds(const struct times *times, size_t per_thousand) {
    size_t rank = (times->count * per_thousand + 999) / 1000;
    return times->count == 0 ? 0.0 : (double)times->values[rank > 0 ? rank - 1 : 0] / 1e3;
}

void print_times(struct times *times) {
    qsort(times->values, times->count, sizeof *times->values, compare);
    printf("times %lu\n", (unsigned long)times->count);
    printf("p50_microseconds %.1f\n", microseconds(times, 500));
    printf("p99_microseconds %.1f\n", microseconds(times, 990));
    printf("most_microseconds %.1f\n", microseconds(times, 1000));
    free(times->values);
}
