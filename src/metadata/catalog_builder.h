/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metadata/catalog_builder.h - puts a snapshot together.
 *
 *     flx_catalog_builder *builder = flx_catalog_builder_new();
 *     flx_catalog_builder_stream(builder, &info, &error);      (any order)
 *     flx_catalog_builder_finish(builder, version, &catalog, &error);
 *     builder = flx_catalog_builder_free(builder);
 *
 * The store builds from its tables; tests build from the infos of metadata/rules.h. One thread.
 */
#ifndef FLX_METADATA_CATALOG_BUILDER_H
#define FLX_METADATA_CATALOG_BUILDER_H

#include "metadata/catalog.h"

#include <felix/slice.h>
#include <felix/status.h>

typedef struct flx_catalog_builder flx_catalog_builder;

flx_catalog_builder *flx_catalog_builder_new(void); /* NULL when memory is out */
flx_catalog_builder *flx_catalog_builder_free(flx_catalog_builder *builder);

/* Makes a tenant (namespace_.len 0) or a namespace exist; a namespace brings its tenant along.
 * Saying it twice is fine. FLX_ERR_INVALID for a name that is none, FLX_ERR_NOMEM. */
flx_status flx_catalog_builder_namespace(flx_catalog_builder *builder, flx_slice tenant,
                                         flx_slice namespace_, flx_error *reterr);

/* Copies the info. Its namespace and tenant come to exist with it. `id` 0 takes the next free one
 * after the largest so far. FLX_ERR_INVALID as flx_stream_info_check, FLX_ERR_NOMEM. */
flx_status flx_catalog_builder_stream(flx_catalog_builder *builder, const flx_stream_info *info,
                                      flx_error *reterr);
flx_status flx_catalog_builder_cache(flx_catalog_builder *builder, const flx_cache_info *info,
                                     flx_error *reterr);

/*
 * Makes the snapshot, with one reference, and leaves the builder empty.
 * FLX_ERR_CONFLICT when a name or an id was given twice, FLX_ERR_NOMEM; the builder is then only
 * good for free.
 */
flx_status flx_catalog_builder_finish(flx_catalog_builder *builder, uint64_t version,
                                      flx_catalog **ret_catalog, flx_error *reterr);

#endif /* FLX_METADATA_CATALOG_BUILDER_H */
