/* A GNU make function: $(become-shell COMMAND) replaces make by a shell. See lab.mk for the reason.
 */
#include <gnumake.h>
#include <stdlib.h>
#include <unistd.h>

int plugin_is_GPL_compatible;
int become_gmk_setup(void);

static char *become_shell(const char *name, unsigned int argc, char **argv)
{
	char *cmd = gmk_expand("$(CMD)");

	(void)name;
	(void)argc;
	/* make exports variables to its children only. */
	setenv("CMD", cmd, 1);
	gmk_free(cmd);
	execl("/bin/sh", "sh", "-c", argv[0], (char *)NULL);
	return NULL;
}

int become_gmk_setup(void)
{
	gmk_add_function("become-shell", become_shell, 1, 1, GMK_FUNC_DEFAULT);
	return 1;
}
