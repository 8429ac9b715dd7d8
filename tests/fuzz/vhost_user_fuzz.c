/*
 * A hostile vhost-user back end: what it says in the course of a whole conversation, or what it
 * leaves in the record of requests in flight.
 */
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "devices/inflight.h"
#include "devices/vhost_user.h"
#include "tests/fuzz/input.h"
#include "tests/unit/driver.h"

#define QUEUES	   2
#define QUEUE_SIZE 64
#define STREAM_MAX 4096

static struct driver driver;
static struct virtqueue vq;
static struct inflight inflight;
static int event_fd;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	driver_init(&driver);
	virtqueue_init(&vq, &driver.mem, QUEUE_SIZE);
	vq.state.size = QUEUE_SIZE;
	vq.state.desc_gpa = driver_alloc(&driver, 4096);
	vq.state.avail_gpa = driver_alloc(&driver, 4096);
	vq.state.used_gpa = driver_alloc(&driver, 4096);
	driver_check(virtqueue_enable(&vq) == 0);
	event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	driver_check(inflight_create(&inflight, QUEUES, QUEUE_SIZE) == 0);
	return 0;
}

/* All replies lie ready before the questions are asked, and then the back end hangs up. */
static void converse(struct vhost_user *vu)
{
	uint16_t next_avail;

	if (vhost_user_open(vu, QUEUES, 0, NULL) < 0 ||
	    vhost_user_configure(vu, DRIVER_FEATURES, &driver.mem, NULL) < 0 ||
	    vhost_user_set_inflight(vu, inflight.fd, inflight.len, QUEUES, QUEUE_SIZE, NULL) < 0)
		return;
	for (uint32_t i = 0; i < QUEUES; i++)
		if (vhost_user_vring_start(vu, i, &vq, event_fd, event_fd, NULL) < 0)
			return;
	for (uint32_t i = 0; i < QUEUES; i++)
		if (vhost_user_vring_stop(vu, i, &next_avail, NULL) < 0)
			return;
}

static void hear_all(struct input *input)
{
	uint8_t stream[STREAM_MAX];
	size_t len = input_take(input, stream, sizeof(stream));
	struct vhost_user vu;
	int ends[2];

	driver_check(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
	driver_check(send(ends[1], stream, len, MSG_NOSIGNAL) == (ssize_t)len);
	shutdown(ends[1], SHUT_WR);
	driver_check(vhost_user_init(&vu, ends[0], "fuzz", NULL) == 0);
	vu.timeout_ms = 1000;
	converse(&vu);
	close(ends[0]);
	close(ends[1]);
}

static void read_record(struct input *input)
{
	uint16_t heads[VIRTQUEUE_SIZE_MAX];
	uint16_t used_idx = input_u16(input);

	input_take(input, inflight.bytes, inflight.len);
	inflight_is_kept(&inflight);
	for (unsigned int queue = 0; queue < QUEUES; queue++) {
		unsigned int count = inflight_heads(&inflight, queue, used_idx, heads);

		driver_check(count <= QUEUE_SIZE);
		for (unsigned int i = 0; i < count; i++)
			driver_check(heads[i] < QUEUE_SIZE && (!i || heads[i] > heads[i - 1]));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {data, size};

	if (input_u8(&input) & 1)
		read_record(&input);
	else
		hear_all(&input);
	return 0;
}
