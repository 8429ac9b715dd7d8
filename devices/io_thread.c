#include "devices/io_thread.h"

#include <sched.h>
#include <signal.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "devices/write_ring.h"

static bool has_one_cpu(void)
{
	cpu_set_t cpus;

	return sched_getaffinity(0, sizeof(cpus), &cpus) == 0 && CPU_COUNT(&cpus) == 1;
}

int io_thread_init(struct io_thread *thread, const char *name, void (*begins)(void))
{
	int ret;

	*thread = (struct io_thread){.begins = begins, .one_cpu = has_one_cpu()};
	thread->may_give_way = thread->one_cpu && sched_getscheduler(0) == SCHED_OTHER;
	ret = loop_init(&thread->loop);
	if (ret == 0)
		thread->name = name;
	return ret;
}

void io_thread_needs_writes(struct io_thread *thread)
{
	if (!thread->writes)
		thread->writes = write_ring_create();
}

void io_thread_looks(struct io_thread *thread, struct loop_poll *poll)
{
	if (!thread->one_cpu)
		loop_poll_add(&thread->loop, poll);
}

/* SCHED_BATCH (sched(7)) is SCHED_OTHER but for this, and needs no rights. */
void io_thread_gives_way(struct io_thread *thread, uint64_t until_ns)
{
	const struct sched_param param = {0};

	if (!thread->may_give_way)
		return;
	if (!thread->way_until_ns != !until_ns)
		sched_setscheduler(0, until_ns ? SCHED_BATCH : SCHED_OTHER, &param);
	thread->way_until_ns = until_ns;
}

void io_thread_woken(struct io_thread *thread)
{
	if (thread->way_until_ns && monotonic_ns() > thread->way_until_ns)
		io_thread_gives_way(thread, 0);
}

static void *run(void *arg)
{
	struct io_thread *thread = arg;
	int ret;

	pthread_setname_np(pthread_self(), thread->name);
	if (thread->begins)
		thread->begins();
	ret = loop_run(&thread->loop);
	if (ret < 0)
		log_error("%s: event loop: %s", thread->name, strerror(-ret));
	return NULL;
}

/* Signals are for the main thread: the new one starts with all of them blocked. */
int io_thread_start(struct io_thread *thread)
{
	sigset_t all, old;
	int ret;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ret = pthread_create(&thread->thread, NULL, run, thread);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	thread->runs = ret == 0;
	return -ret;
}

void io_thread_stop(struct io_thread *thread)
{
	if (!thread->runs)
		return;
	loop_stop(&thread->loop);
	pthread_join(thread->thread, NULL);
	thread->runs = false;
}

void io_thread_destroy(struct io_thread *thread)
{
	if (!thread->name)
		return;
	io_thread_stop(thread);
	loop_destroy(&thread->loop);
	write_ring_destroy(thread->writes);
	thread->writes = NULL;
	thread->name = NULL;
}
