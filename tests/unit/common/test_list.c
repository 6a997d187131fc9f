/* SPDX-License-Identifier: Apache-2.0 */
/* The intrusive list, README.md rule 2. */
#include "common/list.h"
#include "unit.h"

typedef struct member {
    int number;
    flx_list link;
} member;

static void test_list(void **state)
{
    (void)state;
    flx_list head, other;
    member members[4] = {{.number = 0}, {.number = 1}, {.number = 2}, {.number = 3}};
    flx_list_init(&head);
    flx_list_init(&other);
    assert_null(flx_list_pop_front(&head));
    flx_list_push_back(&head, &members[1].link);
    flx_list_push_back(&head, &members[2].link);
    flx_list_push_front(&head, &members[0].link);
    flx_list_push_back(&other, &members[3].link);
    flx_list_splice_back(&head, &other);
    assert_true(flx_list_is_empty(&other));
    int expected = 0;
    FLX_LIST_EACH(node, &head)
    {
        assert_int_equal(FLX_LIST_OWNER(node, member, link)->number, expected++);
        flx_list_remove(node);
        assert_false(flx_list_is_linked(node));
        flx_list_remove(node); /* twice is fine */
    }
    assert_int_equal(expected, 4);
    assert_true(flx_list_is_empty(&head));
    assert_null(flx_list_last(&head));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_list)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
