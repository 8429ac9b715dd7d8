/*
 * posix DIR: what a file system owes to POSIX and Linux's manual pages: which error each call ends
 * with, what becomes of modes, owners, links and times, what open files keep. A line for each
 * promise that is broken, and how many were looked at. As root. The idea is pjdfstest's, which
 * Debian has not.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SOMEBODY 65534
#define OTHER	 1000

static unsigned int looked, broken;

static void is_true(bool holds, const char *what, int line)
{
	looked++;
	if (holds)
		return;
	broken++;
	printf("line %d: not true: %s\n", line, what);
}

static void ends(long ret, int code, const char *what, int line)
{
	int got = ret < 0 ? errno : 0;

	looked++;
	if (got == code)
		return;
	broken++;
	printf("line %d: %s: %s, not %s\n", line, what, got ? strerror(got) : "is done",
	       code ? strerror(code) : "done");
}

#define IS(condition)	  is_true(condition, #condition, __LINE__)
#define FAILS(call, code) ends(call, code, #call, __LINE__)
#define WORKS(call)	  ends(call, 0, #call, __LINE__)

static struct stat of(const char *path)
{
	struct stat st = {0};

	if (lstat(path, &st) < 0)
		st.st_ino = 0;
	return st;
}

static int make(const char *path, mode_t mode)
{
	int fd = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, mode);

	return fd < 0 ? -1 : close(fd);
}

static int open_close(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0644);

	return fd < 0 ? -1 : close(fd);
}

static int put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : write(fd, text, strlen(text));

	if (fd >= 0)
		close(fd);
	return n < 0 ? -1 : 0;
}

static void become(uid_t uid, gid_t gid)
{
	if (seteuid(0) < 0 || setgroups(0, NULL) < 0 || setegid(gid) < 0 || seteuid(uid) < 0) {
		perror("posix: become another");
		exit(2);
	}
}

static void back(void)
{
	if (seteuid(0) < 0 || setegid(0) < 0)
		exit(2);
}

/* Whatever a call changes has a time that can be told from the one before. */
static void later(void)
{
	nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
}

static bool newer(struct timespec a, struct timespec b)
{
	return a.tv_sec > b.tv_sec || (a.tv_sec == b.tv_sec && a.tv_nsec > b.tv_nsec);
}

static void names(void)
{
	char longest[256], longer[257], path[4200];

	memset(longest, 'x', 255);
	longest[255] = '\0';
	memset(longer, 'x', 256);
	longer[256] = '\0';
	WORKS(make(longest, 0600));
	IS(of(longest).st_ino != 0);
	WORKS(rename(longest, "short"));
	WORKS(link("short", longest));
	WORKS(unlink(longest));
	WORKS(symlink(longest, longest));
	WORKS(unlink(longest));
	WORKS(mkdir(longest, 0700));
	WORKS(rmdir(longest));
	FAILS(make(longer, 0600), ENAMETOOLONG);
	FAILS(mkdir(longer, 0700), ENAMETOOLONG);
	FAILS(symlink("x", longer), ENAMETOOLONG);
	FAILS(link("short", longer), ENAMETOOLONG);
	FAILS(rename("short", longer), ENAMETOOLONG);
	FAILS(unlink(longer), ENAMETOOLONG);
	FAILS(mkfifo(longer, 0600), ENAMETOOLONG);
	memset(path, '/', sizeof(path));
	path[4199] = '\0';
	FAILS(open_close(path, O_RDONLY), ENAMETOOLONG);
	WORKS(unlink("short"));
	WORKS(make("\xff\xfe \n\t*?", 0600));
	WORKS(unlink("\xff\xfe \n\t*?"));
	WORKS(make("Case", 0600));
	FAILS(unlink("case"), ENOENT);
	WORKS(unlink("Case"));
}

static void paths(void)
{
	WORKS(make("file", 0644));
	WORKS(mkdir("dir", 0755));
	WORKS(symlink("loop2", "loop1"));
	WORKS(symlink("loop1", "loop2"));
	WORKS(symlink("nowhere", "dangling"));
	FAILS(make("no/such", 0644), ENOENT);
	FAILS(mkdir("no/such", 0755), ENOENT);
	FAILS(open_close("no", O_RDONLY), ENOENT);
	FAILS(open_close("", O_RDONLY), ENOENT);
	FAILS(open_close("dangling", O_RDONLY), ENOENT);
	FAILS(make("file/x", 0644), ENOTDIR);
	FAILS(mkdir("file/x", 0755), ENOTDIR);
	FAILS(unlink("file/x"), ENOTDIR);
	FAILS(rename("file/x", "y"), ENOTDIR);
	FAILS(link("file/x", "y"), ENOTDIR);
	FAILS(chmod("file/x", 0600), ENOTDIR);
	FAILS(truncate("file/x", 0), ENOTDIR);
	FAILS(open_close("file/", O_RDONLY), ENOTDIR);
	FAILS(open_close("loop1", O_RDONLY), ELOOP);
	FAILS(chmod("loop1/x", 0600), ELOOP);
	FAILS(mkdir("loop1/x", 0700), ELOOP);
	FAILS(unlink("loop1/x"), ELOOP);
	FAILS(open_close("dangling", O_RDONLY | O_NOFOLLOW), ELOOP);
	FAILS(open_close("file", O_RDONLY | O_DIRECTORY), ENOTDIR);
	FAILS(open_close("dir", O_WRONLY), EISDIR);
	FAILS(open_close("dir", O_RDWR | O_CREAT), EISDIR);
	FAILS(open_close("file", O_CREAT | O_EXCL | O_RDWR), EEXIST);
	FAILS(open_close("dangling", O_CREAT | O_EXCL | O_RDWR), EEXIST);
	WORKS(open_close("dangling", O_CREAT | O_RDWR));
	IS(S_ISREG(of("nowhere").st_mode));
	FAILS(mkdir("file", 0755), EEXIST);
	FAILS(mkdir("dangling", 0755), EEXIST);
	FAILS(mkdir("dir", 0755), EEXIST);
	FAILS(symlink("x", "file"), EEXIST);
	FAILS(mkfifo("file", 0600), EEXIST);
	FAILS(readlink("file", (char[8]){0}, 8), EINVAL);
	IS(of("dangling").st_size == 7);
	WORKS(unlink("file") | unlink("loop1") | unlink("loop2") | unlink("dangling") |
	      unlink("nowhere") | rmdir("dir"));
}

static void directories(void)
{
	WORKS(mkdir("a", 0755));
	WORKS(mkdir("a/b", 0755));
	WORKS(make("a/b/file", 0644));
	FAILS(rmdir("a"), ENOTEMPTY);
	FAILS(rmdir("a/."), EINVAL);
	FAILS(rmdir("a/b/.."), ENOTEMPTY);
	FAILS(rmdir("a/b/file"), ENOTDIR);
	FAILS(rmdir("none"), ENOENT);
	FAILS(unlink("a"), EISDIR);
	FAILS(link("a", "c"), EPERM);
	FAILS(rename("a", "a/b/c"), EINVAL);
	WORKS(mkdir("empty", 0755));
	FAILS(rename("empty", "a"), ENOTEMPTY);
	FAILS(rename("empty", "a/b/file"), ENOTDIR);
	FAILS(rename("a/b/file", "empty"), EISDIR);
	WORKS(rename("a/b", "empty"));
	IS(of("empty/..").st_ino == of(".").st_ino);
	IS(of("empty/file").st_ino != 0 && of("a/b").st_ino == 0);
	FAILS(renameat2(AT_FDCWD, "a", AT_FDCWD, "empty", RENAME_NOREPLACE), EEXIST);
	/* One that is removed while it is open has nothing in it, and takes nothing. */
	int fd = open("a", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	WORKS(rmdir("a"));
	FAILS(openat(fd, "x", O_CREAT | O_RDWR | O_CLOEXEC, 0600), ENOENT);
	close(fd);
	WORKS(unlink("empty/file") | rmdir("empty"));
}

static void many_entries(void)
{
	unsigned int found = 0;
	struct dirent *entry;
	char name[32];
	DIR *dir;

	WORKS(mkdir("many", 0755));
	for (int i = 0; i < 600; i++) {
		snprintf(name, sizeof(name), "many/entry-%d", i);
		make(name, 0600);
	}
	/* Whoever removes what he reads leaves nothing out. */
	dir = opendir("many");
	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] != '.' && unlinkat(dirfd(dir), entry->d_name, 0) == 0)
			found++;
	closedir(dir);
	IS(found == 600);
	WORKS(rmdir("many"));
}

static void links(void)
{
	struct stat before, after;

	WORKS(make("file", 0644));
	before = of("file");
	later();
	WORKS(link("file", "hard"));
	after = of("hard");
	IS(after.st_ino == before.st_ino && after.st_nlink == 2);
	IS(newer(after.st_ctim, before.st_ctim));
	FAILS(link("file", "hard"), EEXIST);
	WORKS(rename("file", "hard")); /* two names of one file: nothing happens */
	IS(of("file").st_nlink == 2);
	WORKS(put("hard", "text"));
	IS(of("file").st_size == 4);
	WORKS(unlink("file"));
	IS(of("hard").st_nlink == 1);
	WORKS(symlink("hard", "soft"));
	WORKS(linkat(AT_FDCWD, "soft", AT_FDCWD, "soft2", 0));
	IS(S_ISLNK(of("soft2").st_mode) && of("soft2").st_nlink == 2);
	WORKS(linkat(AT_FDCWD, "soft", AT_FDCWD, "hard2", AT_SYMLINK_FOLLOW));
	IS(of("hard2").st_ino == of("hard").st_ino);
	WORKS(unlink("soft") | unlink("soft2") | unlink("hard") | unlink("hard2"));
}

static void open_files(void)
{
	char bytes[8] = "";
	struct stat st;
	int fd, again;

	fd = open("file", O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	IS(write(fd, "before", 6) == 6);
	WORKS(unlink("file"));
	FAILS(open_close("file", O_RDONLY), ENOENT);
	IS(fstat(fd, &st) == 0 && st.st_nlink == 0);
	IS(pread(fd, bytes, 6, 0) == 6 && !memcmp(bytes, "before", 6));
	IS(pwrite(fd, "after", 5, 100000) == 5 && fstat(fd, &st) == 0 && st.st_size == 100005);
	WORKS(ftruncate(fd, 3));
	WORKS(fchmod(fd, 0640));
	WORKS(fsync(fd));
	close(fd);
	/* What replaces a file leaves who has it open alone. */
	WORKS(make("old", 0600) | put("old", "old"));
	fd = open("old", O_RDONLY | O_CLOEXEC);
	WORKS(make("new", 0600) | put("new", "new"));
	WORKS(rename("new", "old"));
	again = open("old", O_RDONLY | O_CLOEXEC);
	IS(read(fd, bytes, 3) == 3 && !memcmp(bytes, "old", 3));
	IS(read(again, bytes, 3) == 3 && !memcmp(bytes, "new", 3));
	close(again);
	close(fd);
	fd = open("old", O_RDONLY | O_CLOEXEC);
	FAILS(write(fd, "x", 1), EBADF);
	FAILS(ftruncate(fd, 0), EINVAL);
	IS(pread(fd, bytes, 8, 1000) == 0);
	close(fd);
	WORKS(unlink("old"));
}

static void sizes(void)
{
	char bytes[4096];
	struct stat before, after;
	int fd, append;

	fd = open("file", O_CREAT | O_RDWR | O_CLOEXEC, 0644);
	IS(pwrite(fd, "end", 3, 1000000) == 3);
	IS(pread(fd, bytes, sizeof(bytes), 500000) == sizeof(bytes) && bytes[0] == 0 &&
	   !memcmp(bytes, bytes + 1, sizeof(bytes) - 1));
	WORKS(ftruncate(fd, 10));
	WORKS(ftruncate(fd, 20));
	IS(pread(fd, bytes, 30, 0) == 20 && bytes[19] == 0);
	FAILS(ftruncate(fd, -1), EINVAL);
	FAILS(truncate(".", 0), EISDIR);
	before = of("file");
	later();
	WORKS(truncate("file", 5));
	after = of("file");
	IS(newer(after.st_mtim, before.st_mtim) && newer(after.st_ctim, before.st_ctim));
	append = open("file", O_WRONLY | O_APPEND | O_CLOEXEC);
	IS(pwrite(fd, "0123456789", 10, 0) == 10 && write(append, "x", 1) == 1);
	IS(of("file").st_size == 11);
	later();
	before = of("file");
	WORKS(open_close("file", O_WRONLY | O_TRUNC));
	after = of("file");
	IS(after.st_size == 0 && newer(after.st_mtim, before.st_mtim));
	IS(lseek(fd, 1ll << 40, SEEK_SET) == 1ll << 40 && write(fd, "x", 1) == 1);
	IS(of("file").st_size == (1ll << 40) + 1 && of("file").st_blocks < 4096);
	close(append);
	close(fd);
	WORKS(unlink("file"));
}

static void modes(void)
{
	struct stat before, after;

	umask(027);
	WORKS(make("file", 0777) | mkdir("dir", 0777));
	umask(0);
	IS((of("file").st_mode & 07777) == 0750 && (of("dir").st_mode & 07777) == 0750);
	before = of("file");
	later();
	WORKS(chmod("file", 07777));
	after = of("file");
	IS((after.st_mode & 07777) == 07777 && newer(after.st_ctim, before.st_ctim));
	/* A change of owner takes the bits that lend rights. */
	WORKS(chown("file", SOMEBODY, SOMEBODY));
	IS((of("file").st_mode & 06000) == 0 && of("file").st_uid == SOMEBODY);
	WORKS(chown("file", -1, 0));
	IS(of("file").st_uid == SOMEBODY && of("file").st_gid == 0);
	/* So does a write of one who has no right to keep them. */
	WORKS(chown("file", 0, 0) | chmod("file", 06777));
	become(SOMEBODY, SOMEBODY);
	WORKS(put("file", "text"));
	back();
	IS((of("file").st_mode & 06000) == 0);
	WORKS(chmod("file", 06777));
	become(SOMEBODY, SOMEBODY);
	WORKS(truncate("file", 1));
	back();
	IS((of("file").st_mode & 06000) == 0);
	/* Who is not of the group cannot lend its rights. */
	WORKS(chown("file", SOMEBODY, 0));
	become(SOMEBODY, SOMEBODY);
	WORKS(chmod("file", 02755));
	back();
	IS((of("file").st_mode & 07777) == 0755);
	/* What is made in a directory of a group's belongs to the group. */
	WORKS(chown("dir", 0, OTHER) | chmod("dir", 02777));
	WORKS(make("dir/file", 0644) | mkdir("dir/sub", 0755));
	IS(of("dir/file").st_gid == OTHER && of("dir/sub").st_gid == OTHER);
	IS(of("dir/sub").st_mode & 02000);
	WORKS(unlink("dir/file") | rmdir("dir/sub") | rmdir("dir") | unlink("file"));
}

static void rights(void)
{
	WORKS(make("file", 0640) | mkdir("closed", 0700) | make("closed/file", 0666));
	WORKS(mkdir("plain", 0755) | make("plain/file", 0666));
	become(SOMEBODY, SOMEBODY);
	FAILS(open_close("file", O_RDONLY), EACCES);
	FAILS(open_close("file", O_WRONLY), EACCES);
	FAILS(open_close("closed/file", O_RDONLY), EACCES);
	FAILS(open_close("closed", O_RDONLY), EACCES);
	FAILS(make("plain/new", 0644), EACCES);
	FAILS(unlink("plain/file"), EACCES);
	FAILS(rename("plain/file", "plain/new"), EACCES);
	FAILS(mkdir("plain/new", 0755), EACCES);
	FAILS(symlink("x", "plain/new"), EACCES);
	FAILS(chmod("plain/file", 0600), EPERM);
	FAILS(chown("plain/file", SOMEBODY, -1), EPERM);
	FAILS(truncate("file", 0), EACCES);
	back();
	WORKS(chown("file", 0, SOMEBODY));
	become(SOMEBODY, SOMEBODY);
	WORKS(open_close("file", O_RDONLY));
	FAILS(open_close("file", O_WRONLY), EACCES);
	back();
	/* The owner's bits are the owner's, be the others' wider. */
	WORKS(chown("file", SOMEBODY, SOMEBODY) | chmod("file", 0077));
	become(SOMEBODY, SOMEBODY);
	FAILS(open_close("file", O_RDONLY), EACCES);
	back();
	WORKS(unlink("closed/file") | rmdir("closed") | unlink("plain/file") | rmdir("plain"));
	WORKS(unlink("file"));
}

static void sticky(void)
{
	WORKS(mkdir("tmp", 01777));
	become(OTHER, OTHER);
	WORKS(make("tmp/file", 0666) | mkdir("tmp/dir", 0777));
	become(SOMEBODY, SOMEBODY);
	WORKS(make("tmp/mine", 0600));
	FAILS(unlink("tmp/file"), EPERM);
	FAILS(rename("tmp/file", "tmp/new"), EPERM);
	FAILS(rename("tmp/mine", "tmp/file"), EPERM);
	FAILS(rmdir("tmp/dir"), EPERM);
	WORKS(unlink("tmp/mine"));
	become(OTHER, OTHER);
	WORKS(unlink("tmp/file") | rmdir("tmp/dir"));
	back();
	WORKS(rmdir("tmp"));
}

static void times(void)
{
	struct timespec set[2] = {{1000000000, 123456789}, {2000000000, 987654321}};
	struct stat before, after;

	WORKS(mkdir("dir", 0777));
	before = of("dir");
	later();
	WORKS(make("dir/file", 0666));
	after = of("dir");
	IS(newer(after.st_mtim, before.st_mtim) && newer(after.st_ctim, before.st_ctim));
	later();
	WORKS(rename("dir/file", "dir/new"));
	IS(newer(of("dir").st_mtim, after.st_mtim));
	after = of("dir");
	later();
	WORKS(unlink("dir/new") | make("dir/file", 0666));
	IS(newer(of("dir").st_mtim, after.st_mtim));
	WORKS(utimensat(AT_FDCWD, "dir/file", set, 0));
	after = of("dir/file");
	IS(after.st_atim.tv_sec == 1000000000 && after.st_atim.tv_nsec == 123456789);
	IS(after.st_mtim.tv_sec == 2000000000 && after.st_mtim.tv_nsec == 987654321);
	set[0].tv_nsec = UTIME_OMIT;
	set[1] = (struct timespec){-5000, 1}; /* before 1970 */
	WORKS(utimensat(AT_FDCWD, "dir/file", set, 0));
	after = of("dir/file");
	IS(after.st_atim.tv_sec == 1000000000 && after.st_mtim.tv_sec == -5000);
	WORKS(put("dir/file", "x"));
	IS(of("dir/file").st_mtim.tv_sec > 1000000000);
	become(SOMEBODY, SOMEBODY);
	WORKS(utimensat(AT_FDCWD, "dir/file", NULL, 0));
	FAILS(utimensat(AT_FDCWD, "dir/file", (struct timespec[2]){{1, 1}, {1, 1}}, 0), EPERM);
	back();
	WORKS(symlink("file", "dir/link"));
	WORKS(utimensat(AT_FDCWD, "dir/link", (struct timespec[2]){{7, 0}, {7, 0}},
			AT_SYMLINK_NOFOLLOW));
	IS(of("dir/link").st_mtim.tv_sec == 7 && of("dir/file").st_mtim.tv_sec != 7);
	WORKS(unlink("dir/link") | unlink("dir/file") | rmdir("dir"));
}

static void kinds(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "socket"};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	WORKS(mkfifo("fifo", 0640));
	IS(S_ISFIFO(of("fifo").st_mode) && (of("fifo").st_mode & 0777) == 0640);
	FAILS(open_close("fifo", O_WRONLY | O_NONBLOCK), ENXIO);
	WORKS(open_close("fifo", O_RDONLY | O_NONBLOCK));
	WORKS(bind(fd, (struct sockaddr *)&address, sizeof(address)));
	IS(S_ISSOCK(of("socket").st_mode));
	FAILS(open_close("socket", O_RDONLY), ENXIO);
	FAILS(connect(client, (struct sockaddr *)&address, sizeof(address)), ECONNREFUSED);
	WORKS(listen(fd, 1));
	WORKS(connect(client, (struct sockaddr *)&address, sizeof(address)));
	WORKS(mknod("null", S_IFCHR | 0666, 259));
	IS(S_ISCHR(of("null").st_mode) && of("null").st_rdev == 259);
	WORKS(unlink("fifo") | unlink("socket") | unlink("null"));
	close(client);
	close(fd);
}

/* In another process: 0 if the lock can be had. */
static int try_lock(const char *path, bool whole)
{
	struct flock lock = {.l_type = F_WRLCK, .l_start = 10, .l_len = 10};
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		int fd = open(path, O_RDWR | O_CLOEXEC);
		int ret = whole ? flock(fd, LOCK_EX | LOCK_NB) : fcntl(fd, F_SETLK, &lock);

		_exit(ret < 0);
	}
	waitpid(pid, &status, 0);
	return status ? -1 : 0;
}

static void locks(void)
{
	struct flock lock = {.l_type = F_WRLCK, .l_start = 0, .l_len = 15};
	int fd = open("file", O_CREAT | O_RDWR | O_CLOEXEC, 0600);

	WORKS(flock(fd, LOCK_EX));
	IS(try_lock("file", true) < 0);
	WORKS(flock(fd, LOCK_UN));
	IS(try_lock("file", true) == 0);
	WORKS(fcntl(fd, F_SETLK, &lock));
	IS(try_lock("file", false) < 0);
	lock.l_len = 10;
	lock.l_start = 10;
	lock.l_type = F_UNLCK;
	WORKS(fcntl(fd, F_SETLK, &lock));
	IS(try_lock("file", false) == 0);
	close(fd);
	WORKS(unlink("file"));
}

static void mappings(void)
{
	int fd = open("file", O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	char bytes[8] = "";
	char *map;
	int status;

	WORKS(ftruncate(fd, 8192));
	map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	IS(map != MAP_FAILED);
	if (map == MAP_FAILED)
		return;
	if (fork() == 0) {
		memcpy(map + 5000, "child", 5);
		_exit(0);
	}
	wait(&status);
	IS(!memcmp(map + 5000, "child", 5));
	IS(pread(fd, bytes, 5, 5000) == 5 && !memcmp(bytes, "child", 5));
	IS(pwrite(fd, "write", 5, 100) == 5 && !memcmp(map + 100, "write", 5));
	WORKS(msync(map, 8192, MS_SYNC));
	munmap(map, 8192);
	map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	memcpy(map + 100, "alone", 5);
	IS(pread(fd, bytes, 5, 100) == 5 && !memcmp(bytes, "write", 5));
	munmap(map, 4096);
	WORKS(fallocate(fd, 0, 8192, 8192));
	IS(of("file").st_size == 16384);
	WORKS(fdatasync(fd));
	close(fd);
	WORKS(unlink("file"));
}

int main(int argc, char **argv)
{
	struct statvfs fs;

	if (argc != 2 || (mkdir(argv[1], 0755) < 0 && errno != EEXIST) || chdir(argv[1]) < 0) {
		perror(argc == 2 ? argv[1] : "usage: posix DIR");
		return 2;
	}
	umask(0);
	names();
	paths();
	directories();
	many_entries();
	links();
	open_files();
	sizes();
	modes();
	rights();
	sticky();
	times();
	kinds();
	locks();
	mappings();
	IS(statvfs(".", &fs) == 0 && fs.f_namemax >= 254 && fs.f_bsize > 0);
	printf("%u promises, %u broken\n", looked, broken);
	return broken != 0;
}
