/*
 * Keeps the two views of a shared root (shared_root.h) together. The host's kernel forgets the
 * names that it remembers of the engine's overlay a second after the guest was at its shares
 * (devices/activity.h); the guest's does when something on the host has closed a file or a
 * directory there. So each sees within a second what the other has done, as on volumes, and where
 * nothing happens nothing wakes up.
 */
#ifndef RUNTIME_ROOT_KEEPER_H
#define RUNTIME_ROOT_KEEPER_H

/*
 * Starts it, in the process that is about to become the VMM. root_fd: the engine's overlay
 * (shared_root_clone); negative: there is nothing to do. dir_fd: the state folder, for the VMM's
 * control socket. activity_fd: an eventfd that the VMM writes to. Returns 0, or a negative errno
 * and the step that failed.
 */
int root_keeper_start(int root_fd, int dir_fd, int activity_fd, const char **step);

#endif
