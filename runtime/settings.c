#include "runtime/settings.h"
#include "runtime/file.h"

#include "common/cleanup.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX (1u << 20)
#define PREFIX	 "io.bulkhead."

enum type { NUMBER, TEXT, PATH, CHOICE, BOOL, NAMES };

/* The man page has each with its meaning. */
static const struct setting {
	const char *name;
	enum type type;
	bool annotation; /* a container may set it for itself, */
	bool named;	 /* but only where the host's settings name it */
	uint32_t min, max;
	const char *choices[4];
} known[] = {
	{.name = "agent-timeout", .type = NUMBER, .annotation = true, .min = 1, .max = 86400000},
	{.name = "annotations", .type = NAMES, .annotation = false},
	{.name = "cache-size", .type = TEXT, .annotation = false},
	{.name = "data-root", .type = PATH, .annotation = false},
	{.name = "debug", .type = BOOL, .annotation = false},
	{.name = "disk-io", .type = CHOICE, .annotation = true, .choices = {"cached", "direct"}},
	{.name = "disk-rate", .type = TEXT, .annotation = true},
	{.name = "image", .type = TEXT, .annotation = true},
	{.name = "initramfs", .type = PATH, .annotation = true},
	{.name = "io-threads", .type = CHOICE, .annotation = true, .choices = {"shared", "own"}},
	{.name = "isolation", .type = CHOICE, .annotation = true, .choices = {"vm", "process"}},
	{.name = "kernel", .type = PATH, .annotation = true},
	{.name = "kernel-cmdline", .type = TEXT, .annotation = true},
	{.name = "memory",
	 .type = NUMBER,
	 .annotation = true,
	 .min = SETTINGS_MIN_MIB,
	 .max = SETTINGS_MAX_MIB},
	{.name = "memory-max",
	 .type = NUMBER,
	 .annotation = true,
	 .min = SETTINGS_MIN_MIB,
	 .max = SETTINGS_MAX_MIB},
	{.name = "net", .type = CHOICE, .annotation = true, .choices = {"namespace", "user"}},
	{.name = "net-rate", .type = TEXT, .annotation = true},
	{.name = "net-vhost",
	 .type = CHOICE,
	 .annotation = true,
	 .named = true,
	 .choices = {"off", "auto", "on"}},
	{.name = "nics", .type = NUMBER, .annotation = true, .min = 1, .max = SETTINGS_MAX_NICS},
	{.name = "pin", .type = TEXT, .annotation = true},
	{.name = "pod-sandbox", .type = CHOICE, .annotation = false, .choices = {"process", "vm"}},
	{.name = "process-runtime", .type = TEXT, .annotation = false},
	{.name = "publish", .type = TEXT, .annotation = true},
	{.name = "root", .type = CHOICE, .annotation = true, .choices = {"scratch", "shared"}},
	{.name = "scratch-size", .type = TEXT, .annotation = true},
	{.name = "seal", .type = CHOICE, .annotation = true, .choices = {"off", "verity"}},
	{.name = "tap", .type = TEXT, .annotation = true},
	{.name = "template", .type = CHOICE, .annotation = true, .choices = {"auto", "off"}},
	{.name = "vcpus", .type = NUMBER, .annotation = true, .min = 1, .max = SETTINGS_MAX_VCPUS},
	{.name = "vmm", .type = PATH, .annotation = false},
};

static const struct setting *find(const char *name)
{
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (!strcmp(known[i].name, name))
			return &known[i];
	return NULL;
}

static int check_number(const struct setting *setting, const json_t *value, const char *where,
			struct error *err)
{
	json_int_t number = json_integer_value(value);

	if (json_is_integer(value) && number >= setting->min && number <= setting->max)
		return 0;
	if (json_is_string(value))
		return error_say(err, EINVAL, "%s: \"%s\" is not a number from %u to %u", where,
				 json_string_value(value), setting->min, setting->max);
	if (json_is_integer(value))
		return error_say(err, EINVAL,
				 "%s: \"%" JSON_INTEGER_FORMAT "\" is not a number from %u to %u",
				 where, number, setting->min, setting->max);
	return error_say(err, EINVAL, "%s: must be a number from %u to %u", where, setting->min,
			 setting->max);
}

static int check_choice(const struct setting *setting, const json_t *value, const char *where,
			struct error *err)
{
	const char *text = json_string_value(value);

	for (int i = 0; setting->choices[i]; i++)
		if (text && !strcmp(text, setting->choices[i]))
			return 0;
	if (setting->choices[2])
		return error_say(err, EINVAL, "%s: \"%s\" is not %s, %s or %s", where,
				 text ? text : "", setting->choices[0], setting->choices[1],
				 setting->choices[2]);
	return error_say(err, EINVAL, "%s: \"%s\" is not %s or %s", where, text ? text : "",
			 setting->choices[0], setting->choices[1]);
}

static int check_names(const json_t *value, const char *where, struct error *err)
{
	json_t *item;
	size_t i;

	if (!json_is_array(value))
		return error_say(err, EINVAL, "%s: must be an array of names", where);
	json_array_foreach (value, i, item) {
		const char *name = json_string_value(item);
		const struct setting *setting = name ? find(name) : NULL;

		if (!setting || !setting->annotation)
			return error_say(err, EINVAL, "%s: \"%s\" is not the name of an annotation",
					 where, name ? name : "");
	}
	return 0;
}

static int check(const struct setting *setting, const json_t *value, const char *where,
		 struct error *err)
{
	const char *text = json_string_value(value);

	switch (setting->type) {
	case NUMBER:
		return check_number(setting, value, where, err);
	case CHOICE:
		return check_choice(setting, value, where, err);
	case NAMES:
		return check_names(value, where, err);
	case BOOL:
		return json_is_boolean(value)
			       ? 0
			       : error_say(err, EINVAL, "%s: must be true or false", where);
	case PATH:
		if (!text || *text != '/')
			return error_say(err, EINVAL, "%s: must be an absolute path", where);
		return 0;
	default:
		return text ? 0 : error_say(err, EINVAL, "%s: must be a string", where);
	}
}

static int check_file(const json_t *file, const char *path, struct error *err)
{
	const char *name;
	json_t *value;

	if (!json_is_object(file))
		return error_say(err, EINVAL, "%s: must be an object", path);
	json_object_foreach ((json_t *)file, name, value) {
		cleanup_free char *where = format("%s: %s", path, name);
		const struct setting *setting = find(name);
		int ret;

		if (!where)
			return error_set(err, ENOMEM, "%s", path);
		if (!setting)
			return error_say(err, EINVAL, "%s: unknown setting \"%s\"", path, name);
		ret = check(setting, value, where, err);
		if (ret < 0)
			return ret;
	}
	return 0;
}

int settings_load(struct settings *settings, const char *path, struct error *err)
{
	struct error why = {0};
	cleanup_free char *text = NULL;
	json_error_t where;
	ssize_t len = file_read(AT_FDCWD, path ? path : SETTINGS_FILE, FILE_MAX, &text, &why);

	if (len == -ENOENT && !path)
		return 0;
	if (!path)
		path = SETTINGS_FILE;
	if (len < 0)
		return error_set(err, (int)-len, "open the settings %s", path);
	settings->file = json_loadb(text, (size_t)len, JSON_REJECT_DUPLICATES, &where);
	if (!settings->file)
		return error_say(err, EINVAL, "%s: line %d, column %d: %s", path, where.line,
				 where.column, where.text);
	return check_file(settings->file, path, err);
}

/* Whether the host's settings let containers set this one. */
static bool is_allowed(const struct settings *settings, const struct setting *setting)
{
	const json_t *list = json_object_get(settings->file, "annotations");
	json_t *item;
	size_t i;

	json_array_foreach (list, i, item)
		if (!strcmp(json_string_value(item), setting->name))
			return true;
	return !list && !setting->named;
}

/* An annotation is a string: what it stands for. NULL when it cannot be of the setting's type. */
static json_t *value_of(const struct setting *setting, const char *text)
{
	char *end;
	unsigned long number;

	if (setting->type != NUMBER)
		return json_string(text);
	errno = 0;
	number = strtoul(text, &end, 10);
	if (errno || *end || *text < '0' || *text > '9' || number > UINT32_MAX)
		return json_string(text);
	return json_integer((json_int_t)number);
}

static int annotate(struct settings *settings, const char *name, const char *text,
		    struct error *err)
{
	cleanup_free char *where = format("annotation " PREFIX "%s", name);
	const struct setting *setting = find(name);
	json_t *value;
	int ret;

	if (!where)
		return error_set(err, ENOMEM, "annotation");
	if (!setting || !setting->annotation)
		return error_say(err, EINVAL, "%s: there is no such setting for a container",
				 where);
	if (!is_allowed(settings, setting))
		return error_say(err, EPERM, "%s: this host's settings do not allow it", where);
	value = value_of(setting, text);
	ret = check(setting, value, where, err);
	if (ret < 0)
		json_decref(value);
	else
		json_object_set_new(settings->annotations, name, value);
	return ret;
}

int settings_annotate(struct settings *settings, const json_t *config, struct error *err)
{
	const char *name;
	json_t *value;

	json_decref(settings->annotations);
	settings->annotations = json_object();
	json_object_foreach (json_object_get(config, "annotations"), name, value) {
		int ret = 0;

		if (!strncmp(name, PREFIX, strlen(PREFIX)))
			ret = annotate(settings, name + strlen(PREFIX), json_string_value(value),
				       err);
		if (ret < 0)
			return ret;
	}
	return 0;
}

static const json_t *get(const struct settings *settings, const char *name)
{
	const json_t *value = json_object_get(settings->annotations, name);

	return value ? value : json_object_get(settings->file, name);
}

const char *settings_text(const struct settings *settings, const char *name)
{
	return json_string_value(get(settings, name));
}

uint32_t settings_number(const struct settings *settings, const char *name)
{
	return (uint32_t)json_integer_value(get(settings, name));
}

bool settings_true(const struct settings *settings, const char *name)
{
	return json_is_true(get(settings, name));
}

const char *settings_annotated_text(const struct settings *settings, const char *name)
{
	return json_string_value(json_object_get(settings->annotations, name));
}

uint32_t settings_annotated_number(const struct settings *settings, const char *name)
{
	return (uint32_t)json_integer_value(json_object_get(settings->annotations, name));
}

void settings_destroy(struct settings *settings)
{
	json_decref(settings->file);
	json_decref(settings->annotations);
	settings->file = settings->annotations = NULL;
}
