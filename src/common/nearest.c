/* SPDX-License-Identifier: Apache-2.0 */
/* common/nearest.c - optimal string alignment distance over two rows and the one before them. */
#include "common/nearest.h"

#include <string.h>

#define WORD_MAX 64

static char folded(char letter)
{
    if (letter >= 'A' && letter <= 'Z') {
        return (char)(letter - 'A' + 'a');
    }
    return letter == '-' || letter == '.' ? '_' : letter;
}

static unsigned smallest(unsigned a, unsigned b, unsigned c)
{
    const unsigned ab = a < b ? a : b;
    return ab < c ? ab : c;
}

unsigned flx_edit_distance(const char *left, const char *right)
{
    const size_t rows = strnlen(left, WORD_MAX);
    const size_t columns = strnlen(right, WORD_MAX);
    unsigned table[3][WORD_MAX + 1];
    for (size_t j = 0; j <= columns; j++) {
        table[0][j] = (unsigned)j;
    }
    for (size_t i = 1; i <= rows; i++) {
        unsigned *row = table[i % 3];
        const unsigned *above = table[(i + 2) % 3];
        const unsigned *second = table[(i + 1) % 3]; /* two above */
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= columns; j++) {
            const unsigned cost = folded(left[i - 1]) != folded(right[j - 1]);
            row[j] = smallest(above[j] + 1, row[j - 1] + 1, above[j - 1] + cost);
            if (i > 1 && j > 1 && folded(left[i - 1]) == folded(right[j - 2]) &&
                folded(left[i - 2]) == folded(right[j - 1]) && second[j - 2] + 1 < row[j]) {
                row[j] = second[j - 2] + 1;
            }
        }
    }
    return table[rows % 3][columns];
}

void flx_nearest_offer(const char *word, const char *candidate, const char **best,
                       unsigned *best_distance)
{
    const unsigned distance = flx_edit_distance(word, candidate);
    const size_t len = strnlen(word, WORD_MAX);
    const size_t allowed = len < 3 ? 1 : 1 + len / 4;
    if (distance <= allowed && distance < len && distance < *best_distance) {
        *best = candidate;
        *best_distance = distance;
    }
}
