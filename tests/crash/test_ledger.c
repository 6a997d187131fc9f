/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ledger's rules, each with a history that keeps it and one that breaks it (README.md, rules 1 to 4). A
 * history is a word: letters are messages of one lane that were sent in their order, each a batch of its own
 * unless said, and what became of them.
 */
#include "ledger.h"
#include "unit.h"

#include <string.h>

#define PAYLOAD 40u

static ledger book;

static void read_message(uint64_t offset, uint64_t sequence, bool again)
{
    uint8_t bytes[PAYLOAD + 8];
    const size_t len = ledger_payload(&book, &book.lanes[0], sequence, bytes);
    (again ? ledger_read_again : ledger_read)(&book, 0, offset, (flx_slice){bytes, len});
}

/* One step of a history. */
typedef struct step {
    char
        what; /* s send a batch of n, a acknowledge the batch at n (offset at), r refuse it, k kill, R read n at
                  `at`, A read it again, 0 the end */
    uint32_t n;
    uint64_t at;
} step;

static void walk(const step *steps, bool is_exact)
{
    ledger_done(&book);
    ledger_init(&book, 7, 1);
    ledger_lane *lane = ledger_lane_add(&book, 0, LEDGER_PAYLOAD_MIN, PAYLOAD);
    lane->is_exact = is_exact;
    for (const step *s = steps; s->what != 0; s++) {
        switch (s->what) {
        case 's':
            (void)ledger_send(&book, lane, s->n);
            break;
        case 'a':
            ledger_answered(&book, lane, s->n, LEDGER_ACKED, s->at);
            break;
        case 'r':
            ledger_answered(&book, lane, s->n, LEDGER_REFUSED, LEDGER_NO_OFFSET);
            break;
        case 'k':
            ledger_end_session(&book);
            break;
        default:
            read_message(s->at, s->n, s->what == 'A');
        }
    }
}

typedef struct history {
    const char *name;
    const char *finding; /* how the reason begins; NULL: nothing is wrong */
    bool is_exact;
    bool is_even; /* at the end */
    step steps[12];
} history;

static const history histories[] = {
    {"acknowledged and read", NULL, false, true, {{'s', 1}, {'a', 0, 0}, {'R', 0, 0}}},
    {"read before its answer", NULL, false, true, {{'s', 1}, {'R', 0, 0}, {'a', 0, 0}}},
    {"acknowledged and not read yet", NULL, false, false, {{'s', 1}, {'a', 0, 0}}},
    {"an acknowledged one is lost",
     "lost: ",
     false,
     false,
     {{'s', 1}, {'a', 0, 0}, {'k'}, {'s', 1}, {'R', 1, 0}}},
    {"passed, then acknowledged",
     "lost: ",
     false,
     false,
     {{'s', 1}, {'s', 1}, {'R', 1, 0}, {'a', 0, 5}}},
    {"acknowledged at another offset",
     "lane 0 message 0 was acknowledged at 5",
     false,
     true,
     {{'s', 1}, {'a', 0, 5}, {'R', 0, 0}}},
    {"read at another offset",
     "lane 0 message 0 was acknowledged at 5",
     false,
     true,
     {{'s', 1}, {'R', 0, 0}, {'a', 0, 5}}},
    {"unanswered and there", NULL, false, true, {{'s', 1}, {'k'}, {'R', 0, 0}}},
    {"unanswered and gone",
     NULL,
     false,
     true,
     {{'s', 1}, {'k'}, {'s', 1}, {'a', 1, 0}, {'R', 1, 0}}},
    {"missing in front of a later one of its session",
     "hole: ",
     false,
     true,
     {{'s', 1}, {'s', 1}, {'k'}, {'R', 1, 0}}},
    {"the same, read before the kill",
     "hole: ",
     false,
     true,
     {{'s', 1}, {'s', 1}, {'R', 1, 0}, {'k'}}},
    {"refused and gone",
     NULL,
     false,
     true,
     {{'s', 1}, {'r', 0}, {'s', 1}, {'R', 1, 0}, {'a', 1, 0}}},
    {"refused and there",
     "lane 0 message 0 was refused",
     false,
     true,
     {{'s', 1}, {'r', 0}, {'R', 0, 0}}},
    {"there and then refused",
     "lane 0 message 0 was refused",
     false,
     true,
     {{'s', 1}, {'R', 0, 0}, {'r', 0}}},
    {"twice", "twice: ", false, true, {{'s', 1}, {'a', 0, 0}, {'R', 0, 0}, {'R', 0, 1}}},
    {"out of order", "hole: ", false, true, {{'s', 1}, {'s', 1}, {'k'}, {'R', 1, 0}, {'R', 0, 1}}},
    {"never sent", "lane 0 message 3 came", false, true, {{'R', 3, 0}}},
    {"an offset is left out", "shard 0: offset 1 where 0", false, false, {{'s', 1}, {'R', 0, 1}}},
    {"a whole batch", NULL, false, true, {{'s', 2}, {'a', 0, 0}, {'R', 0, 0}, {'R', 1, 1}}},
    {"half a batch",
     "torn: ",
     false,
     true,
     {{'s', 2}, {'k'}, {'s', 1}, {'R', 0, 0}, {'R', 2, 1}, {'a', 2, 1}}},
    {"the other half", "torn: ", false, true, {{'s', 2}, {'k'}, {'R', 1, 0}}},
    {"a repeated batch is there once",
     NULL,
     true,
     true,
     {{'s', 1}, {'k'}, {'R', 0, 0}, {'a', 0, 0}, {'s', 1}, {'a', 1, 1}, {'R', 1, 1}}},
    {"a repeated batch is missing",
     "hole: ",
     true,
     false,
     {{'s', 1}, {'k'}, {'s', 1}, {'R', 1, 0}}},
    {"read again as it was", NULL, false, true, {{'s', 1}, {'R', 0, 0}, {'a', 0, 0}, {'A', 0, 0}}},
    {"another one lies there now",
     "changed: ",
     false,
     true,
     {{'s', 2}, {'a', 0, 0}, {'R', 0, 0}, {'R', 1, 1}, {'A', 1, 0}}},
};

static void every_history_has_its_finding(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(histories); i++) {
        const history *h = &histories[i];
        walk(h->steps, h->is_exact);
        const bool is_found = h->finding == NULL
                                  ? !book.is_broken
                                  : strncmp(book.why, h->finding, strlen(h->finding)) == 0;
        if (!is_found) {
            fail_msg("%s: '%s'", h->name, book.why);
        }
        if (h->finding == NULL && ledger_is_even(&book) != h->is_even) {
            fail_msg("%s: %s", h->name, h->is_even ? "waits for something" : "waits for nothing");
        }
    }
    ledger_done(&book);
}

static void bytes_are_checked(void **state)
{
    uint8_t bytes[PAYLOAD + 8];
    (void)state;
    walk((const step[]){{'s', 1}, {0}}, false);
    const size_t len = ledger_payload(&book, &book.lanes[0], 0, bytes);
    bytes[len - 1] ^= 1;
    ledger_read(&book, 0, 0, (flx_slice){bytes, len});
    assert_true(book.is_broken);
    walk((const step[]){{'s', 1}, {0}}, false);
    ledger_read(&book, 0, 0, (flx_slice){bytes, 3});
    assert_true(book.is_broken);
    ledger_done(&book);
}

static void only_retention_moves_the_beginning(void **state)
{
    (void)state;
    walk((const step[]){{'s', 1}, {'R', 0, 0}, {0}}, false);
    book.shards[0].is_retained = true;
    ledger_begins_at(&book, 0, 1);
    assert_false(book.is_broken);
    ledger_begins_at(&book, 0, 2); /* never read, and gone */
    assert_true(book.is_broken);
    walk((const step[]){{'s', 1}, {'R', 0, 0}, {0}}, false);
    ledger_begins_at(&book, 0, 1);
    assert_true(book.is_broken);
    ledger_done(&book);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_history_has_its_finding),
        cmocka_unit_test(bytes_are_checked),
        cmocka_unit_test(only_retention_moves_the_beginning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
