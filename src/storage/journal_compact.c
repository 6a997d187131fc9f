/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/journal_int.h"
flx_status flx_journal_compact_prepare(flx_journal *journal, flx_errand_job *out)
{
    (void)journal;
    (void)out;
    return FLX_ERR_CONFLICT;
}
flx_status flx_journal_compact_rewrite(flx_compaction *compaction, flx_error *reterr)
{
    (void)compaction;
    (void)reterr;
    return FLX_OK;
}
flx_status flx_journal_compact_replace(flx_compaction *compaction, flx_error *reterr)
{
    (void)compaction;
    (void)reterr;
    return FLX_OK;
}
void flx_journal_compact_commit(flx_journal *journal, flx_errand_job *out)
{
    (void)journal;
    (void)out;
}
flx_compaction *flx_journal_compact_free(flx_compaction *compaction)
{
    (void)compaction;
    return NULL;
}
