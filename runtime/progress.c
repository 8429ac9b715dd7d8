#include "runtime/progress.h"

#include "common/clock.h"

#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#define BEGIN_NS    500000000u
#define INTERVAL_NS 100000000u
#define BAR	    30

static uint64_t begun, shown;

static void draw(const char *what, uint64_t done, uint64_t total)
{
	char bar[BAR + 1];
	unsigned int filled, percent;

	if (done > total)
		done = total;
	percent = total ? (unsigned int)(done / (total / 100 + 1)) : 0;
	filled = percent * BAR / 100;
	for (unsigned int i = 0; i < BAR; i++)
		bar[i] = i < filled ? '=' : i == filled ? '>' : ' ';
	bar[BAR] = '\0';
	if (total)
		fprintf(stderr, "\r\033[K%.60s [%s] %u%% of %llu MiB", what, bar, percent,
			(unsigned long long)(total >> 20));
	else
		fprintf(stderr, "\r\033[K%.60s %llu MiB", what, (unsigned long long)(done >> 20));
	fflush(stderr);
}

void progress_show(const char *what, uint64_t done, uint64_t total)
{
	static int terminal = -1;
	uint64_t now = monotonic_ns();

	if (terminal < 0)
		terminal = isatty(STDERR_FILENO);
	if (!terminal)
		return;
	if (!begun)
		begun = now;
	if (now - begun < BEGIN_NS || now - shown < INTERVAL_NS)
		return;
	shown = now;
	draw(what, done, total);
}

void progress_end(void)
{
	if (shown)
		fputs("\r\033[K", stderr);
	begun = shown = 0;
}
