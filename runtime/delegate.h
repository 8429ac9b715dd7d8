/*
 * isolation=process: the container is not in a VM but in namespaces, made by crun or runc from the
 * same bundle by the same command line. Its state folder says so, and every later command for its
 * id goes the same way.
 */
#ifndef RUNTIME_DELEGATE_H
#define RUNTIME_DELEGATE_H

#include "runtime/command.h"
#include "runtime/container.h"

/* Remembers the command line, before it is parsed. */
void delegate_remember(const struct globals *globals, int argc, char **argv);

/*
 * create or run by the other runtime. Returns its exit code, or a negative errno. What failed or,
 * with run, has ended leaves nothing behind.
 */
int delegate_create(const struct globals *globals, const char *id, const char *bundle, bool keep,
		    struct error *err);

/*
 * When the state is of such a container the remembered command becomes the other runtime's, and
 * this does not return (delete: after the folder is gone, with its exit code). Else returns 0.
 */
int delegate_command(struct state *state, struct error *err);

/* What the other runtime's `state` says, or NULL when the state is not of such a container. */
json_t *delegate_describe(const struct state *state);

#endif
