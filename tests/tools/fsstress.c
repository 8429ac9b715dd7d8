/*
 * fsstress DIR SEED COUNT PROCESSES: so many processes at once do COUNT random operations each on
 * names - create, write, truncate, make and remove directories, link, rename, exchange, unlink,
 * chmod, attributes - in a directory of its own, beside a table of what must be there, which is
 * compared again and again. All of them also come and go in one directory that they share. The
 * idea is that of SGI's program; Debian has none.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#define DIRS  4
#define NAMES 12 /* in each directory */
#define SLOTS (DIRS * NAMES)
#define FILES 256 /* inodes that there may be at once, by number */

/* What a name must be: nothing, or one of the files below. */
struct file {
	bool directory;
	unsigned int links;
	mode_t mode;
	off_t size;
	uint32_t stamp; /* the first bytes of a file */
	uint32_t mark;	/* the value of an attribute; 0: none */
	ino_t inode;
};

static struct file files[FILES];
static int table[SLOTS]; /* a number of files[], -1: nothing */
static unsigned long step;
static uint64_t state;
static bool has_attributes;

static uint32_t random_below(uint32_t limit)
{
	state = state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(state >> 33) % limit;
}

static void fail(const char *what, const char *name)
{
	fprintf(stderr, "fsstress: operation %lu: %s %s: %s\n", step, what, name, strerror(errno));
	exit(1);
}

static void differ(const char *what, const char *name)
{
	fprintf(stderr, "fsstress: operation %lu: %s is not as expected: %s\n", step, name, what);
	exit(1);
}

static const char *name_of(int slot)
{
	static char names[2][32];
	static int turn;

	turn = !turn;
	snprintf(names[turn], sizeof(names[0]), "d%d/n%d", slot / NAMES, slot % NAMES);
	return names[turn];
}

/* The call must end as the table says: 0 is success. */
static bool must(int ret, int code, const char *what, const char *name)
{
	int got = ret < 0 ? errno : 0;

	if (got != code) {
		fprintf(stderr, "fsstress: operation %lu: %s %s: %s, not %s\n", step, what, name,
			got ? strerror(got) : "done", code ? strerror(code) : "done");
		exit(1);
	}
	return code == 0;
}

static int new_file(bool directory, mode_t mode)
{
	for (int i = 0; i < FILES; i++)
		if (!files[i].links) {
			files[i] = (struct file){
				.directory = directory, .links = 1, .mode = mode, .stamp = 0};
			return i;
		}
	fail("table", "is full");
	return -1;
}

static void drop(int slot)
{
	files[table[slot]].links--;
	table[slot] = -1;
}

static void note_inode(int slot)
{
	struct stat st;

	if (lstat(name_of(slot), &st) < 0)
		fail("stat", name_of(slot));
	files[table[slot]].inode = st.st_ino;
}

static void do_create(int slot)
{
	const char *name = name_of(slot);
	int fd = open(name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0640);

	if (!must(fd, table[slot] >= 0 ? EEXIST : 0, "create", name))
		return;
	table[slot] = new_file(false, 0640);
	close(fd);
	note_inode(slot);
}

static void do_mkdir(int slot)
{
	if (!must(mkdir(name_of(slot), 0750), table[slot] >= 0 ? EEXIST : 0, "mkdir",
		  name_of(slot)))
		return;
	table[slot] = new_file(true, 0750);
	note_inode(slot);
}

static void do_write(int slot)
{
	uint32_t stamp = random_below(1u << 30);
	off_t size = 4 + random_below(20000);
	struct file *file;
	int fd;

	if (table[slot] < 0 || files[table[slot]].directory)
		return;
	file = &files[table[slot]];
	fd = open(name_of(slot), O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		fail("open", name_of(slot));
	if (pwrite(fd, &stamp, sizeof(stamp), 0) != sizeof(stamp) || ftruncate(fd, size) < 0 ||
	    (random_below(8) == 0 && fsync(fd) < 0) || close(fd) < 0)
		fail("write", name_of(slot));
	file->stamp = stamp;
	file->size = size;
}

static void do_unlink(int slot)
{
	int code = table[slot] < 0 ? ENOENT : files[table[slot]].directory ? EISDIR : 0;

	if (must(unlink(name_of(slot)), code, "unlink", name_of(slot)))
		drop(slot);
}

static void do_rmdir(int slot)
{
	int code = table[slot] < 0 ? ENOENT : files[table[slot]].directory ? 0 : ENOTDIR;

	if (must(rmdir(name_of(slot)), code, "rmdir", name_of(slot)))
		drop(slot);
}

static void do_link(int from, int to)
{
	int code = table[from] < 0		  ? ENOENT
		   : table[to] >= 0		  ? EEXIST
		   : files[table[from]].directory ? EPERM
						  : 0;

	if (!must(link(name_of(from), name_of(to)), code, "link", name_of(from)))
		return;
	table[to] = table[from];
	files[table[to]].links++;
}

static int rename_code(int from, int to)
{
	if (table[from] < 0)
		return ENOENT;
	if (table[to] < 0 || table[to] == table[from])
		return 0;
	if (files[table[from]].directory)
		return files[table[to]].directory ? 0 : ENOTDIR;
	return files[table[to]].directory ? EISDIR : 0;
}

static void do_rename(int from, int to)
{
	if (!must(rename(name_of(from), name_of(to)), rename_code(from, to), "rename",
		  name_of(from)))
		return;
	/* Two names of one file: nothing happens. */
	if (from == to || table[from] == table[to])
		return;
	if (table[to] >= 0)
		drop(to);
	table[to] = table[from];
	table[from] = -1;
}

static void do_exchange(int a, int b)
{
	int other = table[a];
	int ret = renameat2(AT_FDCWD, name_of(a), AT_FDCWD, name_of(b), RENAME_EXCHANGE);

	/* Not every file system has it. */
	if (ret < 0 && errno == EINVAL)
		return;
	if (must(ret, table[a] < 0 || table[b] < 0 ? ENOENT : 0, "exchange", name_of(a))) {
		table[a] = table[b];
		table[b] = other;
	}
}

static void do_chmod(int slot)
{
	mode_t mode = random_below(01000) | 0600;

	if (must(chmod(name_of(slot), mode), table[slot] < 0 ? ENOENT : 0, "chmod", name_of(slot)))
		files[table[slot]].mode = mode;
}

static void do_attribute(int slot)
{
	uint32_t mark = 1 + random_below(1u << 30);
	int code = table[slot] < 0 ? ENOENT : 0;

	if (has_attributes && must(lsetxattr(name_of(slot), "user.stress", &mark, sizeof(mark), 0),
				   code, "setxattr", name_of(slot)))
		files[table[slot]].mark = mark;
}

static void check_content(int slot, const struct file *file)
{
	uint32_t stamp = 0, mark = 0;
	int fd;

	if (has_attributes && lgetxattr(name_of(slot), "user.stress", &mark, sizeof(mark)) < 0 &&
	    errno != ENODATA)
		fail("getxattr", name_of(slot));
	if (mark != file->mark)
		differ("attribute", name_of(slot));
	if (file->directory)
		return;
	fd = open(name_of(slot), O_RDONLY | O_CLOEXEC);
	if (fd < 0 || (file->size && read(fd, &stamp, sizeof(stamp)) != sizeof(stamp)))
		fail("read", name_of(slot));
	close(fd);
	if (stamp != file->stamp)
		differ("content", name_of(slot));
}

static void check_slot(int slot)
{
	const struct file *file = &files[table[slot]];
	struct stat st;

	if (!must(lstat(name_of(slot), &st), table[slot] < 0 ? ENOENT : 0, "stat", name_of(slot)))
		return;
	if (S_ISDIR(st.st_mode) != file->directory || (st.st_mode & 07777) != file->mode)
		differ("mode", name_of(slot));
	if (st.st_ino != file->inode)
		differ("inode", name_of(slot));
	if (!file->directory && st.st_nlink != file->links)
		differ("links", name_of(slot));
	if (!file->directory && st.st_size != file->size)
		differ("size", name_of(slot));
	check_content(slot, file);
}

/* What readdir finds is what there is, each name once. */
static void check_directory(int number)
{
	bool seen[NAMES] = {false};
	char path[16];
	struct dirent *entry;
	DIR *dir;

	snprintf(path, sizeof(path), "d%d", number);
	dir = opendir(path);
	if (!dir)
		fail("open", path);
	while ((entry = readdir(dir))) {
		int n = atoi(entry->d_name + 1);

		if (entry->d_name[0] == '.')
			continue;
		if (n >= NAMES || seen[n] || table[number * NAMES + n] < 0)
			differ("an entry", entry->d_name);
		seen[n] = true;
	}
	closedir(dir);
	for (int n = 0; n < NAMES; n++)
		if (!seen[n] && table[number * NAMES + n] >= 0)
			differ("a missing entry", name_of(number * NAMES + n));
}

/* Where others are at it too: any end is right, but for one. */
static void disturb(void)
{
	char name[32], other[32];
	int fd, ret = 0;

	snprintf(name, sizeof(name), "../shared/n%u", random_below(8));
	snprintf(other, sizeof(other), "../shared/n%u", random_below(8));
	switch (random_below(4)) {
	case 0:
		fd = open(name, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
		ret = fd < 0 ? -1 : close(fd);
		break;
	case 1:
		ret = rename(name, other);
		break;
	case 2:
		ret = link(name, other);
		break;
	default:
		ret = unlink(name);
	}
	if (ret < 0 && errno != ENOENT && errno != EEXIST)
		fail("disturb", name);
}

static void operate(void)
{
	int slot = (int)random_below(SLOTS), other = (int)random_below(SLOTS);

	switch (random_below(14)) {
	case 0 ... 1:
		do_create(slot);
		break;
	case 2:
		do_mkdir(slot);
		break;
	case 3 ... 4:
		do_write(slot);
		break;
	case 5:
		do_unlink(slot);
		break;
	case 6:
		do_rmdir(slot);
		break;
	case 7:
		do_link(slot, other);
		break;
	case 8 ... 9:
		do_rename(slot, other);
		break;
	case 10:
		do_exchange(slot, other);
		break;
	case 11:
		do_chmod(slot);
		break;
	case 12:
		do_attribute(slot);
		break;
	default:
		disturb();
	}
}

static int work(unsigned int number, uint64_t seed, unsigned long count)
{
	char path[16];

	snprintf(path, sizeof(path), "p%u", number);
	if (mkdir(path, 0755) < 0 || chdir(path) < 0)
		fail("mkdir", path);
	state = seed * 1000 + number;
	memset(table, -1, sizeof(table));
	has_attributes = setxattr(".", "user.stress", "x", 1, 0) == 0;
	for (int i = 0; i < DIRS; i++) {
		snprintf(path, sizeof(path), "d%d", i);
		if (mkdir(path, 0755) < 0)
			fail("mkdir", path);
	}
	for (step = 0; step < count; step++) {
		operate();
		check_slot((int)random_below(SLOTS));
		if (step % 50 == 0)
			check_directory((int)random_below(DIRS));
	}
	for (int i = 0; i < SLOTS; i++)
		check_slot(i);
	for (int i = 0; i < DIRS; i++)
		check_directory(i);
	return 0;
}

int main(int argc, char **argv)
{
	unsigned int processes = argc == 5 ? (unsigned int)atoi(argv[4]) : 0;
	int status, ret = 0;

	if (!processes) {
		fprintf(stderr, "usage: fsstress DIR SEED COUNT PROCESSES\n");
		return 2;
	}
	umask(0);
	if (mkdir(argv[1], 0755) < 0 || chdir(argv[1]) < 0 || mkdir("shared", 0755) < 0)
		fail("mkdir", argv[1]);
	for (unsigned int i = 0; i < processes; i++)
		if (fork() == 0)
			exit(work(i, strtoull(argv[2], NULL, 10), strtoul(argv[3], NULL, 10)));
	while (wait(&status) > 0)
		ret |= status != 0;
	return ret;
}
