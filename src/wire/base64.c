/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire/base64.c - base64 by table, four characters at a time.
 *
 * The decoder ands the table entries together instead of testing each: an entry that is no digit
 * has no DIGIT bit, and so neither has the sum. One test a block, one a message would do as well.
 */
#include "wire/base64.h"

#define DIGIT 0x80 /* set in the entry of each of the 64 characters, beside its value */

static const char alphabet[65] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#define D(value) (DIGIT | (value))
static const uint8_t digits[256] = {
    ['A'] = D(0),  ['B'] = D(1),  ['C'] = D(2),  ['D'] = D(3),  ['E'] = D(4),  ['F'] = D(5),
    ['G'] = D(6),  ['H'] = D(7),  ['I'] = D(8),  ['J'] = D(9),  ['K'] = D(10), ['L'] = D(11),
    ['M'] = D(12), ['N'] = D(13), ['O'] = D(14), ['P'] = D(15), ['Q'] = D(16), ['R'] = D(17),
    ['S'] = D(18), ['T'] = D(19), ['U'] = D(20), ['V'] = D(21), ['W'] = D(22), ['X'] = D(23),
    ['Y'] = D(24), ['Z'] = D(25), ['a'] = D(26), ['b'] = D(27), ['c'] = D(28), ['d'] = D(29),
    ['e'] = D(30), ['f'] = D(31), ['g'] = D(32), ['h'] = D(33), ['i'] = D(34), ['j'] = D(35),
    ['k'] = D(36), ['l'] = D(37), ['m'] = D(38), ['n'] = D(39), ['o'] = D(40), ['p'] = D(41),
    ['q'] = D(42), ['r'] = D(43), ['s'] = D(44), ['t'] = D(45), ['u'] = D(46), ['v'] = D(47),
    ['w'] = D(48), ['x'] = D(49), ['y'] = D(50), ['z'] = D(51), ['0'] = D(52), ['1'] = D(53),
    ['2'] = D(54), ['3'] = D(55), ['4'] = D(56), ['5'] = D(57), ['6'] = D(58), ['7'] = D(59),
    ['8'] = D(60), ['9'] = D(61), ['+'] = D(62), ['/'] = D(63),
};
#undef D

uint8_t *flx_base64_encode(flx_slice bytes, uint8_t *to)
{
    const uint8_t *from = bytes.ptr;
    size_t left = bytes.len;
    for (; left >= 3; left -= 3, from += 3, to += 4) {
        const uint32_t bits = ((uint32_t)from[0] << 16) | ((uint32_t)from[1] << 8) | from[2];
        to[0] = (uint8_t)alphabet[bits >> 18];
        to[1] = (uint8_t)alphabet[(bits >> 12) & 63];
        to[2] = (uint8_t)alphabet[(bits >> 6) & 63];
        to[3] = (uint8_t)alphabet[bits & 63];
    }
    if (left > 0) {
        const uint32_t bits = ((uint32_t)from[0] << 16) | (left == 2 ? (uint32_t)from[1] << 8 : 0);
        to[0] = (uint8_t)alphabet[bits >> 18];
        to[1] = (uint8_t)alphabet[(bits >> 12) & 63];
        to[2] = left == 2 ? (uint8_t)alphabet[(bits >> 6) & 63] : '=';
        to[3] = '=';
        to += 4;
    }
    return to;
}

/* The last block: with padding and no stray bits, or a whole one. Bytes written, 0 when wrong. */
static size_t decode_last(const uint8_t from[4], uint8_t *to)
{
    const uint8_t a = digits[from[0]];
    const uint8_t b = digits[from[1]];
    if ((a & b & DIGIT) == 0) {
        return 0;
    }
    const uint32_t high = ((uint32_t)(a & 63) << 18) | ((uint32_t)(b & 63) << 12);
    if (from[2] == '=' && from[3] == '=') {
        to[0] = (uint8_t)(high >> 16);
        return (high & 0xFFFF) == 0 ? 1 : 0;
    }
    const uint8_t c = digits[from[2]];
    const uint32_t bits = high | ((uint32_t)(c & 63) << 6);
    if ((c & DIGIT) != 0 && from[3] == '=') {
        to[0] = (uint8_t)(bits >> 16);
        to[1] = (uint8_t)(bits >> 8);
        return (bits & 0xFF) == 0 ? 2 : 0;
    }
    const uint8_t d = digits[from[3]];
    if ((c & d & DIGIT) == 0) {
        return 0;
    }
    to[0] = (uint8_t)(bits >> 16);
    to[1] = (uint8_t)(bits >> 8);
    to[2] = (uint8_t)(bits | (d & 63));
    return 3;
}

bool flx_base64_decode(flx_slice text, uint8_t *to, size_t *ret_len)
{
    if (text.len % 4 != 0) {
        return false;
    }
    if (text.len == 0) {
        *ret_len = 0;
        return true;
    }
    const uint8_t *from = text.ptr;
    const uint8_t *const last = text.ptr + text.len - 4;
    uint8_t *const start = to;
    uint8_t all = DIGIT;
    for (; from < last; from += 4, to += 3) {
        const uint8_t a = digits[from[0]];
        const uint8_t b = digits[from[1]];
        const uint8_t c = digits[from[2]];
        const uint8_t d = digits[from[3]];
        all &= (uint8_t)(a & b & c & d);
        const uint32_t bits = ((uint32_t)(a & 63) << 18) | ((uint32_t)(b & 63) << 12) |
                              ((uint32_t)(c & 63) << 6) | (d & 63);
        to[0] = (uint8_t)(bits >> 16);
        to[1] = (uint8_t)(bits >> 8);
        to[2] = (uint8_t)bits;
    }
    const size_t count = decode_last(from, to);
    if (count == 0 || (all & DIGIT) == 0) {
        return false;
    }
    *ret_len = (size_t)(to - start) + count;
    return true;
}
