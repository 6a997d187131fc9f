/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench/warm.c - keeps every processor awake with a thread that runs only when nothing else wants to.
 *
 * A virtual processor that idles is halted, and waking it costs some 20 us that belong to the
 * hypervisor. With this running the machine is "warm", otherwise "quiet". Ends with its stdin.
 */
#include "load.h"

#include <pthread.h>
#include <sched.h>
#include <unistd.h>

static void *spin(void *arg)
{
    const struct sched_param param = {0};
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)(uintptr_t)arg, &set);
    (void)pthread_setaffinity_np(pthread_self(), sizeof set, &set);
    if (pthread_setschedparam(pthread_self(), SCHED_IDLE, &param) != 0) {
        load_die("SCHED_IDLE is not to be had");
    }
    for (;;) {
        __asm__ volatile("" ::: "memory");
    }
    return NULL;
}

int main(void)
{
    const long count = sysconf(_SC_NPROCESSORS_ONLN);
    for (long i = 0; i < count; i++) {
        pthread_t thread;
        LOAD_CHECK(pthread_create(&thread, NULL, spin, (void *)(uintptr_t)i) == 0);
    }
    load_say("{\"event\":\"ready\"}");
    while (load_await_line()) {
    }
    return EXIT_SUCCESS;
}
