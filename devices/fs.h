/*
 * virtio-fs (virtio 1.2, section 5.11). The file system itself is served by another process,
 * virtiofsd, over vhost-user: requests go from the guest to it and back without this process.
 *
 * When that process dies, the device takes the queues over and answers every request with ENOTCONN,
 * those that were on their way too: a guest with a lost share goes on and sees errors, it does not
 * hang. There is no second connection.
 */
#ifndef DEVICES_FS_H
#define DEVICES_FS_H

#include "common/error.h"
#include "devices/guest_memory.h"
#include "devices/io_thread.h"
#include "devices/virtio.h"

#define FS_TAG_LEN 36

struct fs_options {
	const char *tag; /* what the guest mounts, FS_TAG_LEN bytes at most */
	int fd;		 /* connection to the back end, taken over; -1: comes later, by fs_attach */
	/*
	 * The back end is QEMU's virtiofsd: its vhost-user library keeps a record of requests in
	 * flight, which the daemon does not say.
	 */
	bool records_inflight;
	int activity_fd;	     /* devices/activity.h; -1: none */
	void (*thread_begins)(void); /* called by the device's thread before all else; or NULL */
};

struct fs;

/* mem must be file-backed (guest_memory_set_file) when the back end is attached. */
int fs_create(struct fs **out, const struct fs_options *options, const struct guest_memory *mem,
	      struct error *err);

/* Gives a device without a back end its own; a guest's requests have waited for it. Once. */
int fs_attach(struct fs *fs, int fd, struct error *err);

/*
 * A region of its memory has grown: the back end knows of it, or is lost, when this returns. Not
 * before fs_takes_memory has said that it can be told. On one thread.
 */
bool fs_takes_memory(struct fs *fs);
void fs_memory_grown(struct fs *fs);

/* Only after its transport is gone. */
void fs_destroy(struct fs *fs);

struct virtio_device *fs_device(struct fs *fs);

/* Where the transport is to watch the queues; run by a thread of the device. */
struct loop *fs_loop(struct fs *fs);

#endif
