/*
 * Makes BPF programs of rules.h while the VMM is built, because libseccomp takes longer for that
 * than the whole jail: `filters header` prints a C header, `filters table` the rules for tests and
 * benchmarks (kind, call, conditions, reason, unseen; by tabs).
 */
#include <errno.h>
#include <inttypes.h>
#include <linux/filter.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/filters/rules.h"

#define RULE_COUNT   (sizeof(filter_rules) / sizeof(filter_rules[0]))
#define SYSCALLS_MAX 1024

static const char *const kind_names[FILTER_KINDS] = {"main", "vcpu", "io", "fs"};

static void require(int ret, const char *what)
{
	if (ret >= 0)
		return;
	fprintf(stderr, "filters: %s: %s\n", what, strerror(-ret));
	exit(EXIT_FAILURE);
}

static scmp_filter_ctx compile(enum filter_kind kind)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_TRAP);

	require(ctx ? 0 : -ENOMEM, "seccomp_init");
	/* Calls of another architecture have other numbers: no last word for those. */
	require(seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS), "badarch");
	/* What the last word ends with (vmm/filter.c). */
	require(seccomp_rule_add(ctx, SCMP_ACT_KILL_PROCESS, SCMP_SYS(reboot), 0), "reboot");
	/*
	 * A tree by number instead of a list: the kernel tries the program with every number there
	 * is when a thread takes it on, to know which are allowed whatever their arguments.
	 */
	require(seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2), "optimize");
	for (size_t i = 0; i < RULE_COUNT; i++) {
		const struct filter_rule *rule = &filter_rules[i];
		int number = seccomp_syscall_resolve_name(rule->syscall);

		if (!(rule->kinds & 1u << kind))
			continue;
		require(number == __NR_SCMP_ERROR ? -ENOSYS : 0, rule->syscall);
		require(seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, number, rule->condition_count,
					       rule->conditions),
			rule->syscall);
	}
	return ctx;
}

static void print_program(enum filter_kind kind)
{
	struct sock_filter program[FILTER_PROGRAM_MAX + 1];
	scmp_filter_ctx ctx = compile(kind);
	FILE *file = tmpfile();
	size_t count;

	require(file ? 0 : -errno, "tmpfile");
	require(seccomp_export_bpf(ctx, fileno(file)), "export");
	rewind(file);
	count = fread(program, sizeof(program[0]), FILTER_PROGRAM_MAX + 1, file);
	require(count > FILTER_PROGRAM_MAX ? -E2BIG : 0, "program");
	printf("static const struct sock_filter filter_%s[] = {\n", kind_names[kind]);
	for (size_t i = 0; i < count; i++)
		printf("\t{0x%x, %u, %u, 0x%x},\n", program[i].code, program[i].jt, program[i].jf,
		       program[i].k);
	printf("};\n\n");
	fclose(file);
	seccomp_release(ctx);
}

/* Names of all calls, for the last word. */
static void print_names(void)
{
	printf("static const char *const syscall_names[] = {\n");
	for (int number = 0; number < SYSCALLS_MAX; number++) {
		char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, number);

		if (name)
			printf("\t[%d] = \"%s\",\n", number, name);
		free(name);
	}
	printf("};\n");
}

static bool came_before(size_t rule)
{
	for (size_t i = 0; i < rule; i++)
		if (!strcmp(filter_rules[i].syscall, filter_rules[rule].syscall))
			return true;
	return false;
}

/* Names of the calls that some thread can make, for whoever compares. */
static void print_calls(void)
{
	printf("static const char *const filter_calls[] = {\n");
	for (size_t i = 0; i < RULE_COUNT; i++)
		if (!came_before(i))
			printf("\t\"%s\",\n", filter_rules[i].syscall);
	printf("};\n");
}

static void print_conditions(const struct filter_rule *rule)
{
	if (!rule->condition_count)
		printf("-");
	for (unsigned int i = 0; i < rule->condition_count; i++) {
		const struct scmp_arg_cmp *condition = &rule->conditions[i];

		if (condition->op == SCMP_CMP_EQ)
			printf("%sarg%u=0x%" PRIx64, i ? " " : "", condition->arg,
			       condition->datum_a);
		else
			printf("%sarg%u&0x%" PRIx64 "=0x%" PRIx64, i ? " " : "", condition->arg,
			       condition->datum_a, condition->datum_b);
	}
}

static void print_table(void)
{
	for (size_t i = 0; i < RULE_COUNT; i++) {
		const struct filter_rule *rule = &filter_rules[i];

		for (unsigned int kind = 0; kind < FILTER_KINDS; kind++) {
			if (!(rule->kinds & 1u << kind))
				continue;
			printf("%s\t%s\t", kind_names[kind], rule->syscall);
			print_conditions(rule);
			printf("\t%s\t%s\n", rule->reason, rule->unseen ? rule->unseen : "-");
		}
	}
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "table") == 0) {
		print_table();
		return EXIT_SUCCESS;
	}
	if (argc != 2 || strcmp(argv[1], "header") != 0) {
		fprintf(stderr, "usage: filters header|table\n");
		return EXIT_FAILURE;
	}
	printf("/* Made by vmm/filters/compile.c from vmm/filters/rules.h. */\n");
	for (enum filter_kind kind = 0; kind < FILTER_KINDS; kind++)
		print_program(kind);
	print_names();
	print_calls();
	return EXIT_SUCCESS;
}
