/*
 * overlayfs believes that nobody but itself changes its layers, and remembers names that it has
 * looked for, found or not. Where two kernels have one upper directory (the root mode "shared"),
 * each has to be told to look again.
 */
#ifndef COMMON_FORGET_H
#define COMMON_FORGET_H

/*
 * Has the kernel forget all names of the file system that fd is in (O_PATH will do) which nothing
 * holds open. Returns 0 or -errno.
 */
int forget_names(int fd);

#endif
