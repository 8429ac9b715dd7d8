/*
 * Hostile guests on the real KVM (target.h), whose code does what no driver would
 * (guest/attack.c). The VMM has to survive, serve the guest after a reset, be idle when the guest
 * is gone, and not slow a neighbour down.
 *
 * ATTACK_SECONDS: how long each random attack takes. ATTACK_SEED: repeats one.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "devices/mem.h"
#include "tests/payload/payload.h"
#include "tests/payload/suites.h"
#include "tests/payload/target.h"

PAYLOAD_IMAGE(run);

static double seconds(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void sleep_for(double s)
{
	struct timespec time = {.tv_sec = (time_t)s, .tv_nsec = (long)((s - (time_t)s) * 1e9)};

	nanosleep(&time, NULL);
}

/* The guest is gone: nothing of what it has set off may go on. */
static void check_idle(void)
{
	double before, used = 0;

	/* What was under way may finish. */
	for (int i = 0; i < 50; i++) {
		before = seconds(CLOCK_PROCESS_CPUTIME_ID);
		sleep_for(0.1);
		used = seconds(CLOCK_PROCESS_CPUTIME_ID) - before;
		if (used < 0.01)
			return;
	}
	ck_abort_msg("the VMM is busy without a guest: %.0f ms in 100", used * 1000);
}

static unsigned long long number_from(const char *name, unsigned long long otherwise)
{
	const char *text = getenv(name);

	return text && *text ? strtoull(text, NULL, 0) : otherwise;
}

static void finish(struct target *target, unsigned int slot)
{
	const struct payload *payload = &target->payload;
	uint64_t requested, plugged;

	ck_assert_msg(payload->end == MACHINE_POWER_OFF,
		      "%s: the guest ended with %d, %s, in round %llu", target_names[slot],
		      payload->end, payload->end_detail,
		      (unsigned long long)payload->mailbox->values[PAYLOAD_ROUNDS]);
	ck_assert_msg(!payload->mailbox->failed_line,
		      "%s: the guest failed in %.16s:%u, in round %llu", target_names[slot],
		      payload->mailbox->failed_file, payload->mailbox->failed_line,
		      (unsigned long long)payload->mailbox->values[PAYLOAD_ROUNDS]);
	check_idle();
	ck_assert(slot != SLOT_CONSOLE || target->alive > 1);
	mem_sizes(target->mem, &requested, &plugged);
	ck_assert_uint_le(plugged, requested);
}

START_TEST(a_device_survives_every_attack_of_the_script)
{
	unsigned int slot = (unsigned int)_i % SLOTS;
	struct target target;

	target_init(&target, slot);
	target.payload.mailbox->arg = slot;
	target.payload.mailbox->values[PAYLOAD_PACKED] = (unsigned int)_i / SLOTS;
	target.payload.mailbox->values[PAYLOAD_SEED] = 1;
	target.payload.mailbox->values[PAYLOAD_SCRIPTED] = 1;
	payload_start(&target.payload);
	payload_wait_end(&target.payload);
	finish(&target, slot);
	target_destroy(&target);
}
END_TEST

START_TEST(a_device_survives_random_attacks)
{
	unsigned int slot = (unsigned int)_i % SLOTS;
	bool packed = _i / SLOTS;
	unsigned long long seed = number_from("ATTACK_SEED", (unsigned long long)time(NULL));
	struct target target;

	target_init(&target, slot);
	target.payload.mailbox->arg = slot;
	target.payload.mailbox->values[PAYLOAD_SEED] = seed;
	target.payload.mailbox->values[PAYLOAD_PACKED] = packed;
	printf("attack on %s, %s: ATTACK_SEED=%llu", target_names[slot],
	       packed ? "packed" : "split", seed);
	fflush(stdout);
	payload_start(&target.payload);
	sleep_for((double)number_from("ATTACK_SECONDS", 1));
	target.payload.mailbox->values[PAYLOAD_STOP] = 1;
	payload_wait_end(&target.payload);
	printf(", %llu times 200 blows\n",
	       (unsigned long long)target.payload.mailbox->values[PAYLOAD_ROUNDS]);
	finish(&target, slot);
	target_destroy(&target);
}
END_TEST

/* It is stopped in the middle of it, as an engine may do. */
START_TEST(an_attacker_can_be_taken_away)
{
	for (unsigned int i = 0; i < 3 * SLOTS; i++) {
		struct target target;

		target_init(&target, i % SLOTS);
		target.payload.mailbox->arg = i % SLOTS;
		target.payload.mailbox->values[PAYLOAD_SEED] = i;
		target.payload.mailbox->values[PAYLOAD_PACKED] = i & 1;
		payload_start(&target.payload);
		payload_wait_arrived(&target.payload);
		sleep_for(0.02 * (i / SLOTS));
		target_destroy(&target);
	}
}
END_TEST

/* --- the neighbour --- */

/* A VM that counts, for so many seconds of its own CPU time. Returns counts per such second. */
static double speed_of(struct payload *neighbour, double duration)
{
	clockid_t clock;
	double from, to;
	uint64_t before;

	ck_assert_int_eq(pthread_getcpuclockid(neighbour->vcpu.thread, &clock), 0);
	before = *(volatile uint64_t *)&neighbour->mailbox->values[0];
	from = seconds(clock);
	sleep_for(duration);
	to = seconds(clock);
	/* On a machine that is busy it may have had no turn at all. */
	if (to <= from)
		return 0;
	return (double)(*(volatile uint64_t *)&neighbour->mailbox->values[0] - before) /
	       (to - from);
}

/*
 * How the host shares its CPUs is for cgroups to say, so this is work by CPU time: what an attacker
 * could take away are locks, exits and caches. The best of some tries counts, as other load on the
 * test's machine comes and goes.
 */
START_TEST(a_neighbour_keeps_its_speed)
{
	struct payload neighbour;
	struct target target;
	double best = 0;

	payload_init(&neighbour, &run_image, PAYLOAD_USER);
	neighbour.mailbox->arg = RUN_SPIN;
	payload_start(&neighbour);
	payload_wait_arrived(&neighbour);
	for (int try = 0; try < 10 && best < 0.9; try++) {
		double alone = speed_of(&neighbour, 0.2), attacked;

		target_init(&target, (unsigned int)try % SLOTS);
		target.payload.mailbox->arg = (uint32_t)try % SLOTS;
		payload_start(&target.payload);
		payload_wait_arrived(&target.payload);
		attacked = speed_of(&neighbour, 0.2);
		target_destroy(&target);
		if (alone > 0 && attacked / alone > best)
			best = attacked / alone;
	}
	printf("a neighbour of an attacker has %.0f%% of its speed\n", best * 100);
	ck_assert_double_ge(best, 0.9);
	payload_destroy(&neighbour);
}
END_TEST

Suite *attack_suite(void)
{
	Suite *suite = suite_create("attack");
	TCase *tcase = tcase_create("attack");

	tcase_set_timeout(tcase, PAYLOAD_TIMEOUT_S + 2 * (double)number_from("ATTACK_SECONDS", 1));
	tcase_add_loop_test(tcase, a_device_survives_every_attack_of_the_script, 0, 2 * SLOTS);
	tcase_add_loop_test(tcase, a_device_survives_random_attacks, 0, 2 * SLOTS);
	tcase_add_test(tcase, an_attacker_can_be_taken_away);
	tcase_add_test(tcase, a_neighbour_keeps_its_speed);
	suite_add_tcase(suite, tcase);
	return suite;
}
