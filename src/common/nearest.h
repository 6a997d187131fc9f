/* SPDX-License-Identifier: Apache-2.0 */
/* common/nearest.h - "did you mean": the known word a misspelt one is closest to. Any thread. */
#ifndef FLX_COMMON_NEAREST_H
#define FLX_COMMON_NEAREST_H

#include <stddef.h>

/* How many letters must be changed, added, dropped or swapped; case and -_. count as equal. Words
 * are looked at up to 64 letters. */
unsigned flx_edit_distance(const char *left, const char *right);

/* Keeps the better of *best and `candidate` for `word`. *best NULL: nothing close enough yet (a
 * third of the letters may differ, and never all of a short word). Begin with distance ~0u. */
void flx_nearest_offer(const char *word, const char *candidate, const char **best,
                       unsigned *best_distance);

#endif /* FLX_COMMON_NEAREST_H */
