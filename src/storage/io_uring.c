/* SPDX-License-Identifier: Apache-2.0 */
#include "common/error.h"
#include "storage/io_int.h"
flx_status flx_io_uring_new(flx_loop *loop, const flx_io_options *options, flx_io **ret_io,
                            flx_error *reterr)
{
    (void)loop;
    (void)options;
    (void)ret_io;
    return flx_fail(reterr, FLX_ERR_UNSUPPORTED, "io_uring");
}
