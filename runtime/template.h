/*
 * Templates: VMs that were booted until their agent waited for work, and saved. A container whose
 * VM would boot exactly so starts from one instead. They are made in the background when one was
 * missing, kept in STORE/templates (store.h), and never a reason for a failure (docs/templates.md).
 */
#ifndef RUNTIME_TEMPLATE_H
#define RUNTIME_TEMPLATE_H

#include "common/error.h"
#include "runtime/bundle.h"
#include "runtime/vm_size.h"
#include "runtime/vmm_files.h"

#include <stdbool.h>

#define TEMPLATES_DIR	"templates" /* below the store */
#define TEMPLATE_MEMORY "memory"    /* in a template's folder */
#define TEMPLATE_PAGES	"pages"	    /* template_pages.h */
/* More shapes than that are rarely in use at a time; the one that rested longest has to go. */
#define TEMPLATES_MAX 8

/* What a VM's boot depends on. */
struct template_shape {
	const struct vmm_files *files;
	struct vm_size size;
	const char *cmdline; /* NULL: nothing appended */
	unsigned int lowers; /* read-only disks, before the writable one */
	bool scratch;
	unsigned int nics; /* without a link */
	bool user_net;	   /* they are for passt */
	bool shares;	   /* a file system without a back end */
};

#define TEMPLATE_NAME_LEN 16

struct template
{
	int state_fd, memory_fd; /* -1: there is none */
	int pages_fd;		 /* -1: not known yet */
	char name[TEMPLATE_NAME_LEN + 1];
	char *shape; /* all that the name stands for, one line */
};

#define TEMPLATE_INIT                                           \
	{                                                       \
		.state_fd = -1, .memory_fd = -1, .pages_fd = -1 \
	}

/*
 * Finds out the name, and opens the template if it is there and only we can have written it.
 * sibling: one that was looked for just now, whose shape has other memory and is else the same; or
 * NULL.
 */
int template_find(struct template *template, const struct template_shape *shape,
		  const struct template *sibling, struct error *err);
void template_destroy(struct template *template);
#define cleanup_template __attribute__((cleanup(template_destroy)))

/* Removes a template that does not fit. */
void template_discard(const struct template *template);

/*
 * Has a process of its own make it, with the lowest priority, which outlives the caller and holds
 * nothing of his. Not when another one is at it, or that failed within the last hour.
 */
void template_make_later(const struct template *template, const struct template_shape *shape);

/* The folder of one of that name, or -1. */
int template_open(const char *name);

/* The folder with all templates, made when it is missing and found to be only ours; or an error. */
int template_open_dir(struct error *err);

/* Removes what is in a template's folder, and the folder. */
void template_remove(int dir_fd, const char *name);

#endif
