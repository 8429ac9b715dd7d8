#include "runtime/seccomp_newer.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define X32_BIT	     0x40000000u /* x32's numbers begin there; they are not newer, but another's */
#define INSTRUCTIONS 6		 /* for each architecture */

static const struct {
	const char *name;
	uint32_t token;
} architectures[] = {
	{"SCMP_ARCH_X86_64", SCMP_ARCH_X86_64},
	{"SCMP_ARCH_X86", SCMP_ARCH_X86},
};

static bool forbids(uint32_t action)
{
	return action != SCMP_ACT_ALLOW && action != SCMP_ACT_LOG &&
	       (action & SECCOMP_RET_ACTION_FULL) != SECCOMP_RET_TRACE &&
	       action != SCMP_ACT_ERRNO(ENOSYS);
}

static bool has_architecture(const json_t *seccomp, size_t i)
{
	const json_t *list = json_object_get(seccomp, "architectures"), *item;
	size_t at;

	/* Without a list, or beside it, the filter is for the machine's own. */
	if (architectures[i].token == SCMP_ARCH_X86_64)
		return true;
	json_array_foreach (list, at, item)
		if (!strcmp(json_string_value(item), architectures[i].name))
			return true;
	return false;
}

static int highest_number(const json_t *seccomp, uint32_t arch)
{
	const json_t *rules = json_object_get(seccomp, "syscalls"), *rule, *name;
	size_t i, k;
	int highest = -1;

	json_array_foreach (rules, i, rule) {
		json_array_foreach (json_object_get(rule, "names"), k, name) {
			int number = seccomp_syscall_resolve_name_arch(arch,
								       json_string_value(name));

			highest = number > highest ? number : highest;
		}
	}
	return highest;
}

unsigned int seccomp_newer(const json_t *seccomp, uint32_t default_action,
			   struct sock_filter out[SECCOMP_NEWER_MAX])
{
	unsigned int count = 0;

	if (!forbids(default_action))
		return 0;
	for (size_t i = 0; i < sizeof(architectures) / sizeof(architectures[0]); i++) {
		uint32_t arch = architectures[i].token;
		int highest = has_architecture(seccomp, i) ? highest_number(seccomp, arch) : -1;
		const struct sock_filter block[INSTRUCTIONS] = {
			BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
			BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, arch, 0, 4),
			BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
			BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 2, 0),
			BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, (uint32_t)highest, 0, 1),
			BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		};

		if (highest < 0)
			continue;
		memcpy(out + count, block, sizeof(block));
		count += INSTRUCTIONS;
	}
	return count;
}
