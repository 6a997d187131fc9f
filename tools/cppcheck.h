/* SPDX-License-Identifier: Apache-2.0 */
/* What cppcheck, which reads no system header, must know of <sys/queue.h>. */
#define TAILQ_FOREACH(v, h, f) for ((v) = (h)->tqh_first; (v); (v) = (v)->f.tqe_next)
