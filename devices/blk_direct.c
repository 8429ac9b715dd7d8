/*
 * Direct I/O: the disk's file is read and written past the host's page cache. What the file asks
 * for has two halves. Places and lengths: the driver is told the block size, and what it asks for
 * beside that is refused (blk_request.c). Addresses: a guest may have its buffers anywhere, so what
 * does not lie right is copied.
 */
#include <string.h>
#include <sys/mman.h>

#include "devices/blk_internal.h"
#include "devices/iov.h"

int blk_direct_create(struct blk *blk, struct error *err)
{
	int fd = blk->files[0].fd, ret;
	void *bounce;

	if (blk->file_count > 1)
		return error_say(err, EINVAL, "%s: only a disk of one file can have direct I/O",
				 blk->dev.name);
	if (fd < 0)
		return 0;
	ret = direct_io_find(fd, &blk->direct);
	if (ret == 0)
		ret = direct_io_enable(fd);
	if (ret < 0)
		return error_set(err, -ret,
				 "%s: its file cannot be read and written past the page cache "
				 "(disk-io=cached does without)",
				 blk->dev.name);
	/* The thread allocates nothing; what is never used stays untouched. */
	bounce = mmap(NULL, (size_t)BLK_REQUESTS_MAX * BLK_BOUNCE_LEN, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (bounce == MAP_FAILED)
		return error_set(err, errno, "%s: memory for direct I/O", blk->dev.name);
	blk->bounce = bounce;
	if (blk->direct.block > BLK_SECTOR_SIZE)
		blk->limits.block_size = blk->direct.block;
	blk->limits.capacity -= blk->limits.capacity % blk->limits.block_size;
	blk->files[0].end = blk->limits.capacity;
	return 0;
}

void blk_direct_destroy(struct blk *blk)
{
	if (blk->bounce)
		munmap(blk->bounce, (size_t)BLK_REQUESTS_MAX * BLK_BOUNCE_LEN);
	blk->bounce = NULL;
}

static bool is_aligned(const struct direct_io *direct, const struct iovec *iov, unsigned int count)
{
	uintptr_t bases = 0, lengths = 0;

	for (unsigned int i = 0; i < count; i++) {
		bases |= (uintptr_t)iov[i].iov_base;
		lengths |= iov[i].iov_len;
	}
	return !(bases & (direct->memory - 1)) && !(lengths & (direct->block - 1));
}

unsigned int blk_direct_buffers(struct blk *blk, struct blk_request *request, uint64_t max)
{
	unsigned int count = blk_request_buffers(request, max);
	uint8_t *bounce;
	size_t len;

	request->bounced = blk->bounce && !is_aligned(&blk->direct, request->iov, count);
	if (!request->bounced)
		return count;
	bounce = blk->bounce + (size_t)(request - blk->requests) * BLK_BOUNCE_LEN;
	len = iov_len(request->iov, count);
	if (len > BLK_BOUNCE_LEN)
		len = BLK_BOUNCE_LEN;
	if (request->op != BLK_READ)
		iov_read(request->iov, count, 0, bounce, len);
	request->iov[0] = (struct iovec){bounce, len};
	return 1;
}

void blk_direct_done(struct blk_request *request, int outcome)
{
	if (!request->bounced || request->op != BLK_READ || outcome <= 0 ||
	    (uint64_t)outcome > request->len)
		return;
	iov_write(virtqueue_chain_writable(&request->chain), request->chain.writable, request->done,
		  request->iov[0].iov_base, (size_t)outcome);
}
