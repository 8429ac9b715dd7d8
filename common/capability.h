/* The capabilities of the calling thread. */
#ifndef COMMON_CAPABILITY_H
#define COMMON_CAPABILITY_H

/* Gives up all of them for good: effective, permitted, inheritable. Returns 0 or -errno. */
int capabilities_drop(void);

#endif
