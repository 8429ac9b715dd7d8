# make lab CMD='command line' [LAB=count]: runs it in the lab; stdout, stderr and the exit code are its own.
#
# make itself ends with 0 or 2 whatever a recipe said. So make does not run the lab, it becomes the lab:
# $(become-shell ...) comes from a loadable object and is an exec. Where that cannot be built the name
# expands to nothing, the recipe runs as any other, and a failure ends make with 2.

LAB_DIR := $(abspath $(or $(BUILD),build))/lab
LAB_RUN = LAB_DIR='$(LAB_DIR)' tests/lab/lab run $(if $(filter count,$(LAB)),--count) $(LAB_FLAGS) -- "$$CMD"

.PHONY: lab lab-image
lab-image:
	@LAB_DIR='$(LAB_DIR)' tests/lab/lab image

ifneq ($(filter lab,$(MAKECMDGOALS)),)
# Taken literally: $HOME is for the lab's shell, not for make.
override CMD := $(value CMD)
export CMD

$(shell mkdir -p $(LAB_DIR) && test $(LAB_DIR)/become.so -nt tests/lab/become.c || \
	$(CC) -shared -fPIC -o $(LAB_DIR)/become.so tests/lab/become.c 2>/dev/null)
-load $(LAB_DIR)/become.so

# With -n make expands recipes too.
lab_dry_run := $(findstring n,$(filter-out --%,$(firstword -$(MAKEFLAGS))))
endif

lab:
	@$(if $(lab_dry_run),,$(become-shell $(LAB_RUN)))$(LAB_RUN)
