/* A command line of bulkhead-vmm, and the descriptors that it names. */
#ifndef RUNTIME_VMM_LINE_H
#define RUNTIME_VMM_LINE_H

#include "runtime/images.h"
#include "runtime/vmm_files.h"

#include <stdbool.h>
#include <stdint.h>

#define VMM_LINE_ARGS 96
#define VMM_LINE_FDS  (IMAGES_LAYERS_MAX + 16)

struct vmm_line {
	char *argv[VMM_LINE_ARGS];
	int argc;
	int fds[VMM_LINE_FDS];
	int fd_count;
	bool failed; /* something did not fit, or there was no memory for it */
};

#define cleanup_vmm_line __attribute__((cleanup(vmm_line_destroy)))
void vmm_line_destroy(struct vmm_line *line);

/* The program, and what every VM has. */
void vmm_line_begin(struct vmm_line *line, const struct vmm_files *files, const char *id);

/* An option with its value. value is malloc'ed and taken over; NULL: there was no memory. */
void vmm_line_value(struct vmm_line *line, const char *option, char *value);
void vmm_line_text(struct vmm_line *line, const char *option, const char *text);
void vmm_line_number(struct vmm_line *line, const char *option, uint32_t number);
void vmm_line_flag(struct vmm_line *line, const char *option);

/* A descriptor that an option has, and one that is a part of a value. Neither is taken over. */
void vmm_line_fd(struct vmm_line *line, const char *option, int fd);
void vmm_line_inherit(struct vmm_line *line, int fd);

/*
 * Between fork and exec, with everything but 0, 1 and 2 close-on-exec: becomes the VMM, which has
 * those, the descriptors of its line, and an empty environment, since the engine's may hold
 * secrets. Returns a negative errno.
 */
int vmm_line_exec(const struct vmm_line *line);

#endif
