/* inotify DIR: watches DIR, makes DIR/made, and prints the event that says so. */
#include <stdio.h>
#include <sys/inotify.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	union {
		struct inotify_event event;
		char bytes[4096];
	} buffer;
	char path[4096];
	FILE *file;
	int fd = inotify_init1(IN_CLOEXEC);

	if (argc != 2 || fd < 0 || inotify_add_watch(fd, argv[1], IN_CREATE) < 0)
		return 1;
	snprintf(path, sizeof(path), "%s/made", argv[1]);
	file = fopen(path, "w");
	if (!file)
		return 1;
	fclose(file);
	/* None may ever come. */
	alarm(20);
	if (read(fd, &buffer, sizeof(buffer)) < (ssize_t)sizeof(buffer.event))
		return 1;
	printf("created %s\n", buffer.event.name);
	return 0;
}
