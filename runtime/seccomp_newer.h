/*
 * System calls that are newer than a seccomp profile. One that forbids what it does not name means
 * what there was when it was written; a program that tries a newer call and is told EPERM believes
 * that it must not do the thing at all, where ENOSYS makes it use the older call. As runc does, all
 * above the highest number that the profile names are answered by ENOSYS.
 */
#ifndef RUNTIME_SECCOMP_NEWER_H
#define RUNTIME_SECCOMP_NEWER_H

#include <jansson.h>
#include <linux/filter.h>
#include <stdint.h>

#define SECCOMP_NEWER_MAX 32 /* instructions */

/*
 * Writes what has to run before the profile's own program; seccomp is checked,
 * default_action is libseccomp's. Returns how many
 * instructions, 0 when the profile's default allows calls or is ENOSYS itself.
 */
unsigned int seccomp_newer(const json_t *seccomp, uint32_t default_action,
			   struct sock_filter out[SECCOMP_NEWER_MAX]);

#endif
