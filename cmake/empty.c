/* SPDX-License-Identifier: Apache-2.0 */
/* A shared object needs one source of its own; all of libfelix comes from its archives. */
extern int flx_library_has_no_code_of_its_own;
