#include "tests/payload/target.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "devices/balloon.h"
#include "devices/blk.h"
#include "devices/console.h"
#include "devices/fs.h"
#include "devices/mem.h"
#include "devices/net.h"
#include "devices/rng.h"
#include "devices/vsock.h"
#include "vmm/filter.h"
#include "vmm/jail.h"

PAYLOAD_IMAGE(attack);

#define VIRTIOFSD "/usr/lib/qemu/virtiofsd"

const char *const target_names[SLOTS] = {
	"blk", "vsock", "console", "rng", "balloon", "net", "tap", "fs", "mem",
};

/* --- threads in their filters --- */

#ifdef __SANITIZE_ADDRESS__
#define FILTER_OF(fn) ((void)(fn), NULL)
#else
#define FILTER_OF(fn) fn
#endif

static void disk_begins(void)
{
	filter_enter(FILTER_IO);
}

static void net_begins(void)
{
	filter_enter(FILTER_IO);
}

static void fs_begins(void)
{
	filter_enter(FILTER_FS);
}

static void main_begins(void)
{
	filter_enter(FILTER_MAIN);
}

static void vcpu_begins(void *ctx)
{
	(void)ctx;
	filter_enter(FILTER_VCPU);
}

/* As a main loop's its filter knows no end of a thread: it waits for the end of the process. */
static void *run_loop(void *arg)
{
	static sem_t never;
	struct target *target = arg;
	void (*begins)(void) = FILTER_OF(main_begins);

	if (begins)
		begins();
	loop_run(&target->loop);
	sem_post(&target->loop_ended);
	sem_wait(&never);
	return NULL;
}

/* --- back ends --- */

static void console_output(void *ctx, const void *bytes, size_t len)
{
	struct target *target = ctx;
	const char *text = bytes;

	for (size_t i = 0; i < len; i++) {
		if (text[i] != PAYLOAD_ALIVE[target->matched])
			target->matched = text[i] == PAYLOAD_ALIVE[0];
		else if (!PAYLOAD_ALIVE[++target->matched])
			target->alive++, target->matched = 0;
	}
}

static void release_memory(void *ctx, void *bytes, size_t len)
{
	struct target *target = ctx;

	vm_memory_release(&target->payload.memory, bytes, len);
}

/* A port that never runs out and never blocks. */
static int connect_port(void *ctx, uint32_t port, struct vsock_endpoint *endpoint)
{
	struct target *target = ctx;

	if (port != PAYLOAD_VSOCK_PORT)
		return -ECONNREFUSED;
	endpoint->in_fd = fcntl(target->zero_fd, F_DUPFD_CLOEXEC, 3);
	endpoint->out_fd = fcntl(target->null_fd, F_DUPFD_CLOEXEC, 3);
	return 0;
}

static int make_disk(void)
{
	int fd = memfd_create("disk", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, PAYLOAD_DISK_SECTORS * 512), 0);
	return fd;
}

static void *echo(void *arg)
{
	struct target *target = arg;
	static char bytes[65536];
	ssize_t len;

	while ((len = recv(target->echo_fd, bytes, sizeof(bytes), 0)) > 0)
		for (ssize_t at = 0, n; at < len; at += n) {
			n = send(target->echo_fd, bytes + at, (size_t)(len - at), MSG_NOSIGNAL);
			if (n <= 0)
				return NULL;
		}
	return NULL;
}

static void attach_echo(struct target *target)
{
	struct error err = {0};
	int pair[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	ck_assert_msg(net_attach(target->net, pair, 1, &err) == 0, "%s", err.message);
	target->echo_fd = pair[1];
	ck_assert_int_eq(pthread_create(&target->echo_thread, NULL, echo, target), 0);
}

static int open_tap(void)
{
	struct ifreq request = {
		.ifr_name = "attacked",
		.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE,
	};
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	if (fd >= 0 && ioctl(fd, TUNSETIFF, &request) < 0)
		close_fd(&fd);
	return fd;
}

/* In a network of the test's own: nobody gets to see the frames. */
static void attach_tap(struct target *target)
{
	struct ifreq request = {.ifr_name = "attacked", .ifr_flags = IFF_UP};
	cleanup_fd int socket_fd = -1;
	struct error err = {0};
	int fds[2];

	if (geteuid() != 0 || unshare(CLONE_NEWNET) < 0)
		return;
	fds[0] = open_tap();
	fds[1] = open_tap();
	if (fds[0] < 0 || fds[1] < 0)
		return;
	socket_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(ioctl(socket_fd, SIOCSIFFLAGS, &request), 0);
	ck_assert_msg(net_attach(target->tap, fds, 2, &err) == 0, "%s", err.message);
}

static _Noreturn void become_virtiofsd(int fd, const char *directory)
{
	char socket[32], options[128];

	snprintf(socket, sizeof(socket), "--fd=%d", fd);
	snprintf(options, sizeof(options), "source=%s,sandbox=namespace,xattr,log_level=err",
		 directory);
	/* What the guest leaves there goes with the last process that sees it. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && unshare(CLONE_NEWNS) == 0 &&
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	    mount("tmpfs", directory, "tmpfs", 0, "size=16m") == 0 && fcntl(fd, F_SETFD, 0) == 0)
		execl(VIRTIOFSD, VIRTIOFSD, socket, "-o", options, "--rlimit-nofile=0", NULL);
	_exit(127);
}

/* Returns the front end's side of a connection to virtiofsd, or to nobody. */
static int connect_virtiofsd(struct target *target)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	cleanup_fd int listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	pid_t pid;

	strcpy(target->directory, "/tmp/bulkhead-attack-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(target->directory));
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket", target->directory);
	ck_assert_int_eq(bind(listen_fd, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(listen(listen_fd, 1), 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	unlink(address.sun_path);
	if (geteuid() == 0 && access(VIRTIOFSD, X_OK) == 0) {
		pid = fork();
		ck_assert_int_ge(pid, 0);
		if (pid == 0)
			become_virtiofsd(listen_fd, target->directory);
	}
	return fd;
}

/* --- the whole --- */

static int create_mem(struct target *target, struct error *err)
{
	struct vm_memory *memory = &target->payload.memory;
	int ret = vm_memory_reserve(memory, 2 * MEMORY_MORE_STEP, err);

	if (ret == 0)
		ret = vm_memory_grow(memory, &target->payload.kvm, MEMORY_MORE_STEP, err);
	if (ret == 0)
		ret = mem_create(&target->mem, &memory->map, memory->more, release_memory, target,
				 err);
	return ret < 0 ? ret : mem_request(target->mem, 8 * MEM_BLOCK);
}

static int create_devices(struct target *target, enum target_slot slot, struct error *err)
{
	const struct guest_memory *mem = &target->payload.memory.map;
	struct blk_options blk = {
		.fd = make_disk(),
		.serial = "attacked",
		.name = "disk0",
		.thread_begins = FILTER_OF(disk_begins),
	};
	struct vsock_options vsock = {
		.guest_cid = PAYLOAD_CID,
		.connect = connect_port,
		.ctx = target,
		.listen_fd = -1,
		.loop = &target->loop,
	};
	struct net_options net = {
		.name = "net0",
		.pairs = 1,
		.plain = true,
		.thread_begins = FILTER_OF(net_begins),
	};
	struct net_options tap = {
		.name = "net1",
		.index = 1,
		.pairs = 2,
		.thread_begins = FILTER_OF(net_begins),
	};
	struct fs_options fs = {
		.tag = "attacked",
		.fd = slot == SLOT_FS ? connect_virtiofsd(target) : -1,
		.records_inflight = true,
		.activity_fd = -1,
		.thread_begins = FILTER_OF(fs_begins),
	};
	int ret;

	if ((ret = blk_create(&target->blk, &blk, mem, err)) < 0 ||
	    (ret = vsock_create(&target->vsock, &vsock, mem, err)) < 0 ||
	    (ret = console_create(&target->console, mem, console_output, target, err)) < 0 ||
	    (ret = rng_create(&target->rng, mem, err)) < 0 ||
	    (ret = balloon_create(&target->balloon, mem, release_memory, target, err)) < 0 ||
	    (ret = net_create(&target->net, &net, mem, err)) < 0 ||
	    (ret = net_create(&target->tap, &tap, mem, err)) < 0)
		return ret;
	if ((ret = fs_create(&target->fs, &fs, mem, err)) < 0)
		return ret;
	return create_mem(target, err);
}

void target_init(struct target *target, enum target_slot slot)
{
	struct error err = {0};
	int ret;

	memset(target, 0, sizeof(*target));
	sem_init(&target->loop_ended, 0, 0);
	jail_prepare_libc();
	target->zero_fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	target->null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	payload_init(&target->payload, &attack_image, PAYLOAD_USER);
	target->payload.machine.thread_begins = FILTER_OF(vcpu_begins);
	ck_assert_int_eq(filter_prepare(&err), 0);
	ck_assert_int_eq(loop_init(&target->loop), 0);
	ret = create_devices(target, slot, &err);
	ck_assert_msg(ret == 0, "%s", err.message);

	const struct slot_host host = {
		.kvm = &target->payload.kvm,
		.bus = &target->payload.mmio,
	};
	const struct {
		struct virtio_device *device;
		struct loop *loop;
	} places[SLOTS] = {
		[SLOT_BLK] = {blk_device(target->blk), blk_loop(target->blk)},
		[SLOT_VSOCK] = {vsock_device(target->vsock), &target->loop},
		[SLOT_CONSOLE] = {console_device(target->console), &target->loop},
		[SLOT_RNG] = {rng_device(target->rng), &target->loop},
		[SLOT_BALLOON] = {balloon_device(target->balloon), &target->loop},
		[SLOT_NET] = {net_device(target->net), net_loop(target->net)},
		[SLOT_TAP] = {net_device(target->tap), net_loop(target->tap)},
		[SLOT_FS] = {fs_device(target->fs), fs_loop(target->fs)},
		[SLOT_MEM] = {mem_device(target->mem), &target->loop},
	};

	for (unsigned int i = 0; i < SLOTS; i++) {
		ret = slot_init(&target->slots[i], i, &host, places[i].device, places[i].loop,
				&err);
		ck_assert_msg(ret == 0, "%s", err.message);
	}
	attach_echo(target);
	if (slot == SLOT_TAP)
		attach_tap(target);
	ck_assert_int_eq(pthread_create(&target->loop_thread, NULL, run_loop, target), 0);
}

void target_destroy(struct target *target)
{
	payload_stop(&target->payload);
	loop_stop(&target->loop);
	sem_wait(&target->loop_ended);
	for (unsigned int i = 0; i < SLOTS; i++)
		slot_destroy(&target->slots[i]);
	vsock_destroy(target->vsock);
	console_destroy(target->console);
	rng_destroy(target->rng);
	balloon_destroy(target->balloon);
	blk_destroy(target->blk);
	net_destroy(target->net);
	net_destroy(target->tap);
	fs_destroy(target->fs);
	mem_destroy(target->mem);
	loop_destroy(&target->loop);
	pthread_join(target->echo_thread, NULL);
	close(target->echo_fd);
	close(target->zero_fd);
	close(target->null_fd);
	payload_destroy(&target->payload);
	rmdir(target->directory);
}
