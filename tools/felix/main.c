/* SPDX-License-Identifier: Apache-2.0 */
/* main.c - the felix command. What it can do stands in commands.c. */
#include "run.h"

#include <signal.h>

extern char **environ;

int main(int argc, char **argv)
{
    (void)signal(SIGPIPE, SIG_IGN); /* a closed pipe is an error of write, with an exit code */
    return (int)cli_main(argc > 0 ? argc - 1 : 0, argv + 1, environ, stdout, stderr);
}
