#include "runtime/seccomp_filter.h"
#include "runtime/bundle.h"
#include "runtime/seccomp_newer.h"

#include "common/cleanup.h"
#include "common/log.h"

#include <ctype.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define ARGS_MAX 6

static int find_action(const char *name, uint32_t errno_ret, uint32_t *action, struct error *err)
{
	const struct {
		const char *name;
		uint32_t action;
	} actions[] = {
		{"SCMP_ACT_KILL", SCMP_ACT_KILL_THREAD},
		{"SCMP_ACT_KILL_THREAD", SCMP_ACT_KILL_THREAD},
		{"SCMP_ACT_KILL_PROCESS", SCMP_ACT_KILL_PROCESS},
		{"SCMP_ACT_TRAP", SCMP_ACT_TRAP},
		{"SCMP_ACT_ERRNO", SCMP_ACT_ERRNO(errno_ret & 0xffff)},
		{"SCMP_ACT_TRACE", SCMP_ACT_TRACE(errno_ret & 0xffff)},
		{"SCMP_ACT_ALLOW", SCMP_ACT_ALLOW},
		{"SCMP_ACT_LOG", SCMP_ACT_LOG},
	};

	for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++) {
		if (!strcmp(name, actions[i].name)) {
			*action = actions[i].action;
			return 0;
		}
	}
	if (!strcmp(name, "SCMP_ACT_NOTIFY"))
		return error_say(err, ENOTSUP,
				 "linux.seccomp: SCMP_ACT_NOTIFY cannot reach a listener on the "
				 "host from inside a VM");
	return error_say(err, EINVAL, "linux.seccomp: unknown action %s", name);
}

static int find_operator(const char *name, enum scmp_compare *op, struct error *err)
{
	static const struct {
		const char *name;
		enum scmp_compare op;
	} operators[] = {
		{"SCMP_CMP_NE", SCMP_CMP_NE},
		{"SCMP_CMP_LT", SCMP_CMP_LT},
		{"SCMP_CMP_LE", SCMP_CMP_LE},
		{"SCMP_CMP_EQ", SCMP_CMP_EQ},
		{"SCMP_CMP_GE", SCMP_CMP_GE},
		{"SCMP_CMP_GT", SCMP_CMP_GT},
		{"SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ},
	};

	for (size_t i = 0; i < sizeof(operators) / sizeof(operators[0]); i++) {
		if (!strcmp(name, operators[i].name)) {
			*op = operators[i].op;
			return 0;
		}
	}
	return error_say(err, EINVAL, "linux.seccomp: unknown operator %s", name);
}

static int add_architectures(scmp_filter_ctx ctx, json_t *list, struct error *err)
{
	json_t *item;
	size_t i;

	json_array_foreach (list, i, item) {
		const char *name = json_string_value(item);
		char lower[32] = "";
		uint32_t arch = 0;
		int ret;

		if (!strncmp(name, "SCMP_ARCH_", 10)) {
			for (size_t j = 0; name[10 + j] && j + 1 < sizeof(lower); j++)
				lower[j] = (char)tolower((unsigned char)name[10 + j]);
			arch = seccomp_arch_resolve_name(lower);
		}
		if (arch == 0)
			return error_say(err, EINVAL,
					 "linux.seccomp.architectures[%zu]: unknown %s", i, name);
		ret = seccomp_arch_add(ctx, arch);
		if (ret < 0 && ret != -EEXIST)
			return error_set(err, -ret, "linux.seccomp.architectures[%zu]", i);
	}
	return 0;
}

/* Values above 2^63 come as reals; spec_check has seen to it that they are in range. */
static uint64_t to_u64(json_t *value)
{
	double real;

	if (json_is_integer(value))
		return (uint64_t)json_integer_value(value);
	real = json_real_value(value);
	return real >= 18446744073709551615.0 ? UINT64_MAX : (uint64_t)real;
}

/* Returns how many comparisons; *repeated when two look at one argument. */
static int read_args(json_t *list, struct scmp_arg_cmp *out, bool *repeated, struct error *err)
{
	unsigned int seen = 0;
	json_t *item;
	size_t i;

	if (json_array_size(list) > ARGS_MAX)
		return error_say(err, EINVAL, "more than %d args", ARGS_MAX);
	*repeated = false;
	json_array_foreach (list, i, item) {
		uint64_t index = to_u64(json_object_get(item, "index"));
		uint64_t value = to_u64(json_object_get(item, "value"));
		uint64_t two = to_u64(json_object_get(item, "valueTwo"));
		const char *name = json_string_value(json_object_get(item, "op"));
		int ret = find_operator(name, &out[i].op, err);

		if (ret < 0)
			return ret;
		if (index >= ARGS_MAX)
			return error_say(err, EINVAL, "args[%zu].index: a system call has %d", i,
					 ARGS_MAX);
		*repeated |= seen & 1u << index;
		seen |= 1u << index;
		out[i].arg = (unsigned int)index;
		out[i].datum_a = value;
		out[i].datum_b = two;
	}
	return (int)json_array_size(list);
}

static int add_name(scmp_filter_ctx ctx, const char *name, uint32_t action,
		    const struct scmp_arg_cmp *args, unsigned int count, bool repeated)
{
	int number = seccomp_syscall_resolve_name(name);
	int ret = 0;

	if (number == __NR_SCMP_ERROR) {
		/* Profiles name calls of other kernels and architectures. */
		log_debug("seccomp: unknown system call %s left out", name);
		return 0;
	}
	if (!repeated)
		return seccomp_rule_add_array(ctx, action, number, count, args);
	/* A rule has one comparison an argument: as runc does, each becomes a rule, any may match.
	 */
	for (unsigned int i = 0; i < count && ret == 0; i++)
		ret = seccomp_rule_add_array(ctx, action, number, 1, &args[i]);
	return ret;
}

static uint32_t errno_of(json_t *from, const char *field)
{
	json_t *value = json_object_get(from, field);

	return json_is_integer(value) ? (uint32_t)json_integer_value(value) : EPERM;
}

static int add_rule(scmp_filter_ctx ctx, json_t *rule, uint32_t default_action, struct error *err)
{
	struct scmp_arg_cmp args[ARGS_MAX];
	uint32_t action;
	bool repeated = false;
	json_t *name;
	size_t i;
	int count, ret;

	ret = find_action(json_string_value(json_object_get(rule, "action")),
			  errno_of(rule, "errnoRet"), &action, err);
	if (ret < 0)
		return ret;
	count = read_args(json_object_get(rule, "args"), args, &repeated, err);
	if (count < 0)
		return count;
	if (action == default_action)
		return 0; /* libseccomp refuses a rule that says nothing */
	json_array_foreach (json_object_get(rule, "names"), i, name) {
		const char *text = json_string_value(name);

		ret = add_name(ctx, text, action, args, (unsigned int)count, repeated);
		if (ret < 0 && ret != -EEXIST)
			return error_set(err, -ret, "system call %s", text);
	}
	return 0;
}

static int read_flags(json_t *list, scmp_filter_ctx ctx, uint32_t *flags, struct error *err)
{
	json_t *item;
	size_t i;

	*flags = 0;
	json_array_foreach (list, i, item) {
		const char *name = json_string_value(item);

		if (!strcmp(name, "SECCOMP_FILTER_FLAG_LOG"))
			*flags |= SECCOMP_FILTER_FLAG_LOG;
		else if (!strcmp(name, "SECCOMP_FILTER_FLAG_SPEC_ALLOW"))
			*flags |= SECCOMP_FILTER_FLAG_SPEC_ALLOW;
		else if (!strcmp(name, "SECCOMP_FILTER_FLAG_TSYNC"))
			*flags |= SECCOMP_FILTER_FLAG_TSYNC;
		else
			return error_say(err, ENOTSUP,
					 "linux.seccomp.flags[%zu]: %s is not supported", i, name);
	}
	/* A binary tree: a profile has hundreds of calls, and each call of the workload pays. */
	seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	return 0;
}

static void append(json_t *list, const struct sock_filter *program, size_t count)
{
	for (size_t i = 0; i < count; i++)
		json_array_append_new(list,
				      json_pack("[iiiI]", (int)program[i].code, (int)program[i].jt,
						(int)program[i].jf, (json_int_t)program[i].k));
}

static int export_program(scmp_filter_ctx ctx, json_t *list, struct error *err)
{
	cleanup_fd int fd = memfd_create("seccomp", MFD_CLOEXEC);
	cleanup_free struct sock_filter *program = NULL;
	struct stat st;
	int ret;

	if (fd < 0)
		return error_set(err, errno, "memfd");
	ret = seccomp_export_bpf(ctx, fd);
	if (ret < 0)
		return error_set(err, -ret, "compile linux.seccomp");
	if (fstat(fd, &st) < 0)
		return error_set(err, errno, "memfd");
	program = malloc((size_t)st.st_size + 1);
	if (!program || pread(fd, program, (size_t)st.st_size, 0) != st.st_size)
		return error_set(err, EIO, "read the compiled linux.seccomp");
	append(list, program, (size_t)st.st_size / sizeof(*program));
	return 0;
}

static int build(scmp_filter_ctx ctx, json_t *seccomp, uint32_t default_action, json_t **out,
		 struct error *err)
{
	struct sock_filter first[SECCOMP_NEWER_MAX];
	json_t *rule, *program;
	uint32_t flags = 0;
	size_t i;
	int ret;

	ret = add_architectures(ctx, json_object_get(seccomp, "architectures"), err);
	if (ret == 0)
		ret = read_flags(json_object_get(seccomp, "flags"), ctx, &flags, err);
	if (ret < 0)
		return ret;
	/* The agent decides about no_new_privs, not the filter. */
	seccomp_attr_set(ctx, SCMP_FLTATR_CTL_NNP, 0);
	json_array_foreach (json_object_get(seccomp, "syscalls"), i, rule) {
		ret = add_rule(ctx, rule, default_action, err);
		if (ret < 0)
			return error_prefix(err, ret, "linux.seccomp.syscalls[%zu]", i);
	}
	program = json_array();
	append(program, first, seccomp_newer(seccomp, default_action, first));
	ret = export_program(ctx, program, err);
	if (ret == 0)
		*out = json_pack("{s:I, s:O}", "flags", (json_int_t)flags, "filter", program);
	json_decref(program);
	return ret;
}

int seccomp_filter_compile(json_t *config, json_t **out, struct error *err)
{
	json_t *seccomp = json_at(config, "linux", "seccomp", NULL);
	uint32_t default_action;
	scmp_filter_ctx ctx;
	int ret;

	*out = NULL;
	if (!json_is_object(seccomp))
		return 0;
	if (json_object_get(seccomp, "listenerPath"))
		return error_say(err, ENOTSUP,
				 "linux.seccomp.listenerPath: a listener on the host cannot be "
				 "reached from inside a VM");
	ret = find_action(json_string_value(json_object_get(seccomp, "defaultAction")),
			  errno_of(seccomp, "defaultErrnoRet"), &default_action, err);
	if (ret < 0)
		return ret;
	ctx = seccomp_init(default_action);
	if (!ctx)
		return error_set(err, ENOMEM, "linux.seccomp");
	ret = build(ctx, seccomp, default_action, out, err);
	seccomp_release(ctx);
	return ret;
}
