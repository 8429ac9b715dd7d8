/*
 * Times and random numbers, as a program in a container gets them:
 *
 *	clocks random		16 bytes of getrandom, in hex
 *	clocks now		waits for a line; then CLOCK_REALTIME, _MONOTONIC, _BOOTTIME in ns
 *	clocks timers SECONDS	sets timers of every kind and says "set" and CLOCK_REALTIME
 *
 * Times of timers are in ms. A line for each that fires: its name and how long after the start, by
 * CLOCK_MONOTONIC, but for "realtime" what CLOCK_REALTIME says then. At last "ticks": how often a
 * timer of 100 ms fired, and how often it should have.
 */
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TICK_MS 100

enum { MONOTONIC, BOOTTIME, REALTIME, ALARM, SLEEP, KINDS };

static const char *const names[KINDS] = {"monotonic", "boottime", "realtime", "alarm", "sleep"};

static int64_t now_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int say_random(void)
{
	unsigned char bytes[16];

	if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
		return 1;
	for (size_t i = 0; i < sizeof(bytes); i++)
		printf("%02x", bytes[i]);
	putchar('\n');
	return 0;
}

static int say_now(void)
{
	char line[16];

	if (!fgets(line, sizeof(line), stdin))
		return 1;
	printf("%lld %lld %lld\n", (long long)now_ns(CLOCK_REALTIME),
	       (long long)now_ns(CLOCK_MONOTONIC), (long long)now_ns(CLOCK_BOOTTIME));
	return 0;
}

static int timer(clockid_t clock, int flags, struct timespec first, long every_ms)
{
	struct itimerspec when = {.it_value = first, .it_interval.tv_nsec = every_ms * 1000000};
	int fd = timerfd_create(clock, TFD_NONBLOCK);

	if (fd < 0 || timerfd_settime(fd, flags, &when, NULL) < 0)
		exit(1);
	return fd;
}

static int alarm_after(time_t seconds)
{
	struct itimerval when = {.it_value.tv_sec = seconds};
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	setitimer(ITIMER_REAL, &when, NULL);
	return signalfd(-1, &set, 0);
}

/* A process that sleeps: its end of a pipe closes. */
static int sleeper(struct timespec span)
{
	int ends[2];

	if (pipe(ends) < 0)
		exit(1);
	if (fork() == 0) {
		close(ends[0]);
		_exit(clock_nanosleep(CLOCK_MONOTONIC, 0, &span, NULL));
	}
	close(ends[1]);
	return ends[0];
}

static int run_timers(time_t seconds)
{
	struct timespec span = {.tv_sec = seconds}, at, tick = {.tv_nsec = TICK_MS * 1000000};
	struct pollfd fds[KINDS];
	int64_t start = now_ns(CLOCK_MONOTONIC);
	uint64_t ticks = 0;
	int tick_fd = timer(CLOCK_MONOTONIC, 0, tick, TICK_MS), left = KINDS;

	clock_gettime(CLOCK_REALTIME, &at);
	at.tv_sec += seconds;
	fds[MONOTONIC].fd = timer(CLOCK_MONOTONIC, 0, span, 0);
	fds[BOOTTIME].fd = timer(CLOCK_BOOTTIME, 0, span, 0);
	fds[REALTIME].fd = timer(CLOCK_REALTIME, TFD_TIMER_ABSTIME, at, 0);
	fds[SLEEP].fd = sleeper(span);
	fds[ALARM].fd = alarm_after(seconds);
	printf("set %lld\n", (long long)now_ns(CLOCK_REALTIME) / 1000000);
	while (left) {
		for (int i = 0; i < KINDS; i++)
			fds[i].events = POLLIN;
		if (poll(fds, KINDS, -1) < 0)
			return 1;
		for (int i = 0; i < KINDS; i++) {
			if (!fds[i].revents)
				continue;
			fds[i].fd = -1;
			left--;
			printf("%s %lld\n", names[i],
			       (long long)(i == REALTIME ? now_ns(CLOCK_REALTIME)
							 : now_ns(CLOCK_MONOTONIC) - start) /
				       1000000);
		}
	}
	if (read(tick_fd, &ticks, sizeof(ticks)) != sizeof(ticks))
		return 1;
	printf("ticks %llu %lld\n", (unsigned long long)ticks,
	       (long long)(now_ns(CLOCK_MONOTONIC) - start) / (TICK_MS * 1000000));
	while (wait(NULL) > 0) {
	}
	return 0;
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc == 2 && !strcmp(argv[1], "random"))
		return say_random();
	if (argc == 2 && !strcmp(argv[1], "now"))
		return say_now();
	if (argc == 3 && !strcmp(argv[1], "timers"))
		return run_timers(atol(argv[2]));
	fprintf(stderr, "usage: clocks random | now | timers SECONDS\n");
	return 1;
}
