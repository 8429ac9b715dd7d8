#include "devices/inflight.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/cleanup.h"

/* Split rings; the names are the specification's. */
struct desc_state {
	uint8_t inflight;
	uint8_t padding[5];
	uint16_t next;
	uint64_t counter;
};

struct region {
	uint64_t features;
	uint16_t version;
	uint16_t desc_num;
	uint16_t last_batch_head;
	uint16_t used_idx;
	struct desc_state desc[];
};

#define REGION_ALIGN 64u

/* As libvhost-user has it: the alignment makes room for the head of the region too. */
static size_t region_len(uint16_t queue_size)
{
	return (queue_size * sizeof(struct desc_state) + sizeof(uint16_t) + REGION_ALIGN - 1) &
	       ~(size_t)(REGION_ALIGN - 1);
}

static const struct region *region_of(const struct inflight *inflight, unsigned int queue)
{
	return (const void *)(inflight->bytes + queue * region_len(inflight->queue_size));
}

int inflight_create(struct inflight *inflight, uint16_t queue_count, uint16_t queue_size)
{
	int ret;

	*inflight = (struct inflight){
		.fd = memfd_create("vhost-user-inflight", MFD_CLOEXEC | MFD_ALLOW_SEALING),
		.len = queue_count * region_len(queue_size),
		.queue_count = queue_count,
		.queue_size = queue_size,
	};
	if (inflight->fd < 0)
		return -errno;
	if (ftruncate(inflight->fd, (off_t)inflight->len) < 0 ||
	    /* Or the back end could take the memory away under us. */
	    fcntl(inflight->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
		ret = -errno;
		goto failed;
	}
	inflight->bytes = mmap(NULL, inflight->len, PROT_READ | PROT_WRITE, MAP_SHARED,
			       inflight->fd, 0);
	if (inflight->bytes != MAP_FAILED)
		return 0;
	ret = -errno;
	inflight->bytes = NULL;
failed:
	inflight_destroy(inflight);
	return ret;
}

void inflight_destroy(struct inflight *inflight)
{
	if (inflight->bytes)
		munmap(inflight->bytes, inflight->len);
	inflight->bytes = NULL;
	close_fd(&inflight->fd);
}

void inflight_clear(struct inflight *inflight)
{
	memset(inflight->bytes, 0, inflight->len);
}

static uint16_t load16(const uint16_t *at)
{
	return __atomic_load_n(at, __ATOMIC_RELAXED);
}

bool inflight_is_kept(const struct inflight *inflight)
{
	for (unsigned int i = 0; i < inflight->queue_count; i++)
		if (load16(&region_of(inflight, i)->desc_num) != inflight->queue_size)
			return false;
	return true;
}

unsigned int inflight_heads(const struct inflight *inflight, unsigned int queue, uint16_t used_idx,
			    uint16_t heads[VIRTQUEUE_SIZE_MAX])
{
	const struct region *region = region_of(inflight, queue);
	/* It died between the answer and the note of it. */
	bool answered = load16(&region->used_idx) != used_idx;
	uint16_t last = load16(&region->last_batch_head);
	unsigned int count = 0;

	for (uint16_t i = 0; i < inflight->queue_size; i++)
		if (__atomic_load_n(&region->desc[i].inflight, __ATOMIC_RELAXED) == 1 &&
		    !(answered && i == last))
			heads[count++] = i;
	return count;
}
