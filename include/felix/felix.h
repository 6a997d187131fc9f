/* SPDX-License-Identifier: Apache-2.0 */
/*
 * felix/felix.h - everything at once. Reading order: status, slice, client, then what you use of
 * publisher, subscriber and cache.
 */
#ifndef FELIX_FELIX_H
#define FELIX_FELIX_H

#include <felix/cache.h>
#include <felix/client.h>
#include <felix/export.h>
#include <felix/publisher.h>
#include <felix/slice.h>
#include <felix/status.h>
#include <felix/subscriber.h>
#include <felix/watch.h>

#endif /* FELIX_FELIX_H */
