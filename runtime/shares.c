#include "runtime/shares.h"

#include "common/cleanup.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define DAEMON "/usr/lib/qemu/virtiofsd" /* in Debian's qemu-system-common */

int shares_find_daemon(char **out, struct error *err)
{
	const char *override = getenv("BULKHEAD_VIRTIOFSD");
	const char *path = override && *override ? override : DAEMON;

	if (access(path, X_OK) < 0)
		return error_say(err, errno,
				 "virtiofsd is missing: %s: %s: install qemu-system-common, or set "
				 "BULKHEAD_VIRTIOFSD; volumes and root=shared need it",
				 path, strerror(errno));
	if (!out)
		return 0;
	*out = strdup(path);
	return *out ? 0 : error_set(err, ENOMEM, "shares");
}

/* The daemon listens, as it wants to, and its only client is there before anybody else can be. */
static int connect_both(struct shares *shares, struct error *err)
{
	cleanup_fd int listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cleanup_fd int vmm_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	socklen_t len = sizeof(address);
	int ends[2];

	/* Bound without a name: the kernel chooses one, in no file system. */
	if (listen_fd < 0 || vmm_fd < 0 ||
	    bind(listen_fd, (struct sockaddr *)&address, sizeof(address.sun_family)) < 0 ||
	    getsockname(listen_fd, (struct sockaddr *)&address, &len) < 0 ||
	    listen(listen_fd, 1) < 0 || connect(vmm_fd, (struct sockaddr *)&address, len) < 0)
		return error_set(err, errno, "socket of virtiofsd");
	shares->listen_fd = take_fd(&listen_fd);
	shares->vmm_fd = take_fd(&vmm_fd);
	if (pipe2(ends, O_CLOEXEC) < 0)
		return error_set(err, errno, "pipe of virtiofsd");
	shares->log_fd = ends[0];
	shares->error_fd = ends[1];
	return 0;
}

/*
 * A mount like the source's, of which only the daemon will know. Nothing in it is a device or a
 * program for the host, whatever the guest makes of it.
 */
static int clone_tree(struct shared_tree *tree, int fd, const struct mount_attr *how,
		      unsigned int recursive)
{
	struct mount_attr attr = *how;

	attr.attr_set |= MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
	tree->fd = open_tree(fd, "",
			     OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | recursive);
	if (tree->fd < 0 ||
	    mount_setattr(tree->fd, "", AT_EMPTY_PATH | recursive, &attr, sizeof(attr)) < 0)
		return -errno;
	return 0;
}

static int add_bind(struct shares *shares, const struct bind_share *share, struct error *err)
{
	struct shared_tree *tree = &shares->trees[shares->count++];
	struct mount_attr attr = {
		.attr_set = share->readonly ? MOUNT_ATTR_RDONLY : 0,
		.propagation = share->follows ? MS_SLAVE : MS_PRIVATE,
	};
	int ret;

	*tree = (struct shared_tree){.directory = share->directory, .readonly = share->readonly};
	ret = clone_tree(tree, share->fd, &attr, share->recursive ? AT_RECURSIVE : 0);
	if (ret == -EPERM && geteuid() != 0)
		return error_say(err, EPERM, "share %s: only root can share files with a VM",
				 share->source);
	return ret < 0 ? error_set(err, -ret, "share %s", share->source) : 0;
}

static int add_root(struct shares *shares, const struct shared_root *root, struct error *err)
{
	struct shared_tree *tree = &shares->trees[shares->count++];
	struct mount_attr attr = {.propagation = MS_PRIVATE};
	int ret;

	*tree = (struct shared_tree){.directory = true};
	shares->root = root;
	ret = clone_tree(tree, root->dir_fd, &attr, 0);
	return ret < 0 ? error_set(err, -ret, "share the overlay's upper directory") : 0;
}

int shares_prepare(struct shares *shares, const struct binds *binds, const struct shared_root *root,
		   struct error *err)
{
	bool shared_root = shared_root_used(root);
	int ret;

	if (!binds->share_count && !shared_root)
		return 0;
	ret = shares_find_daemon(&shares->daemon, err);
	if (ret < 0)
		return ret;
	shares->trees = calloc(binds->share_count + 1, sizeof(*shares->trees));
	if (!shares->trees)
		return error_set(err, ENOMEM, "shares");
	for (size_t i = 0; ret == 0 && i < binds->share_count; i++)
		ret = add_bind(shares, &binds->shares[i], err);
	if (ret == 0 && shared_root)
		ret = add_root(shares, root, err);
	return ret < 0 ? ret : connect_both(shares, err);
}

void shares_destroy(struct shares *shares)
{
	for (size_t i = 0; i < shares->count; i++)
		close_fd(&shares->trees[i].fd);
	free(shares->trees);
	free(shares->daemon);
	close_fd(&shares->listen_fd);
	close_fd(&shares->vmm_fd);
	close_fd(&shares->error_fd);
	close_fd(&shares->log_fd);
	shares->trees = NULL;
	shares->daemon = NULL;
	shares->root = NULL;
	shares->count = 0;
}
