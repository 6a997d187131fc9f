/* SPDX-License-Identifier: Apache-2.0 */
/*
 * felix/export.h - what the shared library shows. Everything not marked FLX_API is hidden, and
 * src/client/felix.map lists the marked names once more, so that a new one is a decision.
 */
#ifndef FELIX_EXPORT_H
#define FELIX_EXPORT_H

#if defined(__GNUC__)
#define FLX_API __attribute__((visibility("default")))
#define FLX_PRINTF(format_index, first_index)                                                      \
    __attribute__((format(printf, format_index, first_index)))
#else
#define FLX_API
#define FLX_PRINTF(format_index, first_index)
#endif

#endif /* FELIX_EXPORT_H */
